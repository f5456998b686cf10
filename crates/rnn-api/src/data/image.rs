//! Images as sequences of rows, columns or patches.

use super::error::{Place, Problem};
use super::sequence::Sequence;
use crate::{Error, Result};

/// An image `[height, width, channels]`, row-major, with finite values.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    values: Vec<f32>,
    height: usize,
    width: usize,
    channels: usize,
}

impl Image {
    /// An image of these values.
    ///
    /// # Errors
    /// The number of values is not the product of the sizes, a size is 0, or a value is not finite.
    pub fn new(values: Vec<f32>, height: usize, width: usize, channels: usize) -> Result<Self> {
        let size = height.checked_mul(width).and_then(|n| n.checked_mul(channels));
        if size != Some(values.len()) || values.is_empty() {
            let expected = format!("a positive number, {height} x {width} x {channels}");
            return Err(Error::value("Image::new", "values", expected, values.len()));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            let problem = Problem::NotFinite { got: values[at].to_string() };
            return Err(problem.at(Place::default().feature(at)));
        }
        Ok(Image { values, height, width, channels })
    }

    /// One image per step of a sequence, such as the rows of a table.
    ///
    /// # Errors
    /// As [`Image::new`]; the step is named.
    pub fn from_steps(steps: &Sequence, height: usize, width: usize, channels: usize) -> Result<Vec<Self>> {
        let image = |(index, step): (usize, &[f32])| {
            Image::new(step.to_vec(), height, width, channels)
                .map_err(|error| error.located(|place| Place { sequence: Some(index), ..place }))
        };
        steps.steps().enumerate().map(image).collect()
    }

    /// Height, width and channels.
    pub fn dims(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The values, `[height, width, channels]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Rows as steps, from top to bottom: `[height, width * channels]`.
    pub fn rows(&self) -> Sequence {
        self.cut(1, self.width)
    }

    /// Columns as steps, from left to right: `[width, height * channels]`.
    pub fn columns(&self) -> Sequence {
        self.cut(self.height, 1)
    }

    /// Patches of `height x width` pixels as steps, row by row: `[patches, height * width * channels]`.
    ///
    /// # Errors
    /// The patch size does not divide the image.
    pub fn patches(&self, height: usize, width: usize) -> Result<Sequence> {
        let divides = |patch: usize, size: usize| patch > 0 && size.is_multiple_of(patch);
        if !divides(height, self.height) || !divides(width, self.width) {
            let expected = format!("sizes that divide {} x {}", self.height, self.width);
            return Err(Error::value(
                "Image::patches",
                "height, width",
                expected,
                format!("{height} x {width}"),
            ));
        }
        Ok(self.cut(height, width))
    }

    /// Patches whose size is known to divide the image.
    fn cut(&self, height: usize, width: usize) -> Sequence {
        let mut values = Vec::with_capacity(self.values.len());
        for top in (0..self.height).step_by(height) {
            for left in (0..self.width).step_by(width) {
                for y in top..top + height {
                    let start = (y * self.width + left) * self.channels;
                    values.extend_from_slice(&self.values[start..start + width * self.channels]);
                }
            }
        }
        Sequence::from_parts(values, height * width * self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_columns_and_patches() {
        // Pixel (y, x) has the channels 10 y + x and its negative.
        let values = (0..12).flat_map(|p| [(p / 3 * 10 + p % 3) as f32, -((p / 3 * 10 + p % 3) as f32)]);
        let image = Image::new(values.collect(), 4, 3, 2).unwrap();
        let rows = image.rows();
        assert_eq!((rows.len(), rows.features()), (4, 6));
        assert_eq!(rows.slice(1..2).unwrap().values(), [10.0, -10.0, 11.0, -11.0, 12.0, -12.0]);
        let columns = image.columns();
        assert_eq!((columns.len(), columns.features()), (3, 8));
        assert_eq!(columns.slice(2..3).unwrap().values(), [2.0, -2.0, 12.0, -12.0, 22.0, -22.0, 32.0, -32.0]);
        let patches = image.patches(2, 1).unwrap();
        assert_eq!((patches.len(), patches.features()), (6, 4));
        assert_eq!(patches.slice(4..5).unwrap().values(), [21.0, -21.0, 31.0, -31.0]);
        assert!(image.patches(3, 1).is_err() && image.patches(0, 1).is_err());
    }

    #[test]
    fn sizes_and_values_are_checked() {
        assert!(Image::new(vec![0.0; 5], 2, 3, 1).is_err());
        assert!(Image::new(vec![], 0, 3, 1).is_err());
        assert!(Image::new(vec![0.0, f32::NAN], 1, 2, 1).is_err());
        let steps = Sequence::with_missing(vec![0.0, 0.0, 0.0, f32::NAN], 2).unwrap();
        let error = Image::from_steps(&steps, 2, 1, 1).unwrap_err().to_string();
        assert!(error.starts_with("sequence 1, feature 1"), "{error}");
    }
}
