//! [`ParamGroup`]: separate settings for some parameters.

use crate::error::{Error, Result};
use crate::optim::check::{check, check_size, is_size};
use std::fmt;
use std::sync::Arc;

/// Role of a parameter, by the last part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParamRole {
    /// Weight on the input of a recurrent layer: `weight_ih_l0`.
    InputWeight,
    /// Weight on the state of the previous step: `weight_hh_l0`.
    RecurrentWeight,
    /// Bias: every name that starts with `bias`.
    Bias,
    /// Everything else: `weight` of linear layers, embeddings and normalisations, projections, peepholes.
    Other,
}

impl ParamRole {
    /// The role of the parameter with this name, such as `encoder.lstm.weight_hh_l1_reverse`.
    pub fn of(name: &str) -> Self {
        match name.rsplit('.').next().unwrap_or(name) {
            last if last.starts_with("weight_ih") => ParamRole::InputWeight,
            last if last.starts_with("weight_hh") => ParamRole::RecurrentWeight,
            last if last.starts_with("bias") => ParamRole::Bias,
            _ => ParamRole::Other,
        }
    }
}

#[derive(Clone)]
enum Select {
    Filter(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    Role(ParamRole),
    Names(Vec<String>),
}

/// Separate settings for some parameters; settings that the group does not set come from the configuration.
///
/// ```
/// use rnn_api::prelude::*;
/// use rnn_api::optim::ParamRole;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// let adam = AdamConfig::new(1e-3)
///     .with_group(ParamGroup::role(ParamRole::InputWeight).with_l1(1e-5))
///     .with_group(ParamGroup::role(ParamRole::RecurrentWeight).with_weight_decay(1e-4))
///     .with_group(ParamGroup::role(ParamRole::Bias).with_lr_scale(2.0))
///     .init(&lstm)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ParamGroup {
    select: Select,
    may_be_empty: bool,
    weight_decay: Option<f64>,
    l1: Option<f64>,
    decoupled: Option<bool>,
    lr_scale: f64,
}

impl ParamGroup {
    /// The parameters whose name `filter` accepts, such as `lstm.bias_hh_l0`.
    pub fn new(filter: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Select::Filter(Arc::new(filter)))
    }

    /// The parameters with this role in every layer.
    pub fn role(role: ParamRole) -> Self {
        Self::of(Select::Role(role))
    }

    /// The parameters with these full names. A name that the model does not have is an error.
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::of(Select::Names(names.into_iter().map(Into::into).collect()))
    }

    fn of(select: Select) -> Self {
        let (weight_decay, l1, decoupled) = (None, None, None);
        ParamGroup { select, may_be_empty: false, weight_decay, l1, decoupled, lr_scale: 1.0 }
    }

    /// A group that may match no parameter; for other groups that is an error.
    pub(crate) fn allow_empty(self) -> Self {
        ParamGroup { may_be_empty: true, ..self }
    }

    /// Sets the group's weight decay (the l2 penalty).
    #[must_use]
    pub fn with_weight_decay(self, weight_decay: f64) -> Self {
        ParamGroup { weight_decay: Some(weight_decay), ..self }
    }

    /// Sets the group's l1 penalty.
    #[must_use]
    pub fn with_l1(self, l1: f64) -> Self {
        ParamGroup { l1: Some(l1), ..self }
    }

    /// Whether both penalties of the group act on the parameters directly instead of through the gradients.
    #[must_use]
    pub fn with_decoupled_weight_decay(self, decoupled: bool) -> Self {
        ParamGroup { decoupled: Some(decoupled), ..self }
    }

    /// Sets the group's learning rate as a multiple of the optimizer's.
    #[must_use]
    pub fn with_lr_scale(self, lr_scale: f64) -> Self {
        ParamGroup { lr_scale, ..self }
    }

    fn fits(&self, name: &str) -> bool {
        match &self.select {
            Select::Filter(filter) => filter(name),
            Select::Role(role) => ParamRole::of(name) == *role,
            Select::Names(names) => names.iter().any(|own| own == name),
        }
    }

    /// Refuses invalid settings, and a group that does not fit a model with these parameters.
    pub(crate) fn check(&self, config: &'static str, names: &[&str]) -> Result<()> {
        let settings =
            [("scales", Some(self.lr_scale)), ("decays", self.weight_decay), ("l1 penalties", self.l1)];
        for (what, value) in settings {
            let value = value.unwrap_or(0.0);
            let expected = format!("{what} that are finite and not negative, in f32 too");
            check(config, "groups", value, &expected, is_size(value))?;
        }
        let refuse =
            |expected: String, got: String| Err(Error::Config { config, field: "groups", expected, got });
        if let Select::Names(own) = &self.select
            && let Some(unknown) = own.iter().find(|own| !names.contains(&own.as_str()))
        {
            return refuse("of parameters of the model".into(), format!("`{unknown}`, which it lacks"));
        }
        if !self.may_be_empty && !names.iter().any(|name| self.fits(name)) {
            return refuse("such that each fits a parameter".into(), format!("{self:?}, which fits none"));
        }
        Ok(())
    }
}

impl fmt::Debug for ParamGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = f.debug_struct("ParamGroup");
        match &self.select {
            Select::Filter(_) => group.field("filter", &"a function of the name"),
            Select::Role(role) => group.field("role", role),
            Select::Names(names) => group.field("names", names),
        };
        group.field("weight_decay", &self.weight_decay).field("l1", &self.l1);
        group.field("decoupled", &self.decoupled).field("lr_scale", &self.lr_scale).finish()
    }
}

/// The settings of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) weight_decay: f64,
    pub(crate) l1: f64,
    pub(crate) decoupled: bool,
    pub(crate) lr_scale: f64,
}

impl Settings {
    /// The learning rate of a parameter with these settings, if that of the optimizer is `lr`.
    ///
    /// # Errors
    /// It overflows, or its product with a decoupled penalty does.
    pub(crate) fn lr(&self, config: &'static str, lr: f64) -> Result<f64> {
        let lr = lr * self.lr_scale;
        check_size(config, "lr", lr)?;
        if self.decoupled {
            check_size(config, "lr * weight_decay", lr * self.weight_decay)?;
            check_size(config, "lr * l1", lr * self.l1)?;
        }
        Ok(lr)
    }

    /// The settings of the first group that matches, else these.
    pub(crate) fn of(self, name: &str, groups: &[ParamGroup]) -> Self {
        let Some(group) = groups.iter().find(|group| group.fits(name)) else { return self };
        Settings {
            weight_decay: group.weight_decay.unwrap_or(self.weight_decay),
            l1: group.l1.unwrap_or(self.l1),
            decoupled: group.decoupled.unwrap_or(self.decoupled),
            lr_scale: group.lr_scale,
        }
    }
}
