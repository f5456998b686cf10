//! The header of a `.ts` file: the lines that begin with `@`.

use crate::data::error::Problem;

/// What the header says, most of it about the lines of data.
#[derive(Default)]
pub(super) struct Header {
    pub(super) name: Option<String>,
    pub(super) declared_classes: Vec<String>,
    pub(super) dimensions: Option<usize>,
    pub(super) length: Option<usize>,
    pub(super) equal_length: bool,
    pub(super) labelled: bool,
    pub(super) target: bool,
    pub(super) times: bool,
}

impl Header {
    /// Reads a line.
    pub(super) fn read(&mut self, text: &str) -> Result<(), Problem> {
        let mut words = text.split_whitespace();
        let key = words.next().unwrap_or("").to_ascii_lowercase();
        let rest: Vec<&str> = words.collect();
        let flag = || match rest.first() {
            Some(word) if word.eq_ignore_ascii_case("true") => Ok(true),
            Some(word) if word.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Problem::format(format!("true or false after {key}"), text)),
        };
        let count = || match rest.first().and_then(|word| word.parse::<usize>().ok()) {
            Some(count) if count > 0 => Ok(Some(count)),
            _ => Err(Problem::format(format!("a positive number after {key}"), text)),
        };
        match key.as_str() {
            "@problemname" => self.name = Some(rest.join(" ")),
            "@timestamps" => self.times = flag()?,
            "@univariate" if flag()? => self.dimensions = Some(1),
            "@dimensions" | "@dimension" => self.dimensions = count()?,
            "@serieslength" => self.length = count()?,
            "@equallength" => self.equal_length = flag()?,
            "@targetlabel" => self.target = flag()?,
            "@classlabel" => {
                self.labelled = flag()?;
                self.declared_classes = rest[1..].iter().map(|label| label.to_string()).collect();
            }
            // Header fields that the values already imply, or that a reader does not need.
            _ if key.starts_with('@') => {}
            _ => return Err(Problem::format("a line that begins with @, then @data", text)),
        }
        Ok(())
    }
}
