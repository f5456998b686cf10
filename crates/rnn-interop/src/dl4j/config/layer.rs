//! Classes of layers.

use crate::dl4j::description::{Cell, Direction, Kind, Merge, Pooling, Settings};
use crate::dl4j::json::{Fields, number, typed};
use serde_json::Value;

type Read = Result<Option<(Kind, Settings)>, String>;

/// The kind and the settings of a layer; `None` if the class is unknown.
pub(super) fn read(class: &str, fields: &Fields) -> Read {
    let class = class.strip_suffix("Layer").unwrap_or(class).to_ascii_lowercase();
    let recurrent = |cell, direction| Kind::Recurrent { cell, direction, last_step: false };
    let kind = match class.as_str() {
        "lstm" => recurrent(Cell::Lstm, Direction::Forward),
        "graveslstm" => recurrent(Cell::GravesLstm, Direction::Forward),
        "gravesbidirectionallstm" => recurrent(Cell::GravesLstm, Direction::Both(Merge::Add)),
        "simplernn" => recurrent(Cell::SimpleRnn, Direction::Forward),
        "bidirectional" => return bidirectional(fields),
        "lasttimestep" => return last_step(fields),
        "globalpooling" => Kind::GlobalPooling(pooling(fields)?),
        "dense" => Kind::Dense,
        "output" => Kind::Output,
        "rnnoutput" => Kind::RnnOutput,
        "embedding" => Kind::Embedding,
        "embeddingsequence" => Kind::EmbeddingSequence,
        "activation" => Kind::Activation,
        "dropout" => Kind::Dropout,
        "loss" => Kind::Loss,
        "rnnloss" => Kind::RnnLoss,
        _ => return Ok(None),
    };
    if fields.get("hasLayerNorm").and_then(Value::as_bool) == Some(true) {
        return Err("layer normalisation inside a layer is not read".to_string());
    }
    Ok(Some((kind, Settings::read(fields)?)))
}

/// The layer that a wrapper holds.
fn inner(fields: &Fields, name: &str) -> Read {
    let (class, fields) =
        fields.get(name).and_then(typed).ok_or_else(|| format!("a wrapper without `{name}`"))?;
    read(class, fields)
}

fn bidirectional(fields: &Fields) -> Read {
    let (Some(forward), Some(backward)) = (inner(fields, "fwd")?, inner(fields, "bwd")?) else {
        return Ok(None);
    };
    let (kind, settings) = forward;
    let same = |other: &Settings| {
        (other.n_in, other.n_out, &other.activation, &other.gate_activation)
            == (settings.n_in, settings.n_out, &settings.activation, &settings.gate_activation)
    };
    if kind != backward.0 || !same(&backward.1) {
        return Err("the two directions are not alike".to_string());
    }
    let Kind::Recurrent { cell, direction: Direction::Forward, last_step: false } = kind else {
        return Err(format!("a bidirectional layer around {kind:?} is not read"));
    };
    let merge = match fields.get("mode").and_then(Value::as_str) {
        Some("ADD") => Merge::Add,
        Some("MUL") => Merge::Mul,
        Some("AVERAGE") => Merge::Average,
        Some("CONCAT") => Merge::Concat,
        mode => return Err(format!("mode {mode:?} is none of ADD, MUL, AVERAGE and CONCAT")),
    };
    Ok(Some((Kind::Recurrent { cell, direction: Direction::Both(merge), last_step: false }, settings)))
}

fn last_step(fields: &Fields) -> Read {
    match inner(fields, "underlying")? {
        Some((Kind::Recurrent { cell, direction, last_step: false }, settings)) => {
            Ok(Some((Kind::Recurrent { cell, direction, last_step: true }, settings)))
        }
        Some((kind, _)) => Err(format!("the last step of {kind:?} is not read")),
        None => Ok(None),
    }
}

fn pooling(fields: &Fields) -> Result<Pooling, String> {
    match fields.get("poolingType").and_then(Value::as_str) {
        Some("AVG") => Ok(Pooling::Avg),
        Some("MAX") => Ok(Pooling::Max),
        Some("SUM") => Ok(Pooling::Sum),
        Some("PNORM") => match fields.get("pnorm").and_then(number) {
            Some(power) => Ok(Pooling::PNorm(power)),
            None => Err("pooling PNORM without `pnorm`".to_string()),
        },
        kind => Err(format!("pooling {kind:?} is none of AVG, MAX, SUM and PNORM")),
    }
}
