//! [`Slots`]: the states of many streams in a few arrays.

use crate::carried::{Carried, StateParts};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::ops::{copy, embed};
use rnn_runtime::{Array, Device, Shape};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stream of a [`Slots`]. It stays unique: the id of a closed stream is refused, also after its place has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    owner: u64,
    index: u32,
    generation: u32,
}

/// The states of many streams of one model, of which any selection can make a step together.
///
/// S is whatever the model carries from step to step: the state of a layer, pairs and lists of states ([`Carried`]). Every
/// array of it, `[L, 1, H]`, has an arena `[slots, L*H]` on the device; so a stream takes 4 bytes per number of its state,
/// and the arenas have room for up to twice as many streams as were ever open.
///
/// ```
/// use rnn_api::Slots;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let gru = GruConfig::new(2, 8).init(&device, 1)?;
/// let mut slots = Slots::new(&device, gru.zero_state(1)?);
/// let (a, b) = (slots.open()?, slots.open()?);
/// for ids in [vec![a, b], vec![b]] {
///     let x = Tensor::ones(&device, &[1, ids.len(), 2])?; // [T = 1, B, I]
///     let out = gru.forward(&x, Some(&slots.gather(&ids)?))?;
///     slots.scatter(&ids, &out.state)?;
/// }
/// let branch = slots.fork(b)?;
/// let kept = slots.save(a)?;
/// slots.close(a)?;
/// let again = slots.load(&kept)?;
/// assert!(slots.gather(&[a]).is_err());
/// assert_eq!(slots.gather(&[again, branch])?.h.dims(), [1, 2, 8]);
/// # Ok(()) }
/// ```
///
/// On the CPU the bits of a stream do not depend on which others share its batch, because no kernel of a recurrent layer
/// or a linear one mixes rows. On a GPU they may: the number of rows chooses the kernel, and kernels sum in different
/// orders.
pub struct Slots<S> {
    device: Device,
    /// The parts of the initial state with one row, or why it has no such parts.
    initial: Result<Initial, String>,
    arenas: BTreeMap<String, Array>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Streams that are open.
    count: usize,
    capacity: usize,
    limit: usize,
    model: Option<String>,
    owner: u64,
    state: PhantomData<fn() -> S>,
}

pub(crate) struct Initial {
    /// `[L, 1, W]` each.
    pub(crate) arrays: BTreeMap<String, Array>,
    pub(crate) numbers: BTreeMap<String, u64>,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    open: bool,
}

const OP: &str = "Slots";

impl<S: Carried> Slots<S> {
    /// No streams yet; each will start from `initial`, a state of one row. A state that cannot be divided into rows is
    /// refused by [`open`](Self::open).
    pub fn new(device: &Device, initial: S) -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        Slots {
            device: device.clone(),
            initial: Initial::new(initial.detached().parts(), device),
            arenas: BTreeMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            count: 0,
            capacity: 0,
            limit: u32::MAX as usize,
            model: None,
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
            state: PhantomData,
        }
    }

    /// Refuses more than `limit` streams at a time.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Slots { limit: limit.min(u32::MAX as usize), ..self }
    }

    /// Names the model. [`save`](Self::save) writes the name, and [`load`](Self::load) refuses the states of other models.
    /// Slots without a name accept every state with the same arrays, cells and directions. A name is any text, such as the
    /// model's configuration as JSON, or a version.
    ///
    /// ```
    /// use rnn_api::Slots;
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let device = Device::cpu();
    /// let gru = GruConfig::new(2, 8).init(&device, 1)?;
    /// let mut slots = Slots::new(&device, gru.zero_state(1)?).with_model("steps, version 2");
    /// let id = slots.open()?;
    /// let bytes = slots.save(id)?;
    /// let mut later = Slots::new(&device, gru.zero_state(1)?).with_model("steps, version 3");
    /// assert!(later.load(&bytes).is_err());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        Slots { model: Some(model.into()), ..self }
    }

    /// Starts a stream in the initial state.
    ///
    /// # Errors
    /// As many streams as the limit allows, an initial state that is not one row, or no memory.
    pub fn open(&mut self) -> Result<SlotId> {
        let index = self.take_place()?;
        self.put(index, |initial, name| initial.arrays[name].clone())?;
        Ok(self.opened(index))
    }

    /// Starts a stream in the state of another one.
    ///
    /// # Errors
    /// A closed or foreign id; otherwise as [`open`](Self::open).
    pub fn fork(&mut self, id: SlotId) -> Result<SlotId> {
        let row = self.row(id)?;
        let index = self.take_place()?;
        self.put(index, |_, name| row[name].clone())?;
        Ok(self.opened(index))
    }

    /// Sets a stream back to the initial state.
    ///
    /// # Errors
    /// A closed or foreign id, or no memory.
    pub fn reset(&mut self, id: SlotId) -> Result<()> {
        let index = self.index(id)?;
        self.put(index, |initial, name| initial.arrays[name].clone())
    }

    /// Whether all values of a stream's state are finite. A NaN that enters a state stays there until a
    /// [`reset`](Self::reset); it changes no other stream.
    ///
    /// # Errors
    /// A closed or foreign id, no memory, or a failing device.
    pub fn is_finite(&self, id: SlotId) -> Result<bool> {
        for array in self.row(id)?.values() {
            if !array.to_vec()?.iter().all(|value| value.is_finite()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends a stream. Its place is free for others.
    ///
    /// # Errors
    /// A closed or foreign id.
    pub fn close(&mut self, id: SlotId) -> Result<()> {
        let index = self.index(id)?;
        let entry = &mut self.entries[index as usize];
        entry.open = false;
        self.count -= 1;
        // A place whose generations are used up is not taken again.
        if let Some(next) = entry.generation.checked_add(1) {
            entry.generation = next;
            self.free.push(index);
        }
        Ok(())
    }

    /// Whether the stream is open, and one of these.
    pub fn is_open(&self, id: SlotId) -> bool {
        self.index(id).is_ok()
    }

    /// Refuses a closed or foreign id.
    pub(crate) fn expect_open(&self, id: SlotId) -> Result<()> {
        self.index(id).map(drop)
    }

    /// Number of open streams.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a stream's state on the device.
    pub fn bytes_per_stream(&self) -> usize {
        self.initial.as_ref().map_or(0, |initial| initial.arrays.values().map(|array| 4 * array.len()).sum())
    }

    /// The state of a batch whose rows are these streams, in this order.
    ///
    /// # Errors
    /// No id, a closed or foreign id, or no memory.
    pub fn gather(&self, ids: &[SlotId]) -> Result<S> {
        let initial = self.initial()?;
        let indices = self.indices(ids)?;
        let rows = Array::from_u32(&self.device, &indices, &[ids.len()])?;
        let mut parts = StateParts { numbers: initial.numbers.clone(), ..StateParts::default() };
        for (name, one) in &initial.arrays {
            let [layers, width] = sides(one);
            let own = embed::gather(&self.arenas[name], &rows)?;
            parts.arrays.insert(name.clone(), by_layer(&own, [layers, ids.len(), width])?);
        }
        S::from_parts(&parts, &self.device)
    }

    /// Keeps the rows of a batch's state as the states of these streams, in this order.
    ///
    /// # Errors
    /// No id, an id twice, a closed or foreign id; a state of another model, batch or device. No stream has changed then. No
    /// memory, or a failing device.
    pub fn scatter(&mut self, ids: &[SlotId], state: &S) -> Result<()> {
        let initial = self.initial()?;
        let indices = self.indices(ids)?;
        let mut given = state.detached().parts().arrays;
        let mut rows = Vec::with_capacity(given.len());
        for (name, one) in &initial.arrays {
            let [layers, width] = sides(one);
            let Some(array) = given.remove(name) else {
                return Err(Error::value(OP, "state", format!("`{name}`, as the initial state has"), "none"));
            };
            array.expect_device(OP, "state", &self.device)?;
            let expected = [layers, ids.len(), width];
            if array.dims() != expected {
                let expected = format!("[L, B, H] = {expected:?}");
                return Err(Error::shape(OP, format!("state `{name}`"), expected, array.shape()));
            }
            rows.push(by_row(&array, [layers, ids.len(), width])?);
        }
        if let Some(name) = given.keys().next() {
            return Err(Error::value(
                OP,
                "state",
                "the arrays of the initial state",
                format!("also `{name}`"),
            ));
        }
        let places = Array::from_u32(&self.device, &indices, &[ids.len()])?;
        // Arenas and initial arrays have the same names, so the same order.
        let mut arenas: Vec<(&mut Array, &Array)> = self.arenas.values_mut().zip(&rows).collect();
        embed::scatter_all(&mut arenas, &places).map_err(|error| {
            // The error of the operation does not know the ids.
            let twice = embed::repeated(&indices, self.entries.len());
            match twice.and_then(|index| ids.iter().find(|id| id.index == index)) {
                Some(id) => Error::value(OP, "ids", "every id once", format!("{id:?} twice")),
                None => error.into(),
            }
        })
    }

    /// The arrays of a stream, `[L, 1, W]`.
    pub(crate) fn row(&self, id: SlotId) -> Result<BTreeMap<String, Array>> {
        let initial = self.initial()?;
        let index = Array::from_u32(&self.device, &[self.index(id)?], &[1])?;
        let of = |(name, one): (&String, &Array)| {
            let row = embed::gather(&self.arenas[name], &index)?.reshape(one.dims())?;
            Ok((name.clone(), row))
        };
        initial.arrays.iter().map(of).collect()
    }

    /// Starts a stream with these arrays, `[L, 1, W]`.
    pub(crate) fn open_with(&mut self, arrays: &BTreeMap<String, Array>) -> Result<SlotId> {
        let index = self.take_place()?;
        self.put(index, |_, name| arrays[name].clone())?;
        Ok(self.opened(index))
    }

    pub(crate) fn initial(&self) -> Result<&Initial> {
        let problem = |why: &String| Error::value(OP, "initial", "a state of one row", why);
        self.initial.as_ref().map_err(problem)
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn index(&self, id: SlotId) -> Result<u32> {
        if self.knows(id) {
            Ok(id.index)
        } else if id.owner != self.owner {
            Err(Error::value(OP, "id", "a stream of these slots", "one of others"))
        } else {
            Err(Error::value(OP, "id", "an open stream", "a closed one"))
        }
    }

    fn knows(&self, id: SlotId) -> bool {
        let open = |entry: &Entry| entry.open && entry.generation == id.generation;
        id.owner == self.owner && self.entries.get(id.index as usize).is_some_and(open)
    }

    fn indices(&self, ids: &[SlotId]) -> Result<Vec<u32>> {
        if ids.is_empty() {
            return Err(Error::value(OP, "ids", "at least one", "none"));
        }
        if let Some(&unknown) = ids.iter().find(|&&id| !self.knows(id)) {
            self.index(unknown)?;
        }
        Ok(ids.iter().map(|id| id.index).collect())
    }

    /// A place that no open stream has. It stays free until [`opened`](Self::opened).
    fn take_place(&mut self) -> Result<u32> {
        let initial = self.initial()?;
        let open = self.len();
        if open >= self.limit {
            return Err(Error::value(OP, "open", format!("at most {} streams", self.limit), open + 1));
        }
        if let Some(&index) = self.free.last() {
            return Ok(index);
        }
        let index = self.entries.len();
        if index >= self.capacity {
            let capacity = (2 * self.capacity).clamp(1, self.limit.max(index + 1));
            let grown: Result<BTreeMap<String, Array>> = initial
                .arrays
                .iter()
                .map(|(name, one)| Ok((name.clone(), grown(self.arenas.get(name), capacity, one)?)))
                .collect();
            self.arenas = grown?;
            self.capacity = capacity;
        }
        Ok(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn opened(&mut self, index: u32) -> SlotId {
        self.count += 1;
        if self.free.last() == Some(&index) {
            self.free.pop();
            self.entries[index as usize].open = true;
        } else {
            self.entries.push(Entry { generation: 0, open: true });
        }
        SlotId { owner: self.owner, index, generation: self.entries[index as usize].generation }
    }

    /// Overwrites the state at a place.
    fn put(&mut self, index: u32, values: impl Fn(&Initial, &str) -> Array) -> Result<()> {
        let initial = self.initial()?;
        let index = Array::from_u32(&self.device, &[index], &[1])?;
        let rows: Result<Vec<(String, Array)>> = initial
            .arrays
            .keys()
            .map(|name| {
                let values = values(initial, name);
                Ok((name.clone(), values.reshape(&[1, values.len()])?))
            })
            .collect();
        for (name, row) in rows? {
            if let Some(arena) = self.arenas.get_mut(&name) {
                embed::scatter(arena, &index, &row)?;
            }
        }
        Ok(())
    }
}

/// A larger arena with the rows of the old one.
fn grown(old: Option<&Array>, capacity: usize, one: &Array) -> Result<Array> {
    let device = one.device();
    let rows = capacity - old.map_or(0, |old| old.dims()[0]);
    let fresh = Tensor::zeros(device, &[rows, one.len()])?;
    match old {
        Some(old) => Ok(Tensor::concat(&[&Tensor::from_array(old.clone()), &fresh], 0)?.into_array()),
        None => Ok(fresh.into_array()),
    }
}

/// Rows `[B, L*W]` as `[L, B, W]`.
fn by_layer(rows: &Array, [layers, batch, width]: [usize; 3]) -> Result<Array> {
    if layers == 1 {
        return Ok(rows.reshape(&[1, batch, width])?);
    }
    Ok(copy::transpose(&rows.reshape(&[batch, layers, width])?, &[1, 0, 2])?)
}

/// `[L, B, W]` as rows `[B, L*W]`.
fn by_row(state: &Array, [layers, batch, width]: [usize; 3]) -> Result<Array> {
    let rows = [batch, layers * width];
    if layers == 1 {
        return Ok(state.reshape(&rows)?);
    }
    Ok(copy::transpose(state, &[1, 0, 2])?.reshape(&rows)?)
}

/// L and W of `[L, B, W]`.
fn sides(array: &Array) -> [usize; 2] {
    match *array.dims() {
        [layers, _, width] => [layers, width],
        _ => [1, array.len()],
    }
}

impl Initial {
    fn new(parts: StateParts, device: &Device) -> Result<Self, String> {
        let mut arrays = BTreeMap::new();
        for (name, array) in parts.arrays {
            if !matches!(array.dims(), [_, 1, _]) || array.dtype() != rnn_runtime::DType::F32 {
                return Err(format!(
                    "`{name}`, {} {:?}; it must be f32 [L, 1, H]",
                    array.dtype(),
                    array.dims()
                ));
            }
            arrays.insert(name, array.to_device(device).map_err(|error| error.to_string())?);
        }
        // The number of a sequence is for dropout masks in training.
        let numbers = parts
            .numbers
            .into_iter()
            .filter(|(name, _)| name.rsplit('.').next() != Some("sequence"))
            .collect();
        Ok(Initial { arrays, numbers })
    }

    /// The arrays' names and shapes.
    pub(crate) fn shapes(&self) -> Vec<(&str, &Shape)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array.shape())).collect()
    }
}

impl<S> fmt::Debug for Slots<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.entries.iter().filter(|entry| entry.open).count();
        write!(f, "Slots({open} open, room for {} on {})", self.capacity, self.device.name())
    }
}
