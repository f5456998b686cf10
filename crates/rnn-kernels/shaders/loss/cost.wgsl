// The costs of a prediction x for the target t, and their derivatives with respect to x. The cost numbers are those
// of rnn_kernels::params::ElementwiseCost; constant is delta of the Huber cost and q of the quantile cost.
//   0 (x - t)^2   1 |x - t|   2 Huber   3 softplus(x) - t x (BCE with logits), see below   4 pinball
// Defines: COST, cost, slope. Needs: lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (with_cost, slope)

override COST: u32;

fn cost(x: f32, t: f32, constant: f32) -> f32 {
    let d = x - t;
    let size = abs(d);
    switch COST {
        case 0u: { return d * d; }
        case 1u: { return size; }
        // The parabola is not computed where it could overflow.
        case 2u: {
            if size <= constant {
                return 0.5 * d * d;
            }
            return constant * (size - 0.5 * constant);
        }
        // With softplus(x) = max(x, 0) + softplus(-|x|) the terms in x are one product, which is exactly 0 where a large
        // x is right.
        case 3u: { return fma(select(-t, 1.0 - t, x > 0.0), x, softplus(-abs(x))); }
        default: {
            if d < 0.0 {
                return -constant * d;
            }
            return (1.0 - constant) * d;
        }
    }
}

// `high` for d above `beyond`, `low` for d below -`beyond`, else d. NaN is passed on.
fn hold(d: f32, low: f32, high: f32, beyond: f32) -> f32 {
    return or_nan(select(select(d, low, d < -beyond), high, d > beyond), d);
}

fn slope(x: f32, t: f32, constant: f32) -> f32 {
    let d = x - t;
    switch COST {
        case 0u: { return 2.0 * d; }
        case 1u: { return hold(d, -1.0, 1.0, 0.0); }
        case 2u: { return hold(d, -constant, constant, constant); }
        // s(x) = 1 - s(-x): the form whose exponential is small, so that what a confident x lacks is not rounded away.
        case 3u: { return select(sigmoid(x) - t, (1.0 - t) - sigmoid(-x), x > 0.0); }
        default: { return hold(d, -constant, 1.0 - constant, 0.0); }
    }
}
