//! What the cache directory keeps of an adapter: measured facts and measured plans.

use super::{SHAPE, error, error_of, open, options};
use rnn_base::cache::{CacheFile, checksum};
use rnn_kernels::cell::{CellSpec, Storage};
use rnn_runtime::{AdapterInfo, Algorithm, CacheDir, Device, DeviceKind, GpuOptions, SpeedSource};
use rnn_testing::oracle::stack_spec;
use rnn_testing::shapes::RnnShape;
use std::fs;
use std::path::PathBuf;

/// A directory of one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Folder(std::env::temp_dir().join(format!("rnn-planner-{name}-{}", std::process::id())))
    }

    fn options(&self) -> GpuOptions {
        GpuOptions { cache_dir: CacheDir::At(self.0.clone()), ..GpuOptions::default() }
    }

    fn files(&self, word: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(word)))
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn measured_plans_are_kept_and_a_bad_table_is_replaced(_: &Device) {
    let folder = Folder::new("tuning");
    let open = || open(folder.options());
    // Its kernels compile fastest, and measuring compiles many.
    let cell = CellSpec::rnn_tanh();
    let spec = stack_spec(cell, SHAPE, 1, true);
    let measured =
        |device: &Device| device.explain(&spec, SHAPE.t, SHAPE.b).unwrap().recurrences[0][1].measured;
    let first = open();
    assert_eq!(measured(&first), None);
    first.tune(&spec, SHAPE.t, SHAPE.b).unwrap();
    let seconds = measured(&first);
    assert!(seconds.is_some_and(|seconds| seconds > 0.0));
    assert!(error(&first, cell, Storage::F32) < 1e-4);
    drop(first);

    let second = open();
    assert_eq!(measured(&second), seconds, "read from the file");
    let said = second.explain(&spec, SHAPE.t, SHAPE.b).unwrap().recurrences[0][0].reason.clone();
    assert!(said.contains("fastest of those measured"), "{said}");
    assert!(error(&second, cell, Storage::F32) < 1e-4);
    drop(second);

    let table = folder.files("tuning").pop().unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&table, &bytes).unwrap();
    let third = open();
    assert_eq!(measured(&third), None, "a damaged table counts for nothing");
    assert!(error(&third, cell, Storage::F32) < 1e-4);
    third.tune(&spec, SHAPE.t, SHAPE.b).unwrap();
    assert_ne!(fs::read(&table).unwrap(), bytes);
}

pub(crate) fn an_explanation_says_where_its_facts_come_from(_: &Device) {
    let spec = stack_spec(CellSpec::gru(), SHAPE, 1, true);
    let explain = |options: GpuOptions| {
        let said = open(options).explain(&spec, SHAPE.t, SHAPE.b).unwrap();
        let speed = said.speed.clone().unwrap();
        assert!(said.to_string().contains(&format!("  adapter: {speed}\n")), "{said}");
        speed
    };
    let folder = Folder::new("facts");
    let with = |calibrate| GpuOptions { calibrate, ..folder.options() };
    for (options, reason) in [
        (options(), "there is no cache directory"),
        (with(Some(false)), "GpuOptions::calibrate is off"),
        (GpuOptions { max_array_bytes: Some(1 << 20), ..with(Some(true)) }, "arrays are limited"),
    ] {
        let source = explain(options).source;
        assert!(matches!(source, SpeedSource::Constants(why) if why.contains(reason)), "{reason}: {source}");
        assert!(folder.files("calibration").is_empty(), "{reason}");
    }
    let first = explain(with(Some(true)));
    match first.source {
        SpeedSource::Measured(day) => {
            let again = explain(with(None));
            assert_eq!((again.speed, again.source), (first.speed, SpeedSource::Kept(day)));
        }
        // Other programs may keep every core busy.
        SpeedSource::Constants(_) => assert!(folder.files("calibration").is_empty()),
        SpeedSource::Kept(_) => panic!("nothing was kept before"),
    }
    let cpu = Device::cpu().explain(&spec, SHAPE.t, SHAPE.b).unwrap();
    assert!(cpu.speed.is_none() && !cpu.to_string().contains("adapter:"));
}

/// The adapter of a device.
fn adapter_of(device: &Device) -> AdapterInfo {
    Device::adapters().into_iter().find(|info| device.name().contains(&info.name)).unwrap()
}

/// A device without subgroups that runs whole sequences, on an adapter whose file of facts says that it is a GPU on which
/// it takes `lanes` invocations to keep a core busy.
pub(crate) fn with_facts_of_a_gpu(name: &str, adapter: &AdapterInfo, lanes: usize) -> Device {
    let mut key = format!("calibration of {} ({}, {})", adapter.name, adapter.backend, adapter.driver);
    if adapter.kind == DeviceKind::Software {
        key.push_str(&format!(" on {} threads", std::thread::available_parallelism().unwrap()));
    }
    let folder = Folder::new(name);
    let name = format!("calibration-{:016x}", checksum(&[key.as_bytes()]));
    let file = CacheFile::new(&CacheDir::At(folder.0.clone()), &name, &key).unwrap();
    file.write(format!("2026-11-26\n64\n{lanes}\n5e10\n3e12\n2e-8\n3e-8\n4e-6\n").as_bytes());
    let algorithm = Some(Algorithm::Sequence);
    let device = open(GpuOptions { subgroups: false, calibrate: Some(true), algorithm, ..folder.options() });
    let spec = stack_spec(CellSpec::gru(), SHAPE, 1, true);
    let source = device.explain(&spec, SHAPE.t, SHAPE.b).unwrap().speed.unwrap().source;
    assert_eq!(source, SpeedSource::Kept("2026-11-26".into()), "{key}");
    device
}

/// Only workgroups of 1024 have registers for all weights of 100 units.
pub(crate) fn workgroups_beyond_256_compute_the_same(device: &Device) {
    let adapter = adapter_of(device);
    if adapter.max_workgroup_invocations < 1024 {
        return;
    }
    let device = with_facts_of_a_gpu("wide", &adapter, 1024);
    for (cell, h, wide) in [
        (CellSpec::lstm(), 100, true),
        (CellSpec::gru(), 100, true),
        (CellSpec { layer_norm: true, ..CellSpec::gru() }, 100, false),
    ] {
        let shape = RnnShape { t: 3, b: 2, i: 5, h };
        let said = device.explain(&stack_spec(cell, shape, 1, true), shape.t, shape.b).unwrap();
        let largest = said.recurrences[0].iter().map(|pass| pass.workgroup).max().unwrap();
        assert_eq!(largest > 256, wide, "{said}");
        let error = error_of(&device, cell, Storage::F32, shape);
        assert!(error < 1e-4, "{cell:?}: {error}");
    }
}

/// Whole turns of k and a part of one, one turn and several, and invocations beyond the last unit.
pub(crate) fn weights_in_registers_compute_the_same(device: &Device) {
    let device = with_facts_of_a_gpu("registers", &adapter_of(device), 256);
    for (cell, shape) in [
        (CellSpec::lstm(), RnnShape { t: 4, b: 3, i: 5, h: 20 }),
        (CellSpec::gru(), RnnShape { t: 3, b: 1, i: 3, h: 64 }),
        (CellSpec { coupled: true, ..CellSpec::lstm() }, RnnShape { t: 3, b: 5, i: 3, h: 33 }),
        (CellSpec::rnn_tanh(), RnnShape { t: 3, b: 2, i: 3, h: 7 }),
    ] {
        let said = device.explain(&stack_spec(cell, shape, 1, true), shape.t, shape.b).unwrap();
        for pass in &said.recurrences[0] {
            assert!(pass.reason.contains("weights in registers"), "{shape:?} {pass}");
        }
        let error = error_of(&device, cell, Storage::F32, shape);
        assert!(error < 1e-4, "{cell:?} {shape:?}: {error}");
    }
}

/// The measurements would need more workgroups than the device allows. It works with constants.
pub(crate) fn an_adapter_with_few_workgroups_is_not_measured(_: &Device) {
    let folder = Folder::new("few-groups");
    for max_groups in [3, 1000] {
        let options = GpuOptions { max_groups: Some(max_groups), calibrate: Some(true), ..folder.options() };
        let Device::Gpu(gpu) = open(options) else { unreachable!("a GPU was opened") };
        let SpeedSource::Constants(reason) = gpu.speed().unwrap().source else { panic!("measured") };
        assert!(reason.contains("fewer than the measurements need"), "{reason}");
        assert!(error(&Device::Gpu(gpu), CellSpec::rnn_tanh(), Storage::F32) < 1e-4);
    }
    assert_eq!(folder.files("calibration"), Vec::<PathBuf>::new());
}
