//! The coefficients of each layer, as PyTorch names and orders them.
//!
//! DL4J keeps all layers in one vector: layer after layer, and in each its weights `W`, recurrent weights `RW` and bias `b`.
//! Weights are matrices `[inputs, outputs]` in column-major order, so each column, the weights of one output, is one piece of
//! the vector: a row of PyTorch's matrices. Both directions follow each other (`WF`, `RWF`, `bF`, `WB`, `RWB`, `bB`).
//!
//! The columns of an LSTM (`LSTMParamInitializer`, `LSTMHelpers`) are the blocks g (the candidate, DL4J's "input
//! activations"), f, o and i (its "input modulation gate"); PyTorch's rows are i, f, g, o. Behind them `RW` of a Graves LSTM
//! has the columns `wFF`, `wOO` and `wGG`: the peepholes of f, o and i.

use super::description::{Cell, Direction, Kind, Layer, Parameters};

/// Where PyTorch's gates i, f, g, o lie among the blocks.
const GATES: [usize; 4] = [3, 1, 0, 2];
/// Where the gates i, f, o lie among the peepholes.
const PEEPHOLES: [usize; 3] = [2, 0, 1];

/// Fills the parameters of each layer. All coefficients must be used.
pub(super) fn split(coefficients: &[f32], layers: &mut [Layer]) -> Result<(), String> {
    let mut rest = Rest(coefficients);
    for layer in layers {
        layer.parameters =
            of_layer(layer, &mut rest).map_err(|why| format!("layer `{}`: {why}", layer.name))?;
    }
    match rest.0.len() {
        0 => Ok(()),
        left => Err(format!("{left} of {} coefficients belong to no layer", coefficients.len())),
    }
}

fn of_layer(layer: &Layer, rest: &mut Rest<'_>) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let (n_in, n_out) = (layer.settings.n_in, layer.settings.n_out);
    match layer.kind {
        Kind::Recurrent { cell, direction, .. } => {
            recurrent(cell, (n_in, n_out), "", rest, &mut parameters)?;
            if direction != Direction::Forward {
                recurrent(cell, (n_in, n_out), "_reverse", rest, &mut parameters)?;
            }
        }
        Kind::Dense | Kind::Output | Kind::RnnOutput => {
            let weight = rest.take(n_in, n_out)?.to_vec();
            parameters.insert("weight".to_string(), (vec![n_out, n_in], weight));
            bias(layer, rest, &mut parameters)?;
        }
        Kind::Embedding | Kind::EmbeddingSequence => {
            let weight = transposed(rest.take(n_in, n_out)?, n_in);
            parameters.insert("weight".to_string(), (vec![n_in, n_out], weight));
            bias(layer, rest, &mut parameters)?;
        }
        _ => {}
    }
    Ok(parameters)
}

fn bias(layer: &Layer, rest: &mut Rest<'_>, parameters: &mut Parameters) -> Result<(), String> {
    if layer.settings.has_bias {
        let bias = rest.take(layer.settings.n_out, 1)?.to_vec();
        parameters.insert("bias".to_string(), (vec![bias.len()], bias));
    }
    Ok(())
}

/// One direction of a recurrent layer, whose names end with `suffix`.
fn recurrent(
    cell: Cell,
    (n_in, hidden): (usize, usize),
    suffix: &str,
    rest: &mut Rest<'_>,
    parameters: &mut Parameters,
) -> Result<(), String> {
    let (gates, peepholes): (&[usize], &[usize]) = match cell {
        Cell::SimpleRnn => (&[0], &[]),
        Cell::Lstm => (&GATES, &[]),
        Cell::GravesLstm => (&GATES, &PEEPHOLES),
    };
    let rows = hidden.checked_mul(gates.len()).ok_or("the layer is too large")?;
    let mut add = |name: &str, shape: Vec<usize>, values| {
        parameters.insert(format!("{name}_l0{suffix}"), (shape, values));
    };
    let input = rest.take(n_in, rows)?;
    add("weight_ih", vec![rows, n_in], blocks(input, gates));
    let recurrent = rest.take(hidden, rows)?;
    add("weight_hh", vec![rows, hidden], blocks(recurrent, gates));
    if !peepholes.is_empty() {
        let columns = rest.take(hidden, peepholes.len())?;
        add("weight_peephole", vec![columns.len()], blocks(columns, peepholes));
    }
    let bias = rest.take(rows, 1)?;
    add("bias_ih", vec![rows], blocks(bias, gates));
    Ok(())
}

/// The equal parts of `values` in another order.
fn blocks(values: &[f32], order: &[usize]) -> Vec<f32> {
    let length = values.len() / order.len();
    order.iter().flat_map(|&at| &values[at * length..][..length]).copied().collect()
}

/// The rows, one after the other, of a column-major matrix.
fn transposed(columns: &[f32], rows: usize) -> Vec<f32> {
    // Without elements a hostile file may name any number of rows.
    let rows = if columns.is_empty() { 0 } else { rows };
    (0..rows).flat_map(|row| columns.iter().skip(row).step_by(rows)).copied().collect()
}

/// The coefficients that no layer has taken yet.
struct Rest<'a>(&'a [f32]);

impl<'a> Rest<'a> {
    fn take(&mut self, rows: usize, columns: usize) -> Result<&'a [f32], String> {
        let left = self.0.len();
        let short = || format!("weights [{rows}, {columns}] are more than the {left} coefficients left");
        let length = rows.checked_mul(columns).ok_or_else(short)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }
}
