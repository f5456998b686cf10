//! Reports: what a page shows of a live run and of a log, also if files are damaged or absent. A report does not change the
//! results of a run.

#[path = "report/folder.rs"]
mod folder;
#[path = "report/live.rs"]
mod live;
#[path = "report/logs.rs"]
mod logs;
#[path = "report/results.rs"]
mod results;

/// What every page must be: one file that asks for no other, small, and with everything closed that it opens.
pub(crate) fn check_page(page: &str) {
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</body></html>\n"));
    for word in
        ["http:", "https:", "//cdn", " src=", "@import", "url(", "<link", "fetch(", "XMLHttp", "import("]
    {
        assert!(!page.contains(word), "a page must load nothing: {word}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("width=device-width"));
    for tag in
        ["main", "section", "figure", "table", "svg", "script", "style", "details", "div", "p", "b", "span"]
    {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        let closed = page.matches(&format!("</{tag}>")).count();
        assert_eq!(opened, closed, "<{tag}>");
    }
    // Numbers that are not finite have no place in a drawing.
    for word in ["NaN%", "NaN ", "inf%", "MNaN", "LNaN", "Minf", "Linf"] {
        assert!(!page.contains(word), "{word}");
    }
}
