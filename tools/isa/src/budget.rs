//! The checked-in tables: the registers that each use of a kernel may take on one family of GPUs.

use crate::kernels::Use;
use crate::report::Row;
use crate::{Figures, Gpu};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What a use of a kernel may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Registers per lane.
    pub registers: u64,
    /// Bytes of scratch memory.
    pub scratch: u64,
    /// Spilled values.
    pub spills: u64,
}

/// A table of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The driver that it was made with. Another version may allocate registers in another way.
    pub driver: String,
    /// By case, role and storage.
    pub limits: BTreeMap<[String; 3], Limits>,
}

const DRIVER: &str = "# driver: ";
const HEAD: &str = "case,role,storage,registers,scratch,spills";

/// The table of a family.
pub fn path(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("budget").join(format!("{family}.csv"))
}

fn key(of: &Use) -> [String; 3] {
    [of.case.clone(), of.role.clone(), of.storage.to_string()]
}

fn limits(figures: &Figures) -> Result<Limits> {
    let given =
        |name: &str, value: Option<u64>| value.with_context(|| format!("the driver reports no {name}"));
    Ok(Limits {
        registers: given("registers", figures.registers)?,
        scratch: given("scratch memory", figures.scratch)?,
        spills: given("spills", figures.spills)?,
    })
}

impl Budget {
    /// The table that these rows just meet.
    ///
    /// # Errors
    /// A kernel that does not compile, or a driver that does not report what the table holds.
    pub fn of(gpu: &Gpu, rows: &[Row]) -> Result<Budget> {
        let mut table = BTreeMap::new();
        for row in rows {
            let figures = match &row.figures {
                Ok(figures) => figures,
                Err(error) => bail!("{error:#}"),
            };
            let own = limits(figures)?;
            table.extend(row.listed.uses.iter().map(|each| (key(each), own)));
        }
        Ok(Budget { driver: gpu.driver.clone(), limits: table })
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
            let [case, role, storage, numbers @ ..] = &fields[..] else { bail!("line {number}: {line:?}") };
            let numbers: Result<Vec<u64>, _> = numbers.iter().map(|field| field.parse()).collect();
            let Ok([registers, scratch, spills]) = numbers.as_deref() else {
                bail!("line {number}: expected three whole numbers after the storage, got {line:?}")
            };
            let limits = Limits { registers: *registers, scratch: *scratch, spills: *spills };
            let key = [case, role, storage].map(|field| field.to_string());
            ensure!(table.insert(key, limits).is_none(), "line {number}: {case} {role} {storage} again");
        }
        Ok(Budget { driver: driver.to_string(), limits: table })
    }

    /// The table as a file.
    pub fn text(&self) -> String {
        let mut out = format!("{DRIVER}{}\n{HEAD}\n", self.driver);
        for ([case, role, storage], Limits { registers, scratch, spills }) in &self.limits {
            let _ = writeln!(out, "{case},{role},{storage},{registers},{scratch},{spills}");
        }
        out
    }

    /// What is wrong with `actual`, one line each. Scratch and spills above the table are wrong with any version of the
    /// driver; registers and the list of kernels are compared where `actual` comes from the driver of this table.
    pub fn problems(&self, actual: &Budget) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, got) in &actual.limits {
            let name = key.join(" ");
            let known = self.limits.get(key);
            let allowed = known.copied().unwrap_or_default();
            if got.scratch > allowed.scratch {
                problems
                    .push(format!("{name}: {} bytes of scratch, at most {}", got.scratch, allowed.scratch));
            }
            if got.spills > allowed.spills {
                problems.push(format!("{name}: {} spills, at most {}", got.spills, allowed.spills));
            }
            if self.driver != actual.driver {
                continue;
            }
            match known {
                None => problems.push(format!("{name}: not in the table")),
                Some(allowed) if got.registers > allowed.registers => {
                    problems
                        .push(format!("{name}: {} registers, at most {}", got.registers, allowed.registers));
                }
                Some(_) => {}
            }
        }
        let gone = self.limits.keys().filter(|key| !actual.limits.contains_key(*key));
        problems.extend(gone.map(|key| format!("{}: in the table but no longer planned", key.join(" "))));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(driver: &str, all: &[(&str, [u64; 3])]) -> Budget {
        let limits = all.iter().map(|&(case, [registers, scratch, spills])| {
            let key = [case, "forward", "f32"].map(String::from);
            (key, Limits { registers, scratch, spills })
        });
        Budget { driver: driver.into(), limits: limits.collect() }
    }

    #[test]
    fn a_table_comes_back_as_it_was_written_and_a_damaged_one_is_refused_by_its_line() {
        let table = budget("radv 25", &[("medium", [84, 0, 0]), ("tiny", [48, 16, 2])]);
        assert_eq!(Budget::parse(&table.text()).unwrap(), table);
        for (damage, line) in [
            (table.text().replace("84", "many"), "line 3"),
            (table.text().replace(",16,2", ",16"), "line 4"),
            (table.text().replace("tiny", "medium"), "line 4"),
            (table.text().replace("registers", "vgprs"), "line 2"),
            (String::new(), "line 1"),
        ] {
            let error = Budget::parse(&damage).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn more_registers_scratch_or_spills_and_unknown_kernels_are_problems() {
        let table = budget("radv 25", &[("medium", [84, 0, 0])]);
        let problems = |actual: &Budget| table.problems(actual).join("; ");
        assert_eq!(problems(&budget("radv 25", &[("medium", [80, 0, 0])])), "");
        let worse = problems(&budget("radv 25", &[("medium", [85, 4, 1])]));
        for words in ["85 registers, at most 84", "4 bytes of scratch, at most 0", "1 spills, at most 0"] {
            assert!(worse.contains(words), "{worse}");
        }
        let other = problems(&budget("radv 25", &[("large", [1, 0, 0])]));
        assert!(other.contains("large forward f32: not in the table"), "{other}");
        assert!(other.contains("medium forward f32: in the table but no longer planned"), "{other}");
    }

    /// Registers differ from version to version of a compiler; scratch and spills are bad in any.
    #[test]
    fn another_driver_is_held_to_scratch_and_spills_alone() {
        let table = budget("radv 25", &[("medium", [84, 0, 0])]);
        assert_eq!(table.problems(&budget("radv 26", &[("medium", [99, 0, 0])])), [""; 0]);
        assert_eq!(table.problems(&budget("radv 26", &[("medium", [84, 8, 1])])).len(), 2);
    }
}
