//! Parameters of `shaders/rnn/*.wgsl`.

use super::params;

params! {
    /// `Options` in `lib/options.wgsl`
    #[derive(Default, PartialEq)]
    pub struct OptionsParams {
        /// H without padding.
        pub units: u32,
        /// P without padding.
        pub state_units: u32,
        /// Index of the pass's first direction.
        pub first_direction: u32,
        /// Element where the parameters per unit start.
        pub cell_params: u32,
        /// Number of parameters per unit.
        pub cell_planes: u32,
        /// Element where the initial state starts.
        pub initial: u32,
        /// Element where the first packed row of every step starts.
        pub offsets: u32,
        /// Element where the batch rows of a packed sequence start.
        pub rows: u32,
        /// Element where the resets start.
        pub keep: u32,
        /// Index of step 0 in random draws.
        pub first_step: u32,
        /// Index of the sequence in random draws.
        pub sequence: u32,
        /// Key of the first direction, first word.
        pub key0: u32,
        /// Key of the first direction, second word.
        pub key1: u32,
        /// Key of the second direction, first word.
        pub key2: u32,
        /// Key of the second direction, second word.
        pub key3: u32,
        /// Draws below this keep the old h (zoneout).
        pub zoneout_h_below: u32,
        /// Draws below this keep the old c (zoneout).
        pub zoneout_c_below: u32,
        /// Draws below this drop the candidate.
        pub candidate_below: u32,
        /// Draws below this drop h in the recurrent product.
        pub recurrent_below: u32,
        /// Zoneout rate of h.
        pub zoneout_h: f32,
        /// Zoneout rate of c.
        pub zoneout_c: f32,
        /// `1 / (1 - rate)` of the candidate.
        pub candidate_scale: f32,
        /// `1 / (1 - rate)` of h in the recurrent product.
        pub recurrent_scale: f32,
        /// Bound of the pre-activations' magnitude.
        pub clip: f32,
        /// Bound of c's magnitude.
        pub cell_clip: f32,
        /// Added to the variance in layer normalisation.
        pub epsilon: f32,
        /// Vector of four of the ring where the second product's operand starts.
        pub second: u32,
        /// Vector of four of the weights where the second matrix starts.
        pub second_weights: u32,
        /// Vector of four of the ring where the gradients of projected h start.
        pub third: u32,
        /// Vector of four of the ring where the recurrent products before normalisation start.
        pub raw: u32,
        /// Vector of four of the ring where the gradients of the normalised product start.
        pub norm: u32,
        /// Vector of four of the ring where c before its normalisation starts, or the sums for its gradient.
        pub fresh: u32,
        /// Element where the means and deviations of layer normalisation start.
        pub stats: u32,
        /// Wavefront lag in ticks: from one direction to the next, where directions are layers.
        pub lag: u32,
        /// First direction that runs backwards in time; no direction has the number `u32::MAX`.
        pub reversed_from: u32,
        /// Padding.
        pub pad0: u32,
    }

    /// `rnn/forward.wgsl`
    pub struct ForwardParams {
        /// The options of the layer.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, padded to a multiple of 4.
        pub hidden: u32,
        /// P, padded to a multiple of 4; H without a projection.
        pub state: u32,
        /// D
        pub directions: u32,
        /// First element of c0 of the layer.
        pub c0_offset: u32,
        /// Units from one turn of a workgroup to the next.
        pub stride: u32,
        /// Element of y where the first of these steps starts.
        pub y_offset: u32,
    }

    /// `rnn/backward.wgsl`
    pub struct BackwardParams {
        /// The options of the layer.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, padded to a multiple of 4.
        pub hidden: u32,
        /// P, padded to a multiple of 4; H without a projection.
        pub state: u32,
        /// D
        pub directions: u32,
        /// Groups of four units from one turn of a workgroup to the next.
        pub stride: u32,
    }

    /// `rnn/previous.wgsl`
    pub struct PreviousParams {
        /// The options of the layer.
        pub options: OptionsParams,
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// P, padded to a multiple of 4; H without a projection.
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Vectors of four of all steps.
        pub count: u32,
        /// First element of h0 of the layer.
        pub h0_offset: u32,
        /// 1 to write `[D, B, P]` of the first step.
        pub to_ring: u32,
        /// Padding.
        pub pad0: u32,
    }

    /// `rnn/norm_rows.wgsl` and `rnn/norm_rows_backward.wgsl`
    pub struct NormRowsParams {
        /// Rows of all directions.
        pub rows: u32,
        /// D
        pub directions: u32,
        /// Elements from row to row, with padding.
        pub width: u32,
        /// Elements of a row without padding.
        pub count: u32,
        /// 1 where there is a bias.
        pub has_bias: u32,
        /// Added to the variance.
        pub epsilon: f32,
    }

    /// `rnn/pack_recurrent.wgsl`
    pub struct PackRecurrentParams {
        /// Rows of a gate.
        pub units: u32,
        /// Rows of a gate, padded to a multiple of 4.
        pub padded_units: u32,
        /// Columns.
        pub columns: u32,
        /// Columns, padded to a multiple of 4.
        pub padded_columns: u32,
        /// G
        pub gates: u32,
        /// Vectors of four to write.
        pub count: u32,
        /// First vector of four of the result.
        pub out_offset: u32,
        /// First element of the source.
        pub source_offset: u32,
    }

    /// `rnn/pack_bias.wgsl`
    pub struct PackBiasParams {
        /// H
        pub hidden: u32,
        /// H, padded to a multiple of 4.
        pub padded: u32,
        /// G
        pub gates: u32,
        /// Index of the direction.
        pub direction: u32,
        /// 1 with linear before reset (GRU, MGU): b_hn of the last gate is stored apart.
        pub apart: u32,
        /// Number of parameters per unit, of which b_hn is the first.
        pub planes: u32,
    }

    /// `rnn/interleave.wgsl`
    pub struct InterleaveParams {
        /// H
        pub hidden: u32,
        /// H, padded to a multiple of 4.
        pub padded: u32,
        /// G
        pub gates: u32,
        /// Columns of PyTorch's matrix.
        pub columns: u32,
        /// Elements between rows of the interleaved matrix.
        pub stride: u32,
        /// First element of the interleaved matrix.
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
    /// `rnn/persistent_start.wgsl`
    pub struct PersistentStartParams {
        /// Elements of h0.
        pub initial: u32,
        /// Index of the sign of a failure.
        pub failure: u32,
    }

    /// `rnn/persistent_settle.wgsl`
    pub struct PersistentSettleParams {
        /// Index of the sign of a failure.
        pub failure: u32,
        /// Workgroups along x that restore the gates.
        pub restore_x: u32,
        /// Workgroups along y that restore the gates.
        pub restore_y: u32,
        /// Workgroups along z that restore the gates.
        pub restore_z: u32,
        /// Workgroups along x of the repeated recurrence.
        pub repeat_x: u32,
        /// Workgroups along y of the repeated recurrence.
        pub repeat_y: u32,
        /// Workgroups along z of the repeated recurrence.
        pub repeat_z: u32,
    }

    /// `rnn/persistent_restore.wgsl`
    pub struct PersistentRestoreParams {
        /// Words to copy.
        pub count: u32,
    }
}
