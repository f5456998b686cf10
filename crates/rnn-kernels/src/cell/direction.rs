//! The order in which a stack visits the steps of its input.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The order in which every layer of a stack visits the steps of its input. The output of a step stands at the time of
/// the step's input in every case.
///
/// `true` and `false` are read as [`Direction::Bidirectional`] and [`Direction::Forward`]: configurations had a flag
/// `bidirectional` before there were three directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Direction {
    /// From the first step to the last.
    #[default]
    Forward,
    /// From a row's last valid step to the first. ONNX's `reverse`; Keras's `go_backwards`, whose outputs are
    /// in the opposite order. Weights have the names of a forward layer: with one direction there is no `_reverse`.
    Reverse,
    /// Both, with weights of their own.
    Bidirectional,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::Reverse, Direction::Bidirectional];

    /// D: 2 when bidirectional, else 1.
    pub const fn count(self) -> usize {
        match self {
            Direction::Bidirectional => 2,
            Direction::Forward | Direction::Reverse => 1,
        }
    }

    /// Whether direction `d` of the D directions runs backwards in time.
    pub const fn runs_backwards(self, d: usize) -> bool {
        match self {
            Direction::Forward => false,
            Direction::Reverse => true,
            Direction::Bidirectional => d == 1,
        }
    }
}

impl<'de> Deserialize<'de> for Direction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrFlag;
        impl Visitor<'_> for NameOrFlag {
            type Value = Direction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Forward, Reverse or Bidirectional, or whether there are both directions")
            }

            fn visit_bool<E: de::Error>(self, both: bool) -> Result<Direction, E> {
                Ok(if both { Direction::Bidirectional } else { Direction::Forward })
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Direction, E> {
                let known = Direction::ALL.into_iter().find(|direction| format!("{direction:?}") == name);
                known.ok_or_else(|| E::unknown_variant(name, &["Forward", "Reverse", "Bidirectional"]))
            }
        }
        deserializer.deserialize_any(NameOrFlag)
    }
}
