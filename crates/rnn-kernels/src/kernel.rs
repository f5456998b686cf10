//! What a kernel is: WGSL parts joined in order, an entry point, and its bindings.

/// One WGSL file. Parts are plain text that a kernel joins; WGSL declarations are independent of
/// order, so joining is linking: a driver calls `cell_forward`, a cell part defines it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Path below `shaders/`, for error messages.
    pub path: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// Embeds a file of `shaders/` as a [`Part`].
macro_rules! part {
    ($path:literal) => {
        $crate::kernel::Part { path: $path, text: include_str!(concat!("../../shaders/", $path)) }
    };
}
pub(crate) use part;

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// Values of the kernel's `override` declarations, by name.
pub type Constants = &'static [(&'static str, f64)];

/// A compute kernel as the catalogue describes it.
///
/// Binding convention, checked against naga's reflection by `tests/validate.rs`:
/// `@group(0) @binding(0)` is the uniform `params` (bound with a dynamic offset);
/// `@group(0) @binding(1)` is the uniform `step_params` where the kernel reads its time step from a
/// uniform; storage buffers are `@group(1) @binding(0..)` in the order of [`Kernel::bindings`].
#[derive(Debug)]
pub struct Kernel {
    /// Unique name; pipelines are cached and labelled by it.
    pub label: &'static str,
    /// Files that make up the module.
    pub parts: &'static [Part],
    /// Name of the entry point.
    pub entry: &'static str,
    /// Storage buffers in binding order.
    pub bindings: &'static [Access],
    /// Size in bytes of the `Params` uniform.
    pub params_size: usize,
    /// Where the kernel takes its time step from; [`StepSource::None`] for most.
    pub step: StepSource,
    /// Sets of override constants that are used in practice; every one is validated in tests.
    /// A kernel without overrides lists one empty set.
    pub variants: &'static [Constants],
}

/// Where a per-step kernel reads the number of its time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepSource {
    /// The kernel is not dispatched per step.
    None,
    /// `var<immediate>`: no buffer, no rebinding between steps.
    Immediate,
    /// A second uniform with a dynamic offset, for adapters without immediates.
    Uniform,
}

impl Kernel {
    /// The joined WGSL text.
    pub fn source(&self) -> String {
        let mut text = String::with_capacity(self.parts.iter().map(|p| p.text.len() + 1).sum());
        for part in self.parts {
            text.push_str(part.text);
            if !part.text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }

    /// Maps a 1-based line of [`Kernel::source`] back to its file: `("cells/lstm.wgsl", 31)`.
    pub fn locate(&self, line: usize) -> (&'static str, usize) {
        let mut rest = line;
        for part in self.parts {
            let lines = part.text.lines().count();
            if rest <= lines {
                return (part.path, rest);
            }
            rest -= lines;
        }
        (self.label, rest)
    }
}
