//! Debezium's embedded engine.

use std::path::PathBuf;

use binpulse_demo::Mysqld;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::compare::{Difference, Known, compare};
use crate::oracle::{Java, decode, parsed};
use crate::{Outcome, execute, server, start, statements};

const PREFIX: [&str; 2] = ["--formats-debezium-topic-prefix", "zoo"];

/// A server whose log has the zoo, and the engine.
struct Rig {
    mysqld: Mysqld,
    java: Java,
}

impl Rig {
    fn new(runtime: &Runtime) -> Result<Self, String> {
        let server = server(|server| server.is_mysql(9, 0)).ok_or("there is no MySQL 9")?;
        let java = Java::of("debezium", "OracleOfDebezium")?;
        let mysqld = start(runtime, &server);
        // The engine ends at a date that does not exist.
        let statements = statements(|_| true);
        let statements: Vec<_> = statements
            .into_iter()
            .map(|statement| statement.replace("2023-02-31", "2023-02-28"))
            .collect();
        execute(runtime, &mysqld, &statements);
        Ok(Self { mysqld, java })
    }

    fn log(&self) -> PathBuf {
        self.mysqld.data().join("binlog.000001")
    }

    /// What the engine makes of the log: each second line is a value.
    fn theirs(&self, format: &str, properties: &[&str]) -> Vec<Value> {
        let port = self.mysqld.port().to_string();
        let lines = self.java.run(&[&[format, &port, "d"], properties].concat());
        parsed(&lines.into_iter().skip(1).step_by(2).collect::<Vec<_>>())
    }

    fn ours(&self, format: &str, arguments: &[&str]) -> Vec<Value> {
        let all = [&["--format", format], &PREFIX[..], arguments].concat();
        let mut rows = decode(&self.log(), &all);
        rows.pop();
        rows
    }
}

const NO_SCHEMAS: [&str; 1] = ["value.converter.schemas.enable=false"];

fn table(document: &Value) -> &Value {
    let payload = document.get("payload").unwrap_or(document);
    payload["source"].get("table").unwrap_or(&payload["iodebeziumtable"])
}

const VERSION: Known = Known::new("`source.version`", |d| {
    d.path.ends_with("source/version") || d.path == "/iodebeziumversion"
});
const PROCESSED: Known = Known::new("`ts_ms`, `ts_us`, `ts_ns` beside `op`", |d| {
    let path = d.path.strip_prefix("/payload").unwrap_or(d.path);
    matches!(path, "/ts_ms" | "/ts_us" | "/ts_ns")
});
const THREAD: Known = Known::new("`source.thread`", |d| {
    let is_thread = d.path.ends_with("source/thread") || d.path == "/iodebeziumthread";
    is_thread && d.ours.is_null()
});
const YEAR: Known = Known::new("YEAR 0000", |d| {
    d.is_column("integers", "y") && (d.ours, d.theirs) == (&0.into(), &1900.into())
});
const FLOAT: Known = Known::new("FLOAT(M,D)", |d| {
    d.is_column("floats", "fd") || (d.table == "floats" && d.path.contains("/fd/"))
});
const EARLY: Known = Known::new("years 0001 to 0099", |d| d.is_column("dates", "dt5"));
const TEXT: Known = Known::new("text that is not valid", |d| d.is_column("charsets", "latin1"));
const JSON_NUMBERS: Known = Known::new("JSON: numbers with an exponent", |d| {
    is_json(d) && d.ours.as_str().is_some_and(|text| text.contains('e') && !text.contains('"'))
});
const JSON_ESCAPES: Known = Known::new("JSON: escapes of control characters", |d| {
    is_json(d) && d.ours.as_str().is_some_and(|text| text.contains("\\u001f"))
});
const JSON_TIMES: Known = Known::new("JSON: times and binary values", |d| {
    is_json(d) && d.ours.as_str().is_some_and(|text| text.contains("base64:type15"))
});
const DEFAULTS: Known =
    Known::new("`default` in schemas", |d| d.path.ends_with("/default") && d.ours.is_null());

fn is_json(difference: &Difference<'_>) -> bool {
    difference.is_column("documents", "j")
}

/// Those of rows.
const ROWS: [Known; 8] = [YEAR, FLOAT, EARLY, TEXT, JSON_NUMBERS, JSON_ESCAPES, JSON_TIMES, THREAD];

fn with(more: impl IntoIterator<Item = Known>) -> Vec<Known> {
    ROWS.into_iter().chain(more).collect()
}

pub(crate) fn values(runtime: &Runtime) -> Outcome {
    let rig = match Rig::new(runtime) {
        Ok(rig) => rig,
        Err(why) => return Outcome::Skipped(why),
    };
    let (ours, theirs) = (rig.ours("debezium", &[]), rig.theirs("json", &NO_SCHEMAS));
    Outcome::Passed(compare(&ours, &theirs, table, &with([VERSION, PROCESSED])))
}

pub(crate) fn schemas(runtime: &Runtime) -> Outcome {
    let rig = match Rig::new(runtime) {
        Ok(rig) => rig,
        Err(why) => return Outcome::Skipped(why),
    };
    let ours = rig.ours("debezium", &["--formats-debezium-schemas-enable", "true"]);
    let theirs = rig.theirs("json", &[]);
    Outcome::Passed(compare(&ours, &theirs, table, &with([VERSION, PROCESSED, DEFAULTS])))
}

/// The modes of each option that are not its default, with schemas.
pub(crate) fn modes(runtime: &Runtime) -> Outcome {
    let rig = match Rig::new(runtime) {
        Ok(rig) => rig,
        Err(why) => return Outcome::Skipped(why),
    };
    let sets: [&[(&str, &str)]; 4] = [
        &[("decimal", "string"), ("bigint.unsigned", "precise"), ("binary", "hex")],
        &[("decimal", "double"), ("binary", "base64")],
        &[("binary", "base64-url-safe"), ("bigint.unsigned", "precise")],
        &[("time.precision.mode", "connect")],
    ];
    let mut told = Vec::new();
    for set in sets {
        let (mut flags, mut properties) = (Vec::new(), Vec::new());
        for (option, mode) in set {
            let is_whole = option.ends_with("mode");
            let name = if is_whole { (*option).into() } else { format!("{option}.handling.mode") };
            flags.push(format!("--formats-debezium-{}", name.replace('.', "-")));
            flags.push((*mode).to_owned());
            properties.push(format!("{name}={mode}"));
        }
        let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
        flags.extend(["--formats-debezium-schemas-enable", "true"]);
        let properties: Vec<_> = properties.iter().map(String::as_str).collect();
        let (ours, theirs) = (rig.ours("debezium", &flags), rig.theirs("json", &properties));
        let known = with([VERSION, PROCESSED, DEFAULTS]);
        told.push(compare(&ours, &theirs, table, &known));
    }
    Outcome::Passed(told.join("; "))
}

pub(crate) fn cloudevents(runtime: &Runtime) -> Outcome {
    let rig = match Rig::new(runtime) {
        Ok(rig) => rig,
        Err(why) => return Outcome::Skipped(why),
    };
    let ours = rig.ours("cloudevents", &["--formats-cloudevents-style", "debezium"]);
    let theirs = rig.theirs("cloudevents", &["value.converter.json.schemas.enable=false"]);
    let known = with([
        VERSION,
        Known::new("CloudEvents: `id`", |d| d.path == "/id"),
        Known::new("CloudEvents: `time`", |d| d.path == "/time"),
    ]);
    Outcome::Passed(compare(&ours, &theirs, |event| &event["iodebeziumtable"], &known))
}
