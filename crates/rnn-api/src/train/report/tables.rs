//! The model, and the settings with which to repeat a run.

use super::history::History;
use super::html::{breakable, escape, grouped, put, shortened};

/// The most rows of the table of parameters.
const MOST: usize = 200;
/// The most settings.
const MOST_SETTINGS: usize = 300;
/// The most characters of a setting.
const LONGEST: usize = 2000;

pub(super) fn write(run: &History, out: &mut String) {
    model(run, out);
    let settings = run.settings();
    out.push_str("<section><h2>Settings</h2><div class=\"scroll\"><table>");
    for (name, value) in settings.iter().take(MOST_SETTINGS) {
        put(
            out,
            format_args!(
                "<tr><th>{}</th><td>{}</td></tr>",
                breakable(&shortened(name, 200)),
                escape(&shortened(value, LONGEST))
            ),
        );
    }
    out.push_str("</table></div></section>");
}

fn model(run: &History, out: &mut String) {
    let shapes = &run.start.shapes;
    if shapes.is_empty() {
        return;
    }
    let total = grouped(run.start.num_parameters as u64);
    put(
        out,
        format_args!(
            "<section><h2>Model</h2><details{}><summary>{total} parameters in {} arrays</summary><div class=\"scroll\"><table><tr><th>array</th><th>dimensions</th><th class=\"n\">parameters</th></tr>",
            if shapes.len() <= 16 { " open" } else { "" },
            shapes.len()
        ),
    );
    for (name, dims) in shapes.iter().take(MOST) {
        let text: Vec<String> = dims.iter().map(usize::to_string).collect();
        let count = dims.iter().fold(1u64, |count, dim| count.saturating_mul(*dim as u64));
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                escape(name),
                text.join(" × "),
                grouped(count)
            ),
        );
    }
    out.push_str("</table></div>");
    if shapes.len() > MOST {
        put(out, format_args!("<p class=\"soft\">{} further arrays are left out.</p>", shapes.len() - MOST));
    }
    out.push_str("</details></section>");
}
