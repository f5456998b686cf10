//! Arrays as `Nd4j.write` writes them: a buffer that describes the shape, then a buffer of values. A buffer is the name of
//! the allocation mode, a length, the name of the element type, and the elements; every number is big-endian.

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// In row-major order, also if the file has column-major order.
    pub values: Vec<f32>,
}

/// The most axes an array has in ND4J.
const MAX_RANK: usize = 32;

impl Array {
    /// Reads bytes that hold one array and nothing else.
    ///
    /// # Errors
    /// What is damaged, or not understood, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Input(bytes);
        let array = input.array()?;
        match input.0.len() {
            0 => Ok(array),
            left => Err(format!("{left} bytes follow the array")),
        }
    }
}

/// Big-endian fields, one after the other, as Java's `DataOutputStream` writes them.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], String> {
        let held = self.0.len();
        let cut = || format!("cut off: {what} needs {length} bytes, and {held} are left");
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        self.take(N, what)?.try_into().map_err(|_| format!("{what} does not have {N} bytes"))
    }

    pub(super) fn flag(&mut self, what: &str) -> Result<bool, String> {
        self.number::<1>(what).map(|[byte]| byte != 0)
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, String> {
        self.number(what).map(i32::from_be_bytes)
    }

    fn i64(&mut self, what: &str) -> Result<i64, String> {
        self.number(what).map(i64::from_be_bytes)
    }

    pub(super) fn f64(&mut self, what: &str) -> Result<f64, String> {
        self.number(what).map(f64::from_be_bytes)
    }

    /// A text with its length in two bytes before it.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, String> {
        let length = usize::from(u16::from_be_bytes(self.number(what)?));
        std::str::from_utf8(self.take(length, what)?).map_err(|_| format!("{what} is no text"))
    }

    /// The next array.
    pub(super) fn array(&mut self) -> Result<Array, String> {
        let view = self.buffer("the shape")?.view()?;
        let data = self.buffer("the data")?;
        view.array(&data)
    }

    fn buffer(&mut self, what: &str) -> Result<Buffer<'a>, String> {
        let mode = self.text(&format!("the allocation mode of {what}"))?;
        let long = match mode {
            "HEAP" | "DIRECT" | "JAVACPP" => false,
            "LONG_SHAPE" | "MIXED_DATA_TYPES" => true,
            _ => return Err(format!("{what} has allocation mode `{mode}`, which is not read")),
        };
        let length = if long { self.i64("a length")? } else { i64::from(self.i32("a length")?) };
        let kind = self.text(&format!("the element type of {what}"))?;
        let kind = Element::named(kind).ok_or_else(|| format!("{what} has elements `{kind}`; not read"))?;
        let bytes = usize::try_from(length).ok().and_then(|length| length.checked_mul(kind.size()));
        let bytes = bytes.ok_or_else(|| format!("{what} has {length} elements"))?;
        Ok(Buffer { kind, long, bytes: self.take(bytes, what)? })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Element {
    Int,
    Long,
    Float,
    Double,
}

impl Element {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "INT" => Element::Int,
            "LONG" => Element::Long,
            "FLOAT" => Element::Float,
            "DOUBLE" => Element::Double,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Element::Int | Element::Float => 4,
            Element::Long | Element::Double => 8,
        }
    }
}

struct Buffer<'a> {
    kind: Element,
    /// Whether lengths have 64 bits, which newer versions write.
    long: bool,
    bytes: &'a [u8],
}

impl Buffer<'_> {
    fn len(&self) -> usize {
        self.bytes.len() / self.kind.size()
    }

    /// Element `at`, rounded to the nearest `f32`.
    fn value(&self, at: usize) -> Option<f32> {
        let from = at.checked_mul(self.kind.size())?;
        let bytes = self.bytes.get(from..)?;
        Some(match self.kind {
            Element::Int => i32::from_be_bytes(*bytes.first_chunk()?) as f32,
            Element::Long => i64::from_be_bytes(*bytes.first_chunk()?) as f32,
            Element::Float => f32::from_be_bytes(*bytes.first_chunk()?),
            Element::Double => f64::from_be_bytes(*bytes.first_chunk()?) as f32,
        })
    }

    fn integers(&self) -> Option<Vec<i64>> {
        let integer = |bytes: &[u8]| match self.kind {
            Element::Int => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            Element::Long => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        };
        self.bytes.chunks_exact(self.kind.size()).map(integer).collect()
    }

    /// Rank, lengths, strides, offset, stride between elements, and order.
    fn view(&self) -> Result<View, String> {
        let held = self.len();
        if held > 2 * MAX_RANK + 4 {
            return Err(format!("the shape has {held} numbers"));
        }
        let numbers = self.integers().ok_or("the shape is not made of integers")?;
        let rank = numbers.first().and_then(|&rank| usize::try_from(rank).ok()).unwrap_or(usize::MAX);
        if rank > MAX_RANK || held != 2 * rank + 4 {
            return Err(format!("a shape of {held} numbers cannot have {:?} axes", numbers.first()));
        }
        let unsigned = |numbers: &[i64]| -> Result<Vec<usize>, String> {
            let each = numbers.iter().map(|&number| usize::try_from(number).ok());
            each.collect::<Option<_>>().ok_or_else(|| format!("negative sizes or strides: {numbers:?}"))
        };
        let (shape, strides) = (unsigned(&numbers[1..=rank])?, unsigned(&numbers[rank + 1..=2 * rank])?);
        // Newer versions keep flags in the place of the offset.
        let offset = if self.long { 0 } else { unsigned(&numbers[2 * rank + 1..][..1])?[0] };
        Ok(View { shape, strides, offset })
    }
}

/// Where the elements of an array lie in its buffer.
struct View {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl View {
    /// The elements by their strides: the order in the file may be a wrong one.
    fn array(self, data: &Buffer<'_>) -> Result<Array, String> {
        let count = self.count(data.len()).ok_or_else(|| self.outside(data.len()))?;
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let steps = index.iter().zip(&self.strides).map(|(at, stride)| at * stride);
            let value = data.value(self.offset + steps.sum::<usize>());
            values.push(value.ok_or_else(|| self.outside(data.len()))?);
            for (at, length) in index.iter_mut().zip(&self.shape).rev() {
                *at += 1;
                if *at < *length {
                    break;
                }
                *at = 0;
            }
        }
        Ok(Array { shape: self.shape, values })
    }

    /// The number of elements; `None` if they leave a buffer of `held`, or are more than it holds.
    fn count(&self, held: usize) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let (mut count, mut last) = (1usize, self.offset);
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            count = count.checked_mul(size)?;
            last = last.checked_add(stride.checked_mul(size - 1)?)?;
        }
        (last < held && count <= held).then_some(count)
    }

    fn outside(&self, held: usize) -> String {
        let View { shape, strides, offset } = self;
        format!("shape {shape:?}, strides {strides:?}, offset {offset} leave a buffer of {held} elements")
    }
}
