//! Kernels: WGSL parts joined in order, an entry point, and bindings.

use crate::params::Layout;

/// One WGSL file. Parts are plain text that a kernel joins; WGSL declarations are independent of
/// order, so joining is linking: a driver calls `cell_forward`, a cell part defines it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Path below `shaders/`, for error messages.
    pub path: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// Embeds a file of `shaders/`, named by one or more literals, as a [`Part`].
macro_rules! part {
    ($($path:literal)+) => {
        $crate::kernel::Part {
            path: concat!($($path),+),
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $($path),+)),
        }
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

/// Values of the kernel's `override` declarations and of [`ROWS`], by name.
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
    /// Layout of the `Params` uniform.
    pub params: Layout,
    /// Source of the kernel's time step; [`StepSource::None`] for most.
    pub step: StepSource,
    /// Sets of constants in use; tests validate every one. A kernel without constants lists one empty set.
    pub variants: &'static [Constants],
    /// Whether the kernel needs subgroup operations. Every such kernel has an alternative without them.
    pub subgroups: bool,
    /// Whether the kernel needs the extension f16. Every such kernel has an alternative without it.
    pub half: bool,
    /// Whether the kernel needs cooperative matrices, a wgpu extension of WGSL. Every such kernel has an alternative
    /// without them.
    pub matrix_units: bool,
    /// Whether the kernel proves or clamps every index itself, so that the driver's bounds checks can be off.
    pub trusted: bool,
}

/// Source of the number of a per-step kernel's time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepSource {
    /// The kernel is not dispatched per step.
    None,
    /// `var<immediate>`: no buffer, no rebinding between steps.
    Immediate,
    /// A second uniform with a dynamic offset, for adapters without immediates.
    Uniform,
}

/// The constant that unrolls loops: it is not an `override` but repeats lines of the text.
///
/// Registers cannot be indexed, and WGSL cannot ask for an unrolled loop. Therefore a line that contains `$R`
/// is repeated ROWS times, with 0, 1, ... for `$R`. A line that contains `$Q` is repeated once per eight
/// rows, rounded up. `$ROWS` is the number itself.
pub const ROWS: &str = "ROWS";

impl Kernel {
    /// The fields that most kernels share, for struct update syntax.
    pub(crate) const PLAIN: Kernel = Kernel {
        label: "",
        parts: &[],
        entry: "",
        bindings: &[],
        params: Layout { fields: &[], size: 0 },
        step: StepSource::None,
        variants: &[&[]],
        subgroups: false,
        half: false,
        matrix_units: false,
        trusted: false,
    };

    /// The joined WGSL text for one set of constants.
    pub fn source(&self, constants: &[(&str, f64)]) -> String {
        let mut text = String::new();
        self.lines(constants, |_, _, line| {
            text.push_str(line);
            text.push('\n');
        });
        text
    }

    /// The members of `constants` that are `override` declarations.
    pub fn overrides<'a>(&self, constants: &[(&'a str, f64)]) -> Vec<(&'a str, f64)> {
        constants.iter().filter(|(name, _)| *name != ROWS).copied().collect()
    }

    /// Maps a 1-based line of [`Kernel::source`] back to its file: `("cells/lstm.wgsl", 31)`.
    pub fn locate(&self, constants: &[(&str, f64)], line: usize) -> (&'static str, usize) {
        let (mut count, mut found) = (0, (self.label, line));
        self.lines(constants, |path, number, _| {
            count += 1;
            if count == line {
                found = (path, number);
            }
        });
        found
    }

    /// Calls `each` with path, line number and text of every line of the joined text.
    fn lines(&self, constants: &[(&str, f64)], mut each: impl FnMut(&'static str, usize, &str)) {
        if self.half {
            // WGSL requires directives before everything else.
            each("enable", 1, "enable f16;");
        }
        if self.matrix_units {
            each("enable", 1, "enable wgpu_cooperative_matrix;");
        }
        let rows = constants.iter().find(|(name, _)| *name == ROWS).map(|&(_, rows)| rows as usize);
        for part in self.parts {
            for (line, number) in part.text.lines().zip(1..) {
                let Some(rows) = rows.filter(|_| line.contains('$') && !line.starts_with("//")) else {
                    each(part.path, number, line);
                    continue;
                };
                let line = line.replace("$ROWS", &rows.to_string());
                let (name, count) = match (line.contains("$R"), line.contains("$Q")) {
                    (true, _) => ("$R", rows),
                    (false, true) => ("$Q", rows.div_ceil(8)),
                    (false, false) => ("$", 1),
                };
                for n in 0..count {
                    each(part.path, number, &line.replace(name, &n.to_string()));
                }
            }
        }
    }
}
