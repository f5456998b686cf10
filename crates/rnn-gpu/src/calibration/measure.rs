//! The order of measurements, and what follows from them.

use super::meter::{BUDGET, FEW, Meter, NO_TIME, Probe, Run, TOO_SLOW, Task, Unusable};
use super::speed::Speed;
use rnn_base::error::Error;
use rnn_kernels::catalogue::calibration::{PRODUCT_ROWS, READ_BLOCK};

/// Workgroups that read.
pub(super) const READ_GROUPS: usize = 256;

/// Workgroups of dispatches that do nothing.
const CHAIN_GROUPS: usize = 8;

/// Most invocations that are run side by side.
pub(super) const MOST_LANES: usize = 1 << 18;

/// Most workgroups of a dispatch: of the smallest size.
pub(super) const MOST_GROUPS: u32 = (MOST_LANES / WORKGROUPS[0]) as u32;

/// Sizes of workgroups to compare. On a CPU eight invocations may be all that run at once.
pub(super) const WORKGROUPS: [usize; 4] = [8, 64, 256, 1024];

/// Sizes of workgroups whose barriers are measured.
pub(super) const BARRIERS: [usize; 2] = [64, 256];

/// The size of a workgroup where the size itself is not what is measured.
pub(super) const USUAL: usize = 256;

/// Most iterations of a loop, and most dispatches of a submit.
const MOST_ITERATIONS: u32 = 1 << 22;
const MOST_DISPATCHES: u32 = 1024;

/// Measures an adapter whose workgroups have at most `largest` invocations. The inner error says what was odd about the
/// times, twice.
///
/// # Errors
/// What the driver reports.
pub(super) fn measure(probe: &mut impl Probe, largest: usize) -> Result<Result<Speed, &'static str>, Error> {
    let mut meter = Meter::new(probe);
    let mut odd = "";
    // An attempt that fails early leaves time for another.
    for part in [0.7, 1.0] {
        meter.limit = part * BUDGET;
        match attempt(&mut meter, largest) {
            Ok(speed) => return Ok(Ok(speed)),
            Err(Unusable::Odd(TOO_SLOW)) => return Ok(Err(TOO_SLOW)),
            Err(Unusable::Odd(what)) => odd = what,
            Err(Unusable::Device(error)) => return Err(error),
        }
    }
    Ok(Err(odd))
}

fn attempt<P: Probe>(meter: &mut Meter<'_, P>, largest: usize) -> Result<Speed, Unusable> {
    let one = |task, workgroup, iterations| Run { task, workgroup, groups: 1, iterations, dispatches: 1 };
    // Several workgroups, so that cores have to be woken and waited for.
    let chain = |dispatches| Run { dispatches, groups: CHAIN_GROUPS, ..one(Task::Multiply, BARRIERS[0], 0) };
    let dispatch = meter.line(chain, MOST_DISPATCHES, 0.0)?.each;

    let (lanes, streamed) = lanes(meter, largest)?;
    // One workgroup of this size keeps a core busy.
    let multiply = meter.line(|n| one(Task::Multiply, lanes, n), MOST_ITERATIONS, 0.0)?;
    let fma = (lanes * PRODUCT_ROWS * 4) as f64 / multiply.each;
    // Weights from memory do not make a product much faster.
    if streamed > 4.0 * fma {
        return Err(Unusable::Odd(NO_TIME));
    }
    let alone = multiply.each * f64::from(multiply.units);
    let cores = cores(meter, alone, multiply.fixed, one(Task::Multiply, lanes, multiply.units))?;

    let mut barrier = [0.0; 2];
    for (seconds, workgroup) in barrier.iter_mut().zip(BARRIERS) {
        *seconds = meter.line(|n| one(Task::Barrier, workgroup, n), MOST_ITERATIONS, 0.0)?.each / 2.0;
    }
    let read = |n| Run { groups: READ_GROUPS, ..one(Task::Read, USUAL, n) };
    let bytes = (16 * READ_BLOCK * READ_GROUPS) as f64;
    // The first reads could take long: a part of them tells.
    let part = 1.0 / 32.0;
    let some = meter.best(Run { groups: (part * READ_GROUPS as f64) as usize, ..read(FEW) }, 0.0)?;
    let memory = bytes / meter.line(read, MOST_ITERATIONS, some / part)?.each;

    let speed = Speed { cores, lanes, fma, memory, barrier, dispatch }.rounded();
    match speed.is_plausible() {
        true => Ok(speed),
        false => Err(Unusable::Odd("no adapter has such rates")),
    }
}

/// Workgroups that run side by side: how much more work many of them do than one does in the same time. `run` is one
/// workgroup, which takes `alone` seconds besides the `fixed` ones of a submit.
fn cores<P: Probe>(meter: &mut Meter<'_, P>, alone: f64, fixed: f64, run: Run) -> Result<usize, Unusable> {
    let (mut most, mut groups, mut level) = (1.0, 2, 0);
    let mut expected = fixed + alone;
    // A ladder that has been level for two rungs is at its top.
    while groups * run.workgroup <= MOST_LANES && level < 2 {
        let seconds = meter.best(Run { groups, ..run }, expected)?;
        let rate = groups as f64 * alone / (seconds - fixed).max(1e-9);
        if rate < 0.6 * most {
            return Err(Unusable::Odd("more workgroups do less work"));
        }
        if rate > 2.0 * groups as f64 {
            return Err(Unusable::Odd(NO_TIME));
        }
        level = if rate < 1.15 * most { level + 1 } else { 0 };
        most = rate.max(most);
        groups *= 2;
        expected = 2.0 * seconds;
    }
    Ok(most.round() as usize)
}

/// The smallest workgroup that works almost as fast as the best size does, with weights from memory; and the rate of the
/// best.
fn lanes<P: Probe>(meter: &mut Meter<'_, P>, largest: usize) -> Result<(usize, f64), Unusable> {
    let mut rates = Vec::new();
    for workgroup in WORKGROUPS.into_iter().filter(|&size| size <= largest.max(USUAL)) {
        let run = |n| Run { task: Task::Stream, workgroup, groups: 1, iterations: n, dispatches: 1 };
        let each = meter.line(run, MOST_ITERATIONS, 0.0)?.each;
        rates.push((workgroup, (workgroup * PRODUCT_ROWS * 4) as f64 / each));
    }
    let best = rates.iter().map(|&(_, rate)| rate).fold(0.0, f64::max);
    let enough = rates.iter().find(|&&(_, rate)| rate >= 0.85 * best);
    Ok((enough.map_or(USUAL, |&(workgroup, _)| workgroup), best))
}
