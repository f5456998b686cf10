//! Layers that make one array of several, and what becomes of their masks; operations on masks.

use super::{Flow, Lowering};
use crate::graph::{Binary, Compare, Mask, Op, Slot};
use crate::keras::config::{Combine, Operation};
use crate::value::{Host, Value};

impl Lowering<'_> {
    pub(super) fn combine(&mut self, combine: Combine, inputs: &[Flow]) -> Result<Flow, String> {
        let most = if combine == Combine::Subtract { 2 } else { usize::MAX };
        if !(2..=most).contains(&inputs.len()) {
            let expected = if most == 2 { "two inputs" } else { "two inputs or more" };
            return Err(format!("expected {expected}, got {}", inputs.len()));
        }
        let rank = inputs.iter().try_fold(0, |rank, input| Some(input.rank?.max(rank)));
        // Behind a layer that failed nothing is known.
        let Some(rank) = rank.or((!self.problems.is_empty()).then_some(3)) else {
            return Err("the number of axes of its inputs is not known".to_string());
        };
        if let Combine::Concatenate(axis) = combine {
            let mask = self.joined_mask(axis, rank, inputs)?;
            let values: Vec<Slot> = inputs.iter().map(|input| input.value).collect();
            return Ok(Flow { value: self.graph.node(Op::Concat { axis }, &values), mask, rank: Some(rank) });
        }
        let masked = inputs.iter().any(|input| input.mask.is_some());
        let replaces = matches!(combine, Combine::Multiply | Combine::Maximum | Combine::Minimum);
        if masked && replaces && self.model.keras >= 3 {
            // Later versions of Keras 3 take other values in place of those that are masked, earlier ones do not.
            return Err("its inputs have masks, which is not supported for this class of Keras 3".to_string());
        }
        // Keras inserts axes after the batch, where NumPy would before it.
        let values: Vec<Slot> = inputs.iter().map(|input| self.raised(*input, rank)).collect();
        let value = match combine {
            Combine::Add => self.graph.node(Op::Binary(Binary::Add), &values),
            Combine::Multiply => self.graph.node(Op::Binary(Binary::Mul), &values),
            Combine::Maximum => self.graph.node(Op::Binary(Binary::Max), &values),
            Combine::Minimum => self.graph.node(Op::Binary(Binary::Min), &values),
            Combine::Subtract => self.graph.node(Op::Binary(Binary::Sub), &values),
            Combine::Average | Combine::Concatenate(_) => {
                let sum = self.graph.node(Op::Binary(Binary::Add), &values);
                self.graph.scaled(sum, 1.0 / values.len() as f32)?
            }
        };
        Ok(Flow { value, mask: self.common_mask(inputs), rank: Some(rank) })
    }

    fn raised(&mut self, input: Flow, rank: usize) -> Slot {
        let missing = rank - input.rank.unwrap_or(rank);
        if missing == 0 {
            return input.value;
        }
        let axes = Some((1..=missing as i64).collect());
        self.graph.node(Op::Unsqueeze { axes }, &[input.value])
    }

    /// Before Keras 3 a step counts if it does in every input that has a mask, since then if it does in any input.
    fn common_mask(&mut self, inputs: &[Flow]) -> Option<Slot> {
        let any = self.model.keras >= 3;
        if any && inputs.iter().any(|input| input.mask.is_none()) {
            return None;
        }
        let mut masks = inputs.iter().filter_map(|input| input.mask);
        let first = masks.next()?;
        let compare = if any { Compare::Or } else { Compare::And };
        Some(masks.fold(first, |a, b| self.graph.node(Op::Compare(compare), &[a, b])))
    }

    /// Arrays that are joined along the time have joined masks.
    fn joined_mask(&mut self, axis: i64, rank: usize, inputs: &[Flow]) -> Result<Option<Slot>, String> {
        if inputs.iter().all(|input| input.mask.is_none()) {
            return Ok(None);
        }
        match (axis, rank) {
            (-1, 3) | (2, 3) => Ok(self.common_mask(inputs)),
            (1, 3) | (-2, 3) => {
                let masks: Vec<Slot> = inputs.iter().map(|input| self.mask_of(*input)).collect();
                Ok(Some(self.graph.node(Op::Concat { axis: 1 }, &masks)))
            }
            _ => Err(format!("`axis` {axis} of arrays with masks is not supported")),
        }
    }

    /// The mask, or one in which every step counts.
    fn mask_of(&mut self, input: Flow) -> Slot {
        input.mask.unwrap_or_else(|| {
            let shape = self.graph.node(Op::Shape { start: 0, end: Some(2) }, &[input.value]);
            self.graph.node(Op::ConstantOfShape(Value::Bool(Host::scalar(true))), &[shape])
        })
    }

    pub(super) fn not_equal(&mut self, x: Slot, value: Value) -> Slot {
        let value = self.graph.constant(value);
        let equal = self.graph.node(Op::Compare(Compare::Equal), &[x, value]);
        self.graph.node(Op::Not, &[equal])
    }

    pub(super) fn operation(
        &mut self,
        operation: Operation,
        inputs: &[Flow],
        numbers: &[f64],
    ) -> Result<Flow, String> {
        let filled = |value| Op::ConstantOfShape(Value::Bool(Host::scalar(value)));
        let (value, rank) = match (operation, inputs, numbers) {
            (Operation::NotEqual, [x], [number]) => {
                let number = rnn_api::Tensor::full(self.graph.device, &[], *number as f32);
                let number = number.map_err(|error| error.to_string())?;
                (self.not_equal(x.value, number.into()), x.rank)
            }
            (Operation::LogicalOr | Operation::LogicalAnd, [a, b], []) => {
                let or = operation == Operation::LogicalOr;
                let compare = if or { Compare::Or } else { Compare::And };
                (self.graph.node(Op::Compare(compare), &[a.value, b.value]), a.rank.max(b.rank))
            }
            (Operation::Any(axis), [x], []) => (
                self.graph.node(Op::Mask(Mask::Any { axis }), &[x.value]),
                x.rank.map(|rank| rank.max(1) - 1),
            ),
            (Operation::LogicalNot, [x], []) => (self.graph.node(Op::Not, &[x.value]), x.rank),
            (Operation::ExpandDims(axis), [x], []) => {
                let op = Op::Unsqueeze { axes: Some(vec![axis]) };
                (self.graph.node(op, &[x.value]), x.rank.map(|rank| rank + 1))
            }
            (Operation::ZerosLike | Operation::OnesLike, [x], []) => {
                let shape = self.graph.node(Op::Shape { start: 0, end: None }, &[x.value]);
                (self.graph.node(filled(operation == Operation::OnesLike), &[shape]), x.rank)
            }
            _ => {
                let (arrays, numbers) = (inputs.len(), numbers.len());
                return Err(format!(
                    "{operation:?} of {arrays} arrays and {numbers} numbers is not supported"
                ));
            }
        };
        Ok(Flow { value, mask: None, rank })
    }
}
