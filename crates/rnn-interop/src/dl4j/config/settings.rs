//! Settings that most layers have.

use super::super::json::{length, number, typed};
use super::Fields;
use serde_json::Value;
use std::collections::BTreeMap;

/// Settings of a layer. Those that its class does not have are absent or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Features of the input.
    pub n_in: usize,
    /// Features of the result, of one direction.
    pub n_out: usize,
    /// Of the result; of a recurrent layer, of the candidate and the cell.
    pub activation: Option<Named>,
    /// Of the gates. Versions before 0.8 have the sigmoid alone, and do not write it.
    pub gate_activation: Option<Named>,
    /// Whether a linear map has a bias.
    pub has_bias: bool,
    /// The loss, in small letters, such as `mcxent`.
    pub loss: Option<Named>,
    /// The updater, in small letters, such as `adam`.
    pub updater: Option<Named>,
    /// Factor of the sum of the absolute weights.
    pub l1: f64,
    /// Half of it is the factor of the sum of the squared weights.
    pub l2: f64,
    /// As `l1`, of the biases.
    pub l1_bias: f64,
    /// As `l2`, of the biases.
    pub l2_bias: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The chance that dropout keeps a value of the input; `None` without dropout.
    pub keep: Option<f64>,
    /// The class that reshapes the input.
    pub preprocessor: Option<String>,
}

/// A name in small letters, and numbers that belong to it by the names in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// The class without package, `Activation` and `Loss`.
    pub name: String,
    /// Only those that are numbers, and not NaN.
    pub numbers: BTreeMap<String, f64>,
}

impl Named {
    fn of(name: &str, prefix: &str, fields: &Fields) -> Self {
        let name = name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase();
        let name = if name == "leakyrelu" { "lrelu".to_string() } else { name };
        let known = |value: &Value| number(value).filter(|number| !number.is_nan());
        let numbers = fields.iter().filter_map(|(name, value)| Some((name.clone(), known(value)?))).collect();
        Named { name, numbers }
    }

    /// From an object with a class, or from a text.
    fn read(value: Option<&Value>, prefix: &str) -> Option<Self> {
        let value = value?;
        let object = typed(value).map(|(class, fields)| Named::of(class, prefix, fields));
        object.or_else(|| Some(Named::of(value.as_str()?, prefix, &Fields::new())))
    }
}

impl Settings {
    pub(super) fn read(fields: &Fields) -> Result<Self, String> {
        let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let size = |old, new| Ok::<_, String>(length(fields, old)?.or(length(fields, new)?).unwrap_or(0));
        let activation = get("activationFn").or_else(|| get("activationFunction"));
        let factor = |name| get(name).and_then(number).filter(|factor| !factor.is_nan()).unwrap_or(0.0);
        let of = |list, name| penalty(get(list), name);
        Ok(Settings {
            n_in: size("nin", "nIn")?,
            n_out: size("nout", "nOut")?,
            activation: Named::read(activation, "Activation"),
            gate_activation: Named::read(get("gateActivationFn"), "Activation"),
            has_bias: get("hasBias").and_then(Value::as_bool).unwrap_or(true),
            loss: Named::read(get("lossFn").or_else(|| get("lossFunction")), "Loss"),
            updater: updater(fields),
            l1: factor("l1") + of("regularization", "l1"),
            l2: factor("l2") + of("regularization", "l2"),
            l1_bias: factor("l1Bias") + factor("biasL1") + of("regularizationBias", "l1"),
            l2_bias: factor("l2Bias") + factor("biasL2") + of("regularizationBias", "l2"),
            weight_decay: of("regularization", "coeff"),
            keep: keep(fields),
            preprocessor: None,
        })
    }
}

/// The sum of a factor over a list of penalties, each a number or a schedule that is fixed.
fn penalty(list: Option<&Value>, name: &str) -> f64 {
    let fixed = |value: &Value| number(value).or_else(|| number(value.get("value")?));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|penalty| fixed(penalty.get(name)?)).sum()
}

/// An object since 0.9, before that a name whose numbers lie among those of the layer.
fn updater(fields: &Fields) -> Option<Named> {
    if let Some(updater) = Named::read(fields.get("iupdater"), "") {
        return Some(updater);
    }
    let names = [
        ("learningRate", "learningRate"),
        ("momentum", "momentum"),
        ("rmsDecay", "rmsDecay"),
        ("rho", "rho"),
        ("epsilon", "epsilon"),
        ("adamMeanDecay", "beta1"),
        ("adamVarDecay", "beta2"),
    ];
    let own = names.iter().filter_map(|(old, new)| Some((new.to_string(), fields.get(*old)?.clone())));
    Some(Named::of(fields.get("updater")?.as_str()?, "", &own.collect()))
}

/// An object since 0.9, a number before, where 0 is no dropout.
fn keep(fields: &Fields) -> Option<f64> {
    let old = fields.get("dropOut").and_then(number);
    let new = || number(fields.get("idropout")?.get("p")?);
    old.or_else(new).filter(|&keep| keep > 0.0)
}
