//! Measures the plans of a recurrence on a device.

use super::plan::{Plan, Work};
use super::recurrence::{Measured, measure, plan_groups};
use super::tuning::{Case, Tuned};
use crate::GpuDevice;
use rnn_base::error::Result;
use web_time::Instant;

impl GpuDevice {
    /// Measures the candidate plans of one recurrence and keeps the fastest. Returns its seconds.
    pub(super) fn tune(&self, case: &Measured<'_>, work: Work) -> Result<f64> {
        let facts = self.facts(true)?;
        let mut best: Option<Tuned> = None;
        let limit = self.max_groups() as usize;
        let fits = |plan: &Plan| plan_groups(plan, case.dims).into_iter().all(|groups| groups <= limit);
        for plan in facts.candidates(case.dims, work).into_iter().filter(fits) {
            // The first run compiles the kernel. The plan's time is the best of the next three.
            measure(self, case, &plan)?;
            self.synchronize()?;
            let mut seconds = f64::INFINITY;
            for _ in 0..3 {
                let start = Instant::now();
                measure(self, case, &plan)?;
                self.synchronize()?;
                seconds = seconds.min(start.elapsed().as_secs_f64());
            }
            tracing::debug!(?plan, seconds, "measured");
            if best.is_none_or(|best| seconds < best.seconds) {
                best = Some(Tuned { plan, seconds });
            }
        }
        let Some(best) = best else { return Ok(0.0) };
        self.0.tuning.put(Case::new(case.pass, case.dims, work), best);
        Ok(best.seconds)
    }
}
