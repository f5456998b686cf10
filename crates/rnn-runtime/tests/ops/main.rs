//! Every op of `rnn_runtime::ops` but the recurrent stack, on every device,
//! against the f64 references of `rnn_testing`.

#[path = "../common/mod.rs"]
mod common;

mod copy;
mod ctc;
mod dropout;
mod embed;
mod gemm;
mod grad_norm;
#[cfg(feature = "gpu")]
mod grids;
mod helpers;
mod layer_norm;
mod loss;
mod non_finite;
mod optim;
mod pointwise;
mod reduce;
mod sequence_loss;
mod softmax;

fn main() {
    let mut tests = pointwise::tests();
    tests.extend(gemm::tests());
    tests.extend(copy::tests());
    tests.extend(reduce::tests());
    tests.extend(softmax::tests());
    tests.extend(layer_norm::tests());
    tests.extend(embed::tests());
    tests.extend(dropout::tests());
    tests.extend(loss::tests());
    tests.extend(sequence_loss::tests());
    tests.extend(ctc::tests());
    tests.extend(grad_norm::tests());
    tests.extend(optim::tests());
    tests.extend(non_finite::tests());
    #[cfg(feature = "gpu")]
    tests.extend(grids::tests());
    common::run_in_subgroups_of_eight(tests);
}
