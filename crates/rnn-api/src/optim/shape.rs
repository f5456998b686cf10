//! The shape that all configurations and optimizers have.

/// Writes the configuration and the optimizer type around a
/// [`Rule`](super::driver::Rule).
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $config:ident => $optimizer:ident, lr $lr:literal, weight_decay $decay:literal {
            $($(#[$field_doc:meta])* $field:ident / $setter:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$doc])*
        ///
        /// Name filters of groups are code and are not serialized with the rest.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $config {
            /// Learning rate.
            pub lr: f64,
            /// Weight decay of parameters that no group claims.
            pub weight_decay: f64,
            /// Largest global norm of the gradients; they are scaled down to it together.
            pub clip_norm: Option<f32>,
            $($(#[$field_doc])* pub $field: $type,)*
            #[serde(skip)]
            groups: Vec<$crate::optim::ParamGroup>,
        }

        impl Default for $config {
            fn default() -> Self {
                Self::new($lr)
            }
        }

        impl $config {
            /// With this learning rate and PyTorch's defaults.
            pub fn new(lr: f64) -> Self {
                $config {
                    lr,
                    weight_decay: $decay,
                    clip_norm: None,
                    $($field: $default,)*
                    groups: Vec::new(),
                }
            }

            /// Weight decay of parameters that no group claims.
            #[must_use]
            pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
                self.weight_decay = weight_decay;
                self
            }

            /// No weight decay for parameters whose name `filter` accepts, usually biases:
            /// `with_no_decay(|name| name.contains("bias"))`.
            #[must_use]
            pub fn with_no_decay(
                self,
                filter: impl Fn(&str) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.with_group($crate::optim::ParamGroup::new(filter).with_weight_decay(0.0))
            }

            /// Settings of their own for some parameters; the first group that fits counts.
            #[must_use]
            pub fn with_group(mut self, group: $crate::optim::ParamGroup) -> Self {
                self.groups.push(group);
                self
            }

            /// Scales the gradients of every step so that their global norm is at most `max_norm`,
            /// inside the update kernels.
            #[must_use]
            pub fn with_clip_norm(mut self, max_norm: f32) -> Self {
                self.clip_norm = Some(max_norm);
                self
            }

            $(
                $(#[$field_doc])*
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*

            /// An optimizer of all parameters of `model`: a layer, a model, or several as in
            /// `(&lstm, &head)`. Make it after moving the model to its device.
            ///
            /// # Errors
            /// Settings that make no sense, a model without parameters, no memory.
            pub fn init(&self, model: &impl $crate::nn::Module) -> $crate::Result<$optimizer> {
                let common = $crate::optim::driver::Common {
                    lr: self.lr,
                    weight_decay: self.weight_decay,
                    clip_norm: self.clip_norm,
                    groups: &self.groups,
                };
                let driver = $crate::optim::driver::Driver::new(self.clone(), &common, model)?;
                Ok($optimizer(driver))
            }
        }

        #[doc = concat!("Made by [`", stringify!($config), "::init`].")]
        #[derive(Debug)]
        pub struct $optimizer($crate::optim::driver::Driver<$config>);

        impl $crate::optim::Optimizer for $optimizer {
            fn step(&mut self, gradients: &$crate::Gradients) -> $crate::Result<()> {
                self.0.step(gradients)
            }

            fn lr(&self) -> f64 {
                self.0.lr()
            }

            fn set_lr(&mut self, lr: f64) {
                self.0.set_lr(lr);
            }

            fn steps(&self) -> u64 {
                self.0.steps()
            }

            fn state_dict(&self) -> $crate::optim::OptimizerState {
                self.0.state()
            }

            fn load_state_dict(&mut self, state: &$crate::optim::OptimizerState) -> $crate::Result<()> {
                self.0.set_state(state)
            }

            fn save(&self, path: &std::path::Path) -> $crate::Result<()> {
                self.0.save(path)
            }

            fn load(&mut self, path: &std::path::Path) -> $crate::Result<()> {
                self.0.load(path)
            }
        }
    };
}
pub(crate) use optimizer;
