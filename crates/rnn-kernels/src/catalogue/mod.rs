//! Every kernel, by shader family.

pub mod calibration;
pub mod embed;
pub mod gemm;
pub mod loss;
pub mod optim;
pub mod pointwise;
pub mod reduce;
pub mod rnn;

use crate::kernel::Kernel;

/// Every kernel of the framework.
pub fn all() -> Vec<&'static Kernel> {
    let mut all = [pointwise::ALL, reduce::ALL, embed::ALL, loss::ALL, optim::ALL, calibration::ALL].concat();
    all.extend(gemm::all());
    all.extend(rnn::all());
    all
}
