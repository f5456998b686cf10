//! The adapter, what the planner takes it for, and what its compiler makes of the kernels.

use crate::common::case::Layer;
use crate::common::machine::threads;
use crate::setup::{Setup, Survivor};
use anyhow::Result;
use report::runner::{Clock, Findings};
use rnn_api::{Device, GpuOptions, SpeedReport, WeightFormat};

use serde_json::{Value, json};

pub(crate) fn adapter(setup: &Setup, _: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    for info in Device::adapters() {
        setup.folder.line(
            "adapter",
            json!({
                "index": info.index, "name": info.name, "backend": info.backend, "driver": info.driver,
                "kind": format!("{:?}", info.kind), "max_buffer_bytes": info.max_buffer_bytes,
                "max_workgroup_invocations": info.max_workgroup_invocations,
                "max_workgroup_bytes": info.max_workgroup_bytes, "timestamps": info.has_timestamps,
                "chosen": setup.info().is_some_and(|chosen| chosen.index == info.index),
            }),
        )?;
        findings.text.push(format!("- {info}"));
    }
    let machine =
        json!({ "os": std::env::consts::OS, "arch": std::env::consts::ARCH, "cpu_threads": threads() });
    setup.folder.line("machine", machine)?;
    let device = setup.open(GpuOptions::default())?;
    if let Device::Gpu(gpu) = &device {
        let features = json!({
            "immediates": gpu.has_immediates(), "f16": gpu.has_half(), "fixed_subgroup_size": gpu.subgroup_size(),
            "timestamps": gpu.info().has_timestamps, "max_array_bytes": gpu.max_array_bytes(),
            "max_workgroup_invocations": gpu.info().max_workgroup_invocations,
            "max_workgroup_bytes": gpu.info().max_workgroup_bytes,
        });
        findings.text.push(format!("\nUsed: {features}"));
        setup.folder.line("features", features)?;
    }
    Ok(findings)
}

/// The planner's facts about the adapter and its plans for the grid.
pub(crate) fn facts(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut device = Survivor::new(setup, GpuOptions::default())?;
    let mut findings = Findings::default();
    for line in planner_facts(device.device())? {
        findings.text.push(format!("Speed: {line}\n"));
        setup.folder.line("facts", line)?;
    }
    for case in setup.cases()? {
        if clock.is_over() {
            findings.not_run += 1;
            continue;
        }
        let said = device.run(&mut findings, &case.name, |device| {
            let layer = Layer::new(&case, WeightFormat::F32, device)?;
            Ok(device.explain(layer.spec(), case.T, case.B)?)
        })?;
        let Some(said) = said else { continue };
        for [forward, backward] in &said.recurrences {
            for (pass, plan) in [("forward", forward), ("backward", backward)] {
                findings.text.push(format!("- {} {pass}: {plan}", case.name));
                setup.folder.line(
                    "plan",
                    json!({
                        "case": case, "pass": pass, "algorithm": plan.algorithm.to_string(), "rows": plan.rows,
                        "workgroup": plan.workgroup, "workgroups": plan.workgroups, "dispatches": plan.dispatches,
                        "estimated_ms": plan.estimated * 1e3, "measured_ms": plan.measured.map(|s| s * 1e3),
                        "reason": plan.reason,
                    }),
                )?;
            }
        }
    }
    Ok(findings)
}

/// The planner's facts about the adapter, one object for each source.
fn planner_facts(device: &Device) -> Result<Vec<Value>> {
    let Device::Gpu(gpu) = device else { return Ok(Vec::new()) };
    let SpeedReport { speed, source } = gpu.speed()?;
    Ok(vec![json!({
        "source": format!("{source:?}"), "cores": speed.cores, "lanes": speed.lanes, "fma_per_s_and_core": speed.fma,
        "read_bytes_per_s": speed.memory, "barrier_s": speed.barrier, "dispatch_s": speed.dispatch,
    })])
}

/// What the driver's compiler says, by the code of `tools/isa`.
pub(crate) fn registers(setup: &Setup, _: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let name = setup.info().map(|info| info.name.as_str());
    let gpu = match isa::Gpu::open(name) {
        Ok(gpu) => gpu,
        Err(error) => {
            // Many drivers say nothing: that is no failure of this library.
            findings.text.push(format!("Not known: {error:#}"));
            return Ok(findings);
        }
    };
    let rows = isa::report::grid(&gpu)?;
    for row in &rows {
        setup.folder.line("registers", isa::report::json(&gpu, row))?;
        if let Err(error) = &row.figures {
            findings.failures.push(format!("{error:#}"));
        }
    }
    findings.text.push(format!("{}\n\n```text\n{}```", gpu.driver, isa::report::table(&rows)));
    Ok(findings)
}
