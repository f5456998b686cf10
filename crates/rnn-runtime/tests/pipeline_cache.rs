//! Compiled pipelines in a file: the next device starts with them, and no file, however bad, costs
//! more than a warning.

mod common;

use common::{DeviceTest, device_test};
use rnn_runtime::ops::pointwise::{affine, full};
use rnn_runtime::{CacheDir, Device, GpuOptions};
use rnn_testing::warnings::warnings;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() {
    let tests: Vec<DeviceTest> = vec![
        device_test!(the_second_device_starts_with_the_pipelines_of_the_first),
        device_test!(pipelines_are_saved_on_request_and_only_when_there_are_new_ones),
        device_test!(a_bad_file_is_reported_once_and_replaced),
        device_test!(a_directory_that_cannot_be_written_is_reported_once),
        device_test!(no_file_where_the_cache_is_off),
    ];
    common::run_where(is_vulkan, tests.into_iter().map(DeviceTest::gpu_only).collect())
}

/// wgpu hands out pipeline caches on Vulkan only; elsewhere these tests show as ignored.
fn is_vulkan() -> bool {
    let Ok(device) = open(CacheDir::Off) else { return true };
    matches!(device, Device::Gpu(gpu) if gpu.info().backend == "vulkan")
}

fn open(cache_dir: CacheDir) -> rnn_runtime::Result<Device> {
    Device::gpu_with((), GpuOptions { cache_dir, ..GpuOptions::default() })
}

/// A directory of one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rnn-pipelines-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn open(&self) -> Device {
        open(CacheDir::At(self.0.clone())).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The one file in it.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Compiles two pipelines and looks at what they compute.
fn work(device: &Device) {
    let x = full(device, &[100], 3.0).unwrap();
    assert_eq!(affine(&x, 2.0, 1.0).unwrap().to_vec().unwrap(), [7.0; 100]);
    assert!(device.stats().pipelines_created >= 2);
}

fn the_second_device_starts_with_the_pipelines_of_the_first(_: &Device) {
    let folder = Folder::new();
    let said = warnings(|| {
        let first = folder.open();
        assert_eq!(first.stats().cached_pipeline_bytes, 0);
        work(&first);
        assert!(folder.files().is_empty(), "nothing is written while the device is in use");
        drop(first);
        let length = fs::metadata(folder.file()).unwrap().len() as usize;
        let second = folder.open();
        let loaded = second.stats().cached_pipeline_bytes;
        assert!(loaded > 0 && loaded < length, "{loaded} of {length} bytes are payload");
        work(&second);
    });
    assert_eq!(said, [""; 0]);
}

fn pipelines_are_saved_on_request_and_only_when_there_are_new_ones(_: &Device) {
    let folder = Folder::new();
    let device = folder.open();
    device.save_pipelines();
    assert!(folder.files().is_empty(), "nothing was compiled");
    work(&device);
    device.save_pipelines();
    fs::remove_file(folder.file()).unwrap();
    work(&device);
    device.save_pipelines();
    assert!(folder.files().is_empty(), "nothing new was compiled");
}

fn a_bad_file_is_reported_once_and_replaced(_: &Device) {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 6] = [
        ("ends early", |bytes| bytes.truncate(bytes.len() - 1)),
        ("ends early", |bytes| bytes.truncate(20)),
        ("ends early", |bytes| bytes.clear()),
        ("checksum", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("version", |bytes| bytes[16] ^= 1),
        ("not a cache file", |bytes| bytes[0] ^= 1),
    ];
    for (words, damage) in damages {
        let folder = Folder::new();
        work(&folder.open());
        let spoil = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            damage(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        let said = warnings(|| {
            for _ in 0..2 {
                spoil(&folder.file());
                let device = folder.open();
                assert_eq!(device.stats().cached_pipeline_bytes, 0, "{words}");
                work(&device);
            }
            let device = folder.open();
            assert!(device.stats().cached_pipeline_bytes > 0, "{words}: the file was not replaced");
            work(&device);
        });
        assert_eq!(said.len(), 1, "{words}: {said:?}");
        let name = folder.0.file_name().unwrap().to_string_lossy();
        assert!(said[0].contains(words) && said[0].contains(&*name), "{words}: {said:?}");
    }
}

fn a_directory_that_cannot_be_written_is_reported_once(_: &Device) {
    let folder = Folder::new();
    // A file in the place of a folder: nobody can write below it, whatever the permissions.
    let blocked = folder.0.join("file");
    fs::write(&blocked, b"").unwrap();
    let said = warnings(|| {
        for _ in 0..2 {
            let device = open(CacheDir::At(blocked.join("cache"))).unwrap();
            work(&device);
            device.save_pipelines();
        }
    });
    // Two files, the pipelines and the table of measured plans: each once.
    let pipelines = said.iter().filter(|text| text.contains("pipeline_cache")).count();
    assert_eq!((pipelines, said.len()), (1, 2), "{said:?}");
}

fn no_file_where_the_cache_is_off(_: &Device) {
    let said = warnings(|| {
        let device = open(CacheDir::Off).unwrap();
        work(&device);
        device.save_pipelines();
        assert_eq!(device.stats().cached_pipeline_bytes, 0);
    });
    assert_eq!(said, [""; 0]);
}
