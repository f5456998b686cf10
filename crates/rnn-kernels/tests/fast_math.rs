//! Metal compiles shaders with fast math: its compiler may assume that no float is NaN or infinite, and drop what would
//! only matter then. No shader may ask a float for that. Tests for NaN and infinity read the bits as integers
//! (`is_nan`, `is_finite_` of `lib/math.wgsl`), and bounds of searches are finite numbers (`LOWEST`, `IMPOSSIBLE`).
//!
//! Vulkan lets a compiler drop NaN where a value is a minimum or a maximum, also one that is written as a comparison and
//! a selection. NVIDIA's does. So functions that bound a value look at its bits (`or_nan`), or only take numbers.

use naga::{BinaryOperator, Expression, Function, Handle, Literal, Module, ScalarKind, UnaryOperator};
use rnn_kernels::catalogue;
use std::collections::BTreeSet;

/// What the functions of a module ask of floats.
fn problems_of(source: &str, module: &Module) -> BTreeSet<String> {
    let flags = naga::valid::ValidationFlags::empty();
    let capabilities = naga::valid::Capabilities::all();
    let info = naga::valid::Validator::new(flags, capabilities).validate(module).unwrap();
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(n, entry)| (&entry.function, info.get_entry_point(n)));
    let mut found = BTreeSet::new();
    for (function, info) in functions.chain(entries) {
        let name = function.name.as_deref().unwrap_or("entry point");
        let is_float = |handle: Handle<Expression>| {
            let scalar = info[handle].ty.inner_with(&module.types).scalar();
            scalar.is_some_and(|scalar| scalar.kind == ScalarKind::Float)
        };
        for (handle, expression) in function.expressions.iter() {
            // naga writes `a || b` with a negation of its own.
            let range = function.expressions.get_span(handle).to_range();
            let negated = range.is_some_and(|range| source[range].starts_with('!'));
            if let Some(problem) = problem(module, function, expression, negated, &is_float) {
                found.insert(format!("{name}: {problem}"));
            }
        }
        let takes_numbers = OF_NUMBERS.iter().any(|&(known, _)| known == name);
        if !takes_numbers && !asks_for_nan(module, function) {
            let bound = |(_, expression)| bounds(function, expression, &is_float);
            found.extend(function.expressions.iter().find_map(bound).map(|what| format!("{name}: {what}")));
        }
        if ["is_nan", "is_finite_"].contains(&name) && !reads_bits(function) {
            found.insert(format!("{name}: does not read the bits"));
        }
    }
    found
}

/// Functions that take a minimum or a maximum of numbers, and why no NaN reaches them or matters.
const OF_NUMBERS: [(&str, &str); 8] = [
    ("larger", "its callers compare numbers, or add a term that is NaN too"),
    ("smaller", "as larger"),
    ("row_max", "its result is subtracted from the values, which stay NaN"),
    ("gradient", "nothing is written where a gradient is not finite"),
    ("squarable", "as gradient"),
    ("barrier", "a kernel of the calibration, whose numbers are 0 to 1"),
    ("product", "as barrier"),
    ("read_all", "as barrier"),
];

/// Whether a function looks for NaN.
fn asks_for_nan(module: &Module, function: &Function) -> bool {
    function.expressions.iter().any(|(_, expression)| match expression {
        Expression::CallResult(called) => {
            ["is_nan", "or_nan"].contains(&module.functions[*called].name.as_deref().unwrap_or_default())
        }
        _ => false,
    })
}

/// Whether an expression is a minimum or a maximum of floats.
fn bounds(
    function: &Function,
    expression: &Expression,
    is_float: &dyn Fn(Handle<Expression>) -> bool,
) -> Option<&'static str> {
    use naga::MathFunction::{Clamp, Max, Min};
    match *expression {
        Expression::Math { fun: Min | Max | Clamp, arg, .. } if is_float(arg) => Some("may drop NaN"),
        Expression::Select { condition, accept, reject } if is_float(accept) => {
            match function.expressions[condition] {
                Expression::Binary { op, left, right }
                    if is_ordering(op)
                        && [[accept, reject], [reject, accept]]
                            .iter()
                            .any(|&[a, b]| same(function, left, a) && same(function, right, b)) =>
                {
                    Some("selects between what it compares, which may drop NaN")
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// What an expression asks of a float that a compiler may take for granted.
fn problem(
    module: &Module,
    function: &Function,
    expression: &Expression,
    negated: bool,
    is_float: &dyn Fn(Handle<Expression>) -> bool,
) -> Option<&'static str> {
    match *expression {
        Expression::Relational { fun, .. } => {
            use naga::RelationalFunction::{IsInf, IsNan};
            matches!(fun, IsInf | IsNan).then_some("asks a float whether it is NaN or infinite")
        }
        Expression::Binary { op, left, right } if is_float(left) => match op {
            _ if is_comparison(op) && same(function, left, right) => Some("compares a float with itself"),
            _ if is_comparison(op)
                && [left, right].iter().any(|&side| made_of_bits(module, function, side)) =>
            {
                Some("compares with a float made of bits, such as an infinity")
            }
            BinaryOperator::Divide if is_zero(function, right) => Some("divides by zero"),
            _ => None,
        },
        // `!(x <= y)` is true for NaN and otherwise `x > y`.
        Expression::Unary { op: UnaryOperator::LogicalNot, expr } if negated => {
            match function.expressions[expr] {
                Expression::Binary { op, left, .. } if is_ordering(op) && is_float(left) => {
                    Some("negates an ordering of floats")
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_ordering(op: BinaryOperator) -> bool {
    use BinaryOperator::{Greater, GreaterEqual, Less, LessEqual};
    matches!(op, Less | LessEqual | Greater | GreaterEqual)
}

fn is_comparison(op: BinaryOperator) -> bool {
    is_ordering(op) || matches!(op, BinaryOperator::Equal | BinaryOperator::NotEqual)
}

/// Whether two expressions are the same value: one expression, or loads of one place.
fn same(function: &Function, a: Handle<Expression>, b: Handle<Expression>) -> bool {
    let all = &function.expressions;
    match (&all[a], &all[b]) {
        _ if a == b => true,
        (Expression::GlobalVariable(a), Expression::GlobalVariable(b)) => a == b,
        (Expression::LocalVariable(a), Expression::LocalVariable(b)) => a == b,
        (Expression::FunctionArgument(a), Expression::FunctionArgument(b)) => a == b,
        (&Expression::Load { pointer: a }, &Expression::Load { pointer: b }) => same(function, a, b),
        (&Expression::Access { base: a, index: i }, &Expression::Access { base: b, index: j }) => {
            same(function, a, b) && same(function, i, j)
        }
        (&Expression::AccessIndex { base: a, index: i }, &Expression::AccessIndex { base: b, index: j }) => {
            i == j && same(function, a, b)
        }
        _ => false,
    }
}

/// Whether a float is a bit pattern: a bitcast, or what `from_bits` returns.
fn made_of_bits(module: &Module, function: &Function, handle: Handle<Expression>) -> bool {
    match function.expressions[handle] {
        Expression::CallResult(called) => module.functions[called].name.as_deref() == Some("from_bits"),
        Expression::As { kind: ScalarKind::Float, convert: None, .. } => true,
        _ => false,
    }
}

fn is_zero(function: &Function, handle: Handle<Expression>) -> bool {
    matches!(
        function.expressions[handle],
        Expression::Literal(Literal::F32(0.0) | Literal::AbstractFloat(0.0)) | Expression::ZeroValue(_)
    )
}

/// Whether a function looks at the bits of its argument and compares no floats.
fn reads_bits(function: &Function) -> bool {
    let is_bitcast = |expression: &Expression| {
        matches!(expression, Expression::As { kind: ScalarKind::Uint, convert: None, .. })
    };
    function.expressions.iter().any(|(_, expression)| is_bitcast(expression))
}

#[test]
fn no_shader_asks_a_float_whether_it_is_nan_or_infinite() {
    let mut problems = BTreeSet::new();
    for kernel in catalogue::all() {
        let source = kernel.source(kernel.variants[0]);
        for problem in problems_of(&source, &naga::front::wgsl::parse_str(&source).unwrap()) {
            problems.insert(format!("{}: {problem}", kernel.label));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Each pattern is found.
#[test]
fn patterns_are_found() {
    for (body, words) in [
        ("return x != x;", "itself"),
        ("var y = x; return y == y;", "itself"),
        ("return a[i] != a[i];", "itself"),
        ("return !(x <= 1.0);", "negates"),
        ("var bits = 0x7f800000u; return x == bitcast<f32>(bits);", "made of bits"),
        ("return x > from_bits(0x7f800000u);", "made of bits"),
        ("var zero = 0.0; return x > zero && 1.0 / 0.0 * x > 0.0;", "zero"),
        ("return max(x, 0.5) > 1.0;", "drop NaN"),
        ("return clamp(vec2(x), vec2(0.0), vec2(1.0)).x > 1.0;", "drop NaN"),
        ("return select(x, a[0], x < a[0]) > 1.0;", "selects"),
        ("let low = 2.0; return select(low, x, x >= low) > 1.0;", "selects"),
    ] {
        let source = format!(
            "@group(0) @binding(0) var<storage, read> a: array<f32>;\n\
             fn from_bits(value: u32) -> f32 {{ var bits = value; return bitcast<f32>(bits); }}\n\
             fn test(x: f32, i: u32) -> bool {{ {body} }}\n"
        );
        let module = match naga::front::wgsl::parse_str(&source) {
            Ok(module) => module,
            // The front end refuses constants that are not finite by itself.
            Err(error) => {
                assert!(words == "zero", "{body}: {}", error.message());
                continue;
            }
        };
        let found = problems_of(&source, &module);
        assert!(found.iter().any(|problem| problem.contains(words)), "{body}: {found:?}");
    }
    for body in [
        "return is_nan(x);",
        "return x < 1.0 || x >= 2.0 || !is_nan(x);",
        "return a[i] != a[i + 1u];",
        "return select(max(x, 0.0), x, is_nan(x)) > 1.0 && max(i, 1u) > 0u;",
    ] {
        let source = format!(
            "@group(0) @binding(0) var<storage, read> a: array<f32>;\n\
             fn is_nan(x: f32) -> bool {{ return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }}\n\
             fn test(x: f32, i: u32) -> bool {{ {body} }}\n"
        );
        let found = problems_of(&source, &naga::front::wgsl::parse_str(&source).unwrap());
        assert!(found.is_empty(), "{body}: {found:?}");
    }
}
