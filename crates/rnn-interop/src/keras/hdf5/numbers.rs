//! Numbers of every type that a file may have.

use super::datatype::{Datatype, ElementKind};

/// Decodes numbers, each through f64, which holds all but the largest integers.
///
/// # Errors
/// The elements are texts, or there is no memory for them.
pub(super) fn numbers<T>(data: &[u8], datatype: &Datatype, from: fn(f64) -> T) -> Result<Vec<T>, String> {
    let size = datatype.size;
    let decode = match datatype.kind {
        ElementKind::Float => float,
        ElementKind::Integer { signed: true } => signed,
        ElementKind::Integer { signed: false } => unsigned,
        ElementKind::Text { .. } | ElementKind::LongText => {
            return Err("expected numbers, got texts".to_string());
        }
    };
    let mut values = Vec::new();
    let count = data.len() / size;
    values.try_reserve_exact(count).map_err(|_| format!("no memory for {count} values"))?;
    values.extend(data.chunks_exact(size).map(|element| {
        let mut bits = [0; 8];
        match datatype.big_endian {
            true => element.iter().rev().zip(&mut bits).for_each(|(byte, bits)| *bits = *byte),
            false => bits[..size].copy_from_slice(element),
        }
        from(decode(u64::from_le_bytes(bits), size))
    }));
    Ok(values)
}

fn float(bits: u64, size: usize) -> f64 {
    match size {
        2 => half(bits as u16),
        4 => f32::from_bits(bits as u32).into(),
        _ => f64::from_bits(bits),
    }
}

/// The value of an f16.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        0x1f if mantissa == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

fn signed(bits: u64, size: usize) -> f64 {
    let unused = 64 - 8 * size as u32;
    ((bits << unused) as i64 >> unused) as f64
}

fn unsigned(bits: u64, _: usize) -> f64 {
    bits as f64
}
