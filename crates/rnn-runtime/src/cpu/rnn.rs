//! The recurrence of one layer, both directions, over all steps. Twin of `shaders/rnn/`.
//!
//! Rows of the batch are independent for the whole sequence, so threads split the batch (and the
//! directions) and never meet: no barrier inside the time loop. Within a step, a register tile of
//! batch rows by unit vectors runs over the packed recurrent weights, and the cell's pointwise part
//! starts from the accumulators. Rows are summed in the same order whatever the split, so the bits
//! do not depend on the number of threads.

use super::barrier::Barrier;
use super::cells::{Cell, Element, Gru, Lstm, Rnn};
use super::simd::{self, Isa, Kernel, Simd};
use super::team;
use rnn_kernels::cell::{CellKind, CellSpec};

/// Vectors that a panel of packed weights is wide, for cells with G gates: whole units, at most 4.
const fn panel_vectors(gates: usize) -> usize {
    if gates == 3 { 3 } else { 4 }
}

/// Recurrent weights `[K, N]` in panels `[panel][k][vector][lane]`, padded with zeros.
pub(crate) struct Panels {
    data: Vec<f32>,
    isa: Isa,
}

impl Panels {
    /// U of one direction, `[G*H, H]`, for the product `h U^T`: a panel holds all gates of a group
    /// of units, so that the cell finds its pre-activations in one set of accumulators.
    pub(crate) fn forward(spec: &CellSpec, u: &[f32], hidden: usize) -> Self {
        let gates = spec.kind.gates();
        let isa = simd::isa();
        let lanes = simd::lanes(isa);
        let vectors = panel_vectors(gates);
        let units = vectors / gates * lanes; // units per panel
        let panels = hidden.div_ceil(units);
        let mut data = vec![0.0; panels * hidden * vectors * lanes];
        for (unit, gate) in (0..hidden).flat_map(|unit| (0..gates).map(move |gate| (unit, gate))) {
            let (panel, in_panel) = (unit / units, unit % units);
            let vector = in_panel / lanes * gates + gate;
            let at = panel * hidden * vectors * lanes + vector * lanes + in_panel % lanes;
            let row = &u[(gate * hidden + unit) * hidden..][..hidden];
            for (k, &weight) in row.iter().enumerate() {
                data[at + k * vectors * lanes] = weight;
            }
        }
        Panels { data, isa }
    }

    /// The same U for the product `dgates U` of the backward recurrence.
    pub(crate) fn backward(u: &[f32], gate_rows: usize, hidden: usize) -> Self {
        let isa = simd::isa();
        let width = 4 * simd::lanes(isa);
        let panels = hidden.div_ceil(width);
        let mut data = vec![0.0; panels * gate_rows * width];
        for panel in 0..panels {
            let first = panel * width;
            let used = width.min(hidden - first);
            for k in 0..gate_rows {
                let at = (panel * gate_rows + k) * width;
                data[at..at + used].copy_from_slice(&u[k * hidden + first..][..used]);
            }
        }
        Panels { data, isa }
    }
}

/// Sizes of one layer's recurrence.
#[derive(Clone, Copy)]
pub(crate) struct LayerDims {
    /// T
    pub(crate) steps: usize,
    /// B
    pub(crate) batch: usize,
    /// H
    pub(crate) hidden: usize,
    /// D
    pub(crate) directions: usize,
}

impl LayerDims {
    /// The step that direction `d` visits as its `s`th.
    fn time(&self, d: usize, s: usize) -> usize {
        if d == 0 { s } else { self.steps - 1 - s }
    }
}

/// Arrays of the forward recurrence.
pub(crate) struct Forward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// Per direction.
    pub(crate) panels: &'a [Panels],
    /// [D, H] or empty
    pub(crate) params: &'a [f32],
    /// [T, B, D, G, H]: input projection; activated gates afterwards when training
    pub(crate) gates: &'a mut [f32],
    /// [T, B, D, H] when training, else [B, D, H]; empty for cells without
    pub(crate) aux: &'a mut [f32],
    /// [T, B, D, H]
    pub(crate) y: &'a mut [f32],
    /// [D, B, H]
    pub(crate) h0: &'a [f32],
    /// [D, B, H] or empty
    pub(crate) c0: &'a [f32],
    pub(crate) training: bool,
}

/// Arrays of the backward recurrence.
pub(crate) struct Backward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// Per direction.
    pub(crate) panels: &'a [Panels],
    /// [T, B, D, G, H]: activated gates; gradients of the pre-activations afterwards
    pub(crate) gates: &'a mut [f32],
    /// [T, B, D, H]: cell state (LSTM); `U_n h + b_hn`, afterwards its gradient (GRU)
    pub(crate) aux: &'a mut [f32],
    /// [T, B, D, H]
    pub(crate) y: &'a [f32],
    /// [T, B, D, H]
    pub(crate) dy: &'a [f32],
    /// [D, B, H]
    pub(crate) h0: &'a [f32],
    /// [D, B, H] or empty
    pub(crate) c0: &'a [f32],
    /// [D, B, H]: cotangent of h_n; gradient of h0 afterwards
    pub(crate) dh: &'a mut [f32],
    /// [D, B, H]: cotangent of c_n (LSTM) or zeros (GRU); gradient of c0 afterwards (LSTM)
    pub(crate) carry: &'a mut [f32],
}

/// Floating-point operations of a pass below which a second thread does not pay.
const SPLIT_FLOOR: usize = 200_000;

/// Floating-point operations of a step from which sharing one step among threads pays for the
/// barrier after it, about a third of a microsecond.
const SHARED_STEP_FLOOR: usize = 400_000;

/// Bytes of recurrent weights that stay in a core's second-level cache beside everything else.
const PRIVATE_WEIGHTS: usize = 512 << 10;

/// What one thread does in every step.
#[derive(Clone, Copy)]
struct Task {
    /// Direction
    d: usize,
    /// Rows of the batch.
    rows: (usize, usize),
    /// Share of the unit panels: this one of so many.
    share: (usize, usize),
}

/// Splits a pass among threads. Rows of the batch and directions are independent for the whole
/// sequence and need no barrier. Units are not: every step needs all of the step before. Sharing
/// them pays when there are too few rows, or when all of U would stream through every core's cache
/// while a share of it stays there.
fn tasks(dims: LayerDims, gates: usize, threads: usize) -> Vec<Task> {
    let LayerDims { steps, batch, hidden, directions } = dims;
    let step = 2 * batch * gates * hidden * hidden;
    let parts = if steps * step < SPLIT_FLOOR { 1 } else { threads.div_ceil(directions) };
    let few_rows = batch < 3 * parts;
    let streams = 4 * gates * hidden * hidden > PRIVATE_WEIGHTS;
    let share_units = parts > 1 && (few_rows || streams) && step >= SHARED_STEP_FLOOR;
    let row_parts = if share_units { 1 } else { parts.min(batch.div_ceil(3)) };
    let shares = if share_units { parts } else { 1 };
    let mut tasks = Vec::new();
    for d in 0..directions {
        for part in 0..row_parts {
            let rows = (part * batch / row_parts, (part + 1) * batch / row_parts);
            tasks.extend((0..shares).map(|share| Task { d, rows, share: (share, shares) }));
        }
    }
    tasks
}

/// Runs all tasks. Tasks that share the units of a direction meet at a barrier after every step, so
/// each has a thread of its own, which a pool would not promise.
fn run_tasks(tasks: &[Task], directions: usize, work: impl Fn(Task, Option<&Barrier>) + Sync) {
    match tasks {
        [only] => work(*only, None),
        [first, ..] if first.share.1 > 1 => {
            let barriers: Vec<Barrier> = (0..directions).map(|_| Barrier::new(first.share.1)).collect();
            std::thread::scope(|scope| {
                for &task in &tasks[1..] {
                    let (work, barrier) = (&work, &barriers[task.d]);
                    scope.spawn(move || work(task, Some(barrier)));
                }
                work(*first, Some(&barriers[first.d]));
            });
        }
        _ => team::each(tasks.len(), |n| work(tasks[n], None)),
    }
}

/// Pointers of a pass; tasks touch disjoint (direction, row) parts.
#[derive(Clone, Copy)]
struct Pointers {
    gates: *mut f32,
    aux: *mut f32,
    y: *mut f32,
    dy: *const f32,
    h0: *const f32,
    c0: *const f32,
    dh: *mut f32,
    carry: *mut f32,
    params: *const f32,
    aux_step: usize,
}

// SAFETY: every task works on its own (direction, rows) of every array; see `tasks`.
unsafe impl Send for Pointers {}
// SAFETY: as above.
unsafe impl Sync for Pointers {}

/// Runs the forward recurrence on up to `threads` threads.
pub(crate) fn forward(threads: usize, args: Forward<'_>) {
    let LayerDims { steps, batch, hidden, directions } = args.dims;
    let kind = args.spec.kind;
    let cells = batch * directions * hidden;
    let aux_rows = if args.training { steps } else { 1 };
    assert!(args.gates.len() >= steps * cells * kind.gates() && args.y.len() >= steps * cells);
    assert!(!kind.has_aux() || args.aux.len() >= aux_rows * cells);
    assert!(args.h0.len() >= cells && (!kind.has_cell_state() || args.c0.len() >= cells));
    assert!(kind != CellKind::Gru || args.params.len() >= directions * hidden);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_mut_ptr(),
        dy: std::ptr::null(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        dh: std::ptr::null_mut(),
        carry: std::ptr::null_mut(),
        params: args.params.as_ptr(),
        aux_step: if args.training { cells } else { 0 },
    };
    let tasks = tasks(args.dims, kind.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { dims: args.dims, task, barrier, pointers };
        let panels = &args.panels[task.d];
        let training = args.training;
        match kind {
            CellKind::Lstm => {
                let cell = Lstm::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 4> { part, cell, panels, training });
            }
            CellKind::Gru => {
                let cell = Gru::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 3> { part, cell, panels, training });
            }
            CellKind::Rnn => {
                let cell = Rnn::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 4> { part, cell, panels, training });
            }
        }
    });
}

/// Runs the backward recurrence on up to `threads` threads.
pub(crate) fn backward(threads: usize, args: Backward<'_>) {
    let LayerDims { steps, batch, hidden, directions } = args.dims;
    let kind = args.spec.kind;
    let cells = batch * directions * hidden;
    assert!(args.gates.len() >= steps * cells * kind.gates());
    assert!(args.y.len() >= steps * cells && args.dy.len() >= steps * cells);
    assert!(!kind.has_aux() || args.aux.len() >= steps * cells);
    assert!(args.h0.len() >= cells && args.dh.len() >= cells && args.carry.len() >= cells);
    assert!(!kind.has_cell_state() || args.c0.len() >= cells);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_ptr().cast_mut(),
        dy: args.dy.as_ptr(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        dh: args.dh.as_mut_ptr(),
        carry: args.carry.as_mut_ptr(),
        params: std::ptr::null(),
        aux_step: cells,
    };
    let tasks = tasks(args.dims, kind.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { dims: args.dims, task, barrier, pointers };
        let panels = &args.panels[task.d];
        match kind {
            CellKind::Lstm => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Lstm::new(args.spec), panels });
            }
            CellKind::Gru => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Gru::new(args.spec), panels });
            }
            CellKind::Rnn => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Rnn::new(args.spec), panels });
            }
        }
    });
}

/// What a task works on.
#[derive(Clone, Copy)]
struct Part<'a> {
    dims: LayerDims,
    task: Task,
    barrier: Option<&'a Barrier>,
    pointers: Pointers,
}

/// Where the rows of a product start, and how far apart they are.
#[derive(Clone, Copy)]
struct Rows {
    start: *const f32,
    stride: usize,
}

impl Part<'_> {
    /// This task's units out of panels of `width`.
    #[inline(always)]
    fn units(&self, width: usize) -> (usize, usize) {
        let panels = self.dims.hidden.div_ceil(width);
        let (share, shares) = self.task.share;
        let end = (share + 1) * panels / shares * width;
        (share * panels / shares * width, end.min(self.dims.hidden))
    }

    /// Waits for the other tasks of the direction, if there are any.
    #[inline(always)]
    fn finish_step(&self) {
        if let Some(barrier) = self.barrier {
            barrier.wait();
        }
    }

    /// h before step `s`, from row `b` on.
    #[inline(always)]
    unsafe fn h_prev(&self, s: usize, b: usize) -> Rows {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        // SAFETY: offsets within [D, B, H] and [T, B, D, H].
        unsafe {
            if s == 0 {
                Rows { start: self.pointers.h0.add((self.task.d * batch + b) * hidden), stride: hidden }
            } else {
                let row = self.dims.time(self.task.d, s - 1) * batch + b;
                Rows {
                    start: self.pointers.y.add((row * directions + self.task.d) * hidden),
                    stride: directions * hidden,
                }
            }
        }
    }

    /// The element of row `b`, unit `j` at step `s`; `h` are the rows of [`Part::h_prev`] from `b`.
    #[inline(always)]
    unsafe fn element<C: Cell>(&self, s: usize, b: usize, j: usize, lanes: usize, h: Rows) -> Element {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        let p = &self.pointers;
        // SAFETY: offsets within the arrays whose sizes `forward` and `backward` checked.
        unsafe {
            let in_step = (b * directions + self.task.d) * hidden + j;
            let time = self.dims.time(self.task.d, s);
            let row = (time * batch + b) * directions + self.task.d;
            let aux_prev = if s == 0 {
                p.c0.wrapping_add((self.task.d * batch + b) * hidden + j)
            } else {
                p.aux.wrapping_add(self.dims.time(self.task.d, s - 1) * p.aux_step + in_step)
            };
            Element {
                lanes,
                hidden,
                gates: p.gates.add(row * C::GATES * hidden + j),
                aux: p.aux.wrapping_add(time * p.aux_step + in_step),
                aux_prev,
                h_prev: h.start.add(j),
                params: p.params.wrapping_add(self.task.d * hidden + j),
            }
        }
    }
}

/// `acc[r][v] += sum over k of rows[r][k] * panel[k][v]`
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: Rows,
    panel: *const f32,
    depth: usize,
) {
    // SAFETY: R rows of `depth` floats, and a panel of `depth * NV` vectors.
    unsafe {
        for k in 0..depth {
            let weights = panel.add(k * NV * S::LANES);
            let mut w = [S::splat(0.0); NV];
            for v in 0..NV {
                w[v] = S::load(weights.add(v * S::LANES));
            }
            for r in 0..R {
                let x = S::splat(*rows.start.add(r * rows.stride + k));
                for v in 0..NV {
                    acc[r][v] = S::fma(x, w[v], acc[r][v]);
                }
            }
        }
    }
}

/// Cuts `rows` into blocks of nearly equal size, none above `most`, and calls the block form for
/// each: `$call!(R, first row)`.
macro_rules! for_row_blocks {
    ($rows:expr, $most:expr, |$b:ident| $block:ident::<$($generic:ty),*>($self:ident, $($arg:expr),*)) => {
        let blocks = usize::div_ceil($rows, $most);
        let (mut $b, mut left) = (0, blocks);
        while left > 0 {
            let size = usize::div_ceil($rows - $b, left);
            match size {
                1 => $self.$block::<$($generic,)* 1>($($arg),*),
                2 => $self.$block::<$($generic,)* 2>($($arg),*),
                3 => $self.$block::<$($generic,)* 3>($($arg),*),
                4 => $self.$block::<$($generic,)* 4>($($arg),*),
                5 => $self.$block::<$($generic,)* 5>($($arg),*),
                _ => $self.$block::<$($generic,)* 6>($($arg),*),
            }
            $b += size;
            left -= 1;
        }
    };
}

struct ForwardPart<'a, C, const NV: usize> {
    part: Part<'a>,
    cell: C,
    panels: &'a Panels,
    training: bool,
}

impl<C: Cell, const NV: usize> Kernel for ForwardPart<'_, C, NV> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, .. } = self.part.dims;
        let units = NV / C::GATES * S::LANES;
        let rows = self.part.task.rows.1 - self.part.task.rows.0;
        // Six rows of four vectors fill 24 of 32 registers, three rows 12 of 16.
        let most = if S::WIDE { 6 } else { 3 };
        let (first, end) = self.part.units(units);
        for s in 0..steps {
            for unit in (first..end).step_by(units) {
                // SAFETY: blocks stay within the part's rows; panels are as long as packed.
                unsafe {
                    for_row_blocks!(rows, most, |b| block::<S>(self, s, self.part.task.rows.0 + b, unit));
                }
            }
            self.part.finish_step();
        }
    }
}

impl<C: Cell, const NV: usize> ForwardPart<'_, C, NV> {
    /// R rows from `b` by the units of one panel, at step `s`.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: usize, b: usize, unit: usize) {
        let LayerDims { batch, hidden, directions, .. } = self.part.dims;
        let units = NV / C::GATES * S::LANES;
        // SAFETY: see `run`.
        unsafe {
            let h = self.part.h_prev(s, b);
            let panel = self.panels.data.as_ptr().add(unit / units * hidden * NV * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            multiply::<S, R, NV>(&mut acc, h, panel, hidden);
            for r in 0..R {
                for group in 0..NV / C::GATES {
                    let j = unit + group * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let lanes = S::LANES.min(hidden - j);
                    let h = Rows { start: h.start.add(r * h.stride), ..h };
                    let at = self.part.element::<C>(s, b + r, j, lanes, h);
                    let first = group * C::GATES;
                    let product = &acc[r][first..first + C::GATES];
                    let y = self.cell.forward::<S>(product, &at, self.training);
                    let row = self.part.dims.time(self.part.task.d, s) * batch + b + r;
                    let out = (row * directions + self.part.task.d) * hidden + j;
                    at.store::<S>(self.part.pointers.y.add(out), y);
                }
            }
        }
    }
}

struct BackwardPart<'a, C> {
    part: Part<'a>,
    cell: C,
    panels: &'a Panels,
}

impl<C: Cell> Kernel for BackwardPart<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, .. } = self.part.dims;
        let rows = self.part.task.rows.1 - self.part.task.rows.0;
        let most = if S::WIDE { 6 } else { 3 };
        // Step s needs all of the later step's gradient; after step 0 one more product gives dh0.
        let (first, end) = self.part.units(4 * S::LANES);
        for s in (0..=steps).rev() {
            for unit in (first..end).step_by(4 * S::LANES) {
                // SAFETY: blocks stay within the part's rows; panels are as long as packed.
                unsafe {
                    for_row_blocks!(rows, most, |b| block::<S>(self, s, self.part.task.rows.0 + b, unit));
                }
            }
            self.part.finish_step();
        }
    }
}

impl<C: Cell> BackwardPart<'_, C> {
    /// R rows from `b` by four vectors of units: the gradient of h after step `s - 1`, then the
    /// cell's backward at that step. `s == T` starts from the cotangent of h_n, `s == 0` does not
    /// exist as a step: its gradient of h is dh0.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: usize, b: usize, unit: usize) {
        let LayerDims { steps, batch, hidden, directions } = self.part.dims;
        let p = &self.part.pointers;
        let (d, gate_rows) = (self.part.task.d, C::GATES * hidden);
        // SAFETY: see `run`.
        unsafe {
            let mut acc = [[S::splat(0.0); 4]; R];
            if s < steps {
                let row = (self.part.dims.time(d, s) * batch + b) * directions + d;
                let panel = self.panels.data.as_ptr().add(unit / (4 * S::LANES) * gate_rows * 4 * S::LANES);
                let in_gates = if C::LAST_GATE_IN_AUX { gate_rows - hidden } else { gate_rows };
                let gates = Rows { start: p.gates.add(row * gate_rows), stride: directions * gate_rows };
                multiply::<S, R, 4>(&mut acc, gates, panel, in_gates);
                if C::LAST_GATE_IN_AUX {
                    let aux = Rows { start: p.aux.add(row * hidden), stride: directions * hidden };
                    multiply::<S, R, 4>(&mut acc, aux, panel.add(in_gates * 4 * S::LANES), hidden);
                }
            }
            for r in 0..R {
                for group in 0..4 {
                    let j = unit + group * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let lanes = S::LANES.min(hidden - j);
                    let state = (d * batch + b + r) * hidden + j;
                    let carry = p.carry.add(state);
                    let h =
                        if s == 0 { Rows { start: p.h0, stride: 0 } } else { self.part.h_prev(s - 1, b + r) };
                    let at = self.part.element::<C>(s.max(1) - 1, b + r, j, lanes, h);
                    let mut dh = acc[r][group];
                    if s == steps {
                        dh = at.load::<S>(p.dh.add(state));
                    } else if C::CARRY_IS_DH {
                        dh = S::add(dh, at.load::<S>(carry));
                    }
                    if s == 0 {
                        at.store::<S>(p.dh.add(state), dh);
                    } else {
                        let row = self.part.dims.time(d, s - 1) * batch + b + r;
                        let dy = p.dy.add((row * directions + d) * hidden + j);
                        let dh = S::add(dh, at.load::<S>(dy));
                        self.cell.backward::<S>(dh, &at, carry);
                    }
                }
            }
        }
    }
}

/// The two biases of one direction, `[G*H]` each: their sum where both enter a gate alike goes to
/// `bias` `[G*H]`; the recurrent bias of a GRU's last gate goes to `params` `[H]`, because the reset
/// gate multiplies it.
pub(crate) fn pack_bias(spec: &CellSpec, b_ih: &[f32], b_hh: &[f32], bias: &mut [f32], params: &mut [f32]) {
    let apart = if spec.kind == CellKind::Gru { params.len() } else { 0 };
    let shared = b_ih.len() - apart;
    bias.copy_from_slice(b_ih);
    for (sum, recurrent) in bias[..shared].iter_mut().zip(b_hh) {
        *sum += recurrent;
    }
    params[..apart].copy_from_slice(&b_hh[shared..]);
}
