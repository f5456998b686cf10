//! Panels for vectors of another length.

use super::super::super::memory::{CpuBuffer, CpuDevice};
use rnn_base::error::Result;

/// The order of values in panels: `[panel][row][group][vector][lane]`, units by panel, group and lane.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Groups of a panel.
    pub(super) groups: usize,
    /// H
    pub(super) hidden: usize,
    /// Rows of a panel.
    pub(super) rows: usize,
    /// Vectors of a group.
    pub(super) vectors: usize,
}

impl Order {
    /// Where a value of a unit is.
    fn place(&self, lanes: usize, unit: usize, row: usize, vector: usize) -> usize {
        let (group, lane) = (unit / lanes, unit % lanes);
        let row = group / self.groups * self.rows + row;
        ((row * self.groups + group % self.groups) * self.vectors + vector) * lanes + lane
    }

    /// Panels of vectors of one length as panels of another.
    pub(super) fn repack(
        &self,
        device: &CpuDevice,
        values: &[f32],
        [from, to]: [usize; 2],
    ) -> Result<CpuBuffer> {
        let panels = self.hidden.div_ceil(self.groups * to);
        let mut out = device.alloc_zeroed(panels * self.rows * self.groups * self.vectors * to)?;
        let all = out.make_mut()?;
        for unit in 0..self.hidden {
            for row in 0..self.rows {
                for vector in 0..self.vectors {
                    all[self.place(to, unit, row, vector)] = values[self.place(from, unit, row, vector)];
                }
            }
        }
        Ok(out)
    }
}
