//! Where saves go: through links, and to regular files only.

use super::{Folder, lstm, values};
use rnn_api::prelude::*;
use rnn_api::{Error, io};
use std::fs;
use std::io::ErrorKind;

fn refused(result: rnn_api::Result<impl Sized>, kind: ErrorKind) -> String {
    match result {
        Err(Error::Io { source, .. }) if source.kind() == kind => source.to_string(),
        Err(error) => panic!("expected {kind:?}, got {error:?}"),
        Ok(_) => panic!("expected {kind:?}"),
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_stays() {
    let folder = Folder::new("taken");
    fs::create_dir(folder.file("taken")).unwrap();
    assert!(refused(io::save(&lstm(1), folder.file("taken")), ErrorKind::IsADirectory).contains("a folder"));
    assert!(refused(io::load(&lstm(1), folder.file("taken")), ErrorKind::IsADirectory).contains("a folder"));
    for path in ["new/", "..", ""] {
        refused(io::save(&lstm(1), path), ErrorKind::InvalidInput);
    }
    refused(io::save(&lstm(1), folder.file("taken/..")), ErrorKind::InvalidInput);
    assert_eq!(folder.names(), ["taken"]);
}

/// In containers a restarted process has the same process id.
#[test]
fn temporary_files_of_others_stay() {
    let folder = Folder::new("temporary");
    let id = std::process::id();
    for count in 0..100 {
        fs::write(folder.file(&format!(".model.{id}-{count}.tmp")), "of another process").unwrap();
    }
    io::save(&lstm(1), folder.file("model")).unwrap();
    assert_eq!(folder.names().len(), 101);
    let kept = fs::read_to_string(folder.file(&format!(".model.{id}-0.tmp"))).unwrap();
    assert_eq!(kept, "of another process");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use rnn_api::data::{BatchConfig, Batches};
    use rnn_api::train::{JsonLog, Outcome, TrainerConfig};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let folder = Folder::new("links");
        for name in ["data", "links"] {
            fs::create_dir(folder.file(name)).unwrap();
        }
        let target = folder.file("data/model");
        symlink("../data/model", folder.file("links/relative")).unwrap();
        symlink(&target, folder.file("links/absolute")).unwrap();
        symlink("relative", folder.file("links/chain")).unwrap();
        for (seed, name) in [(1, "relative"), (2, "absolute"), (3, "chain")] {
            // The first save creates the target of a link that leads nowhere.
            let link = folder.file("links").join(name);
            io::save(&lstm(seed), &link).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{name}");
            assert!(fs::symlink_metadata(&target).unwrap().is_file());
            let loaded = lstm(9);
            io::load(&loaded, &target).unwrap();
            assert_eq!(values(&loaded), values(&lstm(seed)));
        }
        symlink("loop", folder.file("loop")).unwrap();
        assert!(refused(io::save(&lstm(1), folder.file("loop")), ErrorKind::InvalidInput).contains("links"));
        symlink("data", folder.file("to-folder")).unwrap();
        refused(io::save(&lstm(1), folder.file("to-folder")), ErrorKind::IsADirectory);
        assert_eq!(fs::read_dir(folder.file("data")).unwrap().count(), 1);
    }

    #[test]
    fn optimizers_averages_and_logs_go_through_links_too() {
        let folder = Folder::new("other-links");
        let model = lstm(1);
        let adam = AdamConfig::new(0.1).init(&model).unwrap();
        let ema = rnn_api::optim::EmaConfig::new(0.9).init(&model).unwrap();
        for name in ["adam", "ema", "log"] {
            fs::write(folder.file(name), "old").unwrap();
            symlink(name, folder.file(&format!("{name}-link"))).unwrap();
        }
        adam.save(&folder.file("adam-link")).unwrap();
        ema.save(folder.file("ema-link")).unwrap();
        log_to(&folder.file("log-link")).unwrap();
        for name in ["adam", "ema", "log"] {
            assert!(fs::symlink_metadata(folder.file(&format!("{name}-link"))).unwrap().is_symlink());
            assert!(fs::metadata(folder.file(name)).unwrap().len() > 100);
        }
    }

    /// A run of one step with a log.
    fn log_to(path: &Path) -> rnn_api::Result<Outcome> {
        let model = LinearConfig::new(2, 1).init(&Device::cpu(), 1)?;
        let mut trainer = TrainerConfig::new(1).init(&model, SgdConfig::new(0.1).init(&model)?)?;
        trainer.on_event(JsonLog::new(path));
        let x = Tensor::ones(&Device::cpu(), &[1, 2])?;
        trainer.fit(Batches::new(1, &BatchConfig::new(1))?, |_| model.forward(&x)?.mean_all())
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = Folder::new("special");
        let socket = folder.file("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), "/dev/null".as_ref(), "/dev/zero".as_ref()] {
            let error = refused(io::save(&lstm(1), path), ErrorKind::InvalidInput);
            assert!(error.contains("must be a regular file"), "{error}");
            // Reading /dev/zero would fill the memory.
            refused(io::load(&lstm(1), path), ErrorKind::InvalidInput);
            refused(log_to(path), ErrorKind::InvalidInput);
        }
        assert_eq!(folder.names(), ["socket"]);
    }

    #[test]
    fn permissions_are_passed_on() {
        let folder = Folder::new("permissions");
        let path = folder.file("model");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        io::save(&lstm(1), &path).unwrap();
        fs::write(folder.file("plain"), "").unwrap();
        assert_eq!(mode(), fs::metadata(folder.file("plain")).unwrap().permissions().mode() & 0o777);
        for wanted in [0o600, 0o640, 0o664] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            io::save(&lstm(2), &path).unwrap();
            assert_eq!(mode(), wanted);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        refused(io::save(&lstm(3), &path), ErrorKind::PermissionDenied);
        let loaded = lstm(9);
        io::load(&loaded, &path).unwrap();
        assert_eq!(values(&loaded), values(&lstm(2)));
    }
}
