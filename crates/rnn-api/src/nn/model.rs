//! [`ModelConfig`]: configurations that models are made from, and [`model!`](crate::model!), which defines both.

use crate::error::Result;
use crate::nn::config::cells::{AnyRnn, AnyRnnConfig};
use crate::nn::config::{CellOptions, RecurrentConfig};
use crate::nn::part_seed::part_seed;
use crate::nn::{
    Attention, AttentionConfig, Dropout, DropoutConfig, Embedding, EmbeddingConfig, LayerNorm,
    LayerNormConfig, Linear, LinearConfig, Module, RecurrentLayer, Visitor,
};
use rnn_runtime::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A configuration that a model is made from, such as [`LstmConfig`](crate::nn::LstmConfig), and one of your own:
/// [`model!`](crate::model!) defines it together with its model. [`load_model`](crate::io::load_model) needs nothing else
/// to make the model of a file.
///
/// By hand, for a configuration with settings that are no layers:
///
/// ```
/// use rnn_api::nn::ModelConfig;
/// use rnn_api::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct TaggerConfig { units: usize, tags: usize }
///
/// struct Tagger { lstm: Lstm, head: Linear }
/// module!(Tagger { lstm, head });
///
/// impl ModelConfig for TaggerConfig {
///     type Model = Tagger;
///     fn init(&self, device: &Device, seed: u64) -> rnn_api::Result<Tagger> {
///         let lstm = LstmConfig::new(8, self.units).init(device, seed)?;
///         let head = LinearConfig::new(self.units, self.tags).init(device, seed.wrapping_add(1))?;
///         Ok(Tagger { lstm, head })
///     }
/// }
/// ```
pub trait ModelConfig: Serialize + DeserializeOwned {
    /// The model.
    type Model: Module;

    /// Makes the model, with initial values drawn from `seed`.
    ///
    /// # Errors
    /// Settings outside their domain, or no memory.
    fn init(&self, device: &Device, seed: u64) -> Result<Self::Model>;
}

/// Configurations whose own `init` has the arguments of the trait.
macro_rules! layers {
    ($($config:ty => $layer:ty: |$this:ident, $device:ident, $seed:ident| $init:expr;)*) => {
        $(impl ModelConfig for $config {
            type Model = $layer;

            fn init(&self, $device: &Device, $seed: u64) -> Result<$layer> {
                let $this = self;
                $init
            }
        })*
    };
}
layers! {
    AttentionConfig => Attention: |config, device, seed| AttentionConfig::init(config, device, seed);
    AnyRnnConfig => AnyRnn: |config, device, seed| AnyRnnConfig::init(config, device, seed);
    LinearConfig => Linear: |config, device, seed| LinearConfig::init(config, device, seed);
    EmbeddingConfig => Embedding: |config, device, seed| EmbeddingConfig::init(config, device, seed);
    LayerNormConfig => LayerNorm: |config, device, _seed| LayerNormConfig::init(config, device);
    DropoutConfig => Dropout: |config, _device, seed| DropoutConfig::init(config, seed);
}

impl<C: CellOptions + Serialize + DeserializeOwned> ModelConfig for RecurrentConfig<C> {
    type Model = RecurrentLayer<C>;

    fn init(&self, device: &Device, seed: u64) -> Result<RecurrentLayer<C>> {
        RecurrentConfig::init(self, device, seed)
    }
}

/// A part that a model may have or not.
impl<C: ModelConfig> ModelConfig for Option<C> {
    type Model = Option<C::Model>;

    fn init(&self, device: &Device, seed: u64) -> Result<Self::Model> {
        self.as_ref().map(|config| config.init(device, seed)).transpose()
    }
}

/// Parts in any number, each with a seed of its own.
impl<C: ModelConfig> ModelConfig for Vec<C> {
    type Model = Vec<C::Model>;

    fn init(&self, device: &Device, seed: u64) -> Result<Self::Model> {
        let part = |(config, index): (&C, u32)| config.init(device, part_seed(seed, index));
        self.iter().zip(0..).map(part).collect()
    }
}

/// A part of a [`model!`](crate::model!) that is no layer: a size, a rate, a choice. It is the same value in the
/// configuration and in the model, and derefs to it.
///
/// ```
/// use rnn_api::nn::Setting;
/// use rnn_api::prelude::*;
/// model!(struct Net, NetConfig { gru: GruConfig, head: LinearConfig, mean_pool: Setting<bool> });
///
/// impl Net {
///     fn forward(&self, x: &Tensor) -> rnn_api::Result<Tensor> {
///         let out = self.gru.forward(x, None)?;
///         self.head.forward(&if *self.mean_pool { out.mean_pool()? } else { out.last()? })
///     }
/// }
/// # fn main() -> rnn_api::Result<()> {
/// let config =
///     NetConfig { gru: GruConfig::new(2, 4), head: LinearConfig::new(4, 3), mean_pool: true.into() };
/// let net = config.init(&Device::cpu(), 1)?;
/// assert_eq!(net.forward(&Tensor::ones(&Device::cpu(), &[5, 1, 2])?)?.dims(), [1, 3]);
/// assert_eq!(serde_json::to_value(&config).unwrap()["mean_pool"], true);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Setting<T>(pub T);

impl<T> From<T> for Setting<T> {
    fn from(value: T) -> Self {
        Setting(value)
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Module for Setting<T> {
    fn visit(&self, _visitor: &mut Visitor<'_>) {}
}

impl<T: Clone + Serialize + DeserializeOwned> ModelConfig for Setting<T> {
    type Model = Setting<T>;

    fn init(&self, _device: &Device, _seed: u64) -> Result<Self> {
        Ok(self.clone())
    }
}

/// Defines a model and its configuration: a struct of layers, a struct of their configurations, and the traits
/// [`Module`](crate::nn::Module), [`ModelConfig`](crate::nn::ModelConfig), `Serialize` and `Deserialize`. Names of
/// parameters start with the names of the fields.
///
/// A part is any [`ModelConfig`](crate::nn::ModelConfig): that of a layer, of another such model, an `Option` or `Vec` of
/// them, or a [`Setting`](crate::nn::Setting), which is no layer. Only what the model does with its parts is left to write:
///
/// ```
/// use rnn_api::prelude::*;
/// use rnn_api::{io, model};
///
/// model!(struct Tagger, TaggerConfig { embedding: EmbeddingConfig, lstm: LstmConfig, head: LinearConfig });
///
/// impl Tagger {
///     /// `[T, B]` to `[T, B, tags]`.
///     fn forward(&self, words: &Tensor) -> rnn_api::Result<Tensor> {
///         self.head.forward(&self.lstm.forward(&self.embedding.forward(words)?, None)?.y)
///     }
/// }
///
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// # let path = std::env::temp_dir().join(format!("rnn-api-model-{}.safetensors", std::process::id()));
/// let config = TaggerConfig {
///     embedding: EmbeddingConfig::new(50, 8),
///     lstm: LstmConfig::new(8, 16),
///     head: LinearConfig::new(16, 5),
/// };
/// let tagger = config.init(&device, 1)?;
/// let words = Tensor::from_indices(&device, &[3, 1, 4], &[3, 1])?;
/// assert_eq!(tagger.forward(&words)?.dims(), [3, 1, 5]);
///
/// io::save_model(&path, &tagger, &config)?;
/// let (same, same_config): (Tagger, TaggerConfig) = io::load_model(&path, &device)?;
/// assert_eq!(same_config, config);
/// assert_eq!(same.forward(&words)?.to_vec()?, tagger.forward(&words)?.to_vec()?);
/// # std::fs::remove_file(&path).expect("the example's file");
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! model {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $model:ident, $config:ident {
            $($(#[$of_field:meta])* $field_visible:vis $field:ident: $part:ty),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visible struct $model {
            $($(#[$of_field])* $field_visible $field: <$part as $crate::nn::ModelConfig>::Model,)*
        }

        $crate::module!($model { $($field),* });

        #[doc = concat!("The configuration of [`", stringify!($model), "`].")]
        #[derive(Clone, Debug, PartialEq)]
        $visible struct $config {
            $(
                #[doc = concat!("That of `", stringify!($field), "`.")]
                $field_visible $field: $part,
            )*
        }

        impl $crate::nn::ModelConfig for $config {
            type Model = $model;

            fn init(&self, device: &$crate::Device, seed: u64) -> $crate::Result<$model> {
                let mut parts = 0..;
                let mut seed_of_next = || $crate::nn::part_seed(seed, parts.next().unwrap_or_default());
                Ok($model {
                    $($field: $crate::nn::ModelConfig::init(&self.$field, device, seed_of_next())?,)*
                })
            }
        }

        impl $crate::serde::Serialize for $config {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::serde::ser::SerializeStruct as _;
                const NAMES: &[&str] = &[$(stringify!($field)),*];
                let mut fields = serializer.serialize_struct(stringify!($config), NAMES.len())?;
                $(fields.serialize_field(stringify!($field), &self.$field)?;)*
                fields.end()
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $config {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut fields = $crate::kept::Fields::read(deserializer, &[$(stringify!($field)),*])?;
                Ok($config { $($field: fields.take(stringify!($field))?,)* })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{GruConfig, LstmConfig};

    model!(struct Inner, InnerConfig { first: LinearConfig, second: LinearConfig });
    model!(
        /// Parts of every kind.
        #[derive(Debug)]
        pub(crate) struct Outer, OuterConfig {
            pub(crate) rnn: AnyRnnConfig,
            /// A model in a model.
            inner: InnerConfig,
            norm: Option<LayerNormConfig>,
            none: Option<GruConfig>,
            dropout: DropoutConfig,
            many: Vec<LinearConfig>,
            rate: Setting<Option<f64>>,
        }
    );

    impl std::fmt::Debug for Inner {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Inner({:?}, {:?})", self.first, self.second)
        }
    }

    fn config() -> OuterConfig {
        OuterConfig {
            rnn: LstmConfig::new(2, 3).with_num_layers(2).into(),
            inner: InnerConfig { first: LinearConfig::new(3, 3), second: LinearConfig::new(3, 3) },
            norm: Some(LayerNormConfig::new(3)),
            none: None,
            dropout: DropoutConfig::new(0.25),
            many: vec![LinearConfig::new(3, 3); 2],
            rate: Some(0.5).into(),
        }
    }

    #[test]
    fn parts_have_their_names_and_draws_of_their_own() {
        let model = config().init(&Device::cpu(), 7).unwrap();
        assert_eq!(*model.rate, Some(0.5));
        let named = model.named_parameters();
        let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["rnn.weight_hh_l1", "inner.second.weight", "norm.weight", "many.1.bias"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("none")));
        let values = |wanted: &str| {
            let (_, param) = named.iter().find(|(name, _)| name == wanted).unwrap();
            param.value().to_vec().unwrap()
        };
        let squares = ["inner.first.weight", "inner.second.weight", "many.0.weight", "many.1.weight"];
        for (n, a) in squares.iter().enumerate() {
            for b in &squares[..n] {
                assert_ne!(values(a), values(b), "{a} {b}");
            }
        }
        let again = config().init(&Device::cpu(), 7).unwrap();
        let other = config().init(&Device::cpu(), 8).unwrap();
        let weights = |model: &Outer| model.inner.first.weight.value().to_vec().unwrap();
        assert!(weights(&model) == weights(&again) && weights(&model) != weights(&other));
    }

    #[test]
    fn configurations_come_back_from_json_and_errors_name_the_field() {
        let json = serde_json::to_string(&config()).unwrap();
        assert_eq!(serde_json::from_str::<OuterConfig>(&json).unwrap(), config());
        for (from, to, problem) in [
            ("\"second\":", "\"third\":", "`inner`: unknown field `third`, expected `first` or `second`"),
            ("\"none\":null,", "", "missing field `none`"),
            (
                "\"probability\":0.25",
                "\"probability\":\"x\"",
                "`dropout.probability`: invalid type: string \"x\"",
            ),
            ("\"hidden_size\":3", "\"hidden_size\":-3", "invalid value: integer `-3`"),
            (
                "\"cell\":\"lstm\"",
                "\"cell\":\"lsd\"",
                "`rnn.cell`: unknown variant `lsd`, expected one of `lstm`, `gru`",
            ),
        ] {
            assert!(json.contains(from), "{from} in {json}");
            let error = serde_json::from_str::<OuterConfig>(&json.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
