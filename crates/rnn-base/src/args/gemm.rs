//! Matrix products, over the memory of either backend: `M` is the backend's view of a matrix's memory.

/// A strided matrix inside an array: element (r, c) of batch i is at
/// `offset + i * batch_stride + r * row_stride + c * col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Operand<M> {
    /// The array's memory.
    pub memory: M,
    /// First element.
    pub offset: usize,
    /// Elements between matrices of the batch.
    pub batch_stride: usize,
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub col_stride: usize,
}

impl<M> Operand<M> {
    /// The whole array as rows of `cols` contiguous elements.
    pub fn rows(memory: M, cols: usize) -> Self {
        Operand { memory, offset: 0, batch_stride: 0, row_stride: cols, col_stride: 1 }
    }

    /// The same matrix starting at another element.
    #[must_use]
    pub fn at(self, offset: usize) -> Self {
        Operand { offset, ..self }
    }

    /// The transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Operand { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `c[m, n] (+)= a[m, k] b[k, n] (+ bias[n])`, for every matrix of the batch.
#[derive(Clone, Copy, Debug)]
pub struct GemmArgs<M> {
    /// Matrices.
    pub batch: usize,
    /// Rows of a and c.
    pub m: usize,
    /// Columns of b and c.
    pub n: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// Left operand.
    pub a: Operand<M>,
    /// Right operand.
    pub b: Operand<M>,
    /// `[n]`, added to every row.
    pub bias: Option<M>,
    /// Add to c rather than overwrite it.
    pub accumulate: bool,
}

impl<M: Copy> Operand<M> {
    /// The same matrix in other memory.
    pub fn map<N>(&self, of: impl FnOnce(M) -> N) -> Operand<N> {
        let Operand { memory, offset, batch_stride, row_stride, col_stride } = *self;
        Operand { memory: of(memory), offset, batch_stride, row_stride, col_stride }
    }
}

impl<M: Copy> GemmArgs<M> {
    /// The same product over other memory.
    pub fn map<N>(&self, of: impl Fn(M) -> N) -> GemmArgs<N> {
        let GemmArgs { batch, m, n, k, accumulate, .. } = *self;
        let (a, b, bias) = (self.a.map(&of), self.b.map(&of), self.bias.map(&of));
        GemmArgs { batch, m, n, k, a, b, bias, accumulate }
    }
}

/// Destination of a product: from element `offset` on, rows are `ldc` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// First element.
    pub offset: usize,
    /// Elements between matrices of the batch.
    pub batch_stride: usize,
    /// Elements between rows.
    pub ldc: usize,
}

impl Output {
    /// A single matrix from the first element on.
    pub fn rows(ldc: usize) -> Self {
        Output { offset: 0, batch_stride: 0, ldc }
    }
}
