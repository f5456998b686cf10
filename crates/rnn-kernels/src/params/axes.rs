//! Lists of axis lengths and strides inside a uniform.

/// Highest number of axes of the strided kernels.
pub const MAX_AXES: usize = 8;

/// Axis lengths or strides: `array<vec4<u32>, 2>` in WGSL, because arrays in uniforms have
/// elements of 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Axes(pub [u32; MAX_AXES]);

impl Axes {
    /// The last axis first, so that a kernel that peels axes off an index walks upwards; the rest
    /// is `fill`. More than [`MAX_AXES`] axes are cut off, which `Shape` rules out.
    pub fn reversed(axes: &[usize], fill: u32) -> Self {
        let mut out = [fill; MAX_AXES];
        for (to, &axis) in out.iter_mut().zip(axes.iter().rev()) {
            *to = axis as u32;
        }
        Axes(out)
    }
}
