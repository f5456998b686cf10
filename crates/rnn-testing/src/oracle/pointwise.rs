//! Pointwise functions and their derivatives.

/// A function of one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointwise {
    /// `e^x`
    Exp,
    /// Natural logarithm, for x > 0.
    Log,
    /// Square root, for x > 0 (its derivative is infinite at 0).
    Sqrt,
    /// `tanh x`
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `x / (1 + |x|)`
    Softsign,
    /// `max(x, 0)`, derivative 0 at 0 as in PyTorch.
    Relu,
    /// `log(1 + e^x)`
    Softplus,
}

impl Pointwise {
    /// Every function.
    pub const ALL: [Pointwise; 8] = [
        Pointwise::Exp,
        Pointwise::Log,
        Pointwise::Sqrt,
        Pointwise::Tanh,
        Pointwise::Sigmoid,
        Pointwise::Softsign,
        Pointwise::Relu,
        Pointwise::Softplus,
    ];

    /// Whether the function is defined for positive x only.
    pub const fn needs_positive(self) -> bool {
        matches!(self, Pointwise::Log | Pointwise::Sqrt)
    }

    /// f(x)
    pub fn value(self, x: f64) -> f64 {
        match self {
            Pointwise::Exp => x.exp(),
            Pointwise::Log => x.ln(),
            Pointwise::Sqrt => x.sqrt(),
            Pointwise::Tanh => x.tanh(),
            Pointwise::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Pointwise::Softsign => x / (1.0 + x.abs()),
            Pointwise::Relu => x.max(0.0),
            // The plain formula overflows for large x.
            Pointwise::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// f'(x), from the input.
    pub fn derivative(self, x: f64) -> f64 {
        match self {
            Pointwise::Exp => x.exp(),
            Pointwise::Log => 1.0 / x,
            Pointwise::Sqrt => 0.5 / x.sqrt(),
            Pointwise::Tanh => 1.0 - x.tanh().powi(2),
            Pointwise::Sigmoid => self.value(x) * self.value(-x),
            Pointwise::Softsign => (1.0 + x.abs()).powi(-2),
            Pointwise::Relu => f64::from(u8::from(x > 0.0)),
            Pointwise::Softplus => Pointwise::Sigmoid.value(x),
        }
    }

    /// f of every element.
    pub fn forward(self, x: &[f64]) -> Vec<f64> {
        x.iter().map(|&x| self.value(x)).collect()
    }

    /// `dx = dy f'(x)`, element by element.
    pub fn backward(self, x: &[f64], dy: &[f64]) -> Vec<f64> {
        x.iter().zip(dy).map(|(&x, dy)| dy * self.derivative(x)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{in_range, scaled, to_f64, uniform};
    use crate::gradcheck::{check_gradient, dot};

    #[test]
    fn gradients_match_central_differences() {
        for function in Pointwise::ALL {
            let x = if function.needs_positive() { in_range(1, 33, 0.05, 4.0) } else { scaled(2, 33, 4.0) };
            let (x, dy) = (to_f64(&x), to_f64(&uniform(3, 33)));
            let dx = function.backward(&x, &dy);
            check_gradient(&format!("{function:?}"), &x, &dx, |x| dot(&function.forward(x), &dy));
        }
    }

    #[test]
    fn known_values() {
        let ln2 = 2.0f64.ln();
        let at = [
            (Pointwise::Exp, ln2, 2.0),
            (Pointwise::Log, 2.0, ln2),
            (Pointwise::Sqrt, 9.0, 3.0),
            (Pointwise::Tanh, 0.5 * ln2, 1.0 / 3.0),
            (Pointwise::Sigmoid, ln2, 2.0 / 3.0),
            (Pointwise::Softsign, -3.0, -0.75),
            (Pointwise::Relu, -3.0, 0.0),
            (Pointwise::Softplus, 0.0, ln2),
        ];
        for (function, x, want) in at {
            assert!((function.value(x) - want).abs() < 1e-15, "{function:?}({x})");
        }
        assert_eq!(Pointwise::Softplus.value(1000.0), 1000.0);
        assert_eq!(Pointwise::Sigmoid.value(-1000.0), 0.0);
    }
}
