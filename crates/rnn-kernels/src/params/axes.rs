//! Lists of axis lengths and strides inside a uniform.

/// Most axes of the strided kernels.
pub const MAX_AXES: usize = 8;

/// Axis lengths or strides: `array<vec4<u32>, 2>` in WGSL, because array elements in uniforms are multiples
/// of 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Axes(pub [u32; MAX_AXES]);

impl Axes {
    /// The last axis first, so that a kernel that splits an index into axes counts upwards; the unused
    /// entries are `fill`. Axes beyond [`MAX_AXES`] are cut off; `Shape` does not allow so many.
    pub fn reversed(axes: &[usize], fill: u32) -> Self {
        let mut out = [fill; MAX_AXES];
        for (to, &axis) in out.iter_mut().zip(axes.iter().rev()) {
            *to = axis as u32;
        }
        Axes(out)
    }
}
