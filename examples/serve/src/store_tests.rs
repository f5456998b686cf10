use super::*;

const NAME: &str = "00112233445566778899aabbccddeeff";

fn saved(state: &[u8]) -> Saved {
    let progress = Progress { next: Some(3), drawn: 7, changed: true, closed: false };
    Saved { name: NAME.into(), seed: u64::MAX, progress, state: state.to_vec() }
}

/// The store of a test, of a model with four symbols.
fn store(test: &str) -> Store {
    let folder = std::env::temp_dir().join(format!("rnn-serve-store-{test}-{}", std::process::id()));
    Store::open(&folder, 9, 4).unwrap()
}

fn only(store: &Store) -> Result<Saved> {
    let mut all = store.read_all().unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn problem(store: &Store) -> String {
    format!("{:#}", only(store).unwrap_err())
}

#[test]
fn what_is_written_comes_back() {
    let store = store("back");
    store.write(&saved(b"first")).unwrap();
    store.write(&saved(b"a state\nof bytes\0")).unwrap();
    store.sync().unwrap();
    let read = only(&store).unwrap();
    assert_eq!((&read.name[..], read.seed, &read.state[..]), (NAME, u64::MAX, &b"a state\nof bytes\0"[..]));
    assert_eq!((read.progress.next, read.progress.drawn, read.progress.changed), (Some(3), 7, false));
    let other = Store { model: 8, ..store.clone() };
    assert!(problem(&other).contains("a session of another model"));
    store.remove(NAME).unwrap();
    store.remove(NAME).unwrap();
    assert!(store.read_all().unwrap().is_empty());
    fs::remove_dir_all(&store.folder).unwrap();
}

/// No file that was cut or in which a bit has changed is restored, wherever that is.
#[test]
fn every_damage_is_found() {
    let store = store("damage");
    store.write(&saved(b"a state")).unwrap();
    let path = store.path(NAME);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(problem(&store).contains(NAME), "cut at {cut}");
    }
    for bit in 0..8 * whole.len() {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, damaged).unwrap();
        assert!(problem(&store).contains(NAME), "bit {bit}");
    }
    fs::remove_dir_all(&store.folder).unwrap();
}

/// Files with a correct checksum, too, must be ones that the server can have written.
#[test]
fn what_no_session_has_is_refused() {
    let store = store("forged");
    let with = |next, drawn| {
        let mut saved = saved(b"a state");
        (saved.progress.next, saved.progress.drawn) = (next, drawn);
        store.write(&saved).unwrap();
    };
    for (next, drawn, part) in [
        (Some(4), 7, "symbol 4 is next; the model has 4 symbols"),
        (Some(u32::MAX), 7, "the model has 4 symbols"),
        (Some(1), 0, "none was drawn"),
        (None, u64::MAX, "more than can be"),
    ] {
        with(next, drawn);
        let problem = problem(&store);
        assert!(problem.contains(part) && problem.contains(NAME), "{problem}");
    }
    with(None, 0);
    let content = fs::read(store.path(NAME)).unwrap();
    store.remove(NAME).unwrap();
    for name in ["a1", "", &NAME.to_uppercase(), &format!("{NAME}0"), &format!("{}.0", &NAME[2..])] {
        let path = store.path(name);
        // A name without letters before the dot has no extension: it is no session at all.
        fs::write(&path, &content).unwrap();
        let read = store.read_all().unwrap();
        assert!(read.iter().all(Result::is_err) && read.len() == usize::from(!name.is_empty()), "{name}");
        fs::remove_file(path).unwrap();
    }
    fs::create_dir(store.path(NAME)).unwrap();
    assert!(problem(&store).contains("not a file"));
    fs::remove_dir_all(&store.folder).unwrap();
}
