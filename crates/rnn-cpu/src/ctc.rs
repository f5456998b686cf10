//! Twin of `loss/ctc_{alphas,posteriors,backward}.wgsl`. The recursions run in f64: they are short next to the
//! network before them.

use super::loss::scalar;
use super::{CpuBuffer, CpuDevice, math, split};
use rnn_base::args::loss::CtcArgs;
use rnn_base::error::Result;

/// The states of one sequence: blank where s is even, label (s - 1) / 2 where it is odd.
struct Target<'a> {
    args: &'a CtcArgs,
    row: usize,
    log_probs: &'a [f32],
    labels: &'a [u32],
    steps: usize,
}

impl<'a> Target<'a> {
    fn new(
        args: &'a CtcArgs,
        row: usize,
        log_probs: &'a CpuBuffer,
        labels: &'a CpuBuffer,
        sizes: &CpuBuffer,
    ) -> Self {
        let &[steps, count] = &sizes.as_u32()[2 * row..][..2] else { unreachable!("two numbers") };
        let labels = &labels.as_u32()[row * 2 * args.labels..][..count as usize];
        Target { args, row, log_probs, labels, steps: steps as usize }
    }

    fn states(&self) -> usize {
        2 * self.labels.len() + 1
    }

    fn class(&self, s: usize) -> u32 {
        if s.is_multiple_of(2) { self.args.blank } else { self.labels[s / 2] }
    }

    /// Whether a path may go from state s - 2 to s: over a blank between different labels.
    fn may_skip(&self, s: usize) -> bool {
        s > 2 && s % 2 == 1 && self.labels[s / 2] != self.labels[s / 2 - 1]
    }

    fn emission(&self, t: usize, s: usize) -> f64 {
        let frame = (t * self.args.batch + self.row) * self.args.classes;
        f64::from(self.log_probs[frame + self.class(s) as usize])
    }
}

/// `log(e^a + e^b)`
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a > b { (b, a) } else { (a, b) };
    if high == f64::NEG_INFINITY { low } else { high + (low - high).exp().ln_1p() }
}

/// The largest of some logarithms, for a shift: 0 where none is finite.
fn shift(values: &[f64]) -> f64 {
    let largest = values.iter().fold(f64::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest });
    if largest == f64::NEG_INFINITY { 0.0 } else { largest }
}

/// Returns the loss, the cost of every sequence and the forward variables, of which the largest of every step
/// is 1.
pub fn forward(
    dev: &CpuDevice,
    args: &CtcArgs,
    [log_probs, labels, sizes, weights]: [&CpuBuffer; 4],
) -> Result<[CpuBuffer; 3]> {
    let width = args.width();
    let mut alphas = dev.alloc(args.batch * args.steps * width)?;
    let mut costs = dev.alloc(args.batch)?;
    let (out, out_costs) = (alphas.make_mut()?, costs.make_mut()?);
    let (out, out_costs) = (&mut out[..args.batch * args.steps * width], &mut out_costs[..args.batch]);
    split::rows_with(out, args.steps * width, out_costs, |row, alphas, cost| {
        let target = Target::new(args, row, log_probs, labels, sizes);
        let states = target.states();
        let mut now = vec![f64::NEG_INFINITY; states];
        let mut before = now.clone();
        for t in 0..target.steps {
            for s in 0..states {
                // A path begins with the first blank or the first label.
                let mut value = if t == 0 && s < 2 { 0.0 } else { f64::NEG_INFINITY };
                if t > 0 {
                    value = before[s];
                    if s > 0 {
                        value = log_add(value, before[s - 1]);
                    }
                    if target.may_skip(s) {
                        value = log_add(value, before[s - 2]);
                    }
                }
                now[s] = value + target.emission(t, s);
            }
            let shift = shift(&now);
            for (out, &alpha) in alphas[t * width..].iter_mut().zip(&now) {
                *out = (alpha - shift) as f32;
            }
            std::mem::swap(&mut now, &mut before);
        }
        // A path ends with the last label or the last blank.
        let last = before[states - 1];
        let total = if states > 1 { log_add(last, before[states - 2]) } else { last };
        *cost = -total as f32;
    });
    let counted = |&(cost, _): &(&f32, &f32)| !(args.zero_infinity && *cost == f32::INFINITY);
    let pairs = costs[..args.batch].iter().zip(&weights[..args.batch]);
    let total = pairs.filter(counted).map(|(&cost, &weight)| f64::from(weight) * f64::from(cost)).sum();
    Ok([scalar(dev, total)?, costs, alphas])
}

/// Returns the gradient of the logits.
pub fn backward(
    dev: &CpuDevice,
    args: &CtcArgs,
    [log_probs, labels, sizes, weights]: [&CpuBuffer; 4],
    [alphas, costs, dloss]: [&CpuBuffer; 3],
) -> Result<CpuBuffer> {
    let &CtcArgs { batch, steps, classes, .. } = args;
    let width = args.width();
    let mut posteriors = dev.alloc(batch * steps * width)?;
    split::rows(&mut posteriors.make_mut()?[..batch * steps * width], steps * width, |row, out| {
        let target = Target::new(args, row, log_probs, labels, sizes);
        self::posteriors(&target, &alphas[row * steps * width..][..steps * width], out);
    });
    let mut dlogits = dev.alloc(steps * batch * classes)?;
    split::rows(&mut dlogits.make_mut()?[..steps * batch * classes], classes, |item, dlogits| {
        let (t, row) = (item / batch, item % batch);
        let target = Target::new(args, row, log_probs, labels, sizes);
        if t >= target.steps || costs[row] == f32::INFINITY {
            return dlogits.fill(0.0);
        }
        let scale = dloss[0] * weights[row];
        for (d, &log_p) in dlogits.iter_mut().zip(&log_probs[item * classes..]) {
            *d = scale * math::exp(log_p);
        }
        let posteriors = &posteriors[(row * steps + t) * width..];
        for (s, posterior) in posteriors[..target.states()].iter().enumerate() {
            dlogits[target.class(s) as usize] -= scale * posterior;
        }
    });
    Ok(dlogits)
}

/// The probability that the path of a sequence is in state s at step t, given the target.
fn posteriors(target: &Target<'_>, alphas: &[f32], out: &mut [f32]) {
    let (states, width) = (target.states(), target.args.width());
    let mut both = vec![0.0; states];
    // Endings after t times the emission at t.
    let mut now = vec![f64::NEG_INFINITY; states];
    let mut after = now.clone();
    for t in (0..target.steps).rev() {
        for s in 0..states {
            let mut value = if s + 2 >= states { 0.0 } else { f64::NEG_INFINITY };
            if t + 1 < target.steps {
                value = after[s];
                if s + 1 < states {
                    value = log_add(value, after[s + 1]);
                }
                if s + 2 < states && target.may_skip(s + 2) {
                    value = log_add(value, after[s + 2]);
                }
            }
            now[s] = value + target.emission(t, s);
            both[s] = f64::from(alphas[t * width + s]) + value;
        }
        let shift = shift(&both);
        both.iter_mut().for_each(|x| *x = (*x - shift).exp());
        let sum: f64 = both.iter().sum();
        for (out, share) in out[t * width..].iter_mut().zip(&both) {
            *out = if sum == 0.0 { 0.0 } else { (share / sum) as f32 };
        }
        std::mem::swap(&mut now, &mut after);
    }
}
