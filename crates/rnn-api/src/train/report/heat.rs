//! [`Heat`]: rows of coloured cells, such as a value of every parameter over the steps of a run.

use super::html::{escape, number, put};

/// How values become colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shades {
    /// From dark to light between two values.
    Linear(f64, f64),
    /// From dark to light between the logarithms of two values.
    Log(f64, f64),
    /// Two colours around zero, up to this size.
    Around(f64),
}

/// The number of colours of a palette; those of [`Shades::Around`] are one less, so that zero has one.
const COLOURS: usize = 16;

impl Shades {
    fn colour(&self, value: f64) -> String {
        let (share, palette, last) = match *self {
            Shades::Linear(from, to) => ((value - from) / (to - from), 'q', COLOURS - 1),
            Shades::Log(from, to) => {
                let value = value.max(f64::MIN_POSITIVE);
                ((value / from).ln() / (to / from).ln(), 'q', COLOURS - 1)
            }
            Shades::Around(size) => ((value / size + 1.0) / 2.0, 'v', COLOURS - 2),
        };
        // A share that is NaN is 0.
        format!("{palette}{}", (share.clamp(0.0, 1.0) * last as f64).round() as usize)
    }

    /// Values to write beside the colours.
    fn examples(&self) -> Vec<f64> {
        match *self {
            Shades::Linear(from, to) => (0..=4).map(|n| from + (to - from) * f64::from(n) / 4.0).collect(),
            Shades::Log(from, to) => {
                let decades = (to / from).log10().round().max(1.0) as i32;
                (0..=decades).map(|n| from * 10f64.powi(n)).collect()
            }
            Shades::Around(size) => vec![-size, -size / 2.0, 0.0, size / 2.0, size],
        }
    }
}

/// A row: its name and its values; an absent one leaves a gap.
pub(super) type Row = (String, Vec<Option<f64>>);

/// Rows of coloured cells.
#[derive(Clone, Debug)]
pub(super) struct Heat {
    pub(super) title: String,
    /// One sentence that says how to read it.
    pub(super) hint: String,
    pub(super) rows: Vec<Row>,
    /// What the columns are, and the name of each.
    pub(super) x_name: &'static str,
    pub(super) xs: Vec<String>,
    pub(super) shades: Shades,
    /// Whether rows are thin and their names short.
    pub(super) thin: bool,
}

impl Heat {
    /// Adds the rows to a page; nothing if there are none.
    pub(super) fn write(&self, out: &mut String) {
        let columns = self.rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        if columns == 0 {
            return;
        }
        let class = if self.thin { "heat thin" } else { "heat" };
        put(out, format_args!("<figure class=\"{class}\"><figcaption>{}</figcaption>", escape(&self.title)));
        if !self.hint.is_empty() {
            put(out, format_args!("<p class=\"hint\">{}</p>", escape(&self.hint)));
        }
        out.push_str("<p class=\"legend\">");
        for value in self.shades.examples() {
            put(
                out,
                format_args!(
                    "<span><b class=\"cell {}\"></b>{}</span>",
                    self.shades.colour(value),
                    number(value)
                ),
            );
        }
        let xs = serde_json::Value::from(self.xs.clone()).to_string();
        put(
            out,
            format_args!("</p><div class=\"rows\" data-x=\"{}\" data-xs=\"{}\">", self.x_name, escape(&xs)),
        );
        for row in &self.rows {
            self.row(row, columns, out);
        }
        out.push_str("</div>");
        if let (Some(first), Some(last)) = (self.xs.first(), self.xs.last()) {
            let (first, last) = (escape(first), escape(last));
            put(out, format_args!("<p class=\"ends\"><i>{first}</i><i>{}</i><i>{last}</i></p>", self.x_name));
        }
        out.push_str("</figure>");
    }

    fn row(&self, (name, values): &Row, columns: usize, out: &mut String) {
        let shown: Vec<Option<f64>> =
            values.iter().map(|value| value.filter(|value| value.is_finite())).collect();
        let text: Vec<String> = shown.iter().map(|value| value.map_or("–".into(), number)).collect();
        let (name, text) = (escape(name), escape(&text.join(" ")));
        put(
            out,
            format_args!(
                "<div class=\"row\"><span title=\"{name}\">{name}</span><svg class=\"strip\" viewBox=\"0 0 {columns} 1\" preserveAspectRatio=\"none\" data-n=\"{name}\" data-v=\"{text}\">"
            ),
        );
        let colours: Vec<Option<String>> =
            shown.iter().map(|value| value.map(|value| self.shades.colour(value))).collect();
        let mut at = 0;
        for cells in colours.chunk_by(|a, b| a == b) {
            if let Some(colour) = &cells[0] {
                // A little wider than the cells: browsers leave seams otherwise.
                let seam = if at + cells.len() < columns { 0.03 } else { 0.0 };
                put(
                    out,
                    format_args!(
                        "<path class=\"{colour}\" d=\"M{at} 0h{}v1H{at}Z\"/>",
                        cells.len() as f64 + seam
                    ),
                );
            }
            at += cells.len();
        }
        out.push_str("</svg></div>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_cover_the_range_and_stay_inside() {
        let log = Shades::Log(1e-5, 1e-1);
        assert_eq!(
            [0.0, 1e-5, 1e-3, 0.1, 7.0].map(|value| log.colour(value)),
            ["q0", "q0", "q8", "q15", "q15"]
        );
        let around = Shades::Around(2.0);
        assert_eq!([-9.0, 0.0, 1.0, 2.0].map(|value| around.colour(value)), ["v0", "v7", "v11", "v14"]);
    }

    #[test]
    fn equal_neighbours_are_one_piece_and_gaps_none() {
        let values = [Some(0.0), Some(0.0), None, Some(1.0), Some(f64::NAN)].to_vec();
        let heat = Heat {
            title: "a<b".into(),
            hint: String::new(),
            rows: vec![("w<1>".into(), values)],
            x_name: "step",
            xs: (0..5).map(|n| n.to_string()).collect(),
            shades: Shades::Linear(0.0, 1.0),
            thin: false,
        };
        let mut out = String::new();
        heat.write(&mut out);
        assert_eq!(out.matches("<path").count(), 2);
        assert!(out.contains("w&lt;1&gt;") && !out.contains("w<1>") && !out.contains("a<b"));
        assert!(out.contains("data-v=\"0 0 – 1 –\""), "{out}");
    }
}
