//! Kernels for one set of constants, without the branches that the constants rule out.
//!
//! The text of a kernel has the code of every option, behind `if` and `switch` on override constants. A driver inlines
//! all functions before it drops such branches: most of the time of its front end went into code that never runs. Here
//! the branches go before the driver sees them.

use rnn_kernels::Kernel;
use std::collections::HashMap;
use wgpu::naga::back::PipelineConstants;
use wgpu::naga::back::pipeline_constants::process_overrides;
use wgpu::naga::compact::{KeepUnused, compact};
use wgpu::naga::front::wgsl;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu::naga::{
    Arena, Block, Constant, Expression, Function, Handle, Literal, LocalVariable, Module, ShaderStage, Span,
    Statement, SwitchCase, SwitchValue, UnaryOperator,
};

/// The module of `kernel` for these constants. Override declarations are left only as the lengths of arrays, with their
/// values.
///
/// # Errors
/// What naga says of a text or of constants that it refuses.
pub fn specialise(kernel: &Kernel, constants: &[(&str, f64)]) -> Result<Module, String> {
    let overrides = kernel.overrides(constants);
    specialise_text(&kernel.source(constants), kernel.entry, &overrides)
}

fn specialise_text(text: &str, entry: &str, overrides: &[(&str, f64)]) -> Result<Module, String> {
    let module = wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    // What the device lacks is refused where the pipeline is made.
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(text))?;
    let values: PipelineConstants =
        overrides.iter().map(|&(name, value)| (name.to_string(), value)).collect();
    let (module, _) = process_overrides(&module, &info, Some((ShaderStage::Compute, entry)), &values)
        .map_err(|error| error.to_string())?;
    let mut module = module.into_owned();
    prune(&mut module);
    Ok(module)
}

/// Replaces branches on known conditions by what they choose, and drops what nothing uses then.
fn prune(module: &mut Module) {
    let constants = known_constants(module);
    for (_, function) in module.functions.iter_mut() {
        prune_function(function, &constants);
    }
    for entry in &mut module.entry_points {
        prune_function(&mut entry.function, &constants);
    }
    compact(module, KeepUnused::No);
}

type KnownConstants = HashMap<Handle<Constant>, Literal>;
type KnownVariables = HashMap<Handle<LocalVariable>, Literal>;

/// The constants that are single literals.
fn known_constants(module: &Module) -> KnownConstants {
    let literal = |constant: &Constant| match module.global_expressions[constant.init] {
        Expression::Literal(literal) => Some(literal),
        _ => None,
    };
    module.constants.iter().filter_map(|(handle, constant)| Some((handle, literal(constant)?))).collect()
}

fn prune_function(function: &mut Function, constants: &KnownConstants) {
    // A branch that goes can settle the value of a variable, and this the next branch.
    loop {
        let variables = known_variables(function, constants);
        let known = Known { constants, variables, expressions: &function.expressions };
        let mut pruned = Pruned { known, changed: false };
        function.body = pruned.block(std::mem::take(&mut function.body));
        if !pruned.changed {
            break;
        }
    }
    // `compact` keeps every expression that has a name.
    function.named_expressions.clear();
}

/// The variables without a name to which the same literal is stored everywhere. naga turns `a && b` into such a
/// variable, which two branches store to before it is read.
fn known_variables(function: &Function, constants: &KnownConstants) -> KnownVariables {
    let known = Known { constants, variables: HashMap::new(), expressions: &function.expressions };
    let mut stored = HashMap::new();
    for_each_store(&function.body, &mut |pointer, value| {
        if let Expression::LocalVariable(variable) = function.expressions[pointer] {
            let value = known.value(value);
            let all = stored.entry(variable).or_insert(value);
            *all = all.filter(|&all| Some(all) == value);
        }
    });
    let is_unnamed = |handle: Handle<LocalVariable>| {
        let variable = &function.local_variables[handle];
        variable.name.is_none() && variable.init.is_none()
    };
    let settled = stored.into_iter().filter_map(|(variable, value)| Some((variable, value?)));
    settled.filter(|&(variable, _)| is_unnamed(variable)).collect()
}

/// Calls `each` with pointer and value of every store of a block and the blocks in it.
fn for_each_store(block: &Block, each: &mut impl FnMut(Handle<Expression>, Handle<Expression>)) {
    for statement in block {
        match statement {
            Statement::Store { pointer, value } => each(*pointer, *value),
            Statement::Block(block) => for_each_store(block, each),
            Statement::If { accept: first, reject: second, .. }
            | Statement::Loop { body: first, continuing: second, .. } => {
                for_each_store(first, each);
                for_each_store(second, each);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| for_each_store(&case.body, each)),
            _ => {}
        }
    }
}

/// What is known of the expressions of a function.
struct Known<'a> {
    constants: &'a KnownConstants,
    variables: KnownVariables,
    expressions: &'a Arena<Expression>,
}

impl Known<'_> {
    fn value(&self, handle: Handle<Expression>) -> Option<Literal> {
        match self.expressions[handle] {
            Expression::Literal(literal) => Some(literal),
            Expression::Constant(constant) => self.constants.get(&constant).copied(),
            Expression::Load { pointer } => match self.expressions[pointer] {
                Expression::LocalVariable(variable) => self.variables.get(&variable).copied(),
                _ => None,
            },
            Expression::Unary { op: UnaryOperator::LogicalNot, expr } => match self.value(expr)? {
                Literal::Bool(value) => Some(Literal::Bool(!value)),
                _ => None,
            },
            _ => None,
        }
    }

    fn bool(&self, handle: Handle<Expression>) -> Option<bool> {
        match self.value(handle)? {
            Literal::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// What a `switch` does, if its selector is known and nothing else in it leaves it.
    fn chosen(&self, selector: Handle<Expression>, cases: &[SwitchCase]) -> Option<Block> {
        let value = match self.value(selector)? {
            Literal::U32(value) => SwitchValue::U32(value),
            Literal::I32(value) => SwitchValue::I32(value),
            _ => return None,
        };
        let of = |value| cases.iter().position(|case| case.value == value);
        let first = of(value).or_else(|| of(SwitchValue::Default))?;
        // `case 1u, 2u: {..}` is a case without a body that falls through to the next.
        let case = cases[first..].iter().find(|case| !case.fall_through || !case.body.is_empty())?;
        let mut body = case.body.clone();
        if let Some(Statement::Break) = body.last() {
            body.cull(body.len() - 1..);
        }
        (!case.fall_through && !leaves_switch(&body)).then_some(body)
    }
}

/// Whether a block has a `break` that belongs to the `switch` around it.
fn leaves_switch(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Break => true,
        Statement::Block(block) => leaves_switch(block),
        Statement::If { accept, reject, .. } => leaves_switch(accept) || leaves_switch(reject),
        _ => false,
    })
}

/// Blocks without the branches that are not taken.
struct Pruned<'a> {
    known: Known<'a>,
    changed: bool,
}

impl Pruned<'_> {
    fn block(&mut self, block: Block) -> Block {
        let mut pruned = Block::with_capacity(block.len());
        for (statement, span) in block.span_into_iter() {
            self.push(&mut pruned, statement, span);
            // A branch that is always taken can end the block before its last statement.
            if pruned.last().is_some_and(ends_block) {
                break;
            }
        }
        pruned
    }

    fn push(&mut self, to: &mut Block, statement: Statement, span: Span) {
        let statement = match statement {
            Statement::Block(block) => Statement::Block(self.block(block)),
            Statement::If { condition, accept, reject } => match self.known.bool(condition) {
                Some(holds) => return self.splice(to, if holds { accept } else { reject }),
                None => Statement::If { condition, accept: self.block(accept), reject: self.block(reject) },
            },
            Statement::Switch { selector, mut cases } => match self.known.chosen(selector, &cases) {
                Some(body) => return self.splice(to, body),
                None => {
                    cases.iter_mut().for_each(|case| case.body = self.block(std::mem::take(&mut case.body)));
                    Statement::Switch { selector, cases }
                }
            },
            Statement::Loop { body, continuing, break_if } => {
                Statement::Loop { body: self.block(body), continuing: self.block(continuing), break_if }
            }
            other => other,
        };
        to.push(statement, span);
    }

    /// Puts the statements of a block in the place of the branch that chose them.
    fn splice(&mut self, to: &mut Block, block: Block) {
        self.changed = true;
        to.append(&mut self.block(block));
    }
}

fn ends_block(statement: &Statement) -> bool {
    matches!(statement, Statement::Return { .. } | Statement::Break | Statement::Continue | Statement::Kill)
}

#[cfg(test)]
mod tests;
