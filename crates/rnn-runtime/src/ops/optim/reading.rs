//! [`NormReading`]: the outcome of a norm on its way to the host.

use super::{GradNorm, NormSummary};
use crate::Device;
use rnn_base::error::Result;
#[cfg(feature = "gpu")]
use rnn_gpu::{PendingRead, Staging};

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
        /// Of [`numbers_of`].
        len: usize,
    },
}

impl NormOutcome {
    /// From the start of the control array and the norms.
    fn new(control: &[f32], norms: &[f32]) -> Self {
        NormOutcome { summary: NormSummary::new(control), norms: norms.to_vec() }
    }
}

/// Numbers of an outcome: four of the control array, then a norm for each gradient.
#[cfg(feature = "gpu")]
fn numbers_of(gradients: usize) -> usize {
    4 + gradients
}

/// Memory for the outcome of a norm: with it the reading starts without a request that may be refused.
pub struct NormMemory {
    #[cfg(feature = "gpu")]
    staging: Option<Staging>,
}

impl NormMemory {
    /// For the norm of so many gradients on this device.
    ///
    /// # Errors
    /// No memory, or a lost device.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU needs memory of its own"))]
    pub fn new(device: &Device, gradients: usize) -> Result<Self> {
        #[cfg(feature = "gpu")]
        let staging = match device {
            Device::Gpu(gpu) => Some(Staging::of_several(gpu, 4 * numbers_of(gradients))?),
            Device::Cpu(_) => None,
        };
        Ok(NormMemory {
            #[cfg(feature = "gpu")]
            staging,
        })
    }
}

impl GradNorm {
    /// Starts to read the outcome, and submits everything enqueued so far. Does not wait.
    ///
    /// # Errors
    /// A lost device, or no memory.
    pub fn start_read(&self) -> Result<NormReading> {
        self.start_read_into(NormMemory::new(self.control.device(), self.norms.len())?)
    }

    /// As [`GradNorm::start_read`], with memory for as many gradients on the same device.
    ///
    /// # Errors
    /// A lost device.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU needs memory of its own"))]
    pub fn start_read_into(&self, memory: NormMemory) -> Result<NormReading> {
        #[cfg(feature = "gpu")]
        if let Some(staging) = memory.staging {
            let len = numbers_of(self.norms.len());
            let sources = [(self.control.gpu(), 4 * 4), (self.norms.gpu(), 4 * self.norms.len())];
            return Ok(NormReading(State::Pending { read: staging.start(&sources), len }));
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
