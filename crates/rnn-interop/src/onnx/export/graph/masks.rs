//! Masks in ops that every reader of ONNX has. The steps of each row move by a product with a matrix of zeros and ones, which
//! is exact for finite values.

use super::super::super::proto::AttributeProto;
use super::super::nodes::{int, ints};
use super::writer::Writer;
use crate::graph::{Mask, Node, ValueType};

/// What follows from a mask `[B, T]`.
struct Counts {
    /// 1 where a step counts `[B, T]`.
    ones: String,
    /// How many steps count up to each, itself included `[B, T]`.
    sums: String,
    /// 0, 1, .. `[T]`
    times: String,
}

impl Writer<'_> {
    pub(super) fn mask(&mut self, node: &Node, mask: Mask) -> Result<(), String> {
        match mask {
            Mask::Find(value) => self.find(node, value),
            Mask::Gather => self.gather(node),
            Mask::Scatter { backwards, zeros } => self.scatter(node, backwards, zeros),
            Mask::Mean => self.mean(node),
            Mask::Any { axis } => {
                let truths = self.cast_input(node, 0, ValueType::Float)?;
                let axes = vec![ints("axes", &[axis]), int("keepdims", 0)];
                let any = self.largest(&truths, axes);
                self.last(
                    node,
                    "Cast",
                    &[any],
                    vec![int("to", super::types::data_type(ValueType::Bool) as i64)],
                )
            }
        }
    }

    /// The maximum along one axis.
    fn largest(&mut self, x: &str, attributes: Vec<AttributeProto>) -> String {
        if self.opset < 18 {
            return self.put("ReduceMax", &[x], attributes);
        }
        let (axes, others): (Vec<_>, Vec<_>) =
            attributes.into_iter().partition(|attribute| attribute.name == "axes");
        let axes = self.out.integers(&axes[0].ints);
        self.put("ReduceMax", &[x, &axes], others)
    }

    /// x where some feature differs from the value, and where that is.
    fn find(&mut self, node: &Node, value: f32) -> Result<(), String> {
        let x = self.need(node, 0)?;
        let value = self.number(value)?;
        let equal = self.put("Equal", &[&x, &value], vec![]);
        let differs = self.put("Not", &[&equal], vec![]);
        let differs = self.cast(&differs, ValueType::Float);
        let kept = self.largest(&differs, vec![ints("axes", &[-1]), int("keepdims", 1)]);
        let outputs = self.outputs(node);
        if let Some(name) = outputs.first().filter(|name| !name.is_empty()) {
            self.emit("Mul", &[&x, &kept], &[name], vec![]);
        }
        if let Some(name) = outputs.get(1).filter(|name| !name.is_empty()) {
            let last = self.out.integers(&[-1]);
            let rows = self.put("Squeeze", &[&kept, &last], vec![]);
            let to = super::types::data_type(ValueType::Bool) as i64;
            self.emit("Cast", &[&rows], &[name], vec![int("to", to)]);
        }
        Ok(())
    }

    fn counts(&mut self, node: &Node) -> Result<Counts, String> {
        let mask = self.need(node, 1)?;
        let ones = self.cast(&mask, ValueType::Float);
        let shape = self.put("Shape", &[&mask], vec![int("start", 1)]);
        let none = self.out.integers(&[0]);
        let steps = self.put("Squeeze", &[&shape, &none], vec![]);
        let [from, by] = [0, 1].map(|value| self.constant(&crate::Value::Int(crate::Host::scalar(value))));
        let (from, by) = (from.map_err(|error| error.to_string())?, by.map_err(|error| error.to_string())?);
        let times = self.put("Range", &[&from, &steps, &by], vec![]);
        // A product with ones on and above the diagonal sums up.
        let column = self.out.integers(&[1]);
        let column = self.put("Unsqueeze", &[&times, &column], vec![]);
        let upper = self.put("LessOrEqual", &[&column, &times], vec![]);
        let upper = self.cast(&upper, ValueType::Float);
        let sums = self.put("MatMul", &[&ones, &upper], vec![]);
        let times = self.cast(&times, ValueType::Float);
        Ok(Counts { ones, sums, times })
    }

    /// An array with a new axis of length 1.
    fn raised(&mut self, x: &str, axis: i64) -> String {
        let axis = self.out.integers(&[axis]);
        self.put("Unsqueeze", &[x, &axis], vec![])
    }

    /// Step t that counts goes to place `sums[t] - 1`; the places after the last are zero.
    fn gather(&mut self, node: &Node) -> Result<(), String> {
        let x = self.need(node, 0)?;
        let Counts { ones, sums, times } = self.counts(node)?;
        let outputs = self.outputs(node);
        if let Some(name) = outputs.first().filter(|name| !name.is_empty()) {
            let one = self.number(1.0)?;
            let places = self.put("Sub", &[&sums, &one], vec![]);
            let (places, rows) = (self.raised(&places, 1), self.raised(&times, 1));
            let chosen = self.put("Equal", &[&places, &rows], vec![]);
            let chosen = self.cast(&chosen, ValueType::Float);
            let counting = self.raised(&ones, 1);
            let moves = self.put("Mul", &[&chosen, &counting], vec![]);
            self.emit("MatMul", &[&moves, &x], &[name], vec![]);
        }
        if let Some(name) = outputs.get(1).filter(|name| !name.is_empty()) {
            self.masked.extend(node.output(1));
            let axis = self.out.integers(&[1]);
            let lengths = self.put("ReduceSum", &[&ones, &axis], vec![int("keepdims", 0)]);
            let to = super::types::data_type(ValueType::Int) as i64;
            self.emit("Cast", &[&lengths], &[name], vec![int("to", to)]);
        }
        Ok(())
    }

    /// Where the step of each time lies among the gathered ones: `sums[t] - 1`, or `sums[t]` for a step that does not count in
    /// a layer that runs backwards. Places that there are not give zero.
    fn scatter(&mut self, node: &Node, backwards: bool, zeros: bool) -> Result<(), String> {
        let y = self.need(node, 0)?;
        let Counts { ones, sums, times } = self.counts(node)?;
        let less = if backwards { ones.clone() } else { self.number(1.0)? };
        let sources = self.put("Sub", &[&sums, &less], vec![]);
        let sources = self.raised(&sources, 2);
        let chosen = self.put("Equal", &[&sources, &times], vec![]);
        let mut moves = self.cast(&chosen, ValueType::Float);
        if zeros {
            let counting = self.raised(&ones, 2);
            moves = self.put("Mul", &[&moves, &counting], vec![]);
        }
        self.last(node, "MatMul", &[moves, y], vec![])
    }

    /// A row in which no step counts has a mean of zero.
    fn mean(&mut self, node: &Node) -> Result<(), String> {
        let x = self.need(node, 0)?;
        let mask = self.need(node, 1)?;
        let ones = self.cast(&mask, ValueType::Float);
        let axis = self.out.integers(&[1]);
        let count = self.put("ReduceSum", &[&ones, &axis], vec![int("keepdims", 1)]);
        let one = self.number(1.0)?;
        let count = self.put("Max", &[&count, &one], vec![]);
        let weights = self.put("Div", &[&ones, &count], vec![]);
        let weights = self.raised(&weights, 1);
        let means = self.put("MatMul", &[&weights, &x], vec![]);
        let axis = self.out.integers(&[1]);
        self.last(node, "Squeeze", &[means, axis], vec![])
    }
}
