//! Who may import whom, as data; and the proof that `src/` keeps to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each part and the parts that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("change", &[]),
    ("backoff", &[]),
    ("telemetry", &[]),
    ("excerpt", &[]),
    ("mysql", &["change", "excerpt"]),
    ("aws", &["excerpt"]),
    ("ask", &[]),
    ("binlog", &["change"]),
    ("source", &["change", "binlog", "mysql", "backoff"]),
    ("sql", &[]),
    ("decode", &["change", "binlog", "sql"]),
    ("filter", &["change", "sql"]),
    ("encode", &["change"]),
    ("pack", &["change", "encode"]),
    ("sink", &["change", "encode", "backoff", "aws", "excerpt", "journal"]),
    ("checkpoint", &["change", "mysql", "journal"]),
    ("pulse", &["change", "encode", "mysql", "aws", "backoff"]),
    ("shutdown", &[]),
    ("journal", &[]),
    ("config", &[]),
];

/// The parts that join others, and so may name any.
const JOINTS: &[&str] = &["app", "pipeline", "cli", "lib", "main"];

/// Outside crates that stay behind one door.
const DOORS: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("aws_sdk_sns", &["sink"]),
    ("aws_sdk_sqs", &["pulse"]),
    ("prost", &["encode"]),
    ("prometheus", &["telemetry"]),
    // Of the demo and of tests.
    ("binpulse_demo", &[]),
    ("mysql_async", &[]),
    ("mysql_common", &["mysql"]),
    ("ring", &["mysql"]),
    ("toml", &["config"]),
    ("hyper", &["telemetry"]),
    ("zstd", &["decode", "encode"]),
];

/// Lines of the longest file: one that comes near holds two things, to be told apart by their nouns.
const LINES_MAX: usize = 600;

/// Files that may be longer, since nobody writes or reads them as a whole.
const GENERATED: &[&str] = &["src/encode/proto.rs"];

/// Parts that compute only: no runtime, no sockets, no clock.
const PURE: &[&str] =
    &["change", "binlog", "decode", "encode", "pack", "filter", "backoff", "excerpt", "sql"];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every source file with the part that it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&root).expect("below src");
            let first = below.iter().next().expect("a name").to_string_lossy();
            (first.trim_end_matches(".rs").to_owned(), path)
        })
        .collect()
}

/// Code without comments and without its unit tests, which stand last in a file.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("source file");
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// Names that follow `prefix` in the code: `crate::` gives parts.
fn names_after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            for item in list.split_inclusive([',', '{', '}']) {
                let name = item.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next();
                if depth == 0 {
                    names.extend(name.filter(|name| !name.is_empty()));
                }
                match item.chars().last() {
                    Some('{') => depth += 1,
                    Some('}') if depth == 0 => break,
                    Some('}') => depth -= 1,
                    _ => {}
                }
            }
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            names.insert(&rest[..end]);
        }
    }
    names
}

#[test]
fn every_part_imports_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (part, path) in sources() {
        if JOINTS.contains(&part.as_str()) || is_test(&path) {
            continue;
        }
        let Some(allowed) = table.get(part.as_str()) else {
            wrong.push(format!("{}: part `{part}` is not in the table", path.display()));
            continue;
        };
        for name in names_after(&code(&path), "crate::") {
            let is_part = table.contains_key(name) || JOINTS.contains(&name);
            if is_part && name != part && !allowed.contains(&name) {
                wrong.push(format!("{}: `{part}` may not import `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_behind_their_doors() {
    let mut wrong = Vec::new();
    for (part, path) in sources() {
        if is_test(&path) {
            continue;
        }
        let code = code(&path);
        for (krate, doors) in DOORS {
            let used = code.match_indices(&format!("{krate}::")).any(|(at, _)| {
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if used && !doors.contains(&part.as_str()) {
                wrong.push(format!("{}: `{krate}` belongs behind {doors:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_parts_have_no_runtime_no_socket_and_no_clock() {
    let forbidden =
        ["tokio::", "std::net", "Instant::now(", "SystemTime::now(", "async fn", ".await"];
    let mut wrong = Vec::new();
    for (part, path) in sources() {
        if !PURE.contains(&part.as_str()) || is_test(&path) {
            continue;
        }
        let code = code(&path);
        for word in forbidden {
            if code.contains(word) {
                wrong.push(format!("{}: `{word}` in a pure part", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_thing_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        files(&root.join(folder), &mut found);
    }
    assert!(found.len() > 100, "{found:?}");
    let mut wrong = Vec::new();
    for path in found {
        let below = path.strip_prefix(root).expect("below the root");
        let lines = fs::read_to_string(&path).expect("source file").lines().count();
        let is_generated = GENERATED.iter().any(|generated| below == Path::new(generated));
        if lines > LINES_MAX && !is_generated {
            wrong.push(format!("{}: {lines} lines, {LINES_MAX} at most", below.display()));
        }
        // An exception that is needed no more would cover what is written next.
        if lines <= LINES_MAX && is_generated {
            wrong.push(format!("{}: no exception is needed", below.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_no_part_that_is_gone() {
    let parts: BTreeSet<String> = sources().into_iter().map(|(part, _)| part).collect();
    for (part, _) in MAY_IMPORT {
        assert!(parts.contains(*part), "`{part}` is in the table, but not in src/");
    }
}

/// A metric that nobody feeds looks like a fact: it says 0, for ever.
#[test]
fn every_metric_that_is_counted_has_somebody_who_counts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let metrics = code(&root.join("telemetry/metrics/mod.rs"));
    let (_, fields) = metrics.split_once("pub struct Metrics {").expect("the metrics");
    let (fields, _) = fields.split_once("\n}").expect("the end of the metrics");
    let fields =
        fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    let fields: Vec<_> = fields.map(|(name, _)| name).collect();
    assert!(fields.len() > 20, "{fields:?}");
    let callers: Vec<_> = sources()
        .into_iter()
        .filter(|(_, path)| !is_test(path) && !path.starts_with(root.join("telemetry/metrics")))
        .map(|(_, path)| code(&path))
        .collect();
    // Set through a function of their own.
    let through = |name: &str| match name {
        "source_clock_offset_seconds" | "source_clock_offset_error_seconds" => {
            "observe_clock_offset".to_owned()
        }
        name => name.to_owned(),
    };
    for name in fields {
        let touched = format!(".{}", through(name));
        let fed = callers.iter().any(|code| code.contains(&touched));
        assert!(fed, "nobody feeds binpulse_{name}");
    }
}
