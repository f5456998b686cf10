//! Which module imports which, read from `use` declarations, and the circles among them.

use super::{files, tokens::tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by its names from the root of the crate.
type Module = Vec<String>;

/// The first circle among the modules below `folder`, a folder of a crate's `src` or that itself: each imports the next
/// one and the last the first. Code for tests alone does not count.
///
/// The file of a folder (`mod.rs`, `lib.rs`) is a module like any other. It imports what it re-exports, so a file that
/// takes a name from there, and not from the file that defines it, closes a circle.
pub(crate) fn import_cycle(folder: &Path) -> Option<Vec<String>> {
    cycle(&texts(folder))
}

/// The first circle among the modules directly below a crate's `src`, each taken with everything below it. Names that
/// the root of the crate re-exports do not count.
pub(crate) fn floor_cycle(source: &Path) -> Option<Vec<String>> {
    let mut floors: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    let floor = |module: &Module| module.first().map(|name| vec![name.clone()]);
    for (module, targets) in graph(&texts(source)) {
        let Some(from) = floor(&module) else { continue };
        let targets = targets.iter().filter_map(floor).filter(|to| *to != from);
        floors.entry(from.clone()).or_default().extend(targets);
    }
    cycle_in(&floors)
}

/// The modules below `folder` that its module `name` imports, directly or through others, by their paths from `folder`.
pub(crate) fn reached(folder: &Path, name: &str) -> Vec<String> {
    let texts = texts(folder);
    let graph = graph(&texts);
    let root = texts.keys().min_by_key(|module| module.len()).expect("a module").clone();
    let start = [root.as_slice(), &[name.to_string()]].concat();
    let (mut found, mut next) = (BTreeSet::new(), vec![start.clone()]);
    while let Some(module) = next.pop() {
        next.extend(graph[&module].iter().filter(|to| found.insert((*to).clone())).cloned());
    }
    found.remove(&start);
    found.iter().map(|module| module[root.len()..].join("::")).collect()
}

/// The texts of the modules below a folder.
fn texts(folder: &Path) -> BTreeMap<Module, String> {
    let source = folder.ancestors().find(|path| path.ends_with("src")).expect("a folder in `src`");
    let files = files(folder, "rs").into_iter();
    let text = |path: std::path::PathBuf| {
        (module(path.strip_prefix(source).unwrap()), fs::read_to_string(&path).unwrap())
    };
    files.map(text).collect()
}

/// The module that a file of `src` holds.
fn module(file: &Path) -> Module {
    let names = file.with_extension("");
    let mut names: Module = names.iter().map(|name| name.to_str().unwrap().to_string()).collect();
    names.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    names
}

/// The first circle among modules with these texts.
pub(crate) fn cycle(texts: &BTreeMap<Module, String>) -> Option<Vec<String>> {
    cycle_in(&graph(texts))
}

/// Which module imports which.
fn graph(texts: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let parsed: BTreeMap<&Module, Parsed> =
        texts.iter().map(|(module, text)| (module, Parser::new(module, text).parse())).collect();
    let only_in_tests: BTreeSet<&Module> = parsed.values().flat_map(|parsed| &parsed.only_in_tests).collect();
    let is_counted = |module: &Module| !only_in_tests.iter().any(|tests| module.starts_with(tests));
    let known: BTreeSet<&Module> = texts.keys().filter(|module| is_counted(module)).collect();
    let mut graph = BTreeMap::new();
    for (&module, parsed) in parsed.iter().filter(|(module, _)| known.contains(**module)) {
        let targets = parsed.uses.iter().filter_map(|(inside, path)| target(inside, path, &known));
        let targets: BTreeSet<Module> = targets.filter(|target| target != module).collect();
        graph.insert(module.clone(), targets);
    }
    graph
}

fn cycle_in(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    let found = graph.keys().find_map(|start| visit(start, graph, &mut Vec::new(), &mut done))?;
    Some(found.iter().map(|module| format!("crate::{}", module.join("::"))).collect())
}

/// Depth first: a module that is met again on the way to it closes a circle.
fn visit(
    module: &Module,
    graph: &BTreeMap<Module, BTreeSet<Module>>,
    path: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(first) = path.iter().position(|on_path| on_path == module) {
        return Some(path[first..].to_vec());
    }
    if done.contains(module) {
        return None;
    }
    path.push(module.clone());
    let found = graph[module].iter().find_map(|next| visit(next, graph, path, done));
    path.pop();
    done.insert(module.clone());
    found
}

/// The module that `path`, written in `inside`, leads to: the longest part of the path that is one.
fn target(inside: &Module, path: &[String], known: &BTreeSet<&Module>) -> Option<Module> {
    let mut full = match path[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => inside.clone(),
        // A child by its plain name; everything else is another crate or a name in scope.
        child => {
            let child = [inside.as_slice(), &[child.to_string()]].concat();
            if !known.contains(&child) {
                return None;
            }
            inside.clone()
        }
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => {
                full.pop();
            }
            name => full.push(name.to_string()),
        }
    }
    while !known.contains(&full) {
        full.pop()?;
    }
    Some(full)
}

/// What a file says about modules.
#[derive(Default)]
struct Parsed {
    /// Every path of a `use` declaration, with the module that it stands in.
    uses: Vec<(Module, Vec<String>)>,
    /// Files that are compiled for tests alone.
    only_in_tests: Vec<Module>,
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
    /// The module of the file and the inline ones around the current token, with the braces open at their start.
    inside: Module,
    inline: Vec<usize>,
    parsed: Parsed,
}

impl Parser {
    fn new(module: &Module, text: &str) -> Self {
        let (tokens, inside) = (tokens(text), module.clone());
        Parser { tokens, at: 0, inside, inline: Vec::new(), parsed: Parsed::default() }
    }

    fn is(&self, offset: usize, token: &str) -> bool {
        self.tokens.get(self.at + offset).is_some_and(|found| found == token)
    }

    fn parse(mut self) -> Parsed {
        let (mut braces, mut for_tests) = (0, false);
        while self.at < self.tokens.len() {
            let test = ["#", "[", "cfg", "(", "test", ")", "]"];
            if (0..test.len()).all(|n| self.is(n, test[n])) {
                for_tests = true;
                self.at += test.len();
            } else if self.is(0, "mod") && (self.is(2, "{") || self.is(2, ";")) {
                self.declaration(braces, for_tests);
                braces += usize::from(!for_tests && self.is(0, "{"));
                self.at += 1;
                for_tests = false;
            } else if self.is(0, "use") && !self.is(1, "<") {
                self.at += 1;
                let before = self.parsed.uses.len();
                self.tree(&[]);
                self.parsed.uses.truncate(if for_tests { before } else { usize::MAX });
                for_tests = false;
            } else {
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
        self.parsed
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
        let mut open = 0;
        loop {
            open += usize::from(self.is(0, "{"));
            open -= usize::from(self.is(0, "}"));
            if open == 0 || self.at == self.tokens.len() {
                return;
            }
            self.at += 1;
        }
    }

    /// What stands after `use`: a path, whose last part may be a list of such in braces.
    fn tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        while let Some(token) = self.tokens.get(self.at).cloned() {
            match token.as_str() {
                "{" => {
                    while !self.is(0, "}") {
                        self.at += 1;
                        if !self.is(0, "}") {
                            self.tree(&path);
                        }
                    }
                    self.at += 1;
                    return;
                }
                ";" | "," | "}" => break,
                "as" => self.at += 1,
                "::" | "*" => {}
                _ => path.push(token),
            }
            self.at += 1;
        }
        if !path.is_empty() {
            self.parsed.uses.push((self.inside.clone(), path));
        }
    }
}
