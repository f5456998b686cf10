//! One recurrent layer over a whole sequence, forward and backward. `A` is an array of a backend; `W` holds
//! the layer's weights in the backend's own order.

use super::recurrence::{LayerDims, Noise, PackedSequence};
use rnn_kernels::cell::{PerParameter, StackSpec, Storage, WeightFormat};

/// Sizes of a call, by their letters.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// H
    pub h: usize,
    /// Features of h: P with a projection, else H
    pub p: usize,
    /// D
    pub d: usize,
    /// G
    pub g: usize,
    /// N: rows of all steps: T*B, or fewer of a packed sequence
    pub n: usize,
    /// Index of batch row 0 in random draws
    pub first_row: usize,
}

impl Dims {
    /// Elements of h of one layer, `[D, B, P]`.
    pub fn state(&self) -> usize {
        self.d * self.b * self.p
    }

    /// Elements of c of one layer, `[D, B, H]`.
    pub fn cells(&self) -> usize {
        self.d * self.b * self.h
    }

    /// The sizes of a layer whose input has `inputs` features.
    pub fn layer(&self, inputs: usize) -> LayerDims {
        let Dims { t, b, h, p, d, .. } = *self;
        LayerDims { steps: t, batch: b, inputs, hidden: h, state: p, directions: d }
    }

    /// The sizes of a pass over one direction of a packed sequence.
    pub fn of_ragged(&self, ragged: &PackedSequence) -> Dims {
        Dims { d: 1, n: ragged.len(), ..*self }
    }

    /// Shape of an array with one row per step and batch row: `[T, B, width]`, or `[N, width]` of a packed
    /// sequence.
    pub fn rows(&self, packed: bool, width: usize) -> Vec<usize> {
        if packed { vec![self.n, width] } else { vec![self.t, self.b, width] }
    }
}

/// The arguments that a layer's forward and backward pass share.
#[derive(Debug)]
pub struct LayerPass<'a, W> {
    /// Name of the op in errors.
    pub op: &'static str,
    /// The stack that the layer belongs to.
    pub spec: &'a StackSpec,
    /// Sizes of this pass: D is 1 where one direction runs alone.
    pub dims: Dims,
    /// Number of the layer.
    pub layer: usize,
    /// Features of the layer's input.
    pub inputs: usize,
    /// The layer's weights.
    pub weights: &'a W,
    /// The first direction of the pass.
    pub direction: usize,
    /// The packed sequence of ragged or interrupted rows; absent: all rows run through all steps.
    pub ragged: Option<&'a PackedSequence>,
    /// Random draws inside the recurrence.
    pub noise: Noise,
}

// `derive` would require `W: Copy`.
impl<W> Clone for LayerPass<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<W> Copy for LayerPass<'_, W> {}

impl<'a, W> LayerPass<'a, W> {
    /// The same pass with weights of another type.
    pub fn with_weights<V>(&self, weights: &'a V) -> LayerPass<'a, V> {
        let LayerPass { op, spec, dims, layer, inputs, direction, ragged, noise, .. } = *self;
        LayerPass { op, spec, dims, layer, inputs, weights, direction, ragged, noise }
    }

    /// Shape of an array with one row per step and batch row; see [`Dims::rows`].
    pub fn rows(&self, width: usize) -> Vec<usize> {
        self.dims.rows(self.ragged.is_some(), width)
    }
}

/// A state `[D, B, width]` of one pass: an array and the element where it starts.
#[derive(Clone, Debug)]
pub struct State<A> {
    /// The array that contains the state.
    pub array: A,
    /// First element.
    pub offset: usize,
}

impl<A> State<A> {
    /// A reference to it.
    pub fn as_ref(&self) -> State<&A> {
        State { array: &self.array, offset: self.offset }
    }

    /// The state in another array at the same offset.
    pub fn map<B>(self, of: impl FnOnce(A) -> B) -> State<B> {
        State { array: of(self.array), offset: self.offset }
    }
}

/// Arguments of a layer's forward pass.
#[derive(Debug)]
pub struct ForwardPass<'a, A, W> {
    /// The layer.
    pub pass: LayerPass<'a, W>,
    /// `[T, B, I of the layer]`
    pub x: &'a A,
    /// `[D, B, P]`
    pub h0: State<&'a A>,
    /// `[D, B, H]`; LSTM only
    pub c0: Option<State<&'a A>>,
    /// Keep the arrays that the backward pass needs.
    pub training: bool,
    /// Weights of an inference pass.
    pub format: WeightFormat,
    /// Storage format of the values of all steps in a training pass.
    pub storage: Storage,
}

impl<'a, A, W> ForwardPass<'a, A, W> {
    /// The same pass with the arrays and weights of a backend.
    pub fn on<B, V>(&self, weights: &'a V, of: impl Fn(&'a A) -> &'a B) -> ForwardPass<'a, B, V> {
        let state = |state: &State<&'a A>| State { array: of(state.array), offset: state.offset };
        ForwardPass {
            pass: self.pass.with_weights(weights),
            x: of(self.x),
            h0: state(&self.h0),
            c0: self.c0.as_ref().map(state),
            training: self.training,
            format: self.format,
            storage: self.storage,
        }
    }
}

/// Arrays that a layer keeps for its backward pass, in the order and with the padding of the backend; the
/// shapes given here are those of the CPU. Rows are `[T, B]`, or packed.
#[derive(Clone, Debug)]
pub struct SavedLayer<A> {
    /// `[T, B, I of the layer]`, after dropout
    pub x: A,
    /// `[T, B, D, G, H]`, between the passes f16 with [`Storage::HalfGates`]
    pub gates: A,
    /// `[T, B, D, H]`
    pub aux: Option<A>,
    /// `[T, B, D*P]`, f16 where the kernels store it so; then x and the gates are f16, too
    pub y: A,
    /// `[T, B, D, 4]`: means and deviations of layer normalisation, where the backend keeps them
    pub stats: Option<A>,
}

impl<A> SavedLayer<A> {
    /// The same with other arrays.
    pub fn map<B>(self, mut of: impl FnMut(A) -> B) -> SavedLayer<B> {
        let SavedLayer { x, gates, aux, y, stats } = self;
        SavedLayer { x: of(x), gates: of(gates), aux: aux.map(&mut of), y: of(y), stats: stats.map(&mut of) }
    }

    /// All arrays.
    pub fn arrays(&self) -> impl Iterator<Item = &A> {
        [&self.x, &self.gates, &self.y].into_iter().chain(&self.aux).chain(&self.stats)
    }
}

/// Results of a layer's forward pass.
#[derive(Debug)]
pub struct LayerRun<A> {
    /// Arrays for the backward pass; only after a training pass
    pub kept: Option<SavedLayer<A>>,
    /// `[T, B, D, width]`, or `[1, B, D, width]` in inference
    pub aux: Option<A>,
    /// `[T, B, D*P]`, f16 where it is stored so
    pub y: A,
    /// Units per row of aux: H, or more with padding.
    pub width: usize,
}

impl<A> LayerRun<A> {
    /// The same with other arrays.
    pub fn map<B>(self, mut of: impl FnMut(A) -> B) -> LayerRun<B> {
        let LayerRun { kept, aux, y, width } = self;
        LayerRun { kept: kept.map(|kept| kept.map(&mut of)), aux: aux.map(&mut of), y: of(y), width }
    }
}

/// Arguments of a layer's backward pass.
#[derive(Debug)]
pub struct BackwardPass<'a, A, W> {
    /// The layer.
    pub pass: LayerPass<'a, W>,
    /// Arrays that the forward pass kept; gradients overwrite the gates.
    pub kept: SavedLayer<A>,
    /// `[D, B, P]`
    pub h0: State<&'a A>,
    /// Whether h0 is zero because none was given.
    pub zero_h0: bool,
    /// `[D, B, H]`; LSTM only
    pub c0: Option<State<&'a A>>,
    /// `[T, B, D*P]`
    pub dy: &'a A,
    /// Cotangents of the final states: h `[D, B, P]`, then c (LSTM) or zeros `[D, B, H]`
    pub state: A,
    /// Whether to compute the gradient of x.
    pub want_dx: bool,
}

impl<'a, A, W> BackwardPass<'a, A, W> {
    /// The same pass with the arrays and weights of a backend.
    pub fn on<B, V>(
        self,
        weights: &'a V,
        of: impl Fn(&'a A) -> &'a B,
        mut into: impl FnMut(A) -> B,
    ) -> BackwardPass<'a, B, V> {
        BackwardPass {
            pass: self.pass.with_weights(weights),
            kept: self.kept.map(&mut into),
            h0: self.h0.map(&of),
            zero_h0: self.zero_h0,
            c0: self.c0.map(|c0| c0.map(&of)),
            dy: of(self.dy),
            state: into(self.state),
            want_dx: self.want_dx,
        }
    }
}

/// Results of a layer's backward pass.
#[derive(Debug)]
pub struct LayerGrads<A> {
    /// h `[D, B, P]`, then c `[D, B, H]`: gradients of h0 and (LSTM) c0
    pub state: A,
    /// `[T, B, I of the layer]`, if it was wanted
    pub dx: Option<A>,
    /// Per direction
    pub weights: Vec<PerParameter<A>>,
    /// The arrays of the forward pass, with gradients in place of the gates; of a cell that is linear before reset, aux
    /// holds the recurrent gradient of the last gate.
    pub kept: SavedLayer<A>,
}

impl<A> LayerGrads<A> {
    /// The same with other arrays.
    pub fn map<B>(self, mut of: impl FnMut(A) -> B) -> LayerGrads<B> {
        let LayerGrads { state, dx, weights, kept } = self;
        let weights = weights.into_iter().map(|cell| cell.map(&mut of)).collect();
        LayerGrads { state: of(state), dx: dx.map(&mut of), weights, kept: kept.map(of) }
    }
}
