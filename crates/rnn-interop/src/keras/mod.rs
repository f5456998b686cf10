//! Models of Keras 1, 2 and 3, as descriptions and arrays: `.h5` and `.keras`, and `.weights.h5` beside a model.

pub mod config;
pub mod convert;
pub mod hdf5;
mod layers;
mod load;
mod lower;
mod model_file;
pub mod weights;

pub use self::layers::{StateDicts, state_dicts};
pub use self::load::{load, load_weights};
pub use self::model_file::read;

#[cfg(test)]
mod tests;
