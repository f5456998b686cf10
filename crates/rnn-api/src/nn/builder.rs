//! [`Builder`]: checks a layer's settings and draws its parameters.

use crate::error::{Error, Result};
use crate::init::{Init, InitShape};
use crate::nn::WEIGHTS_STREAM;
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::{Device, RngKey, host_memory};

/// State for drawing a layer's parameters.
pub(crate) struct Builder<'a> {
    pub(crate) device: &'a Device,
    key: RngKey,
    /// Name of the configuration, for errors.
    config: &'static str,
    /// Index of the next parameter; each has its own key.
    next: u32,
}

/// Parameters of one shape, before they are made.
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
    /// Number of them.
    pub(crate) count: usize,
}

impl Planned {
    /// One parameter.
    pub(crate) fn one(name: &str, dims: &[usize]) -> Self {
        Planned { name: name.to_string(), dims: dims.to_vec(), count: 1 }
    }
}

impl<'a> Builder<'a> {
    pub(crate) fn new(device: &'a Device, seed: u64, config: &'static str) -> Self {
        let key = RngKey::new(seed).derive(WEIGHTS_STREAM, 0);
        Builder { device, key, config, next: 0 }
    }

    /// The key of the next parameter.
    pub(crate) fn key(&mut self) -> RngKey {
        self.next += 1;
        self.key.derive(WEIGHTS_STREAM, self.next)
    }

    /// Refuses parameters that the device cannot hold, before any is drawn: a parameter that is larger than an array can
    /// be, or parameters in host memory that are too large together. `sizes` are the settings that determine their shapes.
    pub(crate) fn expect_room(&self, sizes: &[(&str, usize)], planned: &[Planned]) -> Result<()> {
        let settings = || {
            let settings = sizes.iter().map(|(field, size)| format!("{field} = {size}"));
            settings.collect::<Vec<_>>().join(", ")
        };
        let (mut total, mut largest) = (0u128, 0u128);
        for Planned { name, dims, count } in planned {
            let what = || format!("{name} {dims:?}, from {},", settings());
            let bytes = u128::from(self.device.expect_room(self.config, what, dims)?);
            largest = largest.max(bytes);
            total = total.saturating_add(bytes.saturating_mul(*count as u128));
        }
        // Values are drawn in host memory and then copied to the device.
        let host = if self.device.is_cpu() { total.saturating_add(largest) } else { largest };
        let what = || format!("making the parameters, from {},", settings());
        Ok(host_memory::expect_room(self.config, what, host)?)
    }

    /// Draws the values of the next parameter; `field` is the setting of `init`.
    pub(crate) fn draw(&mut self, init: Init, shape: InitShape, field: &'static str) -> Result<Vec<f32>> {
        init.draw(shape, self.key(), (self.config, field))
    }

    /// [`Init::magnitude`]
    pub(crate) fn magnitude(&self, init: Init, field: &'static str) -> Result<Option<f32>> {
        init.magnitude((self.config, field))
    }

    pub(crate) fn param(&self, values: &[f32], dims: &[usize]) -> Result<Param> {
        Param::new(&Tensor::from_slice(self.device, values, dims)?)
    }

    /// A parameter with the same value everywhere, of a shape that [`Builder::expect_room`] has checked.
    pub(crate) fn constant(&self, value: f32, dims: &[usize]) -> Result<Param> {
        let len = dims.iter().product();
        let what = || format!("a parameter {dims:?}");
        self.param(&host_memory::filled(self.config, what, len, value)?, dims)
    }

    /// Refuses a size of zero.
    pub(crate) fn positive(&self, field: &'static str, value: usize) -> Result<()> {
        self.check(value > 0, field, "at least 1", value)
    }

    /// Refuses a value outside `[0, 1)`.
    pub(crate) fn probability(&self, field: &'static str, value: f32) -> Result<()> {
        self.check((0.0..1.0).contains(&value), field, "in [0, 1)", value)
    }

    pub(crate) fn check(
        &self,
        ok: bool,
        field: &'static str,
        expected: &str,
        got: impl ToString,
    ) -> Result<()> {
        if ok {
            return Ok(());
        }
        let (config, expected, got) = (self.config, expected.to_string(), got.to_string());
        Err(Error::Config { config, field, expected, got })
    }
}
