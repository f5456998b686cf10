//! Which module imports which, read from `use` declarations, and the circles among them.

use super::files;
use super::parser::{Module, Parsed, Parser};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The first group of modules below `folder`, a folder of a crate's `src` or that itself, that import each other, directly or
/// through others. Code for tests alone does not count.
///
/// The file of a folder (`mod.rs`, `lib.rs`) is a module like any other. It imports what it re-exports, so a file that
/// takes a name from there, and not from the file that defines it, closes a circle.
pub(crate) fn import_cycle(folder: &Path) -> Option<Vec<String>> {
    cycle(&texts(folder))
}

/// The first such group among the modules directly below a crate's `src`, each taken with everything below it. Names that
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

/// The files of a crate's `src` that need each other, in groups: each needs the others of its group, directly or through
/// files between them. A file needs the one that defines a name, whichever file re-exports it. It needs what it re-exports
/// only where it names that again.
pub(crate) fn circles(source: &Path) -> Vec<Vec<String>> {
    groups(&texts(source))
}

/// The modules below `folder` that its module `name` imports, directly or through others, by their paths from `folder`.
pub(crate) fn reached(folder: &Path, name: &str) -> Vec<String> {
    let texts = texts(folder);
    let graph = graph(&texts);
    let root = texts.keys().min_by_key(|module| module.len()).expect("a module").clone();
    let start = child(&root, name);
    let mut found = reached_from(&start, &graph);
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

/// The first such group among modules with these texts.
pub(crate) fn cycle(texts: &BTreeMap<Module, String>) -> Option<Vec<String>> {
    cycle_in(&graph(texts))
}

/// What the modules say that are not for tests alone.
fn parsed(texts: &BTreeMap<Module, String>) -> BTreeMap<&Module, Parsed> {
    let mut parsed: BTreeMap<&Module, Parsed> =
        texts.iter().map(|(module, text)| (module, Parser::new(module, text).parse())).collect();
    let only_in_tests: Vec<Module> =
        parsed.values_mut().flat_map(|parsed| std::mem::take(&mut parsed.only_in_tests)).collect();
    parsed.retain(|module, _| !only_in_tests.iter().any(|tests| module.starts_with(tests)));
    parsed
}

/// Which module imports which.
fn graph(texts: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let parsed = parsed(texts);
    let known: BTreeSet<&Module> = parsed.keys().copied().collect();
    let mut graph = BTreeMap::new();
    for (&module, parsed) in &parsed {
        let targets = parsed.uses.iter().filter_map(|found| target(&found.inside, &found.path, &known));
        let targets: BTreeSet<Module> = targets.filter(|target| target != module).collect();
        graph.insert(module.clone(), targets);
    }
    graph
}

fn cycle_in(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    groups_in(graph).into_iter().next()
}

/// The modules of a graph that lead to each other, in groups.
fn groups_in(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reached_from(module, graph))).collect();
    let mut groups = BTreeSet::new();
    for (&module, others) in reached.iter().filter(|(module, others)| others.contains(*module)) {
        let group = others.iter().filter(|other| reached[*other].contains(module));
        groups.insert(group.map(|module| format!("crate::{}", module.join("::"))).collect::<Vec<_>>());
    }
    groups.into_iter().collect()
}

/// The modules that `start` leads to, directly or through others.
fn reached_from<'a>(start: &Module, graph: &'a BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let (mut found, mut next) = (BTreeSet::new(), vec![&graph[start]]);
    while let Some(modules) = next.pop() {
        next.extend(modules.iter().filter(|module| found.insert(*module)).map(|module| &graph[module]));
    }
    found
}

/// The module that `path`, written in `inside`, leads to: the longest part of the path that is one.
fn target(inside: &Module, path: &[String], known: &BTreeSet<&Module>) -> Option<Module> {
    let mut full = match path[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => inside.clone(),
        // A child by its plain name; everything else is another crate or a name in scope.
        child => {
            if !known.contains(&self::child(inside, child)) {
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

/// See [`circles`].
pub(crate) fn groups(texts: &BTreeMap<Module, String>) -> Vec<Vec<String>> {
    let definitions = Definitions { parsed: parsed(texts) };
    let modules = definitions.parsed.keys();
    groups_in(&modules.map(|&module| (module.clone(), definitions.needed(module))).collect())
}

/// Which module defines a name.
struct Definitions<'a> {
    parsed: BTreeMap<&'a Module, Parsed>,
}

/// A name is followed through so many declarations, more than any name here needs: two modules that import all of each
/// other would be followed for ever.
const DECLARATIONS: usize = 8;

impl Definitions<'_> {
    /// The modules whose definitions `module` names.
    fn needed(&self, module: &Module) -> BTreeSet<Module> {
        let parsed = &self.parsed[module];
        let uses =
            parsed.uses.iter().filter(|found| !found.is_reexport || parsed.is_named_again(&found.name));
        let of_uses = uses.map(|found| (&found.inside, &found.path));
        let of_paths = parsed.paths.iter().map(|(inside, path)| (inside, path));
        let needed = of_uses.chain(of_paths).filter_map(|(inside, path)| self.module_of(inside, path, 0));
        needed.filter(|needed| needed != module).collect()
    }

    /// The module that defines what `path`, written in `inside`, leads to. None for a module, whose names count where they
    /// are used, and for names of other crates.
    fn module_of(&self, inside: &Module, path: &[String], declarations: usize) -> Option<Module> {
        let (mut module, mut rest) = (inside.clone(), path);
        match path[0].as_str() {
            "crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            name if self.parsed.contains_key(&child(&module, name)) => {}
            // A name that a declaration of this file brings; everything else is another crate or defined here.
            name => {
                let found = self.file_of(inside).1.uses.iter().find(|found| found.name == name)?;
                return self.followed(&found.inside, &found.path, &path[1..], declarations);
            }
        }
        while let Some(name) = rest.first().filter(|name| self.parsed.contains_key(&child(&module, name))) {
            module.push(name.clone());
            rest = &rest[1..];
        }
        let name = rest.first()?;
        let (module, parsed) = self.file_of(&module);
        if parsed.definitions.contains(name) {
            return Some(module.clone());
        }
        if let Some(found) = parsed.uses.iter().find(|found| &found.name == name) {
            return self.followed(&found.inside, &found.path, &rest[1..], declarations);
        }
        let of_all = parsed.uses.iter().filter(|found| found.name == "*");
        let defines = |found: &Module| self.parsed[found].definitions.contains(name);
        let mut found =
            of_all.filter_map(|found| self.followed(&found.inside, &found.path, rest, declarations));
        found.find(defines).or_else(|| Some(module.clone()))
    }

    fn followed(
        &self,
        inside: &Module,
        path: &[String],
        rest: &[String],
        declarations: usize,
    ) -> Option<Module> {
        (declarations < DECLARATIONS)
            .then(|| self.module_of(inside, &[path, rest].concat(), declarations + 1))?
    }

    /// The file that holds a module, which may be an inline one.
    fn file_of(&self, module: &Module) -> (&Module, &Parsed) {
        let lengths = (0..=module.len()).rev();
        let mut found = lengths.filter_map(|len| self.parsed.get_key_value(&module[..len].to_vec()));
        found.next().map(|(module, parsed)| (*module, parsed)).expect("the root of the crate is a file")
    }
}

fn child(module: &Module, name: &str) -> Module {
    [module.as_slice(), &[name.to_string()]].concat()
}
