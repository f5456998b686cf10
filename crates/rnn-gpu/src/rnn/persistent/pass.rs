//! What the two passes of a persistent recurrence differ in.

use super::super::algorithm::Algorithm;
use super::super::plan::{Plan, Work};
use super::super::recurrence::{
    BackwardArrays, ForwardArrays, backward_work, forward_work, persistent_failure, run_backward, run_forward,
};
use super::super::tuning::PassKind;
use crate::encoder::Sizes;
use crate::{GpuBuffer, GpuDevice};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_base::{DType, words};
use rnn_kernels::catalogue::rnn::RecurrenceFormats;

/// A recurrence with its arrays.
pub(in super::super) enum PassArrays<'a> {
    Forward(&'a ForwardArrays<'a>),
    Backward(&'a BackwardArrays<'a>),
}

impl<'a> PassArrays<'a> {
    pub(super) fn kind(&self) -> PassKind {
        match self {
            PassArrays::Forward(_) => PassKind::Forward,
            PassArrays::Backward(_) => PassKind::Backward,
        }
    }

    pub(super) fn dims(&self) -> LayerDims {
        match self {
            PassArrays::Forward(args) => args.dims,
            PassArrays::Backward(args) => args.dims,
        }
    }

    /// Whether all of it runs at once, and all rows have the same length.
    pub(super) fn is_whole(&self) -> bool {
        let (setup, ticks) = match self {
            PassArrays::Forward(args) => (args.setup, &args.ticks),
            PassArrays::Backward(args) => (args.setup, &args.ticks),
        };
        !setup.constants.ragged && ticks.is_none()
    }

    pub(super) fn work(&self) -> Work {
        match self {
            PassArrays::Forward(args) => forward_work(args.dims.hidden, args.spec.gates(), args.setup.holds),
            PassArrays::Backward(args) => {
                backward_work(args.dims.hidden, args.spec.gates(), args.setup.holds)
            }
        }
    }

    /// Index of the sign of a failure in the ring.
    pub(super) fn failure(&self) -> usize {
        let spec = match self {
            PassArrays::Forward(args) => args.spec,
            PassArrays::Backward(args) => args.spec,
        };
        persistent_failure(self.kind(), self.dims(), spec.gates())
    }

    /// The ring of other plans, and the number of its elements with which the ring of a persistent plan starts: h0.
    pub(super) fn initial(&self) -> (&'a GpuBuffer, usize) {
        match self {
            PassArrays::Forward(ForwardArrays { dims, ring, .. }) => {
                (ring, dims.directions * dims.batch * dims.state)
            }
            PassArrays::Backward(args) => (args.ring, 0),
        }
    }

    /// The arrays that the recurrence both reads and writes, with their words. A repetition needs them as they were.
    pub(super) fn overwritten(&self) -> Vec<(&'a GpuBuffer, usize)> {
        let LayerDims { steps, batch, directions, hidden, .. } = self.dims();
        let of_step = |values: usize, dtype| words(steps * batch * directions * hidden * values, dtype);
        let dtype = |half: bool| if half { DType::F16 } else { DType::F32 };
        match self {
            // Inference only reads the gates.
            PassArrays::Forward(args) if !args.training => Vec::new(),
            PassArrays::Forward(args) => {
                let half = args.formats == RecurrenceFormats::Half;
                vec![(args.gates, of_step(args.spec.gates(), dtype(half)))]
            }
            PassArrays::Backward(args) => {
                let gates = of_step(args.spec.gates(), dtype(args.half));
                let mut all = vec![(args.gates, gates), (args.state, args.state.words())];
                // Its gradient replaces the recurrent product of the last gate.
                let aux = args.aux.filter(|_| args.spec.linear_before_reset());
                all.extend(aux.map(|aux| (aux, of_step(1, DType::F32))));
                all
            }
        }
    }

    /// Runs by a plan; a persistent one takes `ring`. With `sizes` the device decides whether it runs.
    pub(super) fn run(
        &self,
        gpu: &GpuDevice,
        plan: &Plan,
        ring: &GpuBuffer,
        sizes: Option<Sizes<'_>>,
    ) -> Result<()> {
        let is_persistent = plan.algorithm == Algorithm::Persistent;
        match *self {
            PassArrays::Forward(args) if is_persistent => {
                run_forward(gpu, &ForwardArrays { ring, ..args.clone() }, plan, sizes)
            }
            PassArrays::Backward(args) if is_persistent => {
                run_backward(gpu, &BackwardArrays { ring, ..args.clone() }, plan, sizes)
            }
            PassArrays::Forward(args) => run_forward(gpu, args, plan, sizes),
            PassArrays::Backward(args) => run_backward(gpu, args, plan, sizes),
        }
    }
}
