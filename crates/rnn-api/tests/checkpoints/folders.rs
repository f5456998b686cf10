//! The folder of a run: what is no checkpoint is passed over and stays.

use super::Folder;
use super::run::{copy, edit, names, run, run_with, silent};
use rnn_api::prelude::*;
use rnn_api::train::{Checkpoint, CheckpointConfig, Event, TrainerConfig};
use serde_json::Value;
use std::fs;

#[test]
fn kept_checkpoints_are_of_different_steps() {
    let folder = Folder::new("different");
    for (keep, expected) in [
        (1, &["step-000000006"][..]),
        (2, &["step-000000004", "step-000000006"]),
        (3, &["step-000000002", "step-000000004", "step-000000006"]),
    ] {
        let path = folder.file(&keep.to_string());
        let checkpoints = CheckpointConfig::new(&path).with_keep(keep).with_resume(true);
        // The part that ends with step 4 saves it, and the next part saves it again when the epoch ends there.
        for steps in [2, 4, 6] {
            run_with(checkpoints.clone(), steps, &mut silent).unwrap();
        }
        let found = names(&path);
        let steps: Vec<&str> = found.iter().map(|name| name.split('.').next().unwrap()).collect();
        assert_eq!(steps, expected, "{found:?}");
    }
}

#[cfg(unix)]
#[test]
fn odd_entries_are_passed_over_and_stay() {
    let folder = Folder::new("odd");
    let path = folder.file("run");
    run(&path, 3, &mut silent).unwrap();
    let real = Checkpoint::last(&path).unwrap().path().to_path_buf();
    let outside = folder.file("outside");
    copy(&real, &outside);
    fs::write(path.join("step-000000099"), "a file").unwrap();
    std::os::unix::fs::symlink(&outside, path.join("step-000000098")).unwrap();
    fs::create_dir(path.join("step-000000097")).unwrap();
    fs::create_dir(path.join("step-000000096")).unwrap();
    fs::write(path.join("step-000000096/notes.txt"), "mine").unwrap();
    // An empty folder in the place of the next checkpoint, which a rename would replace.
    fs::create_dir(path.join("step-000000004")).unwrap();
    for name in [
        "step-18446744073709551615",
        "step-9007199254740993",
        "step-000000003.18446744073709551615",
        "step-3",
        "step-+00000007",
        "step-000000000000003",
        "step-mine",
        "step-",
    ] {
        copy(&real, &path.join(name));
    }
    let odd: Vec<String> = names(&path).into_iter().filter(|name| path.join(name) != real).collect();
    let odd: Vec<String> = odd.into_iter().filter(|name| name != "step-000000002").collect();
    assert_eq!(odd.len(), 13, "{odd:?}");
    assert_eq!(Checkpoint::last(&path).unwrap().step(), 3);
    let mut damaged = 0;
    let outcome = run(&path, 6, &mut |event| damaged += usize::from(matches!(event, Event::Damaged { .. })));
    assert_eq!((outcome.unwrap().steps, damaged), (6, 0));
    let left = names(&path);
    assert!(odd.iter().all(|name| left.contains(name)), "{left:?}");
    assert_eq!(left.len(), odd.len() + 2, "and two checkpoints: {left:?}");
    assert_eq!(fs::read_to_string(path.join("step-000000096/notes.txt")).unwrap(), "mine");
    assert_eq!(names(&outside).len(), names(&real.with_file_name("step-18446744073709551615")).len());
    assert!(fs::symlink_metadata(path.join("step-000000098")).unwrap().is_symlink());
}

#[test]
fn files_of_others_in_a_checkpoint_stay() {
    let folder = Folder::new("others");
    run(&folder.0, 2, &mut silent).unwrap();
    let old = folder.file("step-000000001");
    fs::write(old.join("notes.txt"), "mine").unwrap();
    run(&folder.0, 6, &mut silent).unwrap();
    assert_eq!(names(&folder.0).len(), 3, "{:?}", names(&folder.0));
    assert_eq!(names(&old), ["notes.txt"], "what the run wrote is removed");
}

#[test]
fn leftovers_of_killed_processes_are_cleaned_and_nothing_else() {
    let folder = Folder::new("leftovers");
    let unfinished = |name: &str, file: &str| {
        fs::create_dir(folder.file(name)).unwrap();
        fs::write(folder.file(name).join(file), "part").unwrap();
    };
    unfinished(".step-000000003.0123456789abcdef.tmp", "model.safetensors");
    unfinished(".step-000000003.1.4242.old.tmp", "manifest.json");
    unfinished(".step-000000004.4242.tmp", ".run.json.4242-0.tmp");
    unfinished(".step-000000005.4242.tmp", "notes.txt");
    unfinished(".step-mine.tmp", "run.json");
    unfinished(".cache.tmp", "run.json");
    fs::write(folder.file(".step-000000006.4242.tmp"), "a file").unwrap();
    run(&folder.0, 1, &mut silent).unwrap();
    let expected = [
        ".cache.tmp",
        ".step-000000005.4242.tmp",
        ".step-000000006.4242.tmp",
        ".step-mine.tmp",
        "step-000000001",
    ];
    assert_eq!(names(&folder.0), expected);
}

/// Each change makes the newest checkpoint one that was not written like this; the one before is used.
#[test]
fn manifests_and_numbers_that_no_run_writes_are_damage() {
    let folder = Folder::new("manifest");
    let whole = folder.file("whole");
    run(&whole, 3, &mut silent).unwrap();
    let outside = folder.file("outside.txt");
    fs::write(&outside, "secret").unwrap();
    let entry = serde_json::json!([6, crc32fast::hash(b"secret")]);
    type Edit<'a> = (&'a str, &'a str, Box<dyn Fn(&mut Value) + 'a>);
    let list = |name: String| -> Box<dyn Fn(&mut Value)> {
        let entry = entry.clone();
        Box::new(move |manifest| manifest["files"][&name] = entry.clone())
    };
    let forget = |name: &'static str| -> Box<dyn Fn(&mut Value)> {
        Box::new(move |manifest| drop(manifest["files"].as_object_mut().unwrap().remove(name)))
    };
    let edits: Vec<Edit<'_>> = vec![
        ("manifest.json", "outside.txt", list("../../outside.txt".into())),
        ("manifest.json", "outside.txt", list(outside.display().to_string())),
        ("manifest.json", "no name", list("..".into())),
        ("manifest.json", "no name", list(String::new())),
        ("manifest.json", "does not list run.json", forget("run.json")),
        ("manifest.json", "does not list model.safetensors", forget("model.safetensors")),
        ("manifest.json", "does not list optimizer.safetensors", forget("optimizer.safetensors")),
        ("manifest.json", "not what was written", Box::new(|m| m["files"]["run.json"][0] = u64::MAX.into())),
        ("run.json", "says step 3, `run.step` is 4", Box::new(|run| run["run"]["step"] = 4.into())),
        ("run.json", "`cursor.epoch`", Box::new(|run| run["cursor"]["epoch"] = u64::MAX.into())),
        ("run.json", "`cursor.position`", Box::new(|run| run["cursor"]["position"] = u64::MAX.into())),
        ("run.json", "`run` must be at most", Box::new(|run| run["run"]["losses"][1] = u64::MAX.into())),
    ];
    for (number, (name, expected, change)) in edits.into_iter().enumerate() {
        let path = folder.file(&number.to_string());
        fs::create_dir(&path).unwrap();
        for step in ["step-000000002", "step-000000003"] {
            copy(&whole.join(step), &path.join(step));
        }
        edit(&path.join("step-000000003"), name, &*change);
        let mut damaged = Vec::new();
        let outcome = run(&path, 4, &mut |event| {
            if let Event::Damaged { error, .. } = event {
                damaged.push(error.to_string());
            }
        });
        assert_eq!(outcome.unwrap().steps, 4, "{number}");
        assert!(damaged.len() == 1 && damaged[0].contains(expected), "{number}, {expected}: {damaged:?}");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
}

#[cfg(unix)]
#[test]
fn a_link_or_pipe_in_a_checkpoint_is_damage() {
    let folder = Folder::new("special");
    run(&folder.0, 2, &mut silent).unwrap();
    let model = folder.file("step-000000002/model.safetensors");
    let moved = folder.file("elsewhere");
    fs::rename(&model, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &model).unwrap();
    assert_eq!(Checkpoint::last(&folder.0).unwrap().step(), 1);
    fs::remove_file(&model).unwrap();
    // Reading a socket fails, and reading a pipe would never end.
    let _socket = std::os::unix::net::UnixListener::bind(&model).unwrap();
    assert_eq!(Checkpoint::last(&folder.0).unwrap().step(), 1);
    fs::remove_file(&model).unwrap();
    fs::create_dir(&model).unwrap();
    assert_eq!(run(&folder.0, 4, &mut silent).unwrap().steps, 4);
    assert!(model.is_dir(), "a folder of someone else");
}

#[test]
fn a_checkpoint_with_nan_is_refused_by_name() {
    let folder = Folder::new("nan");
    run(&folder.0, 2, &mut silent).unwrap();
    for (file, array, value, expected) in [
        ("model", "weight", f32::NAN, "`weight` must be finite, got NaN at element 1"),
        ("optimizer", "exp_avg.bias", f32::INFINITY, "`exp_avg.bias` must be finite, got inf at element 0"),
        ("optimizer", "exp_avg_sq.weight", -1.0, "`exp_avg_sq.weight` must not be negative, got -1"),
    ] {
        let path = folder.file(&format!("step-000000002/{file}.safetensors"));
        let before = fs::read(&path).unwrap();
        let read = rnn_api::io::TensorFile::read(&path).unwrap();
        let mut arrays = std::collections::BTreeMap::new();
        for (name, tensor) in &read.tensors {
            let mut values = tensor.values.clone().unwrap();
            if name == array {
                *values.last_mut().unwrap() = value;
            }
            let tensor = Tensor::from_vec(&Device::cpu(), values, &tensor.dims).unwrap();
            arrays.insert(name.clone(), tensor.array().clone());
        }
        rnn_api::io::write(&path, &arrays, read.metadata.clone()).unwrap();
        let bytes = fs::read(&path).unwrap();
        let entry = serde_json::json!([bytes.len(), crc32fast::hash(&bytes)]);
        let name = format!("{file}.safetensors");
        let checkpoint = folder.file("step-000000002");
        let manifest = fs::read(checkpoint.join("manifest.json")).unwrap();
        edit(&checkpoint, "manifest.json", &|manifest| manifest["files"][&name] = entry.clone());
        let error = run(&folder.0, 3, &mut silent).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        fs::write(&path, before).unwrap();
        fs::write(checkpoint.join("manifest.json"), manifest).unwrap();
    }
    assert_eq!(run(&folder.0, 3, &mut silent).unwrap().steps, 3);
}

#[test]
fn what_cannot_come_back_is_not_kept() {
    let model = LinearConfig::new(2, 1).init(&Device::cpu(), 1).unwrap();
    let adam = AdamConfig::new(0.05).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(1).init(&model, adam).unwrap();
    let nested = |depth| (0..depth).fold(Value::Null, |inner, _| serde_json::json!({ "inner": inner }));
    for (value, expected) in [
        (trainer.keep("scale", &f64::NAN).err(), "NaN"),
        (trainer.keep("scale", &vec![Some(f32::INFINITY)]).err(), "inf"),
        (trainer.keep("scale", &nested(200)).err(), "100"),
        (trainer.keep("scale", &Some(())).err(), "null"),
    ] {
        let error = value.expect(expected).to_string();
        assert!(
            error.contains(expected) && error.contains("Trainer::keep") && error.contains("`scale`"),
            "{error}"
        );
    }
    trainer.keep("deep", &nested(100)).unwrap();
}

/// Best weights are loaded at the end of a run, which is late to notice that they do not fit.
#[test]
fn best_weights_of_another_model_are_refused_at_the_start() {
    let folder = Folder::new("best-misfit");
    run(&folder.0, 2, &mut silent).unwrap();
    let checkpoint = folder.file("step-000000002");
    let other = LinearConfig::new(3, 1).init(&Device::cpu(), 1).unwrap();
    rnn_api::io::save(&other, checkpoint.join("best.safetensors")).unwrap();
    let bytes = fs::read(checkpoint.join("best.safetensors")).unwrap();
    let entry = serde_json::json!([bytes.len(), crc32fast::hash(&bytes)]);
    edit(&checkpoint, "manifest.json", &|manifest| manifest["files"]["best.safetensors"] = entry.clone());
    let mut events = 0;
    let error = run(&folder.0, 4, &mut |_| events += 1).unwrap_err().to_string();
    assert!(error.contains("`weight` must be [1, 2], got [1, 3]") && events == 0, "{events}: {error}");
}
