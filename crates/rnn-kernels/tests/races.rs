//! Data races by WGSL's rules, found in naga's intermediate form of every kernel and variant.

use naga::proc::TypeResolution;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Function, Module, Span, Statement, TypeInner};
use rnn_kernels::{Constants, Kernel, catalogue};
use std::collections::BTreeSet;

/// A module with what the validator knows of the types of its expressions.
struct Checked {
    module: Module,
    info: ModuleInfo,
}

fn checked(source: &str) -> Checked {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    Checked { module, info }
}

impl Checked {
    /// Every function and entry point.
    fn functions(&self) -> impl Iterator<Item = (&Function, &FunctionInfo)> {
        let functions = self.module.functions.iter().map(|(handle, f)| (f, &self.info[handle]));
        let entries = self.module.entry_points.iter().enumerate();
        functions.chain(entries.map(|(n, entry)| (&entry.function, self.info.get_entry_point(n))))
    }

    fn inner<'a>(&'a self, of: &'a TypeResolution) -> &'a TypeInner {
        of.inner_with(&self.module.types)
    }

    /// Stores to a component of a vector in memory that invocations share. WGSL allows such a store to write the whole
    /// vector, and some compilers do, so that it races with a neighbour's store to another component.
    fn component_stores(&self) -> Vec<Span> {
        let mut found = Vec::new();
        for (function, info) in self.functions() {
            each_statement(&function.body, &mut |statement, span| {
                // Only a component of a vector has a pointer to a scalar without a type of its own. (naga refuses
                // pointers to shared memory as arguments; their type would have the address space, too.)
                if let Statement::Store { pointer, .. } = *statement
                    && let TypeInner::ValuePointer { size: None, space, .. } = *self.inner(&info[pointer].ty)
                    && is_shared(space)
                {
                    found.push(span);
                }
            });
        }
        found
    }
}

fn is_shared(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Storage { .. } | AddressSpace::WorkGroup)
}

fn each_statement(block: &naga::Block, each: &mut impl FnMut(&Statement, Span)) {
    for (statement, &span) in block.span_iter() {
        each(statement, span);
        match statement {
            Statement::Block(body) => each_statement(body, each),
            Statement::If { accept, reject, .. } => {
                each_statement(accept, each);
                each_statement(reject, each);
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    each_statement(&case.body, each);
                }
            }
            Statement::Loop { body, continuing, .. } => {
                each_statement(body, each);
                each_statement(continuing, each);
            }
            _ => {}
        }
    }
}

/// `shaders/lib/gates_1.wgsl:28` of every span.
fn places(kernel: &Kernel, constants: Constants, source: &str, spans: &[Span], into: &mut BTreeSet<String>) {
    for span in spans {
        let (path, line) = kernel.locate(constants, span.location(source).line_number as usize);
        into.insert(format!("shaders/{path}:{line}"));
    }
}

/// The places that `find` finds in the kernels of the catalogue.
fn places_in_catalogue(find: impl Fn(&Checked) -> Vec<Span>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kernel in catalogue::all() {
        // The text depends on the number of rows alone.
        let mut seen = BTreeSet::new();
        for &constants in kernel.variants {
            let source = kernel.source(constants);
            if seen.insert(source.clone()) {
                places(kernel, constants, &source, &find(&checked(&source)), &mut found);
            }
        }
    }
    found
}

#[test]
fn no_kernel_stores_a_component_of_a_shared_vector() {
    let found = places_in_catalogue(Checked::component_stores);
    assert_eq!(found, BTreeSet::new(), "stores that may write the neighbouring components, too");
}

/// Lines of a text in which a check finds something.
fn lines(source: &str, find: impl Fn(&Checked) -> Vec<Span>) -> Vec<u32> {
    let spans = find(&checked(source));
    let mut lines: Vec<u32> = spans.iter().map(|span| span.location(source).line_number).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

#[test]
fn a_store_of_a_component_is_found_through_any_chain() {
    let source = "\
        struct Deep { rows: array<array<vec4<f32>, 2>, 3>, flat: vec2<u32>, square: mat2x2<f32> }
        @group(0) @binding(0) var<storage, read_write> deep: array<Deep>;
        var<workgroup> held: array<vec3<f32>, 8>;
        var<workgroup> one: vec4<f32>;
        var<workgroup> scalars: array<f32, 8>;
        var<private> own: array<vec4<f32>, 8>;
        fn called(n: u32) {
            one[n] = 1.0;
        }
        @compute @workgroup_size(8)
        fn main(@builtin(local_invocation_index) lane: u32) {
            deep[lane].rows[1][lane % 2u][lane % 4u] = 1.0;
            held[lane][lane % 3u] += 2.0;
            let place = &held[lane];
            (*place).y = 1.0;
            for (var n = 0u; n < 2u; n++) { if lane > n { switch n { case 1u: { deep[n].flat.x = 3u; } default: {} } } }
            one = vec4(1.0);
            called(lane % 4u);
            scalars[lane] = held[lane][lane % 3u];
            own[lane][lane % 4u] = scalars[lane];
            deep[lane].rows[0][1] = own[lane];
            deep[lane].square[1] = own[lane].xy;
            var mine = own[1];
            mine[lane % 4u] = 1.0;
            held[lane] = mine.xyz;
        }";
    assert_eq!(lines(source, Checked::component_stores), [8, 12, 13, 15, 16]);
}
