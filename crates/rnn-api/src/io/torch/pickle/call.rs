//! Calls in a pickle.

use super::arena::{Arena, Id, Object, Storage, TensorData, Value};

/// Functions whose result is their first argument here.
const FIRST: [&str; 3] = [
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.jit._pickle.restore_type_tag",
];

/// Functions whose result no tensor depends on.
const IGNORED: [&str; 9] = [
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.slice",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "torch.device",
    "torch.Size",
];

/// The result of calling `function`.
///
/// # Errors
/// A function that has no meaning here: reading goes no further, because its result could be a tensor.
pub(super) fn call(arena: &mut Arena, function: Id, arguments: Id) -> Result<Id, String> {
    let Value::Global(name) = arena.get(function) else {
        return Err("the pickle calls something that has no name".to_string());
    };
    let name = name.clone();
    let given = arena.list(arguments).unwrap_or_default().to_vec();
    let damaged = || format!("the arguments of `{name}` are not those of torch.save");
    match name.as_str() {
        "collections.OrderedDict" | "collections.defaultdict" | "builtins.dict" => {
            let items = ordered(arena, &given);
            Ok(arena.add(Value::Dict(items)))
        }
        "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset" => {
            let items = given.first().and_then(|&items| arena.list(items)).unwrap_or_default().to_vec();
            Ok(arena.add(Value::List(items)))
        }
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
            let tensor = tensor(arena, &given, None).ok_or_else(damaged)?;
            Ok(arena.add(Value::Tensor(tensor)))
        }
        "torch._utils._rebuild_tensor_v3" => {
            let kind = given.get(6).map(|&kind| arena.get(kind));
            let Some(Value::Global(kind)) = kind else { return Err(damaged()) };
            let tensor = tensor(arena, &given, Some(kind.clone())).ok_or_else(damaged)?;
            Ok(arena.add(Value::Tensor(tensor)))
        }
        "torch._tensor._rebuild_from_type_v2" => {
            // (function, type, arguments, state): a tensor of a subclass.
            let [function, _, arguments, ..] = given[..] else { return Err(damaged()) };
            call(arena, function, arguments)
        }
        _ if FIRST.contains(&&*name) => given.first().copied().ok_or_else(damaged),
        _ if IGNORED.contains(&&*name) || name.starts_with("torch.jit._pickle.") => {
            Ok(arena.add(Value::Other))
        }
        _ if name == "copyreg._reconstructor" || name == "copy_reg._reconstructor" || is_class(&name) => {
            Ok(arena.add(Value::Object(Object::default())))
        }
        _ => {
            Err(format!("the pickle calls `{name}`, which is no part of a state dict; nothing was executed"))
        }
    }
}

/// Names of classes start with a capital. An instance of one is data.
fn is_class(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with(|first: char| first.is_uppercase()))
}

/// The pairs that an `OrderedDict` was pickled with by protocols 0 and 1.
fn ordered(arena: &Arena, given: &[Id]) -> Vec<(Id, Id)> {
    let pairs = given.first().and_then(|&pairs| arena.list(pairs)).unwrap_or_default();
    pairs.iter().filter_map(|&pair| Some((*arena.list(pair)?.first()?, *arena.list(pair)?.get(1)?))).collect()
}

/// (storage, offset, size, stride, ...)
fn tensor(arena: &Arena, given: &[Id], kind: Option<String>) -> Option<TensorData> {
    let [storage, offset, dims, strides, ..] = *given else { return None };
    let Value::Storage(storage) = arena.get(storage) else { return None };
    let mut storage = storage.clone();
    // The storage has no type then.
    if let Some(kind) = kind {
        storage.kind = kind;
    }
    let (dims, strides) = (arena.sizes(dims)?, arena.sizes(strides)?);
    (dims.len() == strides.len()).then_some(TensorData {
        storage,
        offset: arena.size(offset)?,
        dims,
        strides,
    })
}

/// ("storage", type, key, location, length, ...)
pub(super) fn persistent(arena: &mut Arena, id: Id) -> Result<Id, String> {
    let read = || {
        let [tag, kind, key, ..] = *arena.list(id)? else { return None };
        let (Some("storage"), Value::Global(kind)) = (arena.text(tag), arena.get(kind)) else { return None };
        // Views of storages, which torch wrote before 0.4, were always null since.
        let kind = kind.rsplit('.').next()?.to_string();
        Some(Storage { key: arena.text(key)?.to_string(), kind })
    };
    let storage = read().ok_or("a persistent id of the pickle is no storage of torch.save")?;
    Ok(arena.add(Value::Storage(storage)))
}
