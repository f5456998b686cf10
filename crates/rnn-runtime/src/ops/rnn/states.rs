//! The states that enter and leave a pass over a stack, and their gradients.

use super::sequences::Path;
use super::types::{StackCotangents, Wanted};
use crate::array::Array;
use crate::device::Device;
use crate::ops::copy::{copy_flat, copy_into, slice, stack};
use crate::ops::widen;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::layer::Dims;
use rnn_base::error::Result;
use rnn_kernels::cell::StackSpec;

const FORWARD: &str = "rnn::forward";
const BACKWARD: &str = "rnn::backward";

/// The initial states of a stack.
pub(super) struct Initial {
    /// [L*D, B, P]
    pub(super) h0: Array,
    /// [L*D, B, H]
    pub(super) c0: Option<Array>,
}

/// The final states of a stack, collected layer by layer.
#[derive(Default)]
pub(super) struct Finals {
    /// `[L*D, B, P]` and `[L*D, B, H]` under construction, or a list of one `[B, width]` per packed pass
    pub(super) h_n: Option<Array>,
    pub(super) c_n: Option<Array>,
    pub(super) of_paths: [Vec<Array>; 2],
}

impl Finals {
    pub(super) fn finish(self, spec: &StackSpec, dims: Dims) -> Result<(Array, Option<Array>)> {
        let [h, c] = self.of_paths;
        let together = |parts: Vec<Array>, width: usize| -> Result<Option<Array>> {
            if parts.is_empty() {
                return Ok(None);
            }
            let parts: Vec<&Array> = parts.iter().collect();
            stack(&parts, 0)?.reshape(&[spec.num_states(), dims.b, width]).map(Some)
        };
        let h_n = match self.h_n {
            Some(h_n) => Some(h_n),
            None => together(h, dims.p)?,
        };
        let Some(h_n) = h_n else { unreachable!("`pack` refuses a stack without layers") };
        let c_n = match self.c_n {
            Some(c_n) => Some(c_n),
            None => together(c, dims.h)?,
        };
        Ok((h_n, c_n))
    }
}

/// Copies each direction's last step of `[T, B, D, width]` (or, unless `all_steps`, of `[1, B, D, width]`) to
/// the states `[L*D, B, to]` of `layer`; the first layer allocates them. A single step of a single layer is
/// the state already.
pub(super) fn copy_final(
    spec: &StackSpec,
    dims: Dims,
    layer: usize,
    (steps, width): (&Array, usize),
    (to, all_steps): (usize, bool),
    states: &mut Option<Array>,
) -> Result<()> {
    let Dims { t, b, d, .. } = dims;
    let shape = [spec.num_states(), b, to];
    if spec.num_states() == 1 && width == to && (t == 1 || !all_steps) {
        *states = Some(widen(FORWARD, "y", steps)?.reshape(&shape)?);
        return Ok(());
    }
    if states.is_none() {
        *states = Some(Array::alloc(steps.device(), FORWARD, &shape)?);
    }
    let Some(states) = states else { unreachable!("allocated above") };
    for direction in 0..d {
        let time = if all_steps && !spec.direction.runs_backwards(direction) { t - 1 } else { 0 };
        copy_into(
            &StridedCopy {
                dims: vec![b, to],
                src_strides: vec![d * width, 1],
                src_offset: (time * b * d + direction) * width,
                dst_strides: vec![to, 1],
                dst_offset: (layer * d + direction) * b * to,
            },
            steps,
            states,
        )?;
    }
    Ok(())
}

/// Gradients of the initial states, collected layer by layer.
pub(super) struct StateGrads {
    /// [L*D, B, P]
    pub(super) dh0: Option<Array>,
    /// [L*D, B, H]
    pub(super) dc0: Option<Array>,
}

impl StateGrads {
    pub(super) fn new(spec: &StackSpec, dims: Dims, device: &Device, wanted: Wanted) -> Result<Self> {
        let state = |has: bool, width: usize| match has && wanted.states {
            true => Array::alloc(device, BACKWARD, &[spec.num_states(), dims.b, width]).map(Some),
            false => Ok(None),
        };
        Ok(StateGrads { dh0: state(true, dims.p)?, dc0: state(spec.cell.kind.has_cell_state(), dims.h)? })
    }

    /// Copies h `[D, B, P]`, followed by c `[D, B, H]`, to the states from index `first` on.
    pub(super) fn copy(&mut self, dims: Dims, state: &Array, first: usize) -> Result<()> {
        if let Some(dh0) = &mut self.dh0 {
            copy_flat(state, 0, dh0, first * dims.b * dims.p, dims.state())?;
        }
        match &mut self.dc0 {
            Some(dc0) => copy_flat(state, dims.state(), dc0, first * dims.b * dims.h, dims.cells()),
            None => Ok(()),
        }
    }

    /// [`StateGrads::copy`] for one direction in packed order.
    pub(super) fn copy_path(&mut self, dims: Dims, state: &Array, number: usize, path: &Path) -> Result<()> {
        let flat = state.reshape(&[state.len()])?;
        let part = |start: usize, end: usize| path.restore(BACKWARD, slice(&flat, 0, start, end)?);
        if let Some(dh0) = &mut self.dh0 {
            copy_flat(&part(0, dims.state())?, 0, dh0, number * dims.b * dims.p, dims.state())?;
        }
        match &mut self.dc0 {
            Some(dc0) => {
                let dc = part(dims.state(), dims.state() + dims.cells())?;
                copy_flat(&dc, 0, dc0, number * dims.b * dims.h, dims.cells())
            }
            None => Ok(()),
        }
    }
}

/// The cotangents of a layer's final states, or of one direction's in packed order: h `[D, B, P]`, then
/// c `[D, B, H]`. `dims` are those of the stack.
pub(super) fn final_cotangents(
    device: &Device,
    stack: Dims,
    layer: usize,
    cotangents: &StackCotangents<'_>,
    path: Option<(usize, &Path)>,
) -> Result<Array> {
    let dims = path.map_or(stack, |(_, path)| stack.of_ragged(&path.ragged));
    let first = layer * stack.d + path.map_or(0, |(d, _)| d);
    let mut state = Array::alloc_zeroed(device, BACKWARD, &[dims.state() + dims.cells()])?;
    let parts = [
        ("dh_n", cotangents.dh_n, dims.p, 0, dims.state()),
        ("dc_n", cotangents.dc_n, dims.h, dims.state(), dims.cells()),
    ];
    for (name, given, width, to, count) in parts {
        let Some(given) = given else { continue };
        let given = widen(BACKWARD, name, given)?;
        match path {
            None => copy_flat(&given, first * dims.b * width, &mut state, to, count)?,
            Some((_, path)) => {
                let own = path.order(BACKWARD, slice(&given, 0, first, first + 1)?)?;
                copy_flat(&own, 0, &mut state, to, count)?;
            }
        }
    }
    Ok(state)
}
