//! Who may import whom, as data; and the proof that `src/` keeps to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each part and the parts that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("change", &[]),
    ("backoff", &[]),
    ("platform", &[]),
    ("telemetry", &["platform"]),
    ("excerpt", &[]),
    ("tls", &[]),
    ("mysql", &["change", "excerpt", "platform", "tls"]),
    ("aws", &["excerpt", "platform"]),
    ("lease", &["mysql"]),
    ("local_http", &[]),
    ("binlog", &["change"]),
    ("source", &["change", "binlog", "mysql", "backoff", "platform"]),
    ("sql", &[]),
    ("decode", &["change", "binlog", "sql"]),
    ("filter", &["change", "sql"]),
    ("client", &[]),
    ("encode", &["change"]),
    ("pack", &["change", "encode"]),
    ("sink", &["change", "encode", "backoff", "aws", "excerpt", "journal", "platform"]),
    ("checkpoint", &["change", "mysql", "journal", "platform"]),
    (
        "freshness",
        &["change", "encode", "mysql", "aws", "backoff", "platform", "source", "sink", "telemetry"],
    ),
    (
        "snapshot",
        &[
            "change",
            "backoff",
            "decode",
            "encode",
            "excerpt",
            "filter",
            "mysql",
            "pack",
            "platform",
            "source",
            "sql",
            "telemetry",
        ],
    ),
    ("shadow", &["encode"]),
    ("control", &["change", "filter", "pack", "telemetry"]),
    ("shutdown", &[]),
    ("journal", &[]),
    ("config", &[]),
];

/// The parts that join others, and so may name any.
const JOINTS: &[&str] = &["app", "pipeline", "cli", "lib", "main"];

/// Outside crates that stay behind one door.
const DOORS: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("aws_sdk_sns", &["sink", "app"]),
    ("aws_sdk_sqs", &["freshness", "app"]),
    ("prost", &["encode", "client"]),
    ("prometheus", &["telemetry"]),
    // Of the demo and of tests.
    ("binpulse_demo", &[]),
    // Of a store of consumers, a feature that the service does not have.
    ("mysql_async", &["client"]),
    ("mysql_common", &["mysql"]),
    ("ring", &["mysql"]),
    ("toml", &["config"]),
    ("hyper", &["telemetry"]),
    ("pulldown_cmark", &["telemetry"]),
    ("terminal_size", &["cli"]),
    ("crossterm", &["cli"]),
    ("unicode_width", &["cli"]),
    ("zstd", &["decode", "encode", "client"]),
];

/// Lines of the longest function: one that comes near does two things.
const FUNCTION_LINES_MAX: usize = 80;
/// The same for tests, whose steps are told one after the other.
const TEST_LINES_MAX: usize = 100;
/// Functions that may be longer, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("telemetry/metrics/make.rs: all", "one list of all that is counted"),
    ("telemetry/metrics/scrape_sources.rs: register", "one list of all that is read at a scrape"),
    ("verdict/evaluator/mod.rs: observe", "one arm for each event"),
    ("faults/catalogue/inject.rs: begin", "one arm for each fault"),
    ("tests/handle_next/world.rs: check", "one run, and all that must hold after it"),
    ("tracker/world.rs: tell", "one arm for each call of the model"),
];

/// Fields of the largest struct of production: one that comes near is two nouns.
const FIELDS_MAX: usize = 16;
/// Structs that may have more, and why.
const LARGE_STRUCTS: &[(&str, &str)] = &[
    ("telemetry/metrics/mod.rs: Metrics", "one field for each family"),
    ("relay/src/metrics.rs: Metrics", "one field for each family"),
    ("route/config.rs: Config", "one field for each setting of a route"),
    ("route/copy/mod.rs: CopyRoute", "what the one loop over the messages owns"),
    ("telemetry/status.rs: Status", "one field for each key of the document"),
    ("telemetry/status.rs: Verdict", "one field for each key of the document"),
    ("telemetry/conclusion/mod.rs: Conclusion", "one field for each key of the document"),
    ("app/plan/mod.rs: Plan", "one field for each part that is set up"),
    ("app/stream.rs: Stream", "what one stream shares between its tasks"),
    ("freshness/verdict/parameters.rs: Parameters", "one field for each deadline"),
    ("freshness/verdict/evaluator/mod.rs: Evaluator", "one field for each piece of evidence"),
    ("pipeline/flow/mod.rs: Flow", "what the one loop over the events owns"),
    ("decode/mod.rs: Decoder", "what is kept from one event to the next"),
];

/// Lines at which somebody asks whether a file holds two things, to be told apart by their nouns.
/// What belongs together stays together: this is no limit.
const REVIEW_LINES: usize = 600;

/// Files that nobody writes or reads as a whole.
const GENERATED: &[&str] = &["clients/rust/src/proto.rs"];

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

/// Folders of production code, and the part that the whole folder is; without one, each folder or
/// file in it is a part.
const ROOTS: &[(&str, Option<&str>)] =
    &[("src", None), ("crates/core/src", None), ("clients/rust/src", Some("client"))];

/// Every source file with the part that it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let mut sources = Vec::new();
    for (folder, whole) in ROOTS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut found = Vec::new();
        files(&root, &mut found);
        sources.extend(found.into_iter().map(|path| {
            let below = path.strip_prefix(&root).expect("below the root");
            let first = below.iter().next().expect("a name").to_string_lossy();
            let part = whole.map_or(first.trim_end_matches(".rs").to_owned(), str::to_owned);
            (part, path)
        }));
    }
    sources
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

/// All code of the repository, by path below its root: production and tests.
fn all_code() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "crates", "clients/rust", "tests", "benches"] {
        files(&root.join(folder), &mut found);
    }
    assert!(found.len() > 100, "{found:?}");
    let below = |path: &Path| path.strip_prefix(root).expect("below the root").to_owned();
    let read = |path: PathBuf| (below(&path), fs::read_to_string(&path).expect("source file"));
    let is_written = |(path, _): &(PathBuf, String)| {
        !GENERATED.iter().any(|generated| path == Path::new(generated))
    };
    found.into_iter().map(read).filter(is_written).collect()
}

/// Lines of an item that begins at `lines[at]`, as rustfmt lays it out: to the line that closes it
/// in the same column. `None`: it has no body, or it is of one line.
fn item<'a>(lines: &'a [&'a str], at: usize) -> Option<&'a [&'a str]> {
    let first = lines[at];
    if first.ends_with(';') || first.ends_with('}') {
        return None;
    }
    let indent = &first[..first.len() - first.trim_start().len()];
    let closes = |line: &&str| {
        let rest = line.strip_prefix(indent).unwrap_or_default();
        rest == "}" || (rest.starts_with(')') && rest.ends_with(';'))
    };
    let length = lines[at..].iter().skip(1).position(closes)? + 2;
    lines.get(at..at + length).filter(|item| item.last().is_some_and(|last| !last.ends_with(';')))
}

/// The name behind `keyword` in an item's first line, visibility and `async` before it or not.
fn name_of<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    let before = ["pub", "pub(crate)", "pub(super)", "const", "async"];
    let found = words.by_ref().find(|word| !before.contains(word) && !word.starts_with("pub(in"));
    if found != Some(keyword) {
        return None;
    }
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Whether `path: name` is among the exceptions, which are told by their ends.
fn is_excepted(exceptions: &[(&str, &str)], path: &Path, name: &str) -> bool {
    let full = format!("{}: {name}", path.display());
    exceptions.iter().any(|(end, _)| full.ends_with(end))
}

#[test]
fn no_function_is_longer_than_one_thing_needs() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, text) in all_code() {
        let lines: Vec<_> = text.lines().collect();
        let tests_at = lines.iter().position(|line| *line == "mod tests {").unwrap_or(lines.len());
        let is_production = ["src", "crates", "clients"].iter().any(|root| path.starts_with(root));
        for at in 0..lines.len() {
            let Some(name) = name_of(lines[at], "fn") else { continue };
            let Some(item) = item(&lines, at) else { continue };
            let is_tests = !is_production || is_test(&path) || at > tests_at;
            let most = if is_tests { TEST_LINES_MAX } else { FUNCTION_LINES_MAX };
            if item.len() > most && !is_excepted(LONG_FUNCTIONS, &path, name) {
                let length = item.len();
                wrong.push(format!(
                    "{}: `{name}` has {length} lines, {most} at most",
                    path.display()
                ));
            }
            seen += 1;
        }
    }
    assert!(seen > 2_000, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_struct_has_more_fields_than_one_thing_needs() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let is_production = |path: &Path| {
        (["src", "crates", "clients"].iter().any(|root| path.starts_with(root))) && !is_test(path)
    };
    for (path, text) in all_code().into_iter().filter(|(path, _)| is_production(path)) {
        let lines: Vec<_> = text.lines().collect();
        for at in 0..lines.len() {
            let Some(name) = name_of(lines[at], "struct") else { continue };
            let Some(item) = item(&lines, at) else { continue };
            let indent = " ".repeat(lines[at].len() - lines[at].trim_start().len() + 4);
            let is_field = |line: &&&str| {
                let field = line.strip_prefix(&indent).unwrap_or_default();
                field.starts_with(|c: char| c.is_alphabetic() || c == '_') && field.contains(": ")
            };
            let fields = item.iter().filter(is_field).count();
            if fields > FIELDS_MAX && !is_excepted(LARGE_STRUCTS, &path, name) {
                let path = path.display();
                wrong.push(format!("{path}: `{name}` has {fields} fields, {FIELDS_MAX} at most"));
            }
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A question for whoever reviews, not a limit: `cargo test --test architecture -- --nocapture`.
#[test]
fn long_files_are_named_for_the_review() {
    for (path, text) in all_code() {
        let lines = text.lines().count();
        if lines >= REVIEW_LINES {
            println!("{}: {lines} lines: is it one thing?", path.display());
        }
    }
}

#[test]
fn what_is_long_is_measured_as_it_is_laid_out() {
    let text = "pub(crate) fn one(\n    a: u8,\n) -> u8 {\n    a\n}\n\nfn none();\nfn two() {}\n\
                struct Three {\n    pub a: u8,\n}\n    async fn four(&self) {\n        {\n        }\n    }\n\
                fn five(\n    a: u8,\n);\n";
    let lines: Vec<_> = text.lines().collect();
    let of = |keyword: &str| -> Vec<_> {
        let items = (0..lines.len()).filter_map(|at| {
            Some((name_of(lines[at], keyword)?, item(&lines, at).map(<[_]>::len)))
        });
        items.collect()
    };
    assert_eq!(
        of("fn"),
        [("one", Some(5)), ("none", None), ("two", None), ("four", Some(4)), ("five", None)]
    );
    assert_eq!(of("struct"), [("Three", Some(3))]);
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
