//! Initial values of parameters. The host computes them, so that every device starts from the same bits.

use rnn_base::error::{Error, Result};
use rnn_base::host_memory;

/// `len` values, `draw(k)` for element k, computed on all threads of the CPU backend. `op` names the request in errors.
///
/// # Errors
/// No memory.
pub fn draw(op: &'static str, len: usize, draw: impl Fn(usize) -> f32 + Sync) -> Result<Vec<f32>> {
    let mut values = host_memory::filled(op, || format!("{len} initial values"), len, 0.0)?;
    rnn_cpu::split::elements(&mut values, |first, piece| {
        for (k, value) in (first..).zip(piece) {
            *value = draw(k);
        }
    });
    Ok(values)
}

/// A random `rows` x `cols` matrix times `gain`, uniformly distributed among those whose shorter side is orthonormal.
/// `normal` is a standard normal draw per element. The bits are the same with any number of threads and on every machine.
///
/// # Errors
/// A side of zero, or no memory for the matrix and half of it once more; twice more where it has more rows than columns.
pub fn orthogonal(
    op: &'static str,
    [rows, cols]: [usize; 2],
    gain: f32,
    normal: impl Fn(usize) -> f32 + Sync,
) -> Result<Vec<f32>> {
    let (count, length) = (rows.min(cols), rows.max(cols));
    let Some(len) = count.checked_mul(length).filter(|&len| len > 0) else {
        return Err(Error::Shape {
            op,
            arg: "matrix".into(),
            expected: "[rows, columns], at least 1 each".into(),
            got: vec![rows, cols],
        });
    };
    let what = || format!("an orthogonal matrix [{rows}, {cols}]");
    let mut vectors = host_memory::filled(op, what, len, 0.0)?;
    rnn_cpu::orthogonal::orthogonal(&mut vectors, [count, length], gain, normal)?;
    if rows <= cols {
        return Ok(vectors);
    }
    let mut values = host_memory::filled(op, what, len, 0.0)?;
    rnn_cpu::split::rows(&mut values, cols, |row, values| {
        for (col, value) in values.iter_mut().enumerate() {
            *value = vectors[col * length + row];
        }
    });
    Ok(values)
}
