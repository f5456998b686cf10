//! Products of matrices, and what other systems quantise.

use super::super::nodes::{float, int, ints};
use super::writer::{Outcome, Writer};
use crate::graph::{Gemm, Node, Op, Stored, ValueType};
use crate::value::Value;

impl Writer<'_> {
    pub(super) fn product(&mut self, node: &Node) -> Outcome {
        match &node.op {
            Op::Gemm(Gemm { alpha, beta, transpose_a, transpose_b }) => {
                let attributes = vec![
                    float("alpha", *alpha),
                    float("beta", *beta),
                    int("transA", (*transpose_a).into()),
                    int("transB", (*transpose_b).into()),
                ];
                self.same(node, "Gemm", attributes)
            }
            Op::Embedding => {
                let mut rows = self.cast_input(node, 1, ValueType::Int)?;
                // Numbers of rows may be given as floating-point ones, where the source of the model takes both.
                if self.parts.inputs.iter().any(|port| port.kind.is_none() && port.name == rows) {
                    rows = self.cast(&rows, ValueType::Int);
                }
                let inputs = [self.need(node, 0)?, rows];
                self.last(node, "Gather", &inputs, vec![int("axis", 0)])
            }
            Op::Linear if self.rank(node.inputs[0]) == Some(2) => {
                self.same(node, "Gemm", vec![int("transB", 1)])
            }
            Op::Linear => {
                let (x, weight) = (self.need(node, 0)?, self.need(node, 1)?);
                let turned = self.put("Transpose", &[&weight], vec![ints("perm", &[1, 0])]);
                let Some(bias) = self.input(node, 2) else {
                    return self.last(node, "MatMul", &[x, turned], vec![]);
                };
                let product = self.put("MatMul", &[&x, &turned], vec![]);
                self.last(node, "Add", &[product, bias], vec![])
            }
            _ => self.same(node, "MatMul", vec![]),
        }
    }

    /// Integers are floating-point numbers without their zero point, as the model computes.
    pub(super) fn quantised(&mut self, node: &Node) -> Outcome {
        match node.op {
            Op::MatMulInteger => {
                let factors = [self.centred(node, 0, 2)?, self.centred(node, 1, 3)?];
                self.last(node, "MatMul", &factors, vec![])
            }
            Op::DequantizeLinear { axis } => {
                let along = self.along(node, axis)?;
                let [scale, zero] = [1, 2].map(|n| {
                    let value = self.input(node, n)?;
                    Some(self.put("Reshape", &[&value, &along], vec![]))
                });
                let mut x = self.cast_input(node, 0, ValueType::Float)?;
                if let Some(zero) = zero {
                    let zero = self.cast(&zero, ValueType::Float);
                    x = self.put("Sub", &[&x, &zero], vec![]);
                }
                self.last(node, "Mul", &[x, scale.ok_or("no scale")?], vec![])
            }
            _ => {
                let outputs = self.outputs(node);
                let x = self.need(node, 0)?;
                let one = self.number(1.0)?;
                let zero = self.constant(&Value::Int(crate::Host::scalar(0)));
                let zero = zero.map_err(|error| error.to_string())?;
                for (value, output) in
                    [x, one, zero].iter().zip(&outputs).filter(|(_, name)| !name.is_empty())
                {
                    self.emit("Identity", &[value], &[output], vec![]);
                }
                Ok(())
            }
        }
    }

    fn centred(&mut self, node: &Node, n: usize, zero: usize) -> Result<String, String> {
        let value = self.cast_input(node, n, ValueType::Float)?;
        if self.input(node, zero).is_none() {
            return Ok(value);
        }
        let zero = self.cast_input(node, zero, ValueType::Float)?;
        Ok(self.put("Sub", &[&value, &zero], vec![]))
    }

    /// The shape of scales: one, or one for each element of an axis.
    fn along(&mut self, node: &Node, axis: i64) -> Result<String, String> {
        let scale = node.input(1);
        let stored = self.parts.stored.iter().find(|(slot, _)| Some(*slot) == scale);
        let dims = stored.map(|(_, stored)| match stored {
            Stored::Constant(value) => value.dims().to_vec(),
            Stored::Param(_, param) => param.dims().to_vec(),
        });
        let dims = dims.ok_or("scales that are no constants are not supported")?;
        let shape = match dims[..] {
            [length] if length > 1 => {
                let rank = self.rank(node.inputs[0]).ok_or("the number of axes of x is not known")?;
                let at = if axis < 0 { axis + rank as i64 } else { axis };
                (0..rank as i64).map(|n| if n == at { length as i64 } else { 1 }).collect()
            }
            _ => Vec::new(),
        };
        Ok(self.out.integers(&shape))
    }
}
