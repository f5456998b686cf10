//! The kernels of a layer as the planner chooses them for an adapter that is not opened: nothing runs, and optional
//! kernels count as working. `tools/isa` compiles these kernels for GPUs that the machine does not have.

use super::layer::projected_steps;
use super::options::{Setup, holds, padded};
use super::persistent::persistent_plan;
use super::plan::{Facts, OTHER_BYTES, Plan, Work};
use super::recurrence::{Target, backward_choice, backward_work, forward_choice, forward_work};
use super::tuning::PassKind;
use crate::Speed;
use crate::adapter::DeviceKind;
use crate::gemm::aligned_choice;
use rnn_base::args::recurrence::{LayerDims, Noise};
use rnn_base::error::Result;
use rnn_kernels::Kernel;
use rnn_kernels::catalogue::gemm::Formats;
use rnn_kernels::catalogue::rnn::RecurrenceFormats;
use rnn_kernels::cell::StackSpec;

/// The properties of an adapter that the planner depends on.
#[derive(Clone, Copy, Debug)]
pub struct AdapterFacts {
    /// Kind of hardware.
    pub kind: DeviceKind,
    /// Workgroup memory in bytes.
    pub workgroup_bytes: usize,
    /// Most invocations of a workgroup.
    pub largest_workgroup: usize,
    /// Lanes of a subgroup, where the number is fixed.
    pub subgroup_size: Option<u32>,
    /// Measured on the adapter; without it the planner takes what it assumes for the kind.
    pub speed: Option<Speed>,
    /// Whether step numbers travel as immediates.
    pub immediates: bool,
}

/// What a kernel does in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The recurrence in inference.
    Inference,
    /// The recurrence of a forward pass that keeps the gates.
    Forward,
    /// The recurrence of a forward pass by workgroups that wait for each other.
    Persistent,
    /// The same of a backward pass.
    PersistentBackward,
    /// The recurrence of the backward pass.
    Backward,
    /// The product of the input with its weights.
    InputProduct,
    /// The product that gives the gradient of the input.
    InputGradient,
    /// A product that gives the gradient of a weight matrix.
    WeightGradient,
}

/// A kernel with the constants of one pipeline.
#[derive(Clone, Debug)]
pub struct PlannedKernel {
    /// What it does in the layer.
    pub role: Role,
    /// The kernel in the catalogue.
    pub kernel: &'static Kernel,
    /// Values for [`Kernel::source`] and [`Kernel::overrides`].
    pub constants: Vec<(&'static str, f64)>,
}

/// The recurrences and products of a pass over the first layer of `spec`, `[T, B]` steps and rows: inference, forward
/// and backward. With `half` inference has its weights in f16, and training all arrays that may be. The stack has
/// neither a projection nor layer normalisation.
///
/// # Errors
/// None for such a stack; the options of the kernels are set up by the code that also checks ragged rows.
pub fn layer_kernels(
    adapter: &AdapterFacts,
    spec: &StackSpec,
    steps_rows: [usize; 2],
    half: bool,
) -> Result<Vec<PlannedKernel>> {
    let pass = Pass::new(adapter, spec, steps_rows)?;
    let (inference, training) = if half {
        (RecurrenceFormats::HalfWeights, RecurrenceFormats::Half)
    } else {
        (RecurrenceFormats::Single, RecurrenceFormats::Single)
    };
    let mut all = vec![
        pass.forward(Role::Inference, inference),
        pass.forward(Role::Forward, training),
        pass.backward(half),
    ];
    all.extend(pass.products(half));
    Ok(all)
}

/// The recurrences of a training step, forward and backward, by workgroups that wait for each other, where the adapter could
/// run them; otherwise as [`layer_kernels`], which leaves them out because they only run where they are asked for.
///
/// # Errors
/// As [`layer_kernels`].
pub fn persistent_kernels(
    adapter: &AdapterFacts,
    spec: &StackSpec,
    steps_rows: [usize; 2],
    half: bool,
) -> Result<Vec<PlannedKernel>> {
    let pass = Pass::new(adapter, spec, steps_rows)?;
    Ok([pass.persistent(half), pass.persistent_backward(half)].into_iter().flatten().collect())
}

/// A layer with what its plans depend on.
struct Pass<'a> {
    adapter: &'a AdapterFacts,
    facts: Facts,
    spec: &'a StackSpec,
    setup: Setup,
    /// H padded.
    dims: LayerDims,
}

impl<'a> Pass<'a> {
    fn new(adapter: &'a AdapterFacts, spec: &'a StackSpec, [steps, batch]: [usize; 2]) -> Result<Self> {
        // A device prefers subgroups to rows that stay in workgroup memory, see `GpuDevice::facts`.
        let held = match adapter.subgroup_size {
            Some(8) => 0,
            _ => adapter.workgroup_bytes.saturating_sub(OTHER_BYTES),
        };
        Ok(Pass {
            adapter,
            facts: Facts {
                subgroup_size: adapter.subgroup_size,
                held_bytes: held,
                keeps_weights: held > 0,
                workgroup_bytes: adapter.workgroup_bytes,
                largest_workgroup: adapter.largest_workgroup,
                speed: adapter.speed.unwrap_or_else(|| Speed::assumed(adapter.kind)),
            },
            spec,
            setup: Setup::new("layer_kernels", spec, 0, None, Noise::default())?,
            dims: LayerDims {
                steps,
                batch,
                inputs: padded(spec.input_size),
                hidden: padded(spec.hidden_size),
                state: padded(spec.state_size()),
                directions: spec.num_directions(),
            },
        })
    }

    fn plan(&self, dims: LayerDims, work: Work) -> Plan {
        self.facts.plan(dims, work, None)
    }

    fn forward(&self, role: Role, formats: RecurrenceFormats) -> PlannedKernel {
        let (cell, is_training) = (&self.spec.cell, role == Role::Forward);
        let steps = if is_training { self.dims.steps } else { self.piece() };
        let dims = LayerDims { steps, ..self.dims };
        let plan = self.plan(dims, forward_work(dims.hidden, cell.gates(), holds(self.spec)));
        let how = (formats, is_training);
        let (kernel, constants) = forward_choice(&plan, &self.setup, (cell, dims), how, self.target());
        PlannedKernel { role, kernel, constants }
    }

    fn persistent(&self, half: bool) -> Option<PlannedKernel> {
        let formats = if half { RecurrenceFormats::Half } else { RecurrenceFormats::Single };
        let (cell, dims) = (&self.spec.cell, self.dims);
        let work = forward_work(dims.hidden, cell.gates(), holds(self.spec));
        let plan = persistent_plan(&self.facts, self.adapter.kind, dims, work)?;
        let (kernel, constants) =
            forward_choice(&plan, &self.setup, (cell, dims), (formats, true), self.target());
        Some(PlannedKernel { role: Role::Persistent, kernel, constants })
    }

    fn persistent_backward(&self, half: bool) -> Option<PlannedKernel> {
        let (cell, dims) = (&self.spec.cell, self.dims);
        if dims.steps == 1 {
            return None;
        }
        let work = backward_work(dims.hidden, cell.gates(), holds(self.spec));
        let of_pass = PassKind::Backward.dims(dims);
        let plan = persistent_plan(&self.facts, self.adapter.kind, of_pass, work)?;
        let (kernel, constants) = backward_choice(&plan, &self.setup, (cell, dims), half, self.target());
        Some(PlannedKernel { role: Role::PersistentBackward, kernel, constants })
    }

    fn backward(&self, half: bool) -> PlannedKernel {
        let (cell, dims) = (&self.spec.cell, self.dims);
        let plan = self.plan(dims, backward_work(dims.hidden, cell.gates(), holds(self.spec)));
        let (kernel, constants) = backward_choice(&plan, &self.setup, (cell, dims), half, self.target());
        PlannedKernel { role: Role::Backward, kernel, constants }
    }

    fn target(&self) -> Target {
        let AdapterFacts { kind, immediates, workgroup_bytes, .. } = *self.adapter;
        Target { kind, immediates, workgroup_bytes }
    }

    /// Steps whose input an inference pass projects at a time.
    fn piece(&self) -> usize {
        projected_steps(self.spec, self.dims.steps, self.dims.batch)
    }

    /// The products of `layer.rs`, `backward.rs` and `weight_grads.rs`; a test compares them with those that run.
    fn products(&self, half: bool) -> Vec<PlannedKernel> {
        let LayerDims { steps, batch, inputs, hidden, state, directions } = self.dims;
        let (all, rows) = (steps * batch, hidden * self.spec.cell.gates());
        let (whole, sums) =
            if half { (Formats::Half, Formats::HalfOperands) } else { (Formats::Single, Formats::Single) };
        let bytes = u32::try_from(self.adapter.workgroup_bytes).unwrap_or(u32::MAX);
        let how = (self.adapter.subgroup_size == Some(8), bytes);
        let product = |role, sizes, along_k, formats| {
            let (kernel, constants) = aligned_choice(sizes, along_k, formats, how);
            PlannedKernel { role, kernel, constants }
        };
        let columns = directions * rows;
        vec![
            // Inference rounds weights to f16 and multiplies them in f32.
            product(Role::InputProduct, [self.piece() * batch, columns], [true, true], Formats::Single),
            product(Role::InputProduct, [all, columns], [true, true], whole),
            product(Role::InputGradient, [all, inputs], [true, false], sums),
            product(Role::WeightGradient, [rows, inputs], [false, false], sums),
            product(Role::WeightGradient, [rows, state], [false, false], sums),
        ]
    }
}
