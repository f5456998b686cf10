//! [`NormReading`]: the outcome of a norm on its way to the host.

use super::{GradNorm, NormSummary};
use rnn_base::error::Result;
#[cfg(feature = "gpu")]
use rnn_gpu::{GpuBuffer, PendingRead};

/// What the host learns of [`grad_norm`](super::grad_norm).
#[derive(Clone, Debug)]
pub struct NormOutcome {
    /// As [`GradNorm::read`] returns it.
    pub summary: NormSummary,
    /// The norm of every gradient.
    pub norms: Vec<f32>,
}

/// An outcome that may not have arrived yet.
#[derive(Debug)]
pub struct NormReading(State);

#[derive(Debug)]
enum State {
    Ready(NormOutcome),
    #[cfg(feature = "gpu")]
    Pending {
        read: PendingRead,
        /// Numbers: four of the control array, then the norms.
        len: usize,
    },
}

impl NormOutcome {
    /// From the start of the control array and the norms.
    fn new(control: &[f32], norms: &[f32]) -> Self {
        NormOutcome { summary: NormSummary::new(control), norms: norms.to_vec() }
    }
}

impl GradNorm {
    /// Starts to read the outcome, and submits everything enqueued so far. Does not wait.
    ///
    /// # Errors
    /// A lost device, or no memory.
    pub fn start_read(&self) -> Result<NormReading> {
        #[cfg(feature = "gpu")]
        if !self.control.device().is_cpu() {
            let len = 4 + self.norms.len();
            let sources = [(self.control.gpu(), 4 * 4), (self.norms.gpu(), 4 * self.norms.len())];
            return Ok(NormReading(State::Pending { read: GpuBuffer::start_reads(&sources)?, len }));
        }
        let outcome = NormOutcome::new(&self.control.to_vec()?, &self.norms.to_vec()?);
        Ok(NormReading(State::Ready(outcome)))
    }
}

impl NormReading {
    /// The outcome if it has arrived.
    ///
    /// # Errors
    /// A lost device.
    pub fn poll(&mut self) -> Result<Option<NormOutcome>> {
        self.look(false)
    }

    /// The outcome; waits for the device.
    ///
    /// # Errors
    /// A lost device; [`Error::Unsupported`](crate::Error::Unsupported) in a browser, where no thread may wait.
    pub fn wait(&mut self) -> Result<NormOutcome> {
        match self.look(true)? {
            Some(outcome) => Ok(outcome),
            None => unreachable!("the device has been waited for"),
        }
    }

    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "the CPU never waits"))]
    fn look(&mut self, patient: bool) -> Result<Option<NormOutcome>> {
        match &mut self.0 {
            State::Ready(outcome) => Ok(Some(outcome.clone())),
            #[cfg(feature = "gpu")]
            State::Pending { read, len } => {
                let mut values = vec![0.0f32; *len];
                if !read.look(bytemuck::cast_slice_mut(&mut values), patient)? {
                    return Ok(None);
                }
                let outcome = NormOutcome::new(&values[..4], &values[4..]);
                self.0 = State::Ready(outcome.clone());
                Ok(Some(outcome))
            }
        }
    }
}
