//! [`Module`]: layers and models with parameters.

use crate::error::{Error, Result};
use crate::nn::LayerKind;
use crate::nn::mode::{Draws, Mode};
use crate::param::{Param, pinned};
use crate::tensor::Tensor;
use rnn_runtime::{Array, Device, Shape};
use std::collections::{BTreeMap, BTreeSet};

/// A part of a module that a visit finds.
#[non_exhaustive]
pub enum Found<'a> {
    /// A layer, or a struct of layers. Its parts follow.
    Layer(LayerKind),
    /// A parameter.
    Param(&'a Param),
    /// The training switch of one layer.
    Mode(&'a Mode),
    /// A source of random draws.
    Draws(&'a Draws),
}

/// Walks through a module and its parts, and tracks the path of names.
pub struct Visitor<'a> {
    path: String,
    visit: &'a mut dyn FnMut(&str, Found<'_>),
}

impl Visitor<'_> {
    fn at(&mut self, name: &str, action: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 && !name.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        action(self);
        self.path.truncate(length);
    }

    /// Visits a part: a layer, another model, a list of them, or a parameter.
    pub fn module(&mut self, name: &str, module: &(impl Module + ?Sized)) {
        self.at(name, |visitor| module.visit(visitor));
    }

    /// Visits a parameter.
    pub fn param(&mut self, name: &str, param: &Param) {
        self.at(name, |visitor| (visitor.visit)(&visitor.path, Found::Param(param)));
    }

    /// Says what the module is, before its parts are visited.
    pub fn layer(&mut self, kind: LayerKind) {
        (self.visit)(&self.path, Found::Layer(kind));
    }

    /// Visits a training switch.
    pub fn mode(&mut self, mode: &Mode) {
        (self.visit)(&self.path, Found::Mode(mode));
    }

    /// Visits a source of random draws.
    pub fn draws(&mut self, draws: &Draws) {
        (self.visit)(&self.path, Found::Draws(draws));
    }
}

/// A layer, or a struct of layers. [`module!`](crate::module!) implements it in one line.
pub trait Module {
    /// Visits every part, always in the same order.
    fn visit(&self, visitor: &mut Visitor<'_>);

    /// Calls `visit` for every part of this module, with its dotted path.
    fn for_each(&self, visit: &mut dyn FnMut(&str, Found<'_>)) {
        self.visit(&mut Visitor { path: String::new(), visit });
    }

    /// All parameters with their dotted paths, such as `lstm.weight_ih_l0`. A parameter with two paths is
    /// listed twice.
    fn named_parameters(&self) -> Vec<(String, Param)> {
        let mut params = Vec::new();
        self.for_each(&mut |path, found| {
            if let Found::Param(param) = found {
                params.push((path.to_string(), param.clone()));
            }
        });
        params
    }

    /// All parameters, each once.
    fn parameters(&self) -> Vec<Param> {
        let mut seen = BTreeSet::new();
        let params = self.named_parameters().into_iter().map(|(_, param)| param);
        params.filter(|param| seen.insert(param.id())).collect()
    }

    /// Number of trainable and frozen values, each counted once.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(Param::len).sum()
    }

    /// Switches to training mode: dropout is active.
    fn train(&self) {
        self.set_training(true);
    }

    /// Switches to evaluation mode: dropout does nothing. Gradients can still be computed.
    fn eval(&self) {
        self.set_training(false);
    }

    /// Switches to training (`true`) or evaluation mode.
    fn set_training(&self, training: bool) {
        self.for_each(&mut |_, found| {
            if let Found::Mode(mode) = found {
                mode.set(training);
            }
        });
    }

    /// Freezes (`false`) or unfreezes all parameters.
    fn set_trainable(&self, trainable: bool) {
        for param in self.parameters() {
            param.set_trainable(trainable);
        }
    }

    /// Moves all parameters to another device. Optimizer state does not move, so make optimizers afterwards.
    ///
    /// # Errors
    /// A failing device, or no memory. Some parameters may have moved already.
    fn to_device(&self, device: &Device) -> Result<()> {
        self.parameters().iter().try_for_each(|param| param.to_device(device))
    }

    /// Positions of all sources of random draws by path. Together with the parameters they are the whole
    /// state of a model.
    fn draw_positions(&self) -> BTreeMap<String, u64> {
        let mut positions = BTreeMap::new();
        self.for_each(&mut |path, found| {
            if let Found::Draws(draws) = found {
                positions.insert(path.to_string(), draws.position());
            }
        });
        positions
    }

    /// Restores the result of [`Module::draw_positions`], so that a resumed run draws the same masks.
    ///
    /// # Errors
    /// Unknown or missing paths; nothing is restored then.
    fn set_draw_positions(&self, positions: &BTreeMap<String, u64>) -> Result<()> {
        let problems = draw_problems(&self.draw_positions(), positions);
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        self.for_each(&mut |path, found| {
            if let (Found::Draws(draws), Some(&position)) = (found, positions.get(path)) {
                draws.set_position(position);
            }
        });
        Ok(())
    }

    /// The current values of all parameters by name, all of one moment between two optimizer steps. It is a cheap
    /// snapshot: later training steps do not change it.
    fn state_dict(&self) -> BTreeMap<String, Array> {
        let named = self.named_parameters();
        let params: Vec<&Param> = named.iter().map(|(_, param)| param).collect();
        let values = Param::snapshot_all(&params).into_iter().map(|(value, _)| value.into_array());
        named.iter().map(|(name, _)| name.clone()).zip(values).collect()
    }

    /// Calls `read`, for which the parameters keep the values that they have now, on this thread. Inference beside a
    /// training thread so sees the weights of one step, whichever layers it calls:
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// let lstm = LstmConfig::new(3, 8).init(&device, 1)?;
    /// let head = LinearConfig::new(8, 2).init(&device, 2)?;
    /// let x = Tensor::ones(&device, &[5, 2, 3])?;
    /// // Another thread may call `adam.step(..)` meanwhile.
    /// let y = (&lstm, &head).pinned(|| no_grad(|| head.forward(&lstm.forward(&x, None)?.last()?)))?;
    /// # assert_eq!(y.dims(), [2, 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// Without it each layer, and each [`Sequential`](crate::nn::Sequential), reads the values of one moment per call. A
    /// reader with a model of its own gets the same by `own.load_state_dict(&model.state_dict())`. No data is copied at
    /// the start; a training step that comes meanwhile copies what it changes. Changes that `read` itself makes are not
    /// visible in it.
    fn pinned<R>(&self, read: impl FnOnce() -> R) -> R
    where
        Self: Sized,
    {
        pinned(&self.parameters(), read)
    }

    /// Assigns values by name. Checks everything first: either all are assigned or none, also for threads that read
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::StateDict`] with every unknown, missing and wrongly shaped name; or a failing
    /// device.
    fn load_state_dict(&self, values: &BTreeMap<String, Array>) -> Result<()> {
        let own = self.named_parameters();
        let shapes: Vec<(&str, &Shape)> =
            own.iter().map(|(name, param)| (name.as_str(), param.shape())).collect();
        let given = || values.iter().map(|(name, array)| (name.as_str(), array.dims()));
        let mut problems = mismatches(&shapes, given());
        problems.extend(prefix_problem(&shapes, given(), ""));
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        // Conversions come first: if one fails, nothing has changed.
        let mut ready = Vec::with_capacity(own.len());
        for (name, param) in &own {
            if let Some(array) = values.get(name) {
                let value = Tensor::from_array(array.to_device(&param.device())?);
                ready.push((param, value.to_dtype(rnn_runtime::DType::F32)?));
            }
        }
        Param::set_all(ready)
    }
}

/// Every difference between the model's names and shapes and the given ones.
pub(crate) fn mismatches<'a>(
    own: &[(&str, &Shape)],
    given: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Vec<String> {
    let given: BTreeMap<&str, &[usize]> = given.collect();
    let names: BTreeSet<&str> = own.iter().map(|(name, _)| *name).collect();
    let mut problems = Vec::new();
    for (name, shape) in own {
        match given.get(name) {
            None => problems.push(format!("`{name}` is missing")),
            Some(dims) if *dims != shape.dims() => {
                problems.push(format!("`{name}` must be {shape}, got {dims:?}"));
            }
            Some(_) => {}
        }
    }
    let unknown = given.keys().filter(|name| !names.contains(*name));
    problems.extend(unknown.map(|name| format!("`{name}` is unknown")));
    problems
}

/// The remedy where the model's names are all absent, and given with something before them: `module.` of PyTorch's
/// `DataParallel`, or the name of the part in a larger model. `removed` is a prefix that is already taken off.
pub(crate) fn prefix_problem<'a>(
    own: &[(&str, &Shape)],
    given: impl Iterator<Item = (&'a str, &'a [usize])>,
    removed: &str,
) -> Option<String> {
    let given: BTreeSet<&str> = given.map(|(name, _)| name).collect();
    if own.iter().any(|(name, _)| given.contains(name)) {
        return None;
    }
    let (first, _) = own.first()?;
    let prefix =
        given.iter().find_map(|name| name.strip_suffix(first).filter(|prefix| prefix.ends_with('.')))?;
    let prefix = format!("{removed}{prefix}");
    Some(format!(
        "names have the prefix `{prefix}`; remove it with io::LoadOptions::with_prefix({prefix:?}) for a file, \
         io::without_prefix for a state dict"
    ))
}

/// Every difference between the model's sources of draws and the given ones.
pub(crate) fn draw_problems(own: &BTreeMap<String, u64>, given: &BTreeMap<String, u64>) -> Vec<String> {
    let unknown = given.keys().filter(|path| !own.contains_key(*path));
    let missing = own.keys().filter(|path| !given.contains_key(*path));
    unknown
        .map(|path| format!("unknown source of draws `{path}`"))
        .chain(missing.map(|path| format!("missing source of draws `{path}`")))
        .collect()
}

impl Module for Param {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.param("", self);
    }
}

impl<M: Module + ?Sized> Module for &M {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}

impl<M: Module> Module for Option<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some(module) = self {
            module.visit(visitor);
        }
    }
}

/// Parts are named by their indices.
impl<M: Module> Module for [M] {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for (n, module) in self.iter().enumerate() {
            visitor.module(&n.to_string(), module);
        }
    }
}

impl<M: Module> Module for Vec<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.as_slice().visit(visitor);
    }
}

/// Layers that are not fields of one struct: `(&lstm, &head)`. Parts are named `0` and `1`.
impl<A: Module, B: Module> Module for (A, B) {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.module("0", &self.0);
        visitor.module("1", &self.1);
    }
}

/// As for pairs.
impl<A: Module, B: Module, C: Module> Module for (A, B, C) {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.module("0", &self.0);
        visitor.module("1", &self.1);
        visitor.module("2", &self.2);
    }
}

/// Implements [`Module`](crate::nn::Module) for a struct of layers and parameters. Names of parameters start
/// with the names of the fields.
///
/// ```
/// use rnn_api::prelude::*;
///
/// struct Tagger {
///     embedding: Embedding,
///     lstm: Lstm,
///     head: Linear,
/// }
/// module!(Tagger { embedding, lstm, head });
///
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let tagger = Tagger {
///     embedding: EmbeddingConfig::new(50, 8).init(&device, 1)?,
///     lstm: LstmConfig::new(8, 16).init(&device, 2)?,
///     head: LinearConfig::new(16, 5).init(&device, 3)?,
/// };
/// let names: Vec<String> = tagger.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names[0], "embedding.weight");
/// assert_eq!(names[1], "lstm.weight_ih_l0");
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! module {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::nn::Module for $name {
            fn visit(&self, visitor: &mut $crate::nn::Visitor<'_>) {
                visitor.layer($crate::nn::LayerKind::Struct(stringify!($name)));
                $(visitor.module(stringify!($field), &self.$field);)*
            }
        }
    };
}
