//! Parameters of `shaders/rnn/*.wgsl`.

use super::params;

params! {
    /// `rnn/forward.wgsl`
    pub struct ForwardParams {
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, a multiple of 4.
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Element of c0 where the layer starts.
        pub c0_offset: u32,
        /// Elements between steps of aux; 0 keeps the last step only.
        pub aux_step: u32,
        /// Steps of a dispatch.
        pub count: u32,
        /// Units between one turn of a workgroup and the next.
        pub stride: u32,
        /// Element of y where the first of these steps starts.
        pub y_offset: u32,
    }

    /// `rnn/backward.wgsl`
    pub struct BackwardParams {
        /// T
        pub steps: u32,
        /// B
        pub batch: u32,
        /// H, a multiple of 4.
        pub hidden: u32,
        /// D
        pub directions: u32,
        /// Element of the initial state where the layer starts.
        pub initial_offset: u32,
        /// Steps of a dispatch.
        pub count: u32,
        /// Groups of four units between one turn of a workgroup and the next.
        pub stride: u32,
    }

    /// `rnn/pack_recurrent.wgsl`
    pub struct PackRecurrentParams {
        /// H
        pub hidden: u32,
        /// H rounded up to a multiple of 4.
        pub padded: u32,
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
        /// H rounded up to a multiple of 4.
        pub padded: u32,
        /// G
        pub gates: u32,
        /// Which direction.
        pub direction: u32,
        /// 1 when the last gate's recurrent bias stays apart (GRU).
        pub apart: u32,
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
