//! The public interface on every device. One program, because to link one and to open a device once takes less time than 14
//! times; a name selects a part of it: `cargo test --test devices -- options::`.

#[path = "../../../rnn-runtime/tests/common/mod.rs"]
mod common;
mod folder;
mod language;
mod reader;

mod attention;
mod autograd;
mod dl4j;
mod generate;
mod layers;
mod optim;
mod options;
mod pt_files;
mod pytorch;
mod recovery;
mod resume;
mod slots;
mod train;
mod trainer;

fn main() {
    if resume::ran_as_a_process_of_the_test() {
        return;
    }
    common::set_up_software_driver();
    // In this order: tests are started one after the other, and the longest should not be the last.
    let tests = [
        options::tests(),
        resume::tests(),
        optim::tests(),
        train::tests(),
        trainer::tests(),
        generate::tests(),
        pytorch::tests(),
        layers::tests(),
        slots::tests(),
        recovery::tests(),
        attention::tests(),
        autograd::tests(),
    ];
    let mut trials: Vec<_> = tests.into_iter().flatten().flat_map(common::trials).collect();
    trials.extend(dl4j::trials());
    trials.extend(pt_files::trials());
    common::run_trials(trials)
}
