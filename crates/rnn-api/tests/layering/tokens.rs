//! The tokens of Rust's text that matter for its structure.

/// Names, numbers, `::` and single signs, without comments and the insides of strings.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut found: Vec<String> = Vec::new();
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(name);
        let len = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + string(&rest[1..]),
            '\'' => quote(rest),
            _ if first.is_whitespace() => first.len_utf8(),
            _ if ["r", "br", "cr"].contains(&word) && after.trim_start_matches('#').starts_with('"') => {
                name + raw_string(after)
            }
            _ => {
                let len = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
                found.push(rest[..len].to_string());
                len
            }
        };
        rest = &rest[len..];
    }
    found
}

/// Length of a comment, inside which there may be others.
fn block_comment(text: &str) -> usize {
    let (mut open, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (open, at) = (open + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (open, at) = (open - 1, at + 2);
            if open == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of what is left of a string, with its closing quote.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 1)
}

/// Length of a raw string from its first `#` or quote.
fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 1;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Length of a character, or of the quote that begins a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        // The sign after the backslash may be a quote.
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
