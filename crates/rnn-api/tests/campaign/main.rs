//! Hostile input: every reader of files gets mutated files, and the API gets random calls on both devices.
//!
//! ```sh
//! cargo test --test campaign                                       # some seconds of every target, the same inputs always
//! RNN_CAMPAIGN_SECONDS=3600 RNN_CAMPAIGN_SEED=7 cargo test --release --test campaign -- table    # an hour of one target
//! ```
//!
//! A target fails by a panic, by values that its checks refuse, by more than [`target::SLOW`] for one input, and by more
//! memory than [`memory::MOST`]. The input is then in `target/campaign/TARGET.failed`, after an abort in
//! `target/campaign/TARGET.current`. A corrected input goes to `corpus/TARGET/`, whose files run first.

#[path = "../../../rnn-runtime/tests/common/mod.rs"]
mod common;

mod calls;
mod files;
mod memory;
mod models;
mod mutate;
mod target;

use libtest_mimic::Arguments;

fn main() {
    common::set_up_software_driver();
    let arguments = Arguments::from_args();
    let mut trials: Vec<_> =
        files::targets().into_iter().chain(models::targets()).map(target::trial).collect();
    trials.extend(common::trials(common::device_test!(calls::random_calls_agree).gpu_only()));
    libtest_mimic::run(&arguments, trials).exit();
}
