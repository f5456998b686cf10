//! The dependency rules of docs/architecture.md, read from the sources themselves.

#[path = "layering/imports.rs"]
mod imports;
#[path = "layering/parser.rs"]
mod parser;
#[path = "layering/tokens.rs"]
mod tokens;

use imports::{circles, cycle, floor_cycle, groups, import_cycle, reached};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below `folder` with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Code of a file: comment lines do not count.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Files below `folder` whose code contains one of `words`, except below `allowed`.
fn offenders(folder: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let root = root();
    files(&root.join(folder), "rs")
        .iter()
        .filter(|path| !allowed.iter().any(|part| path.to_string_lossy().contains(part)))
        .filter(|path| words.iter().any(|word| code(path).contains(word)))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect()
}

#[test]
fn only_the_gpu_backend_names_wgpu() {
    assert_eq!(offenders("crates", &["wgpu::"], &["rnn-gpu/src/", "tests/layering.rs"]), [""; 0]);
    // The rule can fail: the GPU backend itself does name it.
    assert!(!offenders("crates/rnn-gpu/src", &["wgpu::"], &[]).is_empty());
}

/// See the comment in Cargo.toml: in development builds the kernels of the CPU would call unoptimised functions of a crate
/// that is not in the list.
#[test]
fn crates_below_the_cpu_kernels_are_optimised_in_development_builds() {
    let tree = "tree --offline -p rnn-cpu -e normal,no-proc-macro --prefix none --format {p}";
    let output = Command::new(env!("CARGO")).args(tree.split(' ')).current_dir(root()).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let below: BTreeSet<&str> = names.filter(|name| !["", "rnn-cpu"].contains(name)).collect();
    assert!(below.contains("rnn-base") && below.contains("half"), "{tree}{:?}", output.stderr);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let is_slow = |name: &&str| !manifest.contains(&format!("[profile.dev.package.{name}]\nopt-level = 2\n"));
    let missing: Vec<&str> = below.into_iter().filter(is_slow).collect();
    assert!(missing.is_empty(), "opt-level 2 in the dev profile is missing for {missing:?}");
}

#[test]
fn only_ops_match_on_the_device() {
    let words = ["on_device!", "Device::Gpu(", "Device::Cpu("];
    let allowed = ["rnn-runtime/src/ops/", "rnn-runtime/src/device.rs", "tests/"];
    assert_eq!(offenders("crates", &words, &allowed), [""; 0]);
}

/// The floors: kernels -> base -> cpu | gpu -> runtime -> api. Neither backend knows the other, ops, arrays or devices.
#[test]
fn crates_depend_downwards_only() {
    let manifest = |name: &str| fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).unwrap();
    let dependencies = |name: &str| {
        let text = manifest(name);
        let start = text.find("\n[dependencies]").expect("a [dependencies] table");
        let rest = &text[start + 1..];
        rest[..rest[1..].find("\n[").map_or(rest.len(), |end| end + 1)].to_string()
    };
    let absent = |name: &str, others: &[&str]| {
        let table = dependencies(name);
        for other in others {
            assert!(!table.contains(other), "{name} must not depend on {other}");
        }
    };
    const BACKENDS: [&str; 2] = ["rnn-cpu", "rnn-gpu"];
    const ABOVE: [&str; 3] = ["rnn-runtime", "rnn-api", "rnn-testing"];
    absent("rnn-kernels", &[&["rnn-base", "wgpu"], &BACKENDS[..], &ABOVE[..]].concat());
    absent("rnn-base", &[&["wgpu"], &BACKENDS[..], &ABOVE[..]].concat());
    absent("rnn-cpu", &[&["rnn-gpu", "wgpu"], &ABOVE[..]].concat());
    absent("rnn-gpu", &[&["rnn-cpu"], &ABOVE[..]].concat());
    absent("rnn-runtime", &["rnn-api", "rnn-testing", "wgpu"]);
    absent("rnn-api", &["rnn-base", "rnn-cpu", "rnn-gpu", "rnn-testing", "wgpu"]);
    absent(
        "rnn-interop",
        &["rnn-base", "rnn-cpu", "rnn-gpu", "rnn-runtime", "rnn-kernels", "rnn-testing", "wgpu"],
    );
    absent("rnn-testing", &["rnn-base", "rnn-cpu", "rnn-gpu", "rnn-runtime", "rnn-api", "wgpu"]);
}

#[test]
fn the_runtime_knows_no_tape_and_the_api_no_shader() {
    let words = ["Tensor", "autograd", "Optimizer"];
    for below in ["rnn-base", "rnn-cpu", "rnn-gpu", "rnn-runtime"] {
        assert_eq!(offenders(&format!("crates/{below}/src"), &words, &[]), [""; 0]);
    }
    let words = ["rnn_kernels::catalogue", "rnn_kernels::params", "rnn_kernels::grid", ".wgsl"];
    assert_eq!(offenders("crates/rnn-api/src", &words, &[]), [""; 0]);
}

/// The clocks and process ids of the standard library panic in a browser.
#[test]
fn what_panics_in_a_browser_is_not_used() {
    let words = ["std::time::Instant", "Duration, Instant", "SystemTime", "process::id", "thread::sleep"];
    for name in ["rnn-kernels", "rnn-base", "rnn-cpu", "rnn-gpu", "rnn-runtime", "rnn-api"] {
        for file in files(&root().join(format!("crates/{name}/src")), "rs") {
            let code = code(&file);
            // Tests come last in a file and do not run there.
            let code = code.split("#[cfg(test)]").next().unwrap();
            // The team of threads asks for the process only where processes fork.
            let code = code.replace("if cfg!(unix) { std::process::id() }", "");
            let code = code.replace("web_time::SystemTime", "");
            let found: Vec<_> = words.iter().filter(|word| code.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?}; web_time has clocks", file.display());
        }
    }
    // The rule can fail.
    assert!(!offenders("crates/rnn-api/tests", &words[3..], &[]).is_empty());
}

#[test]
fn rust_holds_no_shader_text() {
    let words = ["@compute", "var<storage", "@group("];
    assert_eq!(offenders("crates", &words, &["tests/"]), [""; 0]);
}

#[test]
fn top_level_shaders_are_the_crate_s_own() {
    let link = root().join("shaders").canonicalize().unwrap();
    assert_eq!(link, root().join("crates/rnn-kernels/shaders"));
}

/// Shader headers name their CPU twin; the file must exist.
#[test]
fn cpu_twins_exist() {
    let mut named = 0;
    for shader in files(&root().join("crates/rnn-kernels/shaders"), "wgsl") {
        let text = fs::read_to_string(&shader).unwrap();
        for line in text.lines().filter_map(|line| line.split("CPU twin: ").nth(1)) {
            let path = line.split_whitespace().next().unwrap().trim_end_matches([',', '.']);
            assert!(root().join(path).exists(), "{}: no {path}", shader.display());
            named += 1;
        }
    }
    assert!(named > 20, "only {named} shaders name a twin");
}

/// The recipes in `docs/adding-*.md` name files of this repository.
#[test]
fn recipes_name_files_that_exist() {
    let mut named = 0;
    for page in files(&root().join("docs"), "md") {
        let text = fs::read_to_string(&page).unwrap();
        let is_recipe = page.file_name().is_some_and(|name| name.to_string_lossy().starts_with("adding-"));
        for path in text.split('`').skip(1).step_by(2).filter(|path| is_recipe && path.starts_with("crates/"))
        {
            // NAME stands for that of what is added.
            let path = if path.contains("NAME") { path.rsplit_once('/').unwrap().0 } else { path };
            assert!(root().join(path).exists(), "{}: no {path}", page.display());
            named += 1;
        }
    }
    assert!(named > 20, "only {named} files are named");
}

/// The files below `source` that no module declares: cargo compiles none of them, and no check sees them.
fn undeclared(source: &Path) -> Vec<PathBuf> {
    let declared = |path: &Path| {
        let (mut folder, mut name) = (path.parent().unwrap(), path.file_stem().unwrap());
        if name == "mod" {
            name = folder.file_name().unwrap();
            folder = folder.parent().unwrap();
        }
        let line = format!("mod {};", name.to_string_lossy());
        let parents = [folder.join("lib.rs"), folder.join("mod.rs"), folder.with_extension("rs")];
        parents.iter().filter(|parent| parent.exists()).any(|parent| {
            code(parent).lines().any(|found| found == line || found.ends_with(&format!(" {line}")))
        })
    };
    let mut found = files(source, "rs");
    found.retain(|path| !path.ends_with("src/lib.rs") && !declared(path));
    found
}

#[test]
fn every_source_file_is_a_module() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let found: Vec<PathBuf> = crates.flat_map(|source| undeclared(&source)).collect();
    assert!(found.is_empty(), "{found:?}");
    // The rule can fail: no module declares the roots of tests.
    assert!(!undeclared(&root().join("crates/rnn-api/tests")).is_empty());
}

#[test]
fn modules_do_not_import_in_circles() {
    for folder in ["crates/rnn-api/src/optim", "crates/rnn-api/src/train"] {
        assert_eq!(import_cycle(&root().join(folder)), None, "{folder}");
    }
}

/// A tensor knows the graph of its gradients, whose leaves are parameters, which hold tensors. An opened GPU owns what records
/// its commands, its pipelines and its memory, and they need its queue and its first failure.
const ALLOWED_CIRCLES: [&[&str]; 2] = [
    &["crate::autograd", "crate::param", "crate::tensor"],
    &["crate::device", "crate::encoder", "crate::pipelines", "crate::pool"],
];

#[test]
fn files_do_not_need_each_other() {
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let mut found: Vec<_> = folders.flat_map(|source| circles(&source)).collect();
    found.retain(|group| !ALLOWED_CIRCLES.iter().any(|allowed| group.iter().eq(*allowed)));
    assert!(found.is_empty(), "{found:#?}");
}

/// What stands directly below `src` are the floors of a crate.
#[test]
fn floors_do_not_import_in_circles() {
    let crates = ["rnn-kernels", "rnn-base", "rnn-cpu", "rnn-runtime", "rnn-testing"];
    let circle = |name| Some((name, floor_cycle(&root().join(format!("crates/{name}/src")))?));
    let found: Vec<_> = crates.into_iter().filter_map(circle).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The arguments and results of a stack's passes do not know the passes, and the states that streams carry do not know the
/// trainer.
#[test]
fn shared_types_import_only_types() {
    let types = reached(&root().join("crates/rnn-runtime/src/ops/rnn"), "types");
    assert_eq!(types, ["packed", "sequences", "weights"]);
    let carried = code(&root().join("crates/rnn-api/src/carried.rs"));
    let above = ["batcher", "generate", "io", "optim", "slots", "train"];
    let found: Vec<_> = above.iter().filter(|name| carried.contains(&format!("crate::{name}"))).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(carried.contains("crate::nn::"), "imports are paths from the crate");
}

/// The trainer stands above all that it trains and stores. Only the doctor, which examines a training, and errors that name
/// its parts know it.
#[test]
fn only_the_doctor_and_errors_import_the_trainer() {
    let allowed = ["rnn-api/src/train", "rnn-api/src/doctor/", "rnn-api/src/error.rs"];
    assert_eq!(offenders("crates/rnn-api/src", &["crate::train"], &allowed), [""; 0]);
    assert!(!offenders("crates/rnn-api/src", &["crate::train"], &[]).is_empty());
}

/// The circle among modules of a folder `a` with these texts, without the names that all have in common.
fn circle(texts: &[(&str, &str)]) -> Vec<String> {
    let path =
        |name: &str| ["a", name].into_iter().filter(|name| !name.is_empty()).map(String::from).collect();
    let texts = texts.iter().map(|&(name, text)| (path(name), text.to_string())).collect();
    let found = cycle(&texts).unwrap_or_default();
    found
        .iter()
        .map(|module| module.trim_start_matches("crate::a").trim_start_matches("::").to_string())
        .collect()
}

#[test]
fn circles_are_found() {
    let b = ("b", "use crate::a::{x, c::{self, C}};");
    assert_eq!(circle(&[b, ("c", "pub(crate) use super::b::B as _;")]), ["b", "c"]);
    assert_eq!(
        circle(&[b, ("c", "use super::d::*;"), ("d", "use std::fmt; use crate::a::b::x;")]),
        ["b", "c", "d"]
    );
    // Through the file of the folder, which imports what it re-exports.
    let folder = ("", "mod b; pub use b::B;");
    assert_eq!(circle(&[folder, ("b", "mod inner { use super::super::Name; }")]), ["", "b"]);
    assert_eq!(circle(&[folder, ("b", "impl B { fn f() { use super::Name; } }")]), ["", "b"]);
}

/// The groups among modules of the folder `a` with these texts, without the names that all have in common.
fn needing_each_other(texts: &[(&str, &str)]) -> Vec<Vec<String>> {
    let path = |name: &str| name.split("::").filter(|name| !name.is_empty()).map(String::from).collect();
    let texts = texts.iter().map(|&(name, text)| (path(name), text.to_string())).collect();
    let short = |name: String| name.trim_start_matches("crate::").to_string();
    groups(&texts).into_iter().map(|group| group.into_iter().map(short).collect()).collect()
}

#[test]
fn names_are_followed_to_the_file_that_defines_them() {
    let root = ("", "mod a; mod b; pub use a::A; pub use b::*;");
    let other = |text| needing_each_other(&[root, ("a", "use crate::B; pub struct A;"), ("b", text)]);
    assert_eq!(other("pub struct B;"), [[""; 0]; 0]);
    assert_eq!(other("use super::A; pub struct B;"), [["a", "b"]]);
    assert_eq!(other("pub struct B; fn f() -> crate::A {}"), [["a", "b"]]);
    assert_eq!(other("use crate::a; pub struct B(a::A);"), [["a", "b"]]);
    assert_eq!(other("pub struct B; #[cfg(test)] mod tests { use crate::A; }"), [[""; 0]; 0]);
    // A file between two is no circle, and one that re-exports needs nothing before it names that itself.
    let face = |text| needing_each_other(&[("", text), ("c", "use crate::Sum; pub struct C;")]);
    assert_eq!(face("mod c; pub use c::C; pub struct Sum;"), [[""; 0]; 0]);
    assert_eq!(face("mod c; pub use c::C; pub struct Sum(C);"), [["", "c"]]);
    assert_eq!(face("mod c; pub struct Sum(c::C);"), [["", "c"]]);
}

#[test]
fn what_is_no_circle_is_not_found() {
    let texts = [
        ("", "mod b; pub use b::B; #[cfg(test)] mod tests;"),
        ("b", "use crate::a::c::C; #[cfg(test)] mod own { use crate::a::B; } use std::a::b; use other::c;"),
        (
            "c",
            "// use super::b;\n/* use super::b; /* */ use super::b; */ const S: &str = \"\\\"; use super::b; \";",
        ),
        (
            "d",
            "use crate::a::b::B; const C: [char; 2] = ['\"', '\\'']; fn f<'a>() {} mod inner { use super::*; }",
        ),
        ("e", "const S: &str = r#\"\"; use super::f; \"#; use super::b; #[cfg(test)] use super::f;"),
        ("f", "use self::inner::X; use super::e; mod inner { pub struct X; }"),
        ("tests", "use super::{b, tests};"),
    ];
    assert_eq!(circle(&texts), [""; 0]);
}
