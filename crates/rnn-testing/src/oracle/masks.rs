//! The dropout and zoneout of a training pass as explicit factors.

use rnn_kernels::cell::StackSpec;

/// Every factor that a training pass draws. An absent factor is not applied; zoneout without masks mixes by its
/// rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Masks {
    /// On the output of every layer but the last, scaled by 1/(1-p): L-1 of `[T, B, out]`
    pub between: Option<Vec<Vec<f64>>>,
    /// On the input of every layer, the same at all time steps: L of `[B, in]`
    pub input: Option<Vec<Vec<f64>>>,
    /// On the output of the last layer, the same at all time steps: `[B, out]`
    pub output: Option<Vec<f64>>,
    /// On h before the recurrent product, the same at all time steps: L*D of `[B, P]`
    pub recurrent: Option<Vec<Vec<f64>>>,
    /// On the candidate: L*D of `[T, B, H]`, by the direction's own steps
    pub candidate: Option<Vec<Vec<f64>>>,
    /// 1 where h keeps its old value, else 0: L*D of `[T, B, P]`, by the direction's own steps
    pub zoneout_h: Option<Vec<Vec<f64>>>,
    /// 1 where c keeps its old value, else 0: L*D of `[T, B, H]`, by the direction's own steps
    pub zoneout_c: Option<Vec<Vec<f64>>>,
}

impl Masks {
    /// # Panics
    /// A mask has the wrong length for T steps and B rows.
    #[track_caller]
    pub(super) fn check(&self, spec: &StackSpec, [t, b]: [usize; 2]) {
        let steps = t * b;
        let (h, p, out) = (spec.hidden_size, spec.state_size(), spec.output_size());
        let each = |masks: &Option<Vec<Vec<f64>>>, count: usize, len: usize, name: &str| {
            let fits = masks.as_ref().is_none_or(|m| m.len() == count && m.iter().all(|m| m.len() == len));
            assert!(fits, "oracle: {name} must be {count} masks of {len}");
        };
        each(&self.between, spec.num_layers - 1, steps * out, "masks between layers");
        each(&self.recurrent, spec.num_states(), b * p, "recurrent masks");
        each(&self.candidate, spec.num_states(), steps * h, "candidate masks");
        each(&self.zoneout_h, spec.num_states(), steps * p, "zoneout masks of h");
        each(&self.zoneout_c, spec.num_states(), steps * h, "zoneout masks of c");
        if let Some(masks) = &self.input {
            assert_eq!(masks.len(), spec.num_layers, "oracle: one input mask a layer");
            for (layer, mask) in masks.iter().enumerate() {
                assert_eq!(
                    mask.len(),
                    b * spec.layer_input_size(layer),
                    "oracle: input masks must be [B, in]"
                );
            }
        }
        let fits = self.output.as_ref().is_none_or(|mask| mask.len() == b * out);
        assert!(fits, "oracle: the output mask must be [B, out]");
    }
}
