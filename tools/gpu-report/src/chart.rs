//! A chart of one curve as SVG, both axes logarithmic.

use std::fmt::Write;

const SIZE: [f64; 2] = [520.0, 340.0];
const CORNER: [f64; 2] = [70.0, 40.0];
const PLANE: [f64; 2] = [420.0, 230.0];

/// The chart of positive points in rising order of x; `None` with fewer than two.
pub fn svg(title: &str, [x_name, y_name]: [&str; 2], points: &[[f64; 2]]) -> Option<String> {
    if points.len() < 2 || points.iter().flatten().any(|&value| !(value > 0.0 && value.is_finite())) {
        return None;
    }
    let range = |axis: usize| {
        let each = points.iter().map(|point| point[axis].log10());
        let [low, high] =
            [each.clone().fold(f64::INFINITY, f64::min), each.fold(f64::NEG_INFINITY, f64::max)];
        [low, high.max(low + 0.1)]
    };
    let ranges = [range(0), range(1)];
    let at =
        |axis: usize, value: f64| (value.log10() - ranges[axis][0]) / (ranges[axis][1] - ranges[axis][0]);
    let place = |[x, y]: [f64; 2]| [CORNER[0] + PLANE[0] * at(0, x), CORNER[1] + PLANE[1] * (1.0 - at(1, y))];
    let [width, height] = SIZE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"22\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    let line: Vec<String> =
        points.iter().map(|&point| place(point)).map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    for &point in points {
        let ([x, y], [_, value]) = (place(point), point);
        let bottom = CORNER[1] + PLANE[1] + 18.0;
        let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f5fa8\"/>");
        let _ =
            writeln!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.4}</text>", y - 8.0);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>", point[0]);
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n<text x=\"16\" y=\"38\">{}</text>\n</svg>",
        CORNER[0] + PLANE[0] / 2.0,
        height - 12.0,
        escape(x_name),
        escape(y_name)
    );
    Some(out)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
