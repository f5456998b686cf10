//! The stack machine of pickles.

use super::arena::{Arena, Id, Object, Value};
use super::call::{call, persistent};
use std::collections::HashMap;

/// Reads one pickle. Returns its value and the bytes after it.
///
/// # Errors
/// The pickle is damaged, or calls what has no meaning here.
pub(in super::super) fn read<'a>(bytes: &'a [u8], arena: &mut Arena) -> Result<(Id, &'a [u8]), String> {
    let mut machine =
        Machine { rest: bytes, arena, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let at = bytes.len() - machine.rest.len();
        let damaged = || format!("the pickle is damaged or cut off at byte {at} of {}", bytes.len());
        let code = machine.byte().ok_or_else(damaged)?;
        if code == b'.' {
            let value = machine.pop().ok_or_else(damaged)?;
            return Ok((value, machine.rest));
        }
        machine.step(code).ok_or_else(damaged)??;
    }
}

struct Machine<'a, 'b> {
    rest: &'a [u8],
    arena: &'b mut Arena,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

/// `None` where the pickle is damaged, `Some(Err)` where it is refused.
type Step = Option<Result<(), String>>;
const DONE: Step = Some(Ok(()));

impl<'a> Machine<'a, '_> {
    /// One instruction.
    fn step(&mut self, code: u8) -> Step {
        match code {
            0x80 => self.take(1).map(|_| Ok(())),
            0x95 => self.take(8).map(|_| Ok(())),
            b'(' => {
                self.marks.push(self.stack.len());
                DONE
            }
            b'0' => self.pop().map(|_| Ok(())),
            b'1' => self.marked().map(|_| Ok(())),
            b'2' => {
                let top = *self.stack.last()?;
                self.stack.push(top);
                DONE
            }
            b'N' | b'F' | b'G' | b'I' | b'J' | b'K' | b'M' | b'L' | 0x88..=0x8b => self.number(code),
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => self.text(code),
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.memo(code),
            b']' | b'l' | b')' | b't' | 0x85..=0x87 | 0x8f | 0x91 | b'}' | b'd' => self.collection(code),
            b'a' | b'e' | 0x90 | b's' | b'u' => self.extend(code),
            _ => self.object(code),
        }
    }

    fn number(&mut self, code: u8) -> Step {
        let value = match code {
            b'N' => Value::Other,
            b'F' => {
                self.line()?;
                Value::Other
            }
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            b'I' => match self.line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                text => Value::Int(text.trim().parse().ok()?),
            },
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'L' => self.line()?.trim_end_matches('L').parse().map_or(Value::Other, Value::Int),
            0x88 | 0x89 => Value::Bool(code == 0x88),
            _ => {
                let length = match code {
                    0x8a => usize::from(self.byte()?),
                    _ => self.length::<4>()?,
                };
                long(self.take(length)?)
            }
        };
        self.push(value)
    }

    fn text(&mut self, code: u8) -> Step {
        let length = match code {
            b'S' | b'V' => {
                let text = self.line()?.trim_matches(['\'', '"']).to_string();
                return self.push(Value::Text(text));
            }
            b'U' | 0x8c | b'C' => self.length::<1>()?,
            b'T' | b'X' | b'B' => self.length::<4>()?,
            _ => self.length::<8>()?,
        };
        let bytes = self.take(length)?;
        self.push(match code {
            b'B' | b'C' | 0x8e | 0x96 => Value::Other,
            // Texts of Python 2 are bytes. Names of tensors are plain in both.
            _ => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        })
    }

    fn memo(&mut self, code: u8) -> Step {
        let index = match code {
            b'g' | b'p' => self.line()?.trim().parse().ok()?,
            b'h' | b'q' => self.byte()?.into(),
            0x94 => self.memo.len() as u64,
            _ => u32::from_le_bytes(self.array()?).into(),
        };
        match code {
            b'g' | b'h' | b'j' => self.stack.push(*self.memo.get(&index)?),
            _ => {
                let top = *self.stack.last()?;
                self.memo.insert(index, top);
            }
        }
        DONE
    }

    fn collection(&mut self, code: u8) -> Step {
        let value = match code {
            b']' | b')' | 0x8f => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b'd' => Value::Dict(pairs(&self.marked()?)?),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(code - 0x84))?;
                Value::List(self.split(at)?)
            }
            _ => Value::List(self.marked()?),
        };
        self.push(value)
    }

    /// Puts values into the collection below them.
    fn extend(&mut self, code: u8) -> Step {
        let values = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let at = self.stack.len().checked_sub(2)?;
                self.split(at)?
            }
            _ => self.marked()?,
        };
        match (self.arena.get_mut(*self.stack.last()?), code) {
            (Value::List(items), b'a' | b'e' | 0x90) => items.extend(values),
            (Value::Dict(items), b's' | b'u') => items.extend(pairs(&values)?),
            (Value::Object(object), b's' | b'u') => object.items.extend(pairs(&values)?),
            // A subclass of a list, or what no tensor depends on.
            (Value::Object(_) | Value::Other, _) => {}
            _ => return None,
        }
        DONE
    }

    fn object(&mut self, code: u8) -> Step {
        let result = match code {
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                return self.push(Value::Global(name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = format!("{}.{}", self.arena.text(module)?, self.arena.text(name)?);
                return self.push(Value::Global(name));
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                call(self.arena, function, arguments)
            }
            // NEWOBJ, NEWOBJ_EX
            0x81 | 0x92 => {
                let given = self.pop()?;
                let arguments = if code == 0x92 { self.pop()? } else { given };
                let class = self.pop()?;
                self.instance(class, arguments)?
            }
            // INST, OBJ
            b'i' => {
                self.line()?;
                self.line()?;
                self.marked()?;
                Ok(self.arena.add(Value::Object(Object::default())))
            }
            b'o' => {
                self.marked()?;
                Ok(self.arena.add(Value::Object(Object::default())))
            }
            b'b' => return self.build(),
            b'Q' => {
                let id = self.pop()?;
                persistent(self.arena, id)
            }
            _ => return None,
        };
        Some(result.map(|id| self.stack.push(id)))
    }

    /// An instance of a class. The classes of Python's own dicts are dicts.
    fn instance(&mut self, class: Id, arguments: Id) -> Option<Result<Id, String>> {
        let Value::Global(name) = self.arena.get(class) else { return None };
        Some(match name.as_str() {
            "collections.OrderedDict" => call(self.arena, class, arguments),
            _ => Ok(self.arena.add(Value::Object(Object::default()))),
        })
    }

    fn build(&mut self) -> Step {
        let state = self.pop()?;
        // An OrderedDict has `_metadata`, a tensor its hooks: neither has a meaning here.
        if let Value::Object(object) = self.arena.get_mut(*self.stack.last()?) {
            object.state = Some(state);
        }
        DONE
    }

    fn push(&mut self, value: Value) -> Step {
        let id = self.arena.add(value);
        self.stack.push(id);
        DONE
    }

    /// Values do not reach below the last mark.
    fn pop(&mut self) -> Option<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        (self.stack.len() > floor).then(|| self.stack.pop())?
    }

    /// The values above the last mark.
    fn marked(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }

    fn split(&mut self, at: usize) -> Option<Vec<Id>> {
        (at >= self.marks.last().copied().unwrap_or(0)).then(|| self.stack.split_off(at))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length of N bytes.
    fn length<const N: usize>(&mut self) -> Option<usize> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    }

    fn line(&mut self) -> Option<&'a str> {
        let end = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(self.take(end)?).ok()?;
        self.take(1)?;
        Some(line.trim_end_matches('\r'))
    }
}

/// A two's complement integer of any length.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match bytes.len() {
        0..=8 => wide[..bytes.len()].copy_from_slice(bytes),
        // Nothing that is that large is a size.
        _ => return Value::Other,
    }
    Value::Int(i64::from_le_bytes(wide))
}

fn pairs(values: &[Id]) -> Option<Vec<(Id, Id)>> {
    let (pairs, rest) = values.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
