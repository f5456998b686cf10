//! What a person sees of a run: in terminals of several widths, at Ctrl-C, and in a file. Every run is a process of its
//! own, because the bar writes to standard error.

#[cfg(target_os = "linux")]
#[path = "progress/shown.rs"]
mod shown;
#[cfg(target_os = "linux")]
#[path = "progress/terminal.rs"]
mod terminal;

#[cfg(target_os = "linux")]
fn main() {
    shown::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("not tested: pseudo-terminals of other systems");
}
