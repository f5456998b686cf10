//! What a file of Rust says about modules: its `use` declarations, other paths, and what it defines.

use super::tokens::tokens;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A module by its names from the root of the crate.
pub(crate) type Module = Vec<String>;

/// A `use` declaration of one name.
pub(crate) struct Use {
    /// The module that it stands in.
    pub(crate) inside: Module,
    pub(crate) path: Vec<String>,
    /// The name that it brings, `*` for all.
    pub(crate) name: String,
    /// Whether others can take the name from here.
    pub(crate) is_reexport: bool,
}

/// What a file says about modules.
#[derive(Default)]
pub(crate) struct Parsed {
    pub(crate) uses: Vec<Use>,
    /// Other paths of two or more names, with the module that they stand in.
    pub(crate) paths: Vec<(Module, Vec<String>)>,
    /// Names that the file defines, at any depth.
    pub(crate) definitions: BTreeSet<String>,
    /// Files that are compiled for tests alone.
    pub(crate) only_in_tests: Vec<Module>,
    /// How often each name stands in the file.
    counts: BTreeMap<String, usize>,
}

impl Parsed {
    /// Whether a name that a declaration brings stands in the file a second time.
    pub(crate) fn is_named_again(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 1)
    }
}

const DEFINES: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];

pub(crate) struct Parser {
    tokens: Vec<String>,
    at: usize,
    /// The module of the file and the inline ones around the current token, with the braces open at their start.
    inside: Module,
    inline: Vec<usize>,
    /// Tokens of modules for tests alone.
    skipped: Vec<Range<usize>>,
    parsed: Parsed,
}

impl Parser {
    pub(crate) fn new(module: &Module, text: &str) -> Self {
        let (tokens, inside) = (tokens(text), module.clone());
        Parser { tokens, at: 0, inside, inline: Vec::new(), skipped: Vec::new(), parsed: Parsed::default() }
    }

    fn is(&self, offset: usize, token: &str) -> bool {
        self.tokens.get(self.at + offset).is_some_and(|found| found == token)
    }

    pub(crate) fn parse(mut self) -> Parsed {
        let (mut braces, mut for_tests) = (0, false);
        while self.at < self.tokens.len() {
            if let Some(len) = self.test_attribute() {
                for_tests = true;
                self.at += len;
            } else if self.is(0, "mod") && (self.is(2, "{") || self.is(2, ";")) {
                self.declaration(braces, for_tests);
                braces += usize::from(!for_tests && self.is(0, "{"));
                self.at += 1;
                for_tests = false;
            } else if self.is(0, "use") && !self.is(1, "<") {
                // A visibility ends in a parenthesis where it has one.
                let is_reexport = self.at > 0 && ["pub", ")"].contains(&self.tokens[self.at - 1].as_str());
                self.at += 1;
                let before = self.parsed.uses.len();
                self.tree(&[], is_reexport);
                self.parsed.uses.truncate(if for_tests { before } else { usize::MAX });
                for_tests = false;
            } else if self.is(1, "::") && is_name(&self.tokens[self.at]) {
                self.path();
            } else {
                if DEFINES.contains(&self.tokens[self.at].as_str()) && self.at + 1 < self.tokens.len() {
                    self.parsed.definitions.insert(self.tokens[self.at + 1].clone());
                }
                match self.tokens[self.at].as_str() {
                    "{" => braces += 1,
                    "}" => {
                        braces -= 1;
                        if self.inline.pop_if(|open| *open == braces).is_some() {
                            self.inside.pop();
                        }
                    }
                    ";" => for_tests = false,
                    _ => {}
                }
                self.at += 1;
            }
        }
        let in_tests = |at: usize| self.skipped.iter().any(|skipped| skipped.contains(&at));
        for (_, token) in self.tokens.into_iter().enumerate().filter(|(at, _)| !in_tests(*at)) {
            *self.parsed.counts.entry(token).or_default() += 1;
        }
        self.parsed
    }

    /// The tokens of an attribute that says that the next item is for tests alone.
    fn test_attribute(&self) -> Option<usize> {
        let starts = |tokens: &[&str]| tokens.iter().enumerate().all(|(n, token)| self.is(n, token));
        if starts(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            return Some(7);
        }
        starts(&["#", "[", "cfg", "(", "all", "(", "test"])
            .then(|| 1 + self.tokens[self.at..].iter().take_while(|token| *token != "]").count())
    }

    /// `mod name` and what comes next, `;` or `{`, on which it stops; on the last brace of a module for tests.
    fn declaration(&mut self, braces: usize, for_tests: bool) {
        let name = self.tokens[self.at + 1].clone();
        self.at += 2;
        match (self.is(0, ";"), for_tests) {
            (true, true) => self.parsed.only_in_tests.push([self.inside.as_slice(), &[name]].concat()),
            (true, false) => {}
            (false, true) => self.skip_block(),
            (false, false) => {
                self.inside.push(name);
                self.inline.push(braces);
            }
        }
    }

    /// From an opening brace to the one that closes it.
    fn skip_block(&mut self) {
        let (start, mut open) = (self.at, 0);
        loop {
            open += usize::from(self.is(0, "{"));
            open -= usize::from(self.is(0, "}"));
            if open == 0 || self.at == self.tokens.len() {
                self.skipped.push(start..self.at);
                return;
            }
            self.at += 1;
        }
    }

    /// A path of two or more names outside of a `use`.
    fn path(&mut self) {
        let mut path = vec![self.tokens[self.at].clone()];
        while self.is(1, "::") && self.tokens.get(self.at + 2).is_some_and(|token| is_name(token)) {
            self.at += 2;
            path.push(self.tokens[self.at].clone());
        }
        self.at += if self.is(1, "::") { 2 } else { 1 };
        self.parsed.paths.push((self.inside.clone(), path));
    }

    /// What stands after `use`: a path, whose last part may be a list of such in braces.
    fn tree(&mut self, prefix: &[String], is_reexport: bool) {
        let mut path = prefix.to_vec();
        let mut alias = None;
        while let Some(token) = self.tokens.get(self.at).cloned() {
            match token.as_str() {
                "{" => {
                    while !self.is(0, "}") {
                        self.at += 1;
                        if !self.is(0, "}") {
                            self.tree(&path, is_reexport);
                        }
                    }
                    self.at += 1;
                    return;
                }
                ";" | "," | "}" => break,
                "as" => {
                    self.at += 1;
                    alias = self.tokens.get(self.at).cloned();
                }
                "::" => {}
                "*" => alias = Some(token),
                _ => path.push(token),
            }
            self.at += 1;
        }
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        if let Some(last) = path.last() {
            let name = alias.unwrap_or_else(|| last.clone());
            self.parsed.uses.push(Use { inside: self.inside.clone(), path, name, is_reexport });
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
