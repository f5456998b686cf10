//! Settings that most layers have.

use crate::dl4j::description::{Named, Settings};
use crate::dl4j::json::{Fields, length, number, typed};
use serde_json::Value;

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
