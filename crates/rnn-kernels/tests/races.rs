//! Patterns of memory access that a specification forbids or a real compiler punishes, found in naga's
//! intermediate form of every kernel and variant.

use naga::proc::TypeResolution;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Function, Module, Span, Statement, TypeInner};
use rnn_kernels::{Constants, Kernel, catalogue};
use std::collections::BTreeSet;
use std::sync::LazyLock;

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

    /// Accesses with a computed index to an array in registers. Registers cannot be indexed, so such an array is in
    /// memory of its own on a GPU: slow, and written back and read again at each access.
    fn indexed_registers(&self) -> Vec<Span> {
        let mut found = Vec::new();
        for (function, info) in self.functions() {
            for (handle, expression) in function.expressions.iter() {
                if let Expression::Access { base, .. } = *expression
                    && self.is_array_in_registers(&info[base].ty)
                {
                    found.push(function.expressions.get_span(handle));
                }
            }
        }
        found
    }

    fn is_array_in_registers(&self, of: &TypeResolution) -> bool {
        match *self.inner(of) {
            TypeInner::Array { .. } => true,
            TypeInner::Pointer { base, space: AddressSpace::Private | AddressSpace::Function } => {
                matches!(self.module.types[base].inner, TypeInner::Array { .. })
            }
            _ => false,
        }
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

/// `shaders/lib/gates_1.wgsl:28` for every span.
fn places(kernel: &Kernel, constants: Constants, source: &str, spans: &[Span]) -> Vec<String> {
    let place = |span: &Span| {
        let (path, line) = kernel.locate(constants, span.location(source).line_number as usize);
        format!("shaders/{path}:{line}")
    };
    spans.iter().map(place).collect()
}

/// What is found in the kernels of the catalogue, by place.
#[derive(Default)]
struct Found {
    component_stores: BTreeSet<String>,
    indexed_registers: BTreeSet<String>,
}

/// One pass over the catalogue for all tests, half of it on a thread of its own: it takes seconds.
static FOUND: LazyLock<Found> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| search(1));
        let mut found = search(0);
        let other = other.join().expect("the other half");
        found.component_stores.extend(other.component_stores);
        found.indexed_registers.extend(other.indexed_registers);
        found
    })
});

/// Every second kernel, from this one on.
fn search(first: usize) -> Found {
    let mut found = Found::default();
    for kernel in catalogue::all().into_iter().skip(first).step_by(2) {
        // The text depends on the number of rows alone.
        let mut seen = BTreeSet::new();
        for &constants in kernel.variants {
            let source = kernel.source(constants);
            if !seen.insert(source.clone()) {
                continue;
            }
            let checked = checked(&source);
            let stores = checked.component_stores();
            found.component_stores.extend(places(kernel, constants, &source, &stores));
            // Where a subgroup has eight lanes, registers are a CPU's.
            if !kernel.subgroups {
                let registers = checked.indexed_registers();
                found.indexed_registers.extend(places(kernel, constants, &source, &registers));
            }
        }
    }
    found
}

#[test]
fn no_kernel_stores_a_component_of_a_shared_vector() {
    let found = &FOUND.component_stores;
    assert!(found.is_empty(), "stores that may write the neighbouring components, too: {found:#?}");
}

#[test]
fn no_kernel_indexes_an_array_in_registers() {
    let found = &FOUND.indexed_registers;
    assert!(found.is_empty(), "arrays that a GPU keeps in slow memory of the invocation: {found:#?}");
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

#[test]
fn an_array_in_registers_is_found_if_its_index_is_computed() {
    let source = "\
        @group(0) @binding(0) var<storage, read_write> out: array<f32>;
        var<private> own: array<vec4<f32>, 64>;
        var<workgroup> shared_: array<f32, 8>;
        @compute @workgroup_size(8)
        fn main(@builtin(local_invocation_index) lane: u32) {
            var here: array<f32, 4>;
            own[3] = vec4(1.0);
            own[lane] = vec4(1.0);
            here[lane % 4u] = own[2][lane % 4u];
            let copy = here;
            out[lane] = copy[lane % 4u] + here[1];
            shared_[lane] = out[lane];
        }";
    assert_eq!(lines(source, Checked::indexed_registers), [8, 9, 11]);
}
