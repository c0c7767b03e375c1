use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::FileStore;
use crate::change::{GtidSet, Position};
use crate::checkpoint::{Checkpoint, Delta, Error, Place, Recovery, Store};

const UUID: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(work)
}

fn gtids(text: &str) -> GtidSet {
    format!("{UUID}:{text}").parse().expect("a set")
}

fn place(offset: u64) -> Place {
    Place { position: Position::new("binlog.000007", offset), ..Place::default() }
}

fn texts(entries: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<str>> {
    entries.iter().map(|(name, text)| (Arc::from(*name), Arc::from(*text))).collect()
}

fn base() -> Checkpoint {
    Checkpoint {
        stream: "shop".into(),
        server_uuid: UUID.into(),
        epoch: 3,
        gtid_set: gtids("1-10"),
        resume: place(400),
        settled: place(400),
        heartbeat: Some(6),
        lanes: BTreeMap::from([("shop.orders#0".into(), 12), ("shop.\"q\"\n#1".into(), 1)]),
        annotations: texts(&[("snapshot", "{\"id\":\"01J\"}"), ("0", "a \"text\"\n")]),
        owner: 2,
        saved_at_us: 1_700_000_000_000_000,
        version: "0.1.0".into(),
    }
}

fn delta(sequence: u64) -> Delta {
    Delta {
        gtids: gtids(&sequence.to_string()),
        resume: place(sequence * 100),
        settled: place(sequence * 100),
        lanes: BTreeMap::from([(Arc::from("shop.orders#0"), sequence)]),
        taken_at_us: 1_700_000_000_000_000 + i64::try_from(sequence).expect("small"),
        heartbeat: sequence.is_multiple_of(4).then_some(sequence),
        // A text that changes, and one that goes.
        annotations: texts(&[("0", &sequence.to_string()), ("snapshot", "")]),
        ..Delta::default()
    }
}

async fn open(path: &Path) -> Result<FileStore, Error> {
    FileStore::open(path, "shop").await
}

/// A file with a base and deltas 11 to `last`, and what it says.
fn written(folder: &Path, last: u64) -> (PathBuf, Checkpoint) {
    let path = folder.join("shop.checkpoint");
    let mut expected = base();
    run(async {
        let mut store = open(&path).await.expect("a free file");
        store.begin(&expected).await.expect("room");
        for sequence in 11..=last {
            store.save(&delta(sequence)).await.expect("room");
            expected.apply(&delta(sequence));
        }
    });
    (path, expected)
}

fn loaded(path: &Path) -> Result<Option<Checkpoint>, Error> {
    run(async { open(path).await?.load().await })
}

#[test]
fn nobody_else_reads_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint");
    let mut store = run(FileStore::open(&path, "shop")).expect("a new store");
    run(store.begin(&base())).expect("written");
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).expect("the folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its mode").permissions().mode() & 0o777;
        // Whatever the umask: it only takes away.
        assert_eq!(mode & 0o077, 0, "{}", file.path().display());
        names.push(file.file_name());
    }
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, expected) = written(folder.path(), 20);
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
    assert_eq!(loaded(&folder.path().join("other")).expect("no file yet"), None);
}

#[test]
fn a_file_of_a_version_without_heartbeats_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.checkpoint");
    let record = |text: &str| format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes()));
    let base = r#"{"binpulse_checkpoint":1,"stream":"shop","epoch":3,"owner":0,"version":"0.1.0","server_uuid":"a","settled":{"file":"b.1","offset":4},"at_us":1}"#;
    let delta = r#"{"settled":{"file":"b.1","offset":9},"at_us":2}"#;
    fs::write(&path, record(base) + &record(delta)).expect("a file");
    let read = loaded(&path).expect("a good file").expect("a checkpoint");
    assert_eq!((read.heartbeat, read.settled.position.offset), (None, 9));
}

#[test]
fn a_place_before_an_open_xa_transaction_survives() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut expected) = written(folder.path(), 11);
    let held = Delta { resume: place(150), server_uuid: Some("other".into()), ..delta(12) };
    run(async {
        open(&path).await.expect("a good file").save(&held).await.expect("room");
    });
    expected.apply(&held);
    assert!(expected.rereads());
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

#[test]
fn a_second_process_is_fenced_and_a_later_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = written(folder.path(), 11);
    run(async {
        let first = open(&path).await.expect("a good file");
        let refused = open(&path).await.expect_err("it is held");
        let own = format!("process {}", std::process::id());
        assert!(matches!(&refused, Error::Fenced { owner, .. } if *owner == own), "{refused}");
        assert_eq!(refused.recovery(), Recovery::Halt);
        drop(first);
        open(&path).await.expect("free again");
    });
}

#[test]
fn a_last_record_cut_short_anywhere_is_dropped_and_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = written(folder.path(), 12);
    let whole = fs::read(&path).expect("a file");
    let before = whole.len() - line_lengths(&whole).pop().expect("lines");
    let mut expected = base();
    expected.apply(&delta(11));
    for cut in before + 1..whole.len() {
        fs::write(&path, &whole[..cut]).expect("a file");
        run(async {
            let mut store = open(&path).await.expect("a torn tail is what a crash leaves");
            assert_eq!(store.load().await.expect("loaded"), Some(expected.clone()), "cut {cut}");
            store.save(&delta(13)).await.expect("room");
        });
        let mut after = expected.clone();
        after.apply(&delta(13));
        assert_eq!(loaded(&path).expect("a good file"), Some(after), "cut {cut}");
    }
}

fn line_lengths(bytes: &[u8]) -> Vec<usize> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect()
}

#[test]
fn damage_before_the_last_record_names_file_and_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = written(folder.path(), 13);
    let whole = fs::read(&path).expect("a file");
    let second = line_lengths(&whole)[0];
    let mut bytes = whole;
    bytes[second + 30] ^= 1;
    fs::write(&path, bytes).expect("a file");
    let error = loaded(&path).expect_err("a damaged file");
    let Error::Corrupt { path: named, offset, .. } = &error else { panic!("{error}") };
    assert_eq!((named, *offset), (&path, second as u64));
    assert_eq!(error.recovery(), Recovery::Halt);
}

#[test]
fn files_that_are_not_ours_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = written(folder.path(), 11);
    let other = run(FileStore::open(&path, "bank")).expect_err("another stream");
    assert!(matches!(other, Error::OtherStream { .. }), "{other}");

    let record = |text: &str| format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes()));
    for (content, wanted) in [
        (record(r#"{"binpulse_checkpoint":2,"new":true}"#), "has format 2"),
        (record(r#"{"settled":{}}"#), "not a checkpoint"),
        (String::new(), "is empty"),
        ("hello\n".into(), "at byte 0"),
    ] {
        fs::write(&path, content).expect("a file");
        let error = loaded(&path).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(error.recovery(), Recovery::Halt);
    }
}

#[test]
fn an_older_copy_of_the_file_is_an_older_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, older) = written(folder.path(), 12);
    let copy = fs::read(&path).expect("a file");
    run(async {
        let mut store = open(&path).await.expect("a good file");
        store.save(&delta(13)).await.expect("room");
    });
    fs::write(&path, copy).expect("a file");
    assert_eq!(loaded(&path).expect("a good file"), Some(older));
}

#[test]
fn a_file_that_vanished_or_was_replaced_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut expected) = written(folder.path(), 11);
    run(async {
        let mut store = open(&path).await.expect("a good file");
        fs::remove_file(&path).expect("removed by somebody");
        store.save(&delta(12)).await.expect("room");
    });
    expected.apply(&delta(12));
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

/// Whether a file was written again since its number was taken.
fn number(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("a file").ino()
}

#[test]
fn a_copy_put_in_the_file_s_place_is_not_written_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut expected) = written(folder.path(), 11);
    run(async {
        let mut store = open(&path).await.expect("a good file");
        store.save(&delta(12)).await.expect("room");
        let before = number(&path);
        store.save(&delta(13)).await.expect("room");
        assert_eq!(number(&path), before, "a line is added to the same file");
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).expect("copied");
        fs::rename(&copy, &path).expect("put in its place");
        let replaced = number(&path);
        store.save(&delta(14)).await.expect("room");
        assert_ne!(number(&path), replaced, "written again");
    });
    (12..=14).for_each(|sequence| expected.apply(&delta(sequence)));
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

#[test]
fn what_somebody_wrote_behind_the_last_record_is_cut_off_with_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut expected) = written(folder.path(), 11);
    run(async {
        use std::io::Write;
        let mut store = open(&path).await.expect("a good file");
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("a file");
        file.write_all(&[b'x'; 5_000]).expect("room");
        store.save(&delta(12)).await.expect("room");
    });
    expected.apply(&delta(12));
    let size = fs::metadata(&path).expect("a file").len();
    assert!(size < 2_000, "{size}");
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

#[test]
fn deltas_outgrow_the_base_by_a_quarter_of_a_mebibyte_or_four_times_its_size() {
    for base_lanes in [0, 4_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.checkpoint");
        let lanes = (0..base_lanes).map(|lane| (Arc::from(format!("shop.base{lane}#0")), 1));
        let mut expected = Checkpoint { lanes: lanes.collect(), ..base() };
        run(async {
            let mut store = open(&path).await.expect("a free file");
            store.begin(&expected).await.expect("room");
            let mut begun = fs::metadata(&path).expect("a file").len();
            let mut size = begun;
            let mut times = 0;
            for sequence in 1..=400 {
                // Opened again, it continues as before.
                if sequence == 150 {
                    drop(store);
                    store = open(&path).await.expect("a good file");
                }
                let names =
                    (0..100).map(|lane| (Arc::from(format!("shop.moved{lane}#0")), sequence));
                let wide = Delta { lanes: names.collect(), ..delta(sequence) };
                let before = number(&path);
                store.save(&wide).await.expect("room");
                expected.apply(&wide);
                let now = fs::metadata(&path).expect("a file").len();
                let bound = begun + (4 * begun).max(256 * 1024);
                let is_rewritten = number(&path) != before;
                let line = if is_rewritten { 5_000 } else { now - size };
                assert!(line < 5_000 || is_rewritten, "{line}");
                if is_rewritten {
                    assert!(size + line > bound, "{size} bytes of {bound}: too early");
                    assert!(now < bound);
                    (begun, times) = (now, times + 1);
                } else {
                    assert!(now <= bound, "{now} bytes of {bound}: too late");
                }
                size = now;
            }
            assert!(times > 0, "never");
        });
        assert_eq!(loaded(&path).expect("a good file"), Some(expected));
    }
}

#[test]
fn a_compaction_that_fails_is_put_off_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, mut expected) = written(folder.path(), 11);
    let in_the_way = folder.path().join("shop.checkpoint.new");
    fs::create_dir(&in_the_way).expect("a folder where the new file would be");
    run(async {
        let mut store = open(&path).await.expect("a good file");
        let first = number(&path);
        let mut sequence = 100;
        let mut save = async |store: &mut FileStore, bytes: u64| {
            let until = fs::metadata(&path).expect("a file").len() + bytes;
            while fs::metadata(&path).expect("a file").len() < until {
                sequence += 1;
                let names =
                    (0..200).map(|lane| (Arc::from(format!("shop.moved{lane}#0")), sequence));
                let wide = Delta { lanes: names.collect(), ..delta(sequence) };
                store.save(&wide).await.expect("a line still fits");
                expected.apply(&wide);
                if number(&path) != first {
                    return;
                }
            }
        };
        save(&mut store, 280 * 1024).await;
        assert_eq!(number(&path), first);
        assert_eq!(store.load().await.expect("kept").map(|it| it.epoch), Some(3));
        fs::remove_dir(&in_the_way).expect("empty");
        // Not with the next line, but when it has doubled.
        save(&mut store, 100 * 1024).await;
        assert_eq!(number(&path), first);
        save(&mut store, 300 * 1024).await;
        assert_ne!(number(&path), first);
    });
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

#[test]
fn what_is_no_file_of_ours_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large");
    // Without a byte of it on the disk.
    fs::File::create(&path).and_then(|file| file.set_len((4 << 30) + 1)).expect("sparse");
    let refused = loaded(&path).expect_err("too large").to_string();
    assert!(refused.contains("4294967297 bytes that are not a checkpoint"), "{refused}");
    let inside = folder.path().join("folder");
    fs::create_dir(&inside).expect("a folder");
    let refused = loaded(&inside).expect_err("a folder").to_string();
    assert!(refused.contains("cannot read"), "{refused}");
    assert!(refused.contains("it is not a regular file"), "{refused}");
    let beneath_a_file = folder.path().join("large").join("x");
    assert!(matches!(loaded(&beneath_a_file), Err(Error::Io { action: "open", .. })));
    let peeked = run(FileStore::peek(&beneath_a_file, "shop"));
    assert!(matches!(peeked, Err(Error::Io { action: "read", .. })), "{peeked:?}");
}

#[test]
fn looking_takes_nothing_leaves_nothing_and_sees_what_opening_would() {
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.checkpoint");
    run(async {
        // Nothing is there yet
        assert_eq!(FileStore::rehearse(&path, "shop").await.expect("it could be made"), None);
        assert_eq!(FileStore::peek(&path, "shop").await.expect("no file"), None);
        assert!(names(folder.path()).is_empty());
        let nowhere = folder.path().join("gone").join("x");
        let refused = FileStore::rehearse(&nowhere, "shop").await;
        assert!(matches!(refused, Err(Error::Io { action: "write", .. })), "{refused:?}");

        // Somebody holds it
        let mut store = open(&path).await.expect("a free file");
        let refused = FileStore::rehearse(&path, "shop").await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        store.begin(&base()).await.expect("room");
        store.save(&delta(11)).await.expect("room");
        let mut expected = base();
        expected.apply(&delta(11));
        let peeked = FileStore::peek(&path, "shop").await.expect("it can be read");
        assert_eq!(peeked, Some(expected.clone()));
        let refused = FileStore::rehearse(&path, "shop").await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");

        let refused = refused.expect_err("held").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");

        // It was given up; a line that is being written is not seen
        drop(store);
        let whole = fs::read(&path).expect("a file");
        fs::write(&path, [&whole[..], b"0123"].concat()).expect("room");
        let before = names(folder.path());
        for _ in 0..2 {
            let found = FileStore::rehearse(&path, "shop").await.expect("it could be opened");
            assert_eq!(found, Some(expected.clone()));
        }
        assert_eq!(names(folder.path()), before);
        // Where all is there nothing is written, so that nothing can be in the way
        let in_the_way = crate::journal::beside(&path, &format!(".check-{}", std::process::id()));
        fs::create_dir(&in_the_way).expect("room");
        let found = FileStore::rehearse(&path, "shop").await.expect("it could be opened");
        assert_eq!(found, Some(expected.clone()));
        let nothing = folder.path().join("other.checkpoint");
        let beside = crate::journal::beside(&nothing, &format!(".check-{}", std::process::id()));
        fs::create_dir(&beside).expect("room");
        let refused = FileStore::rehearse(&nothing, "shop").await;
        assert!(matches!(refused, Err(Error::Io { action: "write", .. })), "{refused:?}");
        fs::remove_dir(&in_the_way)
            .and_then(|()| fs::remove_dir(&beside))
            .expect("they were there");
        let other = FileStore::rehearse(&path, "bank").await;
        assert!(matches!(other, Err(Error::OtherStream { .. })), "{other:?}");
        fs::remove_file(folder.path().join("shop.checkpoint.lock")).expect("it was there");
        let found = FileStore::rehearse(&path, "shop").await.expect("a lock could be made");
        assert_eq!(found, Some(expected.clone()));
        assert_eq!(names(folder.path()).len(), before.len() - 1);
    });
}

#[test]
fn a_lock_is_named_by_its_file_and_by_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = |name: &str| {
        let path = folder.path().join(name);
        run(async { open(&path).await.expect("a free file").lock_identity().await })
    };
    let one = identity("one").expect("this system tells it");
    assert_eq!(identity("one"), Some(one.clone()), "the same after a restart");
    assert_ne!(identity("other"), Some(one), "of another file");
}

#[test]
fn a_lock_that_cannot_be_looked_at_is_an_error_and_not_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.checkpoint");
    fs::create_dir(folder.path().join("shop.checkpoint.lock")).expect("a folder in its place");
    let refused = run(FileStore::rehearse(&path, "shop"));
    assert!(matches!(refused, Err(Error::Io { action: "open", .. })), "{refused:?}");
}

#[test]
fn a_holder_is_named_by_its_note_as_far_as_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.checkpoint");
    let beside = folder.path().join("shop.checkpoint.lock");
    fs::write(&beside, "process 123456789012345678901234567890\n").expect("an older note");
    run(async {
        let store = open(&path).await.expect("a free file");
        let note = fs::read_to_string(&beside).expect("a note");
        assert_eq!(note, format!("process {}\n", std::process::id()));
        for (note, named) in [(" \n".to_owned(), "another process"), ("x".repeat(300), "xxx")] {
            fs::write(&beside, note).expect("room");
            let Err(Error::Fenced { owner, .. }) = open(&path).await else { panic!("held") };
            assert!(owner.starts_with(named) && owner.len() <= 200, "{owner}");
        }
        drop(store);
    });
}

#[test]
fn a_failed_save_is_retryable_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("held").join("shop.checkpoint");
    fs::create_dir(folder.path().join("held")).expect("a folder");
    run(async {
        let mut store = open(&path).await.expect("a free file");
        store.begin(&base()).await.expect("room");

        // When the folder goes away, so that nothing can be written
        fs::rename(folder.path().join("held"), folder.path().join("away")).expect("moved");
        let mut unsaved = delta(11);
        let error = store.save(&unsaved).await.expect_err("no folder");
        assert_eq!(error.recovery(), Recovery::Retry, "{error}");
        assert_eq!(store.load().await.expect("kept"), Some(base()), "not half applied");

        // Then the same delta, merged with what came later, is saved once it is back
        fs::rename(folder.path().join("away"), folder.path().join("held")).expect("moved");
        unsaved.merge(delta(12));
        store.save(&unsaved).await.expect("room again");
    });
    let mut expected = base();
    expected.apply(&delta(11));
    expected.apply(&delta(12));
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

#[test]
fn saving_before_the_beginning_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = run(async {
        let mut store = open(&folder.path().join("new")).await.expect("a free file");
        store.save(&delta(1)).await.expect_err("there is nothing to add to")
    });
    assert!(matches!(refused, Error::NotBegun { .. }), "{refused}");
}

#[test]
fn the_file_is_compacted_and_a_save_does_not_write_every_lane() {
    // Given a stream of 20,000 lanes
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.checkpoint");
    let mut expected = base();
    expected.lanes = (0..20_000).map(|lane| (Arc::from(format!("shop.t{lane}#0")), 1)).collect();
    run(async {
        let mut store = open(&path).await.expect("a free file");
        store.begin(&expected).await.expect("room");
        let begun = fs::metadata(&path).expect("a file").len();

        // When one lane moves, then little is written
        store.save(&delta(11)).await.expect("room");
        expected.apply(&delta(11));
        let grown = fs::metadata(&path).expect("a file").len() - begun;
        assert!(grown < 400, "{grown} bytes for one lane");

        // When deltas outgrow the base, then the file shrinks again
        let wide = Delta { lanes: expected.lanes.clone(), ..delta(12) };
        for _ in 0..6 {
            store.save(&wide).await.expect("room");
        }
        expected.apply(&wide);
        let size = fs::metadata(&path).expect("a file").len();
        assert!(size < begun * 6, "{size} bytes after {begun} at first");
    });
    assert_eq!(loaded(&path).expect("a good file"), Some(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_damage_panics_or_invents_a_state(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = written(folder.path(), 14);
        let mut states = vec![base()];
        for sequence in 11..=14 {
            let mut next = states.last().expect("a state").clone();
            next.apply(&delta(sequence));
            states.push(next);
        }
        let mut bytes = fs::read(&path).expect("a file");
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        fs::write(&path, bytes).expect("a file");
        if let Ok(state) = loaded(&path) {
            prop_assert!(states.contains(&state.expect("there is a file")));
        }
    }
}
