//! Lines of `binpulse decode`, taken apart as text, so that their exact form and every digit count.

use std::path::PathBuf;
use std::process::Command;

/// Members of an object: names, and values as they are written.
pub(super) type Members = Vec<(String, String)>;

/// A line of kind `change`.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) op: String,
    pub(super) database: String,
    pub(super) table: String,
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) row: u64,
    pub(super) before: Option<Members>,
    pub(super) after: Option<Members>,
}

/// Runs `binpulse decode`: its changes, and what it says at the end if it refuses.
pub(super) fn decode(logs: &[PathBuf]) -> (Vec<Line>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_binpulse"))
        .arg("decode")
        .args(logs)
        .output()
        .expect("binpulse runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let failures = error.split_inclusive('\n').filter(|line| !line.starts_with("binpulse: note: "));
    let error: String = failures.collect();
    assert_eq!(output.status.code(), Some(if error.is_empty() { 0 } else { 65 }), "{error}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (text.lines().filter_map(line).collect(), error)
}

/// Checks a line's form to the letter; `None` for a statement.
fn line(text: &str) -> Option<Line> {
    serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let members = members(text);
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let of = |name: &str| {
        let found = members.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name}: {text}"), |(_, value)| value.as_str())
    };
    check_committed_at(of("committed_at"));
    check_gtid(of("gtid"));
    let place = self::members(of("position"));
    let [(file_key, file), (offset_key, offset)] = place.as_slice() else {
        panic!("position: {text}");
    };
    assert_eq!((file_key.as_str(), offset_key.as_str()), ("file", "offset"));
    if of("kind") == "\"schema\"" {
        let expected = ["kind", "database", "gtid", "position", "committed_at", "statement"];
        assert_eq!(names, expected, "{text}");
        return None;
    }
    assert_eq!(of("kind"), "\"change\"", "{text}");
    let expected = [
        "kind",
        "op",
        "database",
        "table",
        "gtid",
        "position",
        "row",
        "committed_at",
        "before",
        "after",
    ];
    assert_eq!(names, expected, "{text}");
    let image = |text: &str| (text != "null").then(|| self::members(text));
    let line = Line {
        op: unquoted(of("op")),
        database: unquoted(of("database")),
        table: unquoted(of("table")),
        file: unquoted(file),
        offset: offset.parse().expect("a number"),
        row: of("row").parse().expect("a number"),
        before: image(of("before")),
        after: image(of("after")),
    };
    let has = (line.before.is_some(), line.after.is_some());
    match line.op.as_str() {
        "insert" => assert_eq!(has, (false, true), "{text}"),
        "update" => assert_eq!(has, (true, true), "{text}"),
        "delete" => assert_eq!(has, (true, false), "{text}"),
        op => panic!("op {op}"),
    }
    Some(line)
}

/// `"2026-11-20T20:12:00.123456Z"`.
fn check_committed_at(text: &str) {
    let form: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(form, "\"9999-99-99T99:99:99.999999Z\"", "{text}");
}

/// null, `uuid:n`, `uuid:tag:n`, or MariaDB's `domain-server-n`.
fn check_gtid(text: &str) {
    if text == "null" {
        return;
    }
    let gtid = unquoted(text);
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let parts: Vec<_> = gtid.split(':').collect();
    let good = match parts.as_slice() {
        [maria] => maria.split('-').count() == 3 && maria.split('-').all(is_number),
        [uuid, number] | [uuid, _, number] => uuid.len() == 36 && is_number(number),
        _ => false,
    };
    assert!(good, "gtid {text}");
}

/// A JSON string's text.
pub(super) fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Members of a JSON object in their order, with values as written.
pub(super) fn members(object: &str) -> Members {
    let inner = object.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.unwrap_or_else(|| panic!("no object: {object}"));
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (key, behind) = rest.split_at(value_end(rest));
        let value = behind.strip_prefix(':').expect("a colon");
        let (value, behind) = value.split_at(value_end(value));
        found.push((unquoted(key), value.to_owned()));
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    found
}

/// Where the value at the front ends: at a colon, comma or bracket that is not inside it.
fn value_end(text: &str) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b',' | b':' if depth == 0 => return at,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}
