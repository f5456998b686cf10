//! [`Carried`]: states that are carried from chunk to chunk of streams.

use crate::error::{Error, Result};
use crate::nn::RecurrentState;
use crate::tensor::Tensor;
use rnn_kernels::cell::CellKind;
use rnn_runtime::{Array, Device};
use std::collections::BTreeMap;

/// The largest length of a list of states. A number from a file, so it may be anything.
const MAX_LEN: u64 = 1 << 16;

/// Name of the number that tells a state's cell: its place in [`CellKind::ALL`].
pub(crate) const CELL: &str = "cell";

/// The cell with this number.
pub(crate) fn kind_of(number: u64) -> Option<CellKind> {
    CellKind::ALL.get(usize::try_from(number).ok()?).copied()
}

/// The arrays and numbers of a state, by name.
#[derive(Clone, Debug, Default)]
pub struct StateParts {
    /// The arrays.
    pub arrays: BTreeMap<String, Array>,
    /// The numbers.
    pub numbers: BTreeMap<String, u64>,
}

impl StateParts {
    fn put(&mut self, prefix: &str, other: StateParts) {
        self.arrays.extend(other.arrays.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        self.numbers.extend(other.numbers.into_iter().map(|(name, n)| (format!("{prefix}{name}"), n)));
    }

    /// The parts stored under a prefix.
    pub(crate) fn under(&self, prefix: &str) -> Self {
        let of = |name: &String| name.strip_prefix(prefix).map(str::to_string);
        StateParts {
            arrays: self.arrays.iter().filter_map(|(name, a)| Some((of(name)?, a.clone()))).collect(),
            numbers: self.numbers.iter().filter_map(|(name, &n)| Some((of(name)?, n))).collect(),
        }
    }

    pub(crate) fn with_prefix(self, prefix: &str) -> Self {
        let mut all = StateParts::default();
        all.put(prefix, self);
        all
    }

    pub(crate) fn extend(&mut self, other: StateParts) {
        self.put("", other);
    }

    fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        match self.arrays.get(name) {
            Some(array) => Ok(Tensor::from_array(array.to_device(device)?)),
            None => Err(Error::StateDict { problems: vec![format!("the state's `{name}` is missing")] }),
        }
    }

    fn number(&self, name: &str) -> Result<u64> {
        let missing = || Error::StateDict { problems: vec![format!("the state's `{name}` is missing")] };
        self.numbers.get(name).copied().ok_or_else(missing)
    }
}

/// A value that a model carries from one chunk of its streams to the next: the state of a layer, pairs and lists of
/// states for models with several layers, or `()` for models without state.
pub trait Carried: Clone {
    /// The same values without a graph, so gradients stop here.
    #[must_use]
    fn detached(&self) -> Self;

    /// The parts to store in a checkpoint.
    fn parts(&self) -> StateParts;

    /// Restores the state from a checkpoint.
    ///
    /// # Errors
    /// The parts belong to another kind of state, or the device fails.
    fn from_parts(parts: &StateParts, device: &Device) -> Result<Self>;
}

impl Carried for () {
    fn detached(&self) {}

    fn parts(&self) -> StateParts {
        StateParts::default()
    }

    fn from_parts(_: &StateParts, _: &Device) -> Result<()> {
        Ok(())
    }
}

/// The state of a layer.
impl<S: RecurrentState> Carried for S {
    fn detached(&self) -> Self {
        self.detach()
    }

    fn parts(&self) -> StateParts {
        let mut parts = StateParts::default();
        parts.arrays.insert("h".into(), self.hidden().array().clone());
        if let Some(c) = self.cell() {
            parts.arrays.insert("c".into(), c.array().clone());
        }
        parts.numbers.insert("directions".into(), self.directions() as u64);
        if let Some(sequence) = self.sequence() {
            parts.numbers.insert("sequence".into(), sequence.into());
        }
        if let Some(at) = CellKind::ALL.iter().position(|&kind| Some(kind) == self.kind()) {
            parts.numbers.insert(CELL.into(), at as u64);
        }
        parts
    }

    fn from_parts(parts: &StateParts, device: &Device) -> Result<Self> {
        let with_c = S::has_cell(parts.arrays.contains_key("c"));
        let c = with_c.then(|| parts.tensor("c", device)).transpose()?;
        let unfit = |name: &str, number: u64| Error::StateDict {
            problems: vec![format!("the state's `{name}` is {number}, which no layer has")],
        };
        let directions = match parts.number("directions")? {
            number @ 1..=2 => number as usize,
            number => return Err(unfit("directions", number)),
        };
        let sequence = parts
            .numbers
            .get("sequence")
            .map(|&number| u32::try_from(number).map_err(|_| unfit("sequence", number)));
        let sequence = sequence.transpose()?;
        // States stored before have no cell.
        let kind =
            parts.numbers.get(CELL).map(|&at| kind_of(at).ok_or_else(|| unfit(CELL, at))).transpose()?;
        let state = S::from_tensors(parts.tensor("h", device)?, c, directions);
        Ok(state.with_sequence(sequence).with_kind(kind))
    }
}

impl<A: Carried, B: Carried> Carried for (A, B) {
    fn detached(&self) -> Self {
        (self.0.detached(), self.1.detached())
    }

    fn parts(&self) -> StateParts {
        let mut parts = self.0.parts().with_prefix("0.");
        parts.extend(self.1.parts().with_prefix("1."));
        parts
    }

    fn from_parts(parts: &StateParts, device: &Device) -> Result<Self> {
        Ok((A::from_parts(&parts.under("0."), device)?, B::from_parts(&parts.under("1."), device)?))
    }
}

impl<A: Carried> Carried for Vec<A> {
    fn detached(&self) -> Self {
        self.iter().map(A::detached).collect()
    }

    fn parts(&self) -> StateParts {
        let mut parts = StateParts::default();
        parts.numbers.insert("len".into(), self.len() as u64);
        for (n, state) in self.iter().enumerate() {
            parts.extend(state.parts().with_prefix(&format!("{n}.")));
        }
        parts
    }

    fn from_parts(parts: &StateParts, device: &Device) -> Result<Self> {
        let len = parts.number("len")?;
        if len > MAX_LEN {
            let problem = format!("the state's `len` must be at most {MAX_LEN}, got {len}");
            return Err(Error::StateDict { problems: vec![problem] });
        }
        (0..len).map(|n| A::from_parts(&parts.under(&format!("{n}.")), device)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::LstmState;

    /// Numbers of a file that would end in a loop without end, or in a division by 0.
    #[test]
    fn numbers_that_no_state_has_are_refused() {
        let device = Device::cpu();
        let zeros = || Tensor::zeros(&device, &[1, 2, 3]).unwrap();
        let good = LstmState::new(zeros(), zeros(), 1).parts();
        assert!(LstmState::from_parts(&good, &device).is_ok());
        for (name, number) in [
            ("directions", 0),
            ("directions", 3),
            ("directions", u64::MAX),
            ("sequence", 1 << 32),
            ("cell", 4),
        ] {
            let mut parts = good.clone();
            parts.numbers.insert(name.into(), number);
            let error = LstmState::from_parts(&parts, &device).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(&number.to_string()), "{error}");
        }
        let mut parts = StateParts::default();
        parts.numbers.insert("len".into(), u64::MAX);
        let list = |parts: &StateParts| <Vec<()> as Carried>::from_parts(parts, &device);
        assert!(list(&parts).unwrap_err().to_string().contains("`len`"));
        parts.numbers.insert("len".into(), 3);
        assert_eq!(list(&parts).unwrap().len(), 3);
    }
}
