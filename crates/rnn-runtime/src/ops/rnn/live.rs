//! Packed weights as a stack that runs one row in real time on the CPU.

use super::packed::Packed;
use crate::array::Array;
use crate::device::on_device;
use rnn_base::error::{Error, Result};
use rnn_cpu::live::LiveStack;
use rnn_kernels::cell::{Direction, StackSpec, WeightFormat};

/// Why a stack with these weights cannot run as [`live_stack`].
pub fn live_problem(spec: &StackSpec, packed: &Packed) -> Option<&'static str> {
    if !packed.device.is_cpu() {
        return Some("only on the CPU: a GPU's step waits for its driver");
    }
    match spec.direction {
        Direction::Forward => {}
        Direction::Reverse => return Some("direction = Reverse: it starts at the end of the sequence"),
        Direction::Bidirectional => {
            return Some("bidirectional = true: the backward direction starts at the end of the sequence");
        }
    }
    if spec.cell.layer_norm {
        return Some("layer_norm = true: only cells with one product per step");
    }
    if !spec.cell.reset_after {
        return Some("reset_after = false: only cells with one product per step");
    }
    if spec.proj_size > 0 {
        return Some("proj_size above 0: only cells with one product per step");
    }
    None
}

/// A stack of layers for one row, in the zero state. It shares the packed weights, except those rounded for `format`.
///
/// # Errors
/// [`Error::Unsupported`] with what [`live_problem`] says; no memory.
pub fn live_stack(spec: &StackSpec, packed: &Packed, format: WeightFormat) -> Result<LiveStack> {
    let unsupported = |why: &str| Error::Unsupported {
        op: "live_stack",
        what: format!("a stack of {:?} layers in real time", spec.cell.kind),
        why: why.into(),
    };
    if let Some(why) = live_problem(spec, packed) {
        return Err(unsupported(why));
    }
    let bf16 = format == WeightFormat::Bf16;
    let stack = on_device!(
        &packed.device,
        Cpu(cpu) => LiveStack::new(cpu, packed.cpu(), spec.regularization, bf16)?,
        Gpu(_) => None,
    );
    stack.ok_or_else(|| unsupported("it runs in phases"))
}

/// The values of an f32 array on the CPU, in place; absent for any other.
pub fn host_values(array: &Array) -> Option<&[f32]> {
    (array.device().is_cpu() && array.dtype() == rnn_base::DType::F32).then(|| &array.cpu()[..array.len()])
}

/// [`host_values`] to be written. Memory that another handle shares is copied first.
///
/// # Errors
/// Another array than [`host_values`] takes, or no memory for the copy.
pub fn host_values_mut(array: &mut Array) -> Result<&mut [f32]> {
    let len = array.len();
    if host_values(array).is_none() {
        let got = format!("{} on {}", array.dtype(), array.device().name());
        return Err(Error::value("host_values_mut", "array", "f32 on the CPU", got));
    }
    Ok(&mut array.cpu_mut().make_mut()?[..len])
}
