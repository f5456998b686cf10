//! Every plan that the planner would consider for a layer, measured: rows of an invocation, invocations of a unit,
//! workgroups across the units.

use crate::common::case::{Case, Layer};
use crate::setup::{Setup, Survivor};
use anyhow::Result;
use report::runner::{Clock, Findings};
use rnn_api::WeightFormat;
use rnn_testing::warnings::events;
use serde_json::json;
use tracing::Level;

/// The cases of the grid whose plans differ most.
const CASES: [&str; 7] = ["tiny", "medium", "gru_medium", "charlm", "lstm", "long", "rnn_medium"];

pub(crate) fn sweep(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let cases = match setup.quick {
        // Few plans: a software adapter takes seconds to compile the kernels of each.
        true => vec![Case { name: "small".into(), cell: "lstm".into(), T: 4, B: 2, I: 4, H: 8, L: 1, D: 1 }],
        false => setup.cases()?.into_iter().filter(|case| CASES.contains(&case.name.as_str())).collect(),
    };
    for case in &cases {
        if clock.is_over() {
            findings.text.push(format!("- {}: the time was over", case.name));
            findings.not_run += 1;
            continue;
        }
        // Without a cache, so that nothing measured here changes the plans of other programs.
        let mut device = Survivor::new(setup, Setup::aside())?;
        let measured_plans = device.run(&mut findings, &case.name, |device| {
            let layer = Layer::new(case, WeightFormat::F32, device)?;
            let mut tuned = Ok(());
            // The library tells its log of every plan that it measures.
            let said = events(Level::DEBUG, || tuned = device.tune(layer.spec(), case.T, case.B).map(drop));
            tuned?;
            Ok((said, device.explain(layer.spec(), case.T, case.B)?))
        })?;
        let Some((said, explained)) = measured_plans else { continue };
        let plans: Vec<(&str, f64)> = said.iter().filter_map(|event| measured(event)).collect();
        for (plan, seconds) in &plans {
            setup.folder.line("plans", json!({ "case": case, "plan": plan, "ms": seconds * 1e3 }))?;
        }
        let best = plans.iter().map(|&(_, seconds)| seconds).fold(f64::INFINITY, f64::min);
        findings.text.push(format!(
            "- {}: {} plans, the fastest {:.3} ms",
            case.name,
            plans.len(),
            best * 1e3
        ));
        for [forward, backward] in explained.recurrences {
            findings.text.push(format!("  - forward: {forward}\n  - backward: {backward}"));
        }
    }
    Ok(findings)
}

/// Plan and seconds of an event of `Device::tune`.
fn measured(event: &str) -> Option<(&str, f64)> {
    let start = event.find("plan=Plan { ")? + "plan=".len();
    let end = start + event[start..].find('}')? + 1;
    let seconds = event[end..].split("seconds=").nth(1)?.split_whitespace().next()?;
    Some((&event[start..end], seconds.parse().ok()?))
}
