//! What is left of branches, in small texts and in every kernel. That kernels compute the same is seen by every test that
//! runs them.

use super::{Known, Pruned, known_constants, known_variables, specialise, specialise_text};
use rnn_kernels::{Constants, Kernel, catalogue};
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu::naga::{Block, Function, Module, Statement};

/// Entry points with the options A and N.
const TEXT: &str = include_str!("tests.wgsl");

fn pruned(entry: &str, a: bool, n: u32) -> Module {
    let module = specialise_text(TEXT, entry, &[("A", f64::from(u8::from(a))), ("N", f64::from(n))]).unwrap();
    assert_valid(&module, entry);
    module
}

#[track_caller]
fn assert_valid(module: &Module, what: &str) {
    let result = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(module);
    assert!(result.is_ok(), "{what}: {}", result.unwrap_err().into_inner());
}

/// Statements of a kind in the entry point, in blocks within blocks too.
fn count(module: &Module, is: fn(&Statement) -> bool) -> usize {
    fn in_block(block: &Block, is: fn(&Statement) -> bool) -> usize {
        let in_statement = |statement: &Statement| match statement {
            Statement::Block(block) => in_block(block, is),
            Statement::If { accept: a, reject: b, .. } | Statement::Loop { body: a, continuing: b, .. } => {
                in_block(a, is) + in_block(b, is)
            }
            Statement::Switch { cases, .. } => cases.iter().map(|case| in_block(&case.body, is)).sum(),
            _ => 0,
        };
        block.iter().map(|statement| usize::from(is(statement)) + in_statement(statement)).sum()
    }
    in_block(&module.entry_points[0].function.body, is)
}

fn branches(module: &Module) -> usize {
    count(module, |statement| matches!(statement, Statement::If { .. } | Statement::Switch { .. }))
}

fn stores_to_out(module: &Module) -> usize {
    let function = &module.entry_points[0].function;
    count(module, |statement| matches!(statement, Statement::Store { .. })) - locals_stored(function)
}

fn locals_stored(function: &Function) -> usize {
    let mut count = 0;
    super::for_each_store(&function.body, &mut |pointer, _| {
        count +=
            usize::from(matches!(function.expressions[pointer], wgpu::naga::Expression::LocalVariable(_)));
    });
    count
}

#[test]
fn known_branches_go_and_others_stay() {
    for (a, stores) in [(true, 2), (false, 3)] {
        let module = pruned("known_and_unknown", a, 0);
        assert_eq!((branches(&module), stores_to_out(&module)), (1, stores), "{a}");
    }
}

#[test]
fn a_condition_of_two_options_is_known() {
    let neither = pruned("two_options", false, 2);
    assert_eq!(branches(&neither), 0, "what `&&` stores and the branch on it go");
    assert_eq!(stores_to_out(&neither), 1);
    assert_eq!(stores_to_out(&pruned("two_options", false, 6)), 0);
    let both = pruned("two_options", true, 2);
    assert_eq!(stores_to_out(&both), 1);
    assert!(branches(&both) > 0, "i is not known");
}

#[test]
fn functions_that_nobody_calls_go() {
    assert_eq!(pruned("calls", false, 0).functions.len(), 2);
    let module = pruned("calls", true, 0);
    assert_eq!(module.functions.len(), 1);
    let (_, early) = module.functions.iter().next().unwrap();
    assert!(matches!(early.body.last(), Some(Statement::Return { .. })));
}

#[test]
fn a_switch_is_its_case() {
    let left = |n| {
        let module = pruned("switches", true, n);
        (branches(&module), stores_to_out(&module))
    };
    assert_eq!((left(1), left(2), left(7)), ((0, 1), (0, 1), (0, 2)));
    assert_eq!(left(3), (2, 4), "a case with a break of its own stays as it is");
}

#[test]
fn a_switch_in_a_loop_keeps_the_loop() {
    assert_eq!(stores_to_out(&pruned("switches_in_loops", false, 1)), 0);
    let module = pruned("switches_in_loops", true, 0);
    assert_eq!(stores_to_out(&module), 1);
    assert_eq!(count(&module, |statement| matches!(statement, Statement::Loop { .. })), 1);
}

#[test]
fn a_variable_of_the_program_is_left_alone() {
    assert!(branches(&pruned("variables", true, 0)) > 0);
}

#[test]
fn what_naga_refuses_is_an_error() {
    let refused = |text: &str, overrides: &[(&str, f64)]| {
        specialise_text(text, "two_options", overrides).expect_err("refused")
    };
    assert!(refused(&TEXT.replace("i > 1u", "i > nobody"), &[]).contains("nobody"));
    assert!(refused(&TEXT.replace("out[0] = 1u", "out[0] = 1.5"), &[]).contains("out"));
    assert!(refused(TEXT, &[("A", 1.0)]).contains('N'));
}

// Two tests, because a pass over all kernels takes seconds.
#[test]
fn no_first_variant_has_a_branch_on_a_known_condition() {
    no_branch_is_decided(|kernel| kernel.variants[0]);
}

/// It has most options.
#[test]
fn no_last_variant_has_a_branch_on_a_known_condition() {
    no_branch_is_decided(|kernel| kernel.variants[kernel.variants.len() - 1]);
}

fn no_branch_is_decided(variant: fn(&Kernel) -> Constants) {
    for kernel in catalogue::all() {
        let module = specialise(kernel, variant(kernel)).unwrap();
        assert_valid(&module, kernel.label);
        assert!(module.overrides.iter().all(|(_, value)| value.init.is_some()), "{}", kernel.label);
        let constants = known_constants(&module);
        let functions = module.functions.iter().map(|(_, function)| function);
        for function in functions.chain([&module.entry_points[0].function]) {
            let variables = known_variables(function, &constants);
            let known = Known { constants: &constants, variables, expressions: &function.expressions };
            let mut pruned = Pruned { known, changed: false };
            pruned.block(function.body.clone());
            assert!(!pruned.changed, "{}", kernel.label);
        }
    }
}
