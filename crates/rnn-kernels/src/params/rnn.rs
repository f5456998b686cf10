//! Parameters of `shaders/rnn/*.wgsl`.

use super::params;

params! {
    /// `rnn/step_forward.wgsl`
    pub struct StepForwardParams {
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Element of h0 and c0 where the layer starts.
        pub h0_offset: u32,
        /// Elements between steps of aux; 0 keeps the last step only.
        pub aux_step: u32,
    }

    /// `rnn/step_backward.wgsl`
    pub struct StepBackwardParams {
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Element of h0 and c0 where the layer starts.
        pub h0_offset: u32,
    }

    /// `rnn/pack_recurrent.wgsl`
    pub struct PackRecurrentParams {
        /// H
        pub hidden: u32,
        /// G
        pub gates: u32,
        /// Vectors of four to write.
        pub count: u32,
        /// Where they start, in vectors of four.
        pub out_offset: u32,
    }

    /// `rnn/pack_bias.wgsl`
    pub struct PackBiasParams {
        /// H
        pub hidden: u32,
        /// G
        pub gates: u32,
        /// Which direction.
        pub direction: u32,
        /// 1 when the last gate's recurrent bias stays apart (GRU).
        pub apart: u32,
    }
}
