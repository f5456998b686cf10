// Common parts of loss/gaussian_nll.wgsl and its backward: the cost (log v + z^2) / 2 with z = (x - t) / sqrt(v). s
// is v, or log v with LOG. Finite inputs never give NaN: z is 0 where x = t, even for a tiny v, and z is squared
// after the division.
// Defines: LOG, WEIGHTED, weight_of, deviation. Needs: lib/math.wgsl, and the kernel's weights and params.
// CPU twin: crates/rnn-cpu/src/loss.rs (deviation)

override LOG: bool;
override WEIGHTED: bool;

fn weight_of(i: u32) -> f32 {
    if WEIGHTED {
        return weights[i / params.cols];
    }
    return 1.0;
}

// (x - t) / sqrt(v)
fn deviation(x: f32, t: f32, s: f32) -> f32 {
    let d = x - t;
    if d == 0.0 && !is_nan(s) {
        return 0.0;
    }
    if LOG {
        return d * exp_(-0.5 * s);
    }
    return d / sqrt(s);
}
