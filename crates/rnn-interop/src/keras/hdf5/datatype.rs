//! Datatypes and dataspaces: what an element is, and how many there are.

use super::bytes::Fields;

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ElementKind {
    Float,
    Integer {
        signed: bool,
    },
    /// Text of a fixed length.
    Text {
        space_padded: bool,
    },
    /// A reference to text in a global heap.
    LongText,
}

/// The type of the elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Datatype {
    pub(super) kind: ElementKind,
    /// Bytes of an element.
    pub(super) size: usize,
    pub(super) big_endian: bool,
}

/// Where the parts of a float lie: offset, precision, exponent and mantissa (location and size each), and the bias.
type FloatParts = (u16, u16, [u8; 4], u32);
const HALF: FloatParts = (0, 16, [10, 5, 0, 10], 15);
const SINGLE: FloatParts = (0, 32, [23, 8, 0, 23], 127);
const DOUBLE: FloatParts = (0, 64, [52, 11, 0, 52], 1023);

/// Reads a datatype message.
///
/// # Errors
/// The message is damaged, or a type that no weight or attribute of Keras has.
pub(super) fn datatype(data: &[u8]) -> Result<Datatype, String> {
    let cut = || "the HDF5 file is damaged: a datatype is cut off".to_string();
    let mut fields = Fields(data);
    let mut start = || Some((fields.u8()?, fields.u8()?, fields.take(2)?, fields.u32()?));
    let (class, bits, more, size) = start().ok_or_else(cut)?;
    let size = usize::try_from(size).map_err(|_| cut())?;
    let big_endian = bits & 1 != 0;
    let kind = match class & 0x0f {
        0 => integer(&mut fields, bits, size).ok_or_else(cut)??,
        1 if bits & 0x40 != 0 => return Err("the HDF5 file has floats of a VAX".to_string()),
        1 => float(&mut fields, size).ok_or_else(cut)??,
        3 => ElementKind::Text { space_padded: bits & 0x0f == 2 },
        // An enumeration, as h5py stores booleans: the values' own type comes first.
        8 => return boolean(fields.0, size),
        9 if bits & 0x0f == 1 && size == 16 => ElementKind::LongText,
        9 => {
            return Err(
                "the HDF5 file has sequences of variable length, which Keras does not write".to_string()
            );
        }
        class => {
            let bits = u32::from(bits) | u32::from(more[0]) << 8;
            return Err(format!(
                "the HDF5 file has a datatype of class {class} (bits {bits:#x}), neither number nor text"
            ));
        }
    };
    match size {
        0 => Err("the HDF5 file is damaged: a datatype has no bytes".to_string()),
        _ => Ok(Datatype { kind, size, big_endian }),
    }
}

fn integer(fields: &mut Fields, bits: u8, size: usize) -> Option<Result<ElementKind, String>> {
    let (offset, precision) = (fields.u16()?, fields.u16()?);
    if !matches!(size, 1 | 2 | 4 | 8) || offset != 0 || usize::from(precision) != 8 * size {
        return Some(Err(format!(
            "integers must fill 1, 2, 4 or 8 bytes, got {precision} bits in {size} bytes"
        )));
    }
    Some(Ok(ElementKind::Integer { signed: bits & 8 != 0 }))
}

fn float(fields: &mut Fields, size: usize) -> Option<Result<ElementKind, String>> {
    let (offset, precision) = (fields.u16()?, fields.u16()?);
    let parts = (offset, precision, [fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?], fields.u32()?);
    let expected = match size {
        2 => HALF,
        4 => SINGLE,
        8 => DOUBLE,
        _ => return Some(Err(format!("floats must have 2, 4 or 8 bytes, got {size}"))),
    };
    let wrong = || format!("floats of {size} bytes must be those of IEEE 754, got parts {parts:?}");
    Some(if parts == expected { Ok(ElementKind::Float) } else { Err(wrong()) })
}

fn boolean(base: &[u8], size: usize) -> Result<Datatype, String> {
    // No enumeration of enumerations: their nesting has no bound.
    match base.first().map(|class| class & 0x0f) {
        Some(0) => datatype(base).and_then(|base| match base.size == size {
            true => Ok(base),
            false => Err(format!("an enumeration of {size} bytes has values of {}", base.size)),
        }),
        _ => Err("the HDF5 file has an enumeration of something else than integers".to_string()),
    }
}

/// Reads a dataspace message: the dimensions, none of a scalar.
///
/// # Errors
/// The message is damaged.
pub(super) fn dims(data: &[u8]) -> Result<Vec<usize>, String> {
    let mut fields = Fields(data);
    let mut read = || {
        let (version, rank) = (fields.u8()?, fields.u8()?);
        fields.u8()?;
        let kind = fields.u8()?;
        match version {
            1 => fields.take(4).map(|_| ())?,
            2 if kind == 2 => return Some(vec![0]),
            2 => (),
            _ => return None,
        }
        (0..rank).map(|_| usize::try_from(fields.u64()?).ok()).collect()
    };
    read().ok_or_else(|| "the HDF5 file is damaged: a dataspace".to_string())
}

/// The number of elements and of their bytes.
pub(super) fn extent(dims: &[usize], datatype: &Datatype) -> Result<(usize, usize), String> {
    let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    let bytes = count.and_then(|count| count.checked_mul(datatype.size));
    count.zip(bytes).ok_or_else(|| format!("the dimensions {dims:?} are too large"))
}
