//! Every kernel and every variant through naga, without a GPU: syntax, types, bindings, the layout
//! of the parameters, and WebGPU's limits.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use rnn_kernels::params;
use rnn_kernels::{Access, Constants, Kernel, StepSource, catalogue};
use std::collections::BTreeSet;
use std::path::Path;

/// Limits that every WebGPU implementation has.
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16_384;
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_UNIFORM_WINDOW: usize = 256;

/// `cells/lstm.wgsl:31` for a place in the joined text.
fn place(kernel: &Kernel, constants: Constants, location: Option<naga::SourceLocation>) -> String {
    let (path, line) = kernel.locate(constants, location.map_or(1, |at| at.line_number as usize));
    format!("shaders/{path}:{line}")
}

fn parse(kernel: &Kernel, constants: Constants) -> Module {
    let source = kernel.source(constants);
    naga::front::wgsl::parse_str(&source).unwrap_or_else(|error| {
        let at = place(kernel, constants, error.location(&source));
        panic!("{at}: {}\n{}", error.message(), error.emit_to_string(&source));
    })
}

/// The module of the first variant, for what all variants have in common.
fn parse_first(kernel: &Kernel) -> Module {
    parse(kernel, kernel.variants[0])
}

fn validate(kernel: &Kernel, constants: Constants, module: &Module) -> ModuleInfo {
    // pack2x16float and its inverse are WebGPU's; naga has old OpenGL in mind.
    let mut capabilities = Capabilities::default() | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if kernel.step == StepSource::Immediate {
        capabilities |= Capabilities::IMMEDIATES;
    }
    if kernel.half {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if kernel.subgroups {
        capabilities |= Capabilities::SUBGROUP;
    }
    if kernel.matrix_units {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    let result = Validator::new(ValidationFlags::all(), capabilities).validate(module);
    result.unwrap_or_else(|error| {
        let source = kernel.source(constants);
        panic!("{}: {}", place(kernel, constants, error.location(&source)), error.emit_to_string(&source));
    })
}

#[test]
fn every_variant_is_valid_and_within_the_limits() {
    for kernel in catalogue::all() {
        assert!(
            !kernel.variants.is_empty(),
            "{}: no variant; without constants list one empty set",
            kernel.label
        );
        for &constants in kernel.variants {
            let module = parse(kernel, constants);
            let info = validate(kernel, constants, &module);
            let overrides = kernel.overrides(constants);
            let values = overrides.iter().map(|&(name, value)| (name.to_string(), value)).collect();
            let entry = Some((ShaderStage::Compute, kernel.entry));
            let (module, _) =
                naga::back::pipeline_constants::process_overrides(&module, &info, entry, &values)
                    .unwrap_or_else(|error| panic!("{} {constants:?}: {error}", kernel.label));
            validate(kernel, constants, &module);
            check_limits(kernel, &module);
        }
    }
}

/// `module` holds nothing but what the entry point uses.
fn check_limits(kernel: &Kernel, module: &Module) {
    let label = kernel.label;
    let invocations: u32 = module.entry_points[0].workgroup_size.iter().product();
    assert!((1..=MAX_INVOCATIONS).contains(&invocations), "{label}: {invocations} invocations");
    let bytes: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()).next_multiple_of(16))
        .sum();
    assert!(bytes <= MAX_WORKGROUP_BYTES, "{label}: {bytes} bytes of workgroup memory");
}

#[test]
fn entry_points_are_as_declared() {
    for kernel in catalogue::all() {
        let module = parse_first(kernel);
        let entries: Vec<_> = module.entry_points.iter().map(|e| (e.stage, e.name.as_str())).collect();
        assert_eq!(entries, [(ShaderStage::Compute, kernel.entry)], "{}", kernel.label);
    }
}

#[test]
fn storage_bindings_are_as_declared() {
    for kernel in catalogue::all() {
        let module = parse_first(kernel);
        let mut found = Vec::new();
        let mut uniforms = BTreeSet::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = variable.binding else { continue };
            let at = (binding.group, binding.binding);
            match variable.space {
                AddressSpace::Storage { access } if access == StorageAccess::LOAD => {
                    found.push((at, Access::Read));
                }
                AddressSpace::Storage { access } if access == StorageAccess::LOAD | StorageAccess::STORE => {
                    found.push((at, Access::ReadWrite));
                }
                AddressSpace::Uniform => assert!(uniforms.insert(at), "{}: {at:?} twice", kernel.label),
                other => panic!("{}: binding {at:?} is {other:?}", kernel.label),
            }
        }
        found.sort_by_key(|&(at, _)| at);
        let declared: Vec<_> = (0..).zip(kernel.bindings).map(|(k, &access)| ((1, k), access)).collect();
        assert_eq!(found, declared, "{}", kernel.label);
        assert!(declared.len() <= MAX_STORAGE_BUFFERS, "{}: {} buffers", kernel.label, declared.len());
        let expected: &[(u32, u32)] =
            if kernel.step == StepSource::Uniform { &[(0, 0), (0, 1)] } else { &[(0, 0)] };
        assert!(uniforms.iter().eq(expected), "{}: uniforms at {uniforms:?}", kernel.label);
        let immediates =
            module.global_variables.iter().any(|(_, variable)| variable.space == AddressSpace::Immediate);
        assert_eq!(immediates, kernel.step == StepSource::Immediate, "{}", kernel.label);
    }
}

#[test]
fn parameters_are_laid_out_as_in_rust() {
    for kernel in catalogue::all() {
        let label = kernel.label;
        let module = parse_first(kernel);
        let (_, params) = module
            .global_variables
            .iter()
            .find(|(_, variable)| variable.name.as_deref() == Some("params"))
            .unwrap_or_else(|| panic!("{label}: no `params`"));
        let TypeInner::Struct { members, span } = &module.types[params.ty].inner else {
            panic!("{label}: `params` is no struct");
        };
        let found: Vec<_> =
            members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
        assert_eq!(found, kernel.params.fields, "{label}: fields and offsets");
        let nested =
            [("options", params::rnn::OptionsParams::LAYOUT), ("base", catalogue::optim::BaseParams::LAYOUT)];
        for (name, layout) in nested {
            let member = members.iter().find(|m| m.name.as_deref() == Some(name));
            if let Some(TypeInner::Struct { members, .. }) = member.map(|m| &module.types[m.ty].inner) {
                let found: Vec<_> =
                    members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
                assert_eq!(found, layout.fields, "{label}: fields and offsets of `{name}`");
            }
        }
        assert_eq!(*span as usize, kernel.params.size, "{label}: size");
        assert!(kernel.params.size <= MAX_UNIFORM_WINDOW, "{label}: {} bytes", kernel.params.size);
    }
}

/// The catalogue finds its kernels by their place in lists.
#[test]
fn a_recurrence_is_the_one_that_is_asked_for() {
    use catalogue::rnn::{Fetch, RecurrenceFormats, backward, forward};
    let spec = rnn_kernels::cell::CellSpec::gru();
    for rows in [Fetch::Workgroup, Fetch::Subgroup, Fetch::Held, Fetch::HeldWeights, Fetch::KeptWeights] {
        for (immediates, step) in [(false, "Uniform"), (true, "Immediate")] {
            let name = |direction, formats| format!("gru_{direction}_{formats}_{rows:?}_{step}");
            let formats = [
                (RecurrenceFormats::Single, "f32_f32"),
                (RecurrenceFormats::HalfWeights, "f16_f32"),
                (RecurrenceFormats::Half, "f16_f16"),
            ];
            for (of, text) in formats {
                assert_eq!(forward(&spec, of, rows, immediates).label, name("forward", text));
            }
            for (half, text) in [(false, "f32_f32"), (true, "f16_f16")] {
                assert_eq!(backward(&spec, half, rows, immediates).label, name("backward", text));
            }
        }
    }
}

#[test]
fn labels_are_unique() {
    let mut seen = BTreeSet::new();
    for kernel in catalogue::all() {
        assert!(seen.insert(kernel.label), "{} twice", kernel.label);
    }
}

#[test]
fn a_line_is_located_in_its_part() {
    let kernel = &catalogue::reduce::SOFTMAX;
    let source = kernel.source(&[]);
    let line = 1 + source.lines().position(|line| line.starts_with("fn softmax(")).unwrap();
    let (path, line) = kernel.locate(&[], line);
    let part = kernel.parts.iter().find(|part| part.path == path).unwrap();
    assert_eq!((path, part.text.lines().nth(line - 1)), ("reduce/softmax.wgsl", Some("fn softmax(")));
}

/// A grid may be folded into three dimensions. Only `lib/index.wgsl` turns it back into an index.
#[test]
fn no_kernel_folds_a_grid_back_by_itself() {
    for part in catalogue::all().iter().flat_map(|kernel| kernel.parts) {
        // Words of comments end in it, too, but not before the name of a component.
        let own = ["groups.x", "groups.y", "groups.z"].iter().any(|count| part.text.contains(count));
        assert!(
            !own || part.path == "lib/index.wgsl",
            "{} computes with the numbers of workgroups",
            part.path
        );
    }
}

/// Every file is part of a kernel, says what it is for, and has no directive that would only be
/// allowed at the top of a module.
#[test]
fn every_shader_file_is_used_and_has_a_header() {
    let used: BTreeSet<String> =
        catalogue::all().iter().flat_map(|kernel| kernel.parts).map(|part| part.path.to_string()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found = BTreeSet::new();
    for family in std::fs::read_dir(&root).unwrap() {
        let family = family.unwrap();
        for file in std::fs::read_dir(family.path()).unwrap() {
            let file = file.unwrap();
            let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().unwrap();
            let path = format!("{}/{}", name(&family), name(&file));
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert!(path.ends_with(".wgsl"), "{path} is no shader");
            assert!(text.starts_with("// "), "{path} has no header");
            let directive = text
                .lines()
                .find(|line| ["enable ", "requires ", "diagnostic"].iter().any(|d| line.starts_with(d)));
            assert_eq!(directive, None, "{path}");
            found.insert(path);
        }
    }
    assert_eq!(found, used, "left: files, right: parts of kernels");
}
