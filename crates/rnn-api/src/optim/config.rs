//! [`OptimConfig`]: the settings that all optimizers share, and those of an update rule.

use crate::error::{Error, Result};
use crate::optim::check::{check, check_lr, check_size};
use crate::optim::group::{ParamGroup, Settings};
use crate::optim::loss_scale::LossScale;
use crate::optim::rule::Rule;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Settings of an optimizer; the aliases such as [`AdamConfig`](crate::optim::AdamConfig) and
/// [`SgdConfig`](crate::optim::SgdConfig) are its forms.
///
/// In JSON it is one flat object: the fields of `rule` are beside the others. Absent fields have their
/// defaults; unknown fields are refused. Groups are not serialized, because their name filters are code.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, bound = "R: Rule")]
#[non_exhaustive]
pub struct OptimConfig<R> {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay, the l2 penalty, of parameters in no group.
    pub weight_decay: f64,
    /// Weight of the l1 penalty of parameters in no group.
    pub l1: f64,
    /// Whether both penalties act on the parameters directly instead of through the gradients.
    pub decoupled_weight_decay: bool,
    /// Largest magnitude of an element of a gradient; applied first.
    pub clip_value: Option<f32>,
    /// Largest norm of the gradient of one parameter; applied second.
    pub clip_tensor_norm: Option<f32>,
    /// Largest global norm of the gradients; applied last, to all of them together.
    pub clip_norm: Option<f32>,
    /// Scale of the objective before the backward pass.
    pub loss_scale: Option<LossScale>,
    /// Whether every step waits until it is known whether its gradients are finite; see
    /// [`Optimizer::step`](crate::optim::Optimizer::step).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Settings of the update rule, such as [`AdamRule`](crate::optim::AdamRule).
    #[serde(flatten, deserialize_with = "crate::flat::rest")]
    pub rule: R,
    #[serde(skip)]
    pub(crate) groups: Vec<ParamGroup>,
}

impl<R: Rule> Default for OptimConfig<R> {
    fn default() -> Self {
        Self::new(R::LR)
    }
}

impl<R: Rule> OptimConfig<R> {
    /// PyTorch's defaults with this learning rate.
    pub fn new(lr: f64) -> Self {
        OptimConfig {
            lr,
            weight_decay: R::WEIGHT_DECAY,
            l1: 0.0,
            decoupled_weight_decay: R::DECOUPLED,
            clip_value: None,
            clip_tensor_norm: None,
            clip_norm: None,
            loss_scale: None,
            strict: false,
            rule: R::default(),
            groups: Vec::new(),
        }
    }

    /// Refuses settings that are invalid for every model.
    pub(crate) fn check(&self) -> Result<()> {
        check_lr(R::CONFIG, self.lr)?;
        for (field, value) in [("weight_decay", self.weight_decay), ("l1", self.l1)] {
            check_size(R::CONFIG, field, value)?;
        }
        let limits = [
            ("clip_value", self.clip_value),
            ("clip_tensor_norm", self.clip_tensor_norm),
            ("clip_norm", self.clip_norm),
        ];
        for (field, limit) in limits {
            let limit = limit.map_or(1.0, f64::from);
            check(R::CONFIG, field, limit, "positive", limit.is_finite() && limit > 0.0)?;
        }
        self.loss_scale.map_or(Ok(()), |scale| scale.check(R::CONFIG))?;
        self.rule.check()
    }

    /// All settings by name but the learning rate, for [`Optimizer::settings`](crate::optim::Optimizer::settings).
    /// Parameters whose group changes their settings have them under their own names.
    pub(crate) fn described<'a>(
        &self,
        parameters: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, String>> {
        let unreadable =
            |error| Error::config(R::CONFIG, "rule", "one that JSON can hold", format!("{self:?}: {error}"));
        let Value::Object(fields) = serde_json::to_value(self).map_err(unreadable)? else {
            unreachable!("a struct is an object in JSON")
        };
        // Strict steps are the same steps.
        let fields = fields.into_iter().filter(|(field, _)| field != "lr" && field != "strict");
        let mut all: BTreeMap<String, String> =
            fields.map(|(field, value)| (format!("optimizer.{field}"), value.to_string())).collect();
        all.insert("optimizer".into(), R::CONFIG.into());
        let plain = self.plain();
        for name in parameters {
            let own = self.settings(name);
            if own != plain {
                all.insert(format!("optimizer.groups.{name}"), format!("{own:?}"));
            }
        }
        Ok(all)
    }

    /// The settings of the parameter with this name.
    pub(crate) fn settings(&self, name: &str) -> Settings {
        self.plain().of(name, &self.groups)
    }

    /// The settings of a parameter in no group.
    fn plain(&self) -> Settings {
        Settings {
            weight_decay: self.weight_decay,
            l1: self.l1,
            decoupled: self.decoupled_weight_decay,
            lr_scale: 1.0,
        }
    }
}

/// Refuses a learning rate of which a factor of the step overflows, such as Adam's quotient by `1 - beta1^step`.
pub(crate) fn check_rate<R: Rule>(rule: &R, lr: f64, step: u64, momenta: f64) -> Result<()> {
    let expected = "small enough for the factors of a step to be finite in f32";
    check(R::CONFIG, "lr", lr, expected, rule.update(step, momenta).has_finite_factors(lr))
}

impl<R> OptimConfig<R> {
    /// Weight decay, the l2 penalty, of parameters in no group.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Weight of the l1 penalty of parameters in no group.
    #[must_use]
    pub fn with_l1(mut self, l1: f64) -> Self {
        self.l1 = l1;
        self
    }

    /// Whether both penalties act on the parameters directly (`true`: `p *= 1 - lr weight_decay`, then p
    /// moves by `lr l1` towards zero) or through the gradients (`g += l1 sign(p) + weight_decay p`).
    #[must_use]
    pub fn with_decoupled_weight_decay(mut self, decoupled: bool) -> Self {
        self.decoupled_weight_decay = decoupled;
        self
    }

    /// No weight decay for parameters whose name `filter` accepts, usually biases:
    /// `with_no_decay(|name| name.contains("bias"))`.
    #[must_use]
    pub fn with_no_decay(self, filter: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let group = ParamGroup::new(filter).with_weight_decay(0.0);
        self.with_group(group.allow_empty())
    }

    /// Separate settings for some parameters; a parameter belongs to the first group that matches.
    #[must_use]
    pub fn with_group(mut self, group: ParamGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Scales the gradients of every step so that their global norm is at most `max_norm`,
    /// inside the update kernels.
    #[must_use]
    pub fn with_clip_norm(mut self, max_norm: f32) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Clamps every element of the gradients to `-limit..=limit`, before clipping by norm.
    #[must_use]
    pub fn with_clip_value(mut self, limit: f32) -> Self {
        self.clip_value = Some(limit);
        self
    }

    /// Scales the gradient of every parameter so that its own norm is at most `max_norm`, before clipping by
    /// global norm.
    #[must_use]
    pub fn with_clip_tensor_norm(mut self, max_norm: f32) -> Self {
        self.clip_tensor_norm = Some(max_norm);
        self
    }

    /// Makes every step wait until it is known whether its gradients are finite, so that the error comes from the step
    /// itself on a GPU, too; see [`Optimizer::step`](crate::optim::Optimizer::step).
    #[must_use]
    pub fn with_strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Expects gradients of an objective multiplied by a scale; see
    /// [`Optimizer::scale_loss`](crate::optim::Optimizer::scale_loss).
    #[must_use]
    pub fn with_loss_scale(mut self, loss_scale: LossScale) -> Self {
        self.loss_scale = Some(loss_scale);
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::optim::{AdamConfig, AdamWConfig, SgdConfig};
    use serde_json::{from_str, to_string};

    /// JSON of the time when every configuration was a separate struct.
    const ADAM: &str = r#"{"lr":0.01,"weight_decay":0.0,"l1":0.0,"decoupled_weight_decay":false,"clip_value":null,"clip_tensor_norm":null,"clip_norm":1.0,"loss_scale":null,"beta1":0.9,"beta2":0.99,"eps":1e-8}"#;

    #[test]
    fn configurations_survive_json() {
        let config = AdamConfig::new(0.01).with_beta2(0.99).with_clip_norm(1.0);
        assert_eq!(to_string(&config).unwrap(), ADAM);
        assert_eq!(to_string(&from_str::<AdamConfig>(ADAM).unwrap()).unwrap(), ADAM);
        let short: AdamWConfig = from_str("{}").unwrap();
        assert_eq!(to_string(&short).unwrap(), to_string(&AdamWConfig::default()).unwrap());
        assert_eq!((short.lr, short.weight_decay, short.decoupled_weight_decay), (1e-3, 0.01, true));
        let error = from_str::<SgdConfig>(r#"{"lr":0.1,"momentun":0.9}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `momentun`"), "{error}");
    }
}
