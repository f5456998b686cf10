//! [`Chart`]: lines over the steps of a run as SVG. Labels are HTML beside it, so that the drawing can take any width and
//! the text keeps its size.

use super::curve::Curve;
use super::html::{escape, number, put};
use super::scale::Scale;

/// A line of a chart. A value that is not finite interrupts it.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    /// Which of the colours, and which pattern of dashes.
    pub(super) colour: usize,
    pub(super) dashes: usize,
    pub(super) points: Vec<(f64, f64)>,
    /// Smallest and largest value around each point; may be empty.
    pub(super) band: Vec<(f64, f64)>,
    /// Where values were not finite.
    pub(super) bad: Vec<f64>,
    /// Whether the values jump from step to step: a moving average is drawn over them.
    pub(super) noisy: bool,
}

impl Line {
    /// Means of the curve; with the range of the values around them, if wanted.
    pub(super) fn of(name: impl Into<String>, colour: usize, curve: &Curve, band: bool) -> Self {
        let point = |bucket: &super::curve::Bucket| (bucket.middle(), bucket.mean().unwrap_or(f64::NAN));
        let buckets = curve.buckets();
        let range = |bucket: &super::curve::Bucket| match bucket.count {
            0 => (f64::NAN, f64::NAN),
            _ => (bucket.min, bucket.max),
        };
        let wide = band && buckets.iter().any(|bucket| bucket.count > 1);
        Line {
            name: name.into(),
            colour,
            dashes: 0,
            points: buckets.iter().map(point).collect(),
            band: if wide { buckets.iter().map(range).collect() } else { Vec::new() },
            bad: buckets.iter().filter(|bucket| bucket.bad > 0).map(|bucket| bucket.middle()).collect(),
            noisy: false,
        }
    }

    pub(super) fn noisy(self) -> Self {
        Line { noisy: true, ..self }
    }

    /// The mean of the points around each, with those of the same side alone at the ends.
    fn smooth(&self) -> Vec<(f64, f64)> {
        let reach = self.points.len() / (2 * AVERAGES) + 1;
        let around = |n: usize| {
            let reach = reach.min(n).min(self.points.len() - 1 - n);
            let finite = self.points[n - reach..=n + reach].iter().filter(|point| point.1.is_finite());
            let (sum, count) = finite.fold((0.0, 0.0), |(sum, count), point| (sum + point.1, count + 1.0));
            (self.points[n].0, sum / count)
        };
        (0..self.points.len()).map(around).collect()
    }

    pub(super) fn dashed(self, dashes: usize) -> Self {
        Line { dashes, ..self }
    }
}

/// A point to point out.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) at: (f64, f64),
}

/// Lines over a common axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    /// One sentence that says how to read it.
    pub(super) hint: String,
    pub(super) x_name: &'static str,
    pub(super) lines: Vec<Line>,
    /// Horizontal lines.
    pub(super) levels: Vec<(String, f64)>,
    pub(super) marks: Vec<Mark>,
    /// Whether the axis begins at 0.
    pub(super) from_zero: bool,
    /// A logarithmic axis where the largest value is this many times the smallest.
    pub(super) log_from: f64,
}

/// The drawing's own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;
/// Lines with at most this many points have dots.
const FEW: usize = 40;
/// Independent values of a moving average.
const AVERAGES: usize = 20;

/// The two axes.
struct Axes {
    x: Scale,
    y: Scale,
}

impl Axes {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        // Far outside, browsers lose precision.
        let y = self.y.place(y).clamp(-1.0, 2.0);
        (self.x.place(x) * WIDTH, (1.0 - y) * HEIGHT)
    }

    /// The position of a point from the lower left corner of the area, in percent of its width and height.
    fn percent(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let place = (100.0 * self.x.place(x), 100.0 * self.y.place(y));
        let inside = |share: f64| (-0.5..=100.5).contains(&share);
        (inside(place.0) && inside(place.1)).then_some(place)
    }
}

impl Chart {
    /// The axes; `None` if there is nothing to draw.
    fn axes(&self) -> Option<Axes> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let levels = self.levels.iter().map(|level| level.1);
        let values = points().map(|point| point.1).chain(levels);
        let y = Scale::fitting(values.chain(self.from_zero.then_some(0.0)), self.log_from)?;
        let (first, last) = points()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), &(x, _)| (first.min(x), last.max(x)));
        (first <= last).then(|| Axes { x: Scale::exact(first, last), y })
    }

    /// Adds the chart to a page; nothing if there is nothing to draw.
    pub(super) fn write(&self, out: &mut String) {
        let Some(axes) = self.axes() else { return };
        put(out, format_args!("<figure class=\"chart\"><figcaption>{}", escape(&self.title)));
        if axes.y.is_log() {
            out.push_str(" <small>logarithmic</small>");
        }
        out.push_str("</figcaption>");
        if !self.hint.is_empty() {
            put(out, format_args!("<p class=\"hint\">{}</p>", escape(&self.hint)));
        }
        self.legend(out);
        out.push_str("<div class=\"plot\"><div class=\"ys\">");
        for tick in axes.y.ticks(5) {
            put(
                out,
                format_args!("<i style=\"bottom:{:.1}%\">{}</i>", 100.0 * axes.y.place(tick), number(tick)),
            );
        }
        put(
            out,
            format_args!(
                "</div><div class=\"area\" data-x=\"{}\" data-h=\"{}\">",
                self.x_name,
                escape(&self.hover(&axes))
            ),
        );
        self.drawing(&axes, out);
        self.dots(&axes, out);
        out.push_str("</div><div class=\"xs\">");
        for tick in axes.x.ticks(7) {
            put(
                out,
                format_args!("<i style=\"left:{:.1}%\">{}</i>", 100.0 * axes.x.place(tick), number(tick)),
            );
        }
        put(out, format_args!("</div></div><p class=\"xname\">{}</p></figure>", self.x_name));
    }

    fn legend(&self, out: &mut String) {
        out.push_str("<p class=\"legend\">");
        for line in &self.lines {
            let (colour, dashes, name) = (line.colour, line.dashes, escape(&line.name));
            put(
                out,
                format_args!(
                    "<span><svg class=\"key\" viewBox=\"0 0 24 8\"><path class=\"l c{colour} d{dashes}\" d=\"M0 4H24\"/></svg>{name}</span>"
                ),
            );
        }
        for (name, value) in &self.levels {
            put(
                out,
                format_args!(
                    "<span><svg class=\"key\" viewBox=\"0 0 24 8\"><path class=\"level\" d=\"M0 4H24\"/></svg>{} {}</span>",
                    escape(name),
                    number(*value)
                ),
            );
        }
        for mark in &self.marks {
            put(
                out,
                format_args!(
                    "<span><b class=\"dot best c{}\"></b>{}</span>",
                    mark.colour,
                    escape(&mark.name)
                ),
            );
        }
        if self.lines.iter().any(|line| !line.bad.is_empty()) {
            out.push_str("<span><b class=\"bad\">×</b>not finite</span>");
        }
        out.push_str("</p>");
    }

    fn drawing(&self, axes: &Axes, out: &mut String) {
        put(
            out,
            format_args!(
                "<svg class=\"drawing\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path class=\"grid\" d=\""
            ),
        );
        for tick in axes.y.ticks(5) {
            put(out, format_args!("M0 {:.1}H{WIDTH}", (1.0 - axes.y.place(tick)) * HEIGHT));
        }
        out.push_str("\"/>");
        for line in &self.lines {
            band(line, axes, out);
        }
        for (_, value) in &self.levels {
            put(
                out,
                format_args!("<path class=\"level\" d=\"M0 {:.1}H{WIDTH}\"/>", axes.at((0.0, *value)).1),
            );
        }
        for line in &self.lines {
            let raw = if line.noisy && line.points.len() > FEW { " raw" } else { "" };
            put(out, format_args!("<path class=\"l c{} d{}{raw}\" d=\"", line.colour, line.dashes));
            path(line.points.iter().copied(), axes, out);
            out.push_str("\"/>");
            if line.noisy && line.points.len() > FEW {
                put(out, format_args!("<path class=\"l c{}\" d=\"", line.colour));
                path(line.smooth().into_iter(), axes, out);
                out.push_str("\"/>");
            }
        }
        out.push_str("</svg>");
    }

    /// What must not be stretched with the drawing.
    fn dots(&self, axes: &Axes, out: &mut String) {
        let mut dot = |class: &str, text: &str, at: Option<(f64, f64)>| {
            if let Some((x, y)) = at {
                put(
                    out,
                    format_args!("<b class=\"{class}\" style=\"left:{x:.2}%;bottom:{y:.2}%\">{text}</b>"),
                );
            }
        };
        for line in &self.lines {
            let few = line.points.len() <= FEW;
            for &point in line.points.iter().filter(|point| few && point.1.is_finite()) {
                dot(&format!("dot c{}", line.colour), "", axes.percent(point));
            }
            for &x in &line.bad {
                dot("bad", "×", Some((100.0 * axes.x.place(x), 2.0)));
            }
        }
        for mark in &self.marks {
            dot(&format!("dot best c{}", mark.colour), "", axes.percent(mark.at));
        }
    }

    /// The values as JSON, for those who point at them: for every line its name, colour, places and values.
    fn hover(&self, axes: &Axes) -> String {
        let lines = self.lines.iter().map(|line| {
            let points: Vec<_> = line.points.iter().filter(|point| point.1.is_finite()).collect();
            let places: Vec<f64> = points.iter().map(|point| rounded(axes.x.place(point.0))).collect();
            let xs: Vec<f64> = points.iter().map(|point| point.0.round()).collect();
            let values: Vec<f64> = points.iter().map(|point| rounded(point.1)).collect();
            serde_json::json!({ "n": line.name, "c": line.colour, "p": places, "x": xs, "v": values })
        });
        serde_json::Value::Array(lines.collect()).to_string()
    }
}

/// Five significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

fn path(points: impl Iterator<Item = (f64, f64)>, axes: &Axes, out: &mut String) {
    let mut pen = 'M';
    for (x, y) in points {
        if y.is_finite() {
            let (x, y) = axes.at((x, y));
            put(out, format_args!("{pen}{x:.1} {y:.1}"));
            pen = 'L';
        } else {
            pen = 'M';
        }
    }
}

/// The range of the values, drawn where it is finite.
fn band(line: &Line, axes: &Axes, out: &mut String) {
    let all: Vec<(f64, (f64, f64))> =
        line.points.iter().map(|point| point.0).zip(line.band.iter().copied()).collect();
    for part in all.split(|(_, (low, _))| !low.is_finite()).filter(|part| part.len() > 1) {
        put(out, format_args!("<path class=\"band c{}\" d=\"", line.colour));
        path(part.iter().map(|&(x, (low, _))| (x, low)), axes, out);
        for &(x, (_, high)) in part.iter().rev() {
            let (x, y) = axes.at((x, high));
            put(out, format_args!("L{x:.1} {y:.1}"));
        }
        out.push_str("Z\"/>");
    }
}
