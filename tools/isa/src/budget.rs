//! The checked-in tables: the registers that each use of a kernel may take on one family of GPUs. No kernel may have
//! scratch memory or spills.

use crate::Gpu;
use crate::kernels::Use;
use crate::report::Row;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Case, role and storage of a use.
type Key = [String; 3];

/// A table of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The driver that it was made with. Another version may allocate registers in another way.
    pub driver: String,
    /// Registers per lane, by case, role and storage.
    pub registers: BTreeMap<Key, u64>,
}

const DRIVER: &str = "# driver: ";
const HEAD: &str = "case,role,storage,registers";

/// The table of a family.
pub fn path(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("budget").join(format!("{family}.csv"))
}

fn key(of: &Use) -> Key {
    [of.case.clone(), of.role.clone(), of.storage.to_string()]
}

/// Kernels that do not compile, and those with scratch memory or spills, one line each.
///
/// # Errors
/// A driver that does not report these.
pub fn faults(rows: &[Row]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for Row { listed, figures } in rows {
        let name = format!("{} {} ({})", listed.kernel.label, listed.plan(), listed.uses[0]);
        let figures = match figures {
            Ok(figures) => figures,
            Err(error) => {
                faults.push(format!("{name}: {error:#}"));
                continue;
            }
        };
        for (what, count) in [("bytes of scratch memory", figures.scratch), ("spills", figures.spills)] {
            let count = count.with_context(|| format!("the driver reports no {what}"))?;
            if count > 0 {
                faults.push(format!("{name}: {count} {what}, none is right"));
            }
        }
    }
    Ok(faults)
}

impl Budget {
    /// The table that these rows just meet.
    ///
    /// # Errors
    /// A kernel that does not compile, or a driver that does not report registers.
    pub fn of(gpu: &Gpu, rows: &[Row]) -> Result<Budget> {
        let mut table = BTreeMap::new();
        for row in rows {
            let figures = match &row.figures {
                Ok(figures) => figures,
                Err(error) => bail!("{error:#}"),
            };
            let registers = figures.registers.context("the driver reports no registers")?;
            table.extend(row.listed.uses.iter().map(|each| (key(each), registers)));
        }
        Ok(Budget { driver: gpu.driver.clone(), registers: table })
    }

    /// Reads a table.
    ///
    /// # Errors
    /// The line that is not as [`Budget::text`] writes it.
    pub fn parse(text: &str) -> Result<Budget> {
        let mut lines = text.lines();
        let driver = lines.next().and_then(|line| line.strip_prefix(DRIVER));
        let driver = driver.with_context(|| format!("line 1: expected {DRIVER:?} and its name"))?;
        ensure!(lines.next() == Some(HEAD), "line 2: expected {HEAD:?}");
        let mut table = BTreeMap::new();
        for (line, number) in lines.zip(3..) {
            let fields: Vec<&str> = line.split(',').collect();
            let [case, role, storage, registers] = fields[..] else {
                bail!("line {number}: expected {HEAD:?}, got {line:?}")
            };
            let Ok(registers) = registers.parse() else {
                bail!("line {number}: registers must be a whole number, got {registers:?}")
            };
            let key = [case, role, storage].map(String::from);
            ensure!(table.insert(key, registers).is_none(), "line {number}: {case} {role} {storage} again");
        }
        Ok(Budget { driver: driver.to_string(), registers: table })
    }

    /// The table as a file.
    pub fn text(&self) -> String {
        let mut out = format!("{DRIVER}{}\n{HEAD}\n", self.driver);
        for ([case, role, storage], registers) in &self.registers {
            let _ = writeln!(out, "{case},{role},{storage},{registers}");
        }
        out
    }

    /// Uses of `actual` that take more than this table allows, or are in one of both only: one line each.
    pub fn problems(&self, actual: &Budget) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, got) in &actual.registers {
            let name = key.join(" ");
            match self.registers.get(key) {
                None => problems.push(format!("{name}: not in the table")),
                Some(most) if got > most => problems.push(format!("{name}: {got} registers, at most {most}")),
                Some(_) => {}
            }
        }
        let gone = self.registers.keys().filter(|key| !actual.registers.contains_key(*key));
        problems.extend(gone.map(|key| format!("{}: in the table but no longer planned", key.join(" "))));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Figures;
    use crate::kernels::Listed;
    use rnn_kernels::catalogue;

    fn budget(all: &[(&str, u64)]) -> Budget {
        let key = |case: &str| [case, "forward", "f32"].map(String::from);
        let registers = all.iter().map(|&(case, registers)| (key(case), registers)).collect();
        Budget { driver: "radv 25".into(), registers }
    }

    #[test]
    fn a_table_comes_back_as_it_was_written_and_a_damaged_one_is_refused_by_its_line() {
        let table = budget(&[("medium", 84), ("tiny", 48)]);
        assert_eq!(Budget::parse(&table.text()).unwrap(), table);
        for (damage, line) in [
            (table.text().replace("84", "many"), "line 3"),
            (table.text().replace(",48", ""), "line 4"),
            (table.text().replace("tiny", "medium"), "line 4"),
            (table.text().replace("registers", "vgprs"), "line 2"),
            (String::new(), "line 1"),
        ] {
            let error = Budget::parse(&damage).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn more_registers_and_unknown_or_missing_kernels_are_problems() {
        let table = budget(&[("medium", 84)]);
        let problems = |actual: &Budget| table.problems(actual).join("; ");
        assert_eq!(problems(&budget(&[("medium", 80)])), "");
        assert_eq!(problems(&budget(&[("medium", 85)])), "medium forward f32: 85 registers, at most 84");
        let other = problems(&budget(&[("large", 1)]));
        assert!(other.contains("large forward f32: not in the table"), "{other}");
        assert!(other.contains("medium forward f32: in the table but no longer planned"), "{other}");
    }

    #[test]
    fn scratch_spills_refused_kernels_and_silent_drivers_are_faults() {
        let row = |figures: Result<Figures>| {
            let this = Use { case: "medium".into(), role: "forward".into(), storage: "f32" };
            vec![Row {
                listed: Listed { kernel: catalogue::all()[0], constants: Vec::new(), uses: vec![this] },
                figures,
            }]
        };
        let says = |scratch, spills| Figures { scratch, spills, ..Figures::default() };
        assert_eq!(faults(&row(Ok(says(Some(0), Some(0))))).unwrap(), [""; 0]);
        let both = faults(&row(Ok(says(Some(1024), Some(3))))).unwrap().join("; ");
        assert!(both.contains("1024 bytes of scratch memory") && both.contains("3 spills"), "{both}");
        assert!(faults(&row(Err(anyhow::anyhow!("no such word")))).unwrap()[0].contains("no such word"));
        let silent = faults(&row(Ok(says(None, Some(0))))).unwrap_err().to_string();
        assert_eq!(silent, "the driver reports no bytes of scratch memory");
    }
}
