//! The shape that all configurations and optimizers have.

/// Writes the configuration and the optimizer type around a
/// [`Rule`](super::driver::Rule).
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $config:ident => $optimizer:ident, lr $lr:literal, weight_decay $decay:literal, decoupled $decoupled:literal {
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
            /// Weight decay, the l2 penalty, of parameters that no group claims.
            pub weight_decay: f64,
            /// Weight of the penalty on the magnitudes of the parameters that no group claims.
            pub l1: f64,
            /// Whether both penalties act on the parameters directly rather than through the gradients.
            pub decoupled_weight_decay: bool,
            /// Largest magnitude of an element of a gradient; clipped first.
            pub clip_value: Option<f32>,
            /// Largest norm of the gradient of one parameter; clipped second.
            pub clip_tensor_norm: Option<f32>,
            /// Largest global norm of the gradients; they are scaled down to it together, last.
            pub clip_norm: Option<f32>,
            /// What the objective is multiplied with before the backward pass.
            pub loss_scale: Option<$crate::optim::LossScale>,
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
                    l1: 0.0,
                    decoupled_weight_decay: $decoupled,
                    clip_value: None,
                    clip_tensor_norm: None,
                    clip_norm: None,
                    loss_scale: None,
                    $($field: $default,)*
                    groups: Vec::new(),
                }
            }

            /// Weight decay, the l2 penalty, of parameters that no group claims.
            #[must_use]
            pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
                self.weight_decay = weight_decay;
                self
            }

            /// Weight of the penalty on the magnitudes of the parameters that no group claims.
            #[must_use]
            pub fn with_l1(mut self, l1: f64) -> Self {
                self.l1 = l1;
                self
            }

            /// Whether both penalties act on the parameters directly (`true`: `p *= 1 - lr weight_decay`, then `lr l1`
            /// towards zero) rather than through the gradients (`g += l1 sign(p) + weight_decay p`).
            #[must_use]
            pub fn with_decoupled_weight_decay(mut self, decoupled: bool) -> Self {
                self.decoupled_weight_decay = decoupled;
                self
            }

            /// No weight decay for parameters whose name `filter` accepts, usually biases:
            /// `with_no_decay(|name| name.contains("bias"))`.
            #[must_use]
            pub fn with_no_decay(
                self,
                filter: impl Fn(&str) -> bool + Send + Sync + 'static,
            ) -> Self {
                let group = $crate::optim::ParamGroup::new(filter).with_weight_decay(0.0);
                self.with_group(group.allow_empty())
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

            /// Clamps every element of the gradients to `-limit..=limit`, before clipping by norm.
            #[must_use]
            pub fn with_clip_value(mut self, limit: f32) -> Self {
                self.clip_value = Some(limit);
                self
            }

            /// Scales the gradient of every parameter so that its own norm is at most `max_norm`, before the global
            /// norm is clipped.
            #[must_use]
            pub fn with_clip_tensor_norm(mut self, max_norm: f32) -> Self {
                self.clip_tensor_norm = Some(max_norm);
                self
            }

            /// Expects gradients of an objective multiplied by a scale; see
            /// [`Optimizer::scale_loss`](crate::optim::Optimizer::scale_loss).
            #[must_use]
            pub fn with_loss_scale(mut self, loss_scale: $crate::optim::LossScale) -> Self {
                self.loss_scale = Some(loss_scale);
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
                    l1: self.l1,
                    decoupled: self.decoupled_weight_decay,
                    clip_value: self.clip_value,
                    clip_tensor_norm: self.clip_tensor_norm,
                    clip_norm: self.clip_norm,
                    loss_scale: self.loss_scale,
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

            fn loss_scale(&self) -> f32 {
                self.0.loss_scale()
            }

            fn skipped_steps(&self) -> u64 {
                self.0.skipped_steps()
            }

            fn grad_norm(&self) -> Option<f32> {
                self.0.grad_norm()
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
