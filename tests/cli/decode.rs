//! `decode` on files as they are met: good, damaged, missing, cut off.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::{Run, binpulse, log, run, text, typed};

/// Every line is one JSON document.
fn documents(found: &Run) -> Vec<serde_json::Value> {
    found
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Offset and length of each event.
fn events(file: &[u8]) -> Vec<(usize, usize)> {
    let mut events = Vec::new();
    let mut at = 4;
    while let Some(length) = file.get(at + 9..at + 13) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        events.push((at, length));
        at += length;
    }
    assert_eq!(at, file.len());
    events
}

#[test]
fn what_cannot_be_opened_is_named_and_ends_with_64() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, words) in
        [("/nonexistent/binlog.000001", "No such file"), (text(folder.path()), "directory")]
    {
        let found = typed(&["decode", path]);
        assert_eq!((found.code, found.out.as_str()), (Some(64), ""), "{found:?}");
        assert!(found.error.contains(path) && found.error.contains(words), "{found:?}");
    }
}

#[test]
fn what_is_no_binlog_is_refused_with_what_was_found() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content, words) in [
        ("empty", &b""[..], "empty"),
        ("short", b"\xfeb", "fe, 62"),
        ("text", b"# a text file, and no binlog\n", "23, 20, 61, 20"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        for found in [typed(&["decode", text(&path)]), run(&["decode", "-"], &[], content)] {
            assert_eq!((found.code, found.out.as_str()), (Some(65), ""), "{name}: {found:?}");
            assert!(found.error.contains("not a binlog"), "{found:?}");
            assert!(found.error.contains(words), "{name}: {found:?}");
        }
        assert!(typed(&["decode", text(&path)]).error.contains(text(&path)));
    }
}

#[test]
fn a_file_cut_at_any_event_says_where_and_prints_nothing_that_is_not_whole() {
    let file = std::fs::read(log("rows/mysql-9.7")).expect("a log");
    let whole = run(&["decode", "-"], &[], &file);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    for (at, _) in events(&file) {
        for cut in [at - 1, at, at + 1] {
            let found = run(&["decode", "-"], &[], &file[..cut]);
            assert!(whole.out.starts_with(&found.out), "cut at {cut}");
            documents(&found);
            if found.code == Some(0) {
                // Between transactions, a shorter file can't be told from a whole one.
                assert_eq!((cut, found.error.as_str()), (at, ""), "{found:?}");
            } else {
                assert_eq!(found.code, Some(65), "cut at {cut}: {found:?}");
                assert!(found.error.contains("standard input"), "cut at {cut}: {found:?}");
                let digits = found.error.split(|c: char| !c.is_ascii_digit());
                let offsets: Vec<usize> = digits.filter_map(|text| text.parse().ok()).collect();
                assert!(
                    cut <= 4 || offsets.iter().any(|offset| *offset > 0 && *offset <= at),
                    "cut at {cut}: {}",
                    found.error
                );
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_with_file_offset_and_what_was_found() {
    let path = log("rows/mysql-8.0");
    let file = std::fs::read(&path).expect("a log");
    let whole = typed(&["decode", text(&path)]);
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("binlog.000001");
    for (number, (at, length)) in events(&file).into_iter().enumerate() {
        // In the type, the length and the body of each event in turn, one bit after the other.
        for inside in [4, 9, 19 + number % (length - 19)] {
            let mut flipped = file.clone();
            flipped[at + inside] ^= 1 << (number % 8);
            std::fs::write(&damaged, flipped).expect("a file");
            let found = typed(&["decode", text(&damaged)]);
            let place = format!("event at {at}, byte {inside}: {found:?}");
            assert_eq!(found.code, Some(65), "{place}");
            assert!(whole.out.starts_with(&found.out), "{place}");
            assert!(found.error.contains(text(&damaged)), "{place}");
            assert!(found.error.contains(&at.to_string()), "{place}");
        }
    }
}

#[test]
fn several_files_go_on_where_the_last_ended() {
    let folder = log("rotation/mysql-9.7");
    let folder = folder.parent().expect("a folder");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem == "binlog"))
        .collect();
    files.sort();
    let mut arguments = vec!["decode"];
    arguments.extend(files.iter().map(|path| text(path)));
    let found = typed(&arguments);
    assert_eq!(found.code, Some(0), "{found:?}");
    let seen: std::collections::BTreeSet<_> = documents(&found)
        .iter()
        .map(|line| line["position"]["file"].as_str().expect("a name").to_owned())
        .collect();
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn what_was_good_before_a_bad_file_is_printed() {
    let found = typed(&["decode", text(&log("rows/mysql-9.7")), "/nonexistent"]);
    assert_eq!(found.code, Some(64), "{found:?}");
    assert_eq!(found.out, typed(&["decode", text(&log("rows/mysql-9.7"))]).out);
}

#[test]
fn a_reader_that_goes_away_ends_it_with_0() {
    let mut child = binpulse()
        .args(["decode", text(&log("all_types/mysql-9.7"))])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("binpulse runs");
    let mut first = String::new();
    let out = child.stdout.take().expect("a pipe");
    BufReader::with_capacity(64, out).read_line(&mut first).expect("a line");
    assert!(first.starts_with("{\"kind\":"), "{first}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn only_the_tables_that_were_asked_for_are_printed() {
    let path = log("rows/mysql-9.7");
    let tables = |patterns: &str| -> std::collections::BTreeSet<String> {
        let found = typed(&["decode", "--tables", patterns, text(&path)]);
        assert_eq!(found.code, Some(0), "{found:?}");
        let lines = documents(&found);
        let changes = lines.iter().filter(|line| line["kind"] == "change");
        changes.map(|line| line["table"].as_str().expect("a table").to_owned()).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(tables("*.*"), set(&["items", "orders"]));
    assert_eq!(tables("shop.items"), set(&["items"]));
    assert_eq!(tables("shop.o*,nope.*"), set(&["orders"]));
    assert_eq!(tables("shop.?rders"), set(&["orders"]));
    assert_eq!(tables("nope.*"), set(&[]));
    for wrong in ["a", "a.b.c", "", "a.b,,c.d"] {
        let found = typed(&["decode", "--tables", wrong, text(&path)]);
        assert_eq!(found.code, Some(64), "{wrong}: {found:?}");
        assert!(found.error.contains("--tables"), "{wrong}: {found:?}");
    }
}

#[test]
fn columns_are_numbered_where_the_log_has_no_names() {
    for server in ["mysql-5.6", "mysql-5.7"] {
        let found = typed(&["decode", text(&log(&format!("rows/{server}")))]);
        assert_eq!(found.code, Some(0), "{found:?}");
        let lines = documents(&found);
        let insert = lines.iter().find(|line| line["op"] == "insert").expect("an insert");
        assert_eq!(insert["after"]["@1"], 1, "{server}: {insert}");
        assert_eq!(insert["after"]["@2"], "Ada", "{server}: {insert}");
    }
    let found = typed(&["decode", text(&log("rows/mysql-9.7"))]);
    let insert = documents(&found).into_iter().find(|line| line["op"] == "insert");
    assert_eq!(insert.expect("an insert")["after"]["customer"], "Ada");
}

#[test]
fn integers_whose_sign_the_log_does_not_tell_are_named_and_read_as_one_says() {
    for server in ["mysql-5.6", "mysql-5.7", "mariadb-10.11"] {
        let log = log(&format!("no_metadata/{server}"));
        let rows = |arguments: &[&str]| {
            let found = typed(&[&["decode", text(&log)], arguments].concat());
            assert_eq!(found.code, Some(0), "{server}: {found:?}");
            let lines = documents(&found);
            let of = |table: &str| {
                let line = lines.iter().find(|line| line["table"] == table).expect("a row");
                let after = line["after"].as_object().expect("an image");
                after.values().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            (of("u"), of("s"), found.error)
        };
        let (u, s, error) = rows(&[]);
        assert_eq!((u.as_str(), s.as_str()), ("1 -1 -1 -1 -1 -1 -1 \"é\"", "1 -1"), "{server}");
        assert!(error.contains("note: d.u: "), "{error}");
        assert!(
            error.contains("whether @1, @2, @3, @4, @5, @6, @7 are unsigned:"),
            "{server}: {error}"
        );
        assert!(error.contains("--unsigned"), "{error}");
        assert!(error.contains("character sets of @8,"), "{server}: {error}");
        let (u, s, error) = rows(&["--unsigned", "d.u.@?,d.s.@9"]);
        let all = "1 255 65535 16777215 4294967295 18446744073709551615 255 \"é\"";
        assert_eq!((u.as_str(), s.as_str()), (all, "1 -1"), "{server}");
        assert!(!error.contains("are unsigned:"), "{server}: {error}");
        let (u, ..) = rows(&["--unsigned", "d.u.@2,*.*.@6"]);
        assert_eq!(u, "1 255 -1 -1 -1 18446744073709551615 -1 \"é\"", "{server}");
    }
    for wrong in ["d.u", "d.u.@1.x", ""] {
        let found = typed(&["decode", "--unsigned", wrong, text(&log("no_metadata/mysql-5.7"))]);
        assert_eq!(found.code, Some(64), "{wrong}: {found:?}");
        assert!(found.error.contains("--unsigned"), "{wrong}: {found:?}");
    }
}

#[test]
fn signs_that_the_log_tells_are_not_asked_for() {
    for server in ["mysql-9.7", "mysql-8.0", "mariadb-10.11"] {
        let log = log(&format!("all_types/{server}"));
        let plain = typed(&["decode", text(&log)]);
        assert_eq!((plain.code, plain.error.as_str()), (Some(0), ""), "{server}");
        let named = typed(&["decode", "--unsigned", "*.*.*", text(&log)]);
        assert_eq!((named.code, named.out == plain.out), (Some(0), true), "{server}");
    }
    let minimal = log("minimal/mysql-9.7");
    let plain = typed(&["decode", text(&minimal)]);
    let named = typed(&["decode", "--unsigned", "*.*.*", text(&minimal)]);
    assert_eq!((named.code, plain.code, named.out == plain.out), (Some(0), Some(0), true));
    assert!(!plain.error.contains("are unsigned:"), "{plain:?}");
}

#[test]
fn rows_of_xa_transactions_that_the_files_do_not_show_are_told_of() {
    for server in ["mysql-9.7", "mariadb-10.11"] {
        let first = log(&format!("xa_across_files/{server}"));
        let second = first.with_file_name("binlog.000002");
        let ids = |found: &Run| -> Vec<u64> {
            let lines = documents(found);
            let changes = lines.iter().filter(|line| line["kind"] == "change");
            changes.map(|line| line["after"]["id"].as_u64().expect("a number")).collect()
        };
        let alone = typed(&["decode", text(&second)]);
        assert_eq!((alone.code, ids(&alone)), (Some(0), vec![3]), "{server}: {alone:?}");
        assert!(
            alone.error.contains("XA COMMIT X'6f6e65',X'',1: its rows are missing"),
            "{alone:?}"
        );
        assert!(alone.error.contains("binlog.000002:"), "{alone:?}");
        assert!(!alone.error.contains("74776f"), "an XA ROLLBACK lacks nothing: {alone:?}");
        assert!(alone.error.contains("1 XA transactions are prepared"), "{alone:?}");
        let both = typed(&["decode", text(&first), text(&second)]);
        assert_eq!((both.code, ids(&both)), (Some(0), vec![1, 3]), "{server}: {both:?}");
        assert!(!both.error.contains("XA COMMIT"), "{both:?}");
        assert!(both.error.contains("1 XA transactions are prepared"), "{both:?}");
        let before = typed(&["decode", text(&first)]);
        assert!(before.error.contains("2 XA transactions are prepared"), "{before:?}");
    }
}

#[test]
fn an_event_beyond_the_limit_is_refused_by_name() {
    let refused = |name: &str, says: &str| {
        let log = log(name);
        let whole = typed(&["decode", text(&log)]);
        assert_eq!(whole.code, Some(0), "{whole:?}");
        let enough = typed(&["decode", "--event-max", "1MiB", text(&log)]);
        assert_eq!((enough.code, enough.out == whole.out), (Some(0), true), "{name}");
        let found = typed(&["decode", "--event-max", "1KiB", text(&log)]);
        assert_eq!(found.code, Some(65), "{name}: {found:?}");
        assert!(found.error.contains(says), "{name}: {found:?}");
        assert!(whole.out.starts_with(&found.out), "{name}");
    };
    refused("payload/mysql-9.7", "inside a compressed one, expected at most 1024");
    refused("compressed_events/mariadb-11.8", "inside a compressed one, expected at most 1024");
    refused("all_types/mysql-9.7", "bytes, expected at most 1024");
    for wrong in ["", "1", "2GiB", "much"] {
        let found = typed(&["decode", "--event-max", wrong, text(&log("rows/mysql-9.7"))]);
        assert_eq!(found.code, Some(64), "{wrong}: {found:?}");
        assert!(found.error.contains("--event-max"), "{wrong}: {found:?}");
    }
}

/// Memory is taken for what is read, and an event of 512 MiB is not read.
#[test]
fn a_large_event_is_refused_by_its_header_alone() {
    let mut bytes = std::fs::read(log("rows/mysql-9.7")).expect("a log");
    let description = u32::from_le_bytes(bytes[13..17].try_into().expect("four bytes")) as usize;
    bytes.truncate(4 + description);
    let mut header = [0; 19];
    header[4] = 30;
    header[9..13].copy_from_slice(&(512_u32 << 20).to_le_bytes());
    bytes.extend(header);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("binlog.000001");
    std::fs::write(&path, bytes).expect("a file");
    let found = typed(&["decode", "--event-max", "64MiB", text(&path)]);
    assert_eq!(found.code, Some(65), "{found:?}");
    let says =
        "found an event of 536870912 bytes, expected at most 67108864 (--event-max allows more)";
    assert!(found.error.contains(says), "{found:?}");
    let by_default = typed(&["decode", text(&path)]);
    assert!(by_default.error.contains("expected at most 268435456"), "{by_default:?}");
}

#[test]
fn rows_are_printed_as_other_programs_do_with_their_own_settings() {
    let path = log("rows/mysql-9.7");
    let decode = |words: &[&str]| typed(&[&["decode", text(&path)], words].concat());
    let own = documents(&decode(&[]));
    let rows = own.iter().filter(|document| document["kind"] == "change").count();
    for (format, op, value) in [
        ("debezium", "op", "c"),
        ("maxwell", "type", "insert"),
        ("cloudevents", "binpulseop", "insert"),
    ] {
        let found = decode(&["--format", format]);
        assert_eq!(found.code, Some(0), "{found:?}");
        let found = documents(&found);
        assert_eq!((found.len(), &found[0][op]), (rows, &value.into()), "{format}");
    }
    let words = ["--format", "debezium", "--formats-debezium-schemas-enable", "true"];
    assert_eq!(documents(&decode(&words))[0]["schema"]["version"], 2);
    let wrong = decode(&["--formats-debezium-decimal-handling-mode", "exact"]);
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    assert!(wrong.error.contains("expected one of precise, string, double"), "{wrong:?}");
    assert_eq!(decode(&["--format", "avro"]).code, Some(64));
}
