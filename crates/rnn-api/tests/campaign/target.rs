//! A target of the campaign, and how long and with which inputs it runs.

use crate::mutate::mutated;
use libtest_mimic::{Failed, Trial};
use rnn_testing::data::SplitMix64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most time for one input.
pub(crate) const SLOW: Duration = Duration::from_secs(10);

/// Something that takes bytes from outside.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Inputs that are valid.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Whether checksums refuse nearly all mutations.
    pub(crate) has_checksums: bool,
    /// Reads a file and checks what came of it; whether it was accepted. It must not panic.
    pub(crate) run: fn(&Path) -> bool,
}

/// Seconds for every target.
pub(crate) fn seconds() -> f64 {
    number("RNN_CAMPAIGN_SECONDS").unwrap_or(2.0)
}

/// Where the random numbers start.
pub(crate) fn first_seed() -> u64 {
    number("RNN_CAMPAIGN_SEED").unwrap_or(1)
}

fn number<N: std::str::FromStr>(variable: &str) -> Option<N> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

/// Folder for inputs that fail.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("campaign");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Inputs of earlier faults.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/campaign/corpus").join(name);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

pub(crate) fn trial(target: Target) -> Trial {
    Trial::test(target.name, move || run(&target))
}

fn run(target: &Target) -> Result<(), Failed> {
    let once = Once { name: target.name, run: target.run };
    for seed in &target.seeds {
        if !once.run(seed)? {
            return Err(format!("a seed of {} is refused", target.name).into());
        }
    }
    let mut pool = target.seeds.clone();
    for input in corpus(target.name) {
        once.run(&input)?;
        pool.push(input);
    }
    let mut rng = SplitMix64::new(first_seed());
    let (start, mut inputs, mut accepted) = (Instant::now(), 0u64, 0u64);
    while start.elapsed().as_secs_f64() < seconds() {
        let [seed, other] = [(); 2].map(|()| &pool[rng.next_below(pool.len())]);
        let input = mutated(seed, other, &mut rng);
        inputs += 1;
        accepted += u64::from(once.run(&input)?);
    }
    println!("{}: {inputs} inputs, {accepted} accepted", target.name);
    // Both outcomes are met, or the target says little.
    let least = if target.has_checksums { 0 } else { inputs / 500 };
    if inputs > 2000 && !(least..inputs - inputs / 500).contains(&accepted) {
        return Err(format!("{}: {accepted} of {inputs} inputs were accepted", target.name).into());
    }
    Ok(())
}

/// Runs inputs one at a time and keeps the one that fails.
pub(crate) struct Once {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Path) -> bool,
}

impl Once {
    pub(crate) fn run(&self, input: &[u8]) -> Result<bool, Failed> {
        // An abort leaves no other trace.
        let current = folder().join(format!("{}.current", self.name));
        std::fs::write(&current, input)?;
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(&current)));
        let problem = match (&outcome, start.elapsed()) {
            (Err(_), _) => "panics".to_string(),
            (_, took) if took > SLOW => format!("takes {took:?}"),
            _ => String::new(),
        };
        if problem.is_empty() {
            std::fs::remove_file(&current)?;
            return Ok(outcome.unwrap_or_default());
        }
        let failed = folder().join(format!("{}.failed", self.name));
        std::fs::rename(&current, &failed)?;
        Err(format!("{}: an input {problem}; it is in {}", self.name, failed.display()).into())
    }
}
