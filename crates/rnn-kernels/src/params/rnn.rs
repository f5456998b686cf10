//! Parameters of `shaders/rnn/*.wgsl`.

use super::params;

params! {
    /// `Options` in `lib/options.wgsl`
    #[derive(Default, PartialEq)]
    pub struct OptionsParams {
        /// H as given, without padding.
        pub units: u32,
        /// P as given.
        pub state_units: u32,
        /// Number of the pass's first direction.
        pub first_direction: u32,
        /// Element where the parameters per unit start.
        pub cell_params: u32,
        /// Parameters per unit.
        pub cell_planes: u32,
        /// Element where the initial state starts.
        pub initial: u32,
        /// Element where the first rows of the steps start.
        pub offsets: u32,
        /// Element where the batch rows start.
        pub rows: u32,
        /// Element where the resets start.
        pub keep: u32,
        /// Number of step 0 in draws.
        pub first_step: u32,
        /// Number of the sequence in draws.
        pub sequence: u32,
        /// Key of the first direction.
        pub key0: u32,
        /// Its second word.
        pub key1: u32,
        /// Key of the second direction.
        pub key2: u32,
        /// Its second word.
        pub key3: u32,
        /// Draws below this keep h.
        pub zoneout_h_below: u32,
        /// Draws below this keep c.
        pub zoneout_c_below: u32,
        /// Draws below this drop the candidate.
        pub candidate_below: u32,
        /// Draws below this drop h in the product.
        pub recurrent_below: u32,
        /// Rate of h.
        pub zoneout_h: f32,
        /// Rate of c.
        pub zoneout_c: f32,
        /// `1 / (1 - rate)` of the candidate.
        pub candidate_scale: f32,
        /// The same of h in the product.
        pub recurrent_scale: f32,
        /// Bound of the pre-activations.
        pub clip: f32,
        /// Bound of c.
        pub cell_clip: f32,
        /// Added to the variance in layer normalisation.
        pub epsilon: f32,
        /// Vector of the ring where the second operand starts.
        pub second: u32,
        /// Vector of the weights where the second matrix starts.
        pub second_weights: u32,
        /// Vector of the ring where gradients of projected h start.
        pub third: u32,
        /// Vector of the ring where raw products start.
        pub raw: u32,
        /// Vector of the ring where gradients of the normalised product start.
        pub norm: u32,
        /// Vector of the ring where c before its normalisation starts, or what is summed for its gradient.
        pub fresh: u32,
        /// Element where means and deviations start.
        pub stats: u32,
        /// Ticks from one direction to the next where these are layers.
        pub lag: u32,
        /// Fills up.
        pub pad0: u32,
        /// Fills up.
        pub pad1: u32,
    }

    /// `rnn/forward.wgsl`
    pub struct ForwardParams {
        /// What options add.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, a multiple of 4.
        pub hidden: u32,
        /// P, a multiple of 4.
        pub state: u32,
        /// D
        pub directions: u32,
        /// Element of c0 where the layer starts.
        pub c0_offset: u32,
        /// Units between one turn of a workgroup and the next.
        pub stride: u32,
        /// Element of y where the first of these steps starts.
        pub y_offset: u32,
    }

    /// `rnn/backward.wgsl`
    pub struct BackwardParams {
        /// What options add.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, a multiple of 4.
        pub hidden: u32,
        /// P, a multiple of 4.
        pub state: u32,
        /// D
        pub directions: u32,
        /// Groups of four units between one turn of a workgroup and the next.
        pub stride: u32,
    }

    /// `rnn/previous.wgsl`
    pub struct PreviousParams {
        /// What options add.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// P, a multiple of 4.
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Vectors of four of all steps.
        pub count: u32,
        /// Element of h0 where the layer starts.
        pub h0_offset: u32,
        /// 1 to write `[D, B, P]` of the first step.
        pub to_ring: u32,
        /// Fills up.
        pub pad0: u32,
    }

    /// `rnn/norm_rows.wgsl` and `rnn/norm_rows_backward.wgsl`
    pub struct NormRowsParams {
        /// Rows of all directions.
        pub rows: u32,
        /// D
        pub directions: u32,
        /// Values from row to row.
        pub width: u32,
        /// Values of a row that count.
        pub count: u32,
        /// 1 where there is a bias.
        pub has_bias: u32,
        /// Added to the variance.
        pub epsilon: f32,
    }

    /// `rnn/pack_recurrent.wgsl`
    pub struct PackRecurrentParams {
        /// Units: rows of a gate.
        pub units: u32,
        /// Units rounded up to a multiple of 4.
        pub padded_units: u32,
        /// Columns.
        pub columns: u32,
        /// Columns rounded up to a multiple of 4.
        pub padded_columns: u32,
        /// G
        pub gates: u32,
        /// Vectors of four to write.
        pub count: u32,
        /// Where they start, in vectors of four.
        pub out_offset: u32,
        /// Element of the source where the first gate starts.
        pub source_offset: u32,
    }

    /// `rnn/pack_bias.wgsl`
    pub struct PackBiasParams {
        /// H
        pub hidden: u32,
        /// H rounded up to a multiple of 4.
        pub padded: u32,
        /// G
        pub gates: u32,
        /// Which direction.
        pub direction: u32,
        /// 1 when the last gate's recurrent bias stays apart (GRU).
        pub apart: u32,
        /// Parameters per unit, of which that bias is the first.
        pub planes: u32,
    }

    /// `rnn/interleave.wgsl`
    pub struct InterleaveParams {
        /// H
        pub hidden: u32,
        /// H rounded up to a multiple of 4.
        pub padded: u32,
        /// G
        pub gates: u32,
        /// Columns of PyTorch's matrix.
        pub columns: u32,
        /// Elements between rows of the other.
        pub stride: u32,
        /// Element of the other where it starts.
        pub offset: u32,
        /// Elements to write.
        pub count: u32,
    }

    /// `rnn/replace_last_gate.wgsl`
    pub struct ReplaceLastGateParams {
        /// Elements of aux.
        pub count: u32,
        /// G
        pub gates: u32,
    }
}
