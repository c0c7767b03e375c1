//! Maxwell.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::compare::{Known, compare};
use crate::oracle::{Java, decode, lines, parsed};
use crate::{Outcome, execute, server, start, statements};

const OPTIONS: [&str; 5] = [
    "output_binlog_position",
    "output_server_id",
    "output_primary_keys",
    "output_primary_key_columns",
    "output_xoffset",
];

/// An account that it can log in with.
const LOGIN: [&str; 2] = [
    "CREATE USER maxwell IDENTIFIED WITH mysql_native_password BY 'maxwell'",
    "GRANT ALL ON *.* TO maxwell",
];

pub(crate) fn documents(runtime: &Runtime) -> Outcome {
    // It asks `SHOW MASTER STATUS`, which MySQL has not known since 8.4.
    let Some(server) = server(|server| server.is_mysql(8, 0) && !server.is_mysql(8, 4)) else {
        return Outcome::Skipped("there is no MySQL 8.0".to_owned());
    };
    let java = match Java::of("maxwell-1.45", "OracleOfMaxwell") {
        Ok(java) => java,
        Err(why) => return Outcome::Skipped(why),
    };
    let mysqld = start(runtime, &server);
    let begin =
        ["CREATE DATABASE begin", "CREATE TABLE begin.marks (id INT PRIMARY KEY AUTO_INCREMENT)"];
    execute(
        runtime,
        &mysqld,
        &[&LOGIN[..], &begin[..]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>(),
    );
    let switches: Vec<_> = OPTIONS.iter().map(|option| format!("--{option}=true")).collect();
    let port = mysqld.port().to_string();
    let arguments: Vec<_> =
        [&port, "d"].into_iter().chain(switches.iter().map(String::as_str)).collect();
    let mut child = java.start(&arguments);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let reader = std::thread::spawn(move || {
        let mut first = String::new();
        output.read_line(&mut first).map(|_| (first, output))
    });
    // It begins at the present: rows until it says that it sees one.
    while !reader.is_finished() {
        execute(runtime, &mysqld, &["INSERT INTO begin.marks VALUES ()".to_owned()]);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let (first, mut output) = reader.join().expect("a thread").expect("its output");
    assert_eq!(first, "reading\n", "it ended early: {:?}", child.wait());
    execute(runtime, &mysqld, &["FLUSH LOGS".to_owned()]);
    // It knows fewer character sets.
    execute(runtime, &mysqld, &statements(|statement| !statement.contains(" charsets ")));
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).expect("its output");
    child.wait().expect("it ends");
    let theirs = parsed(&lines(&rest));
    let flags: Vec<_> = OPTIONS[..4]
        .iter()
        .flat_map(|option| {
            [format!("--formats-maxwell-{}", option.replace('_', "-")), "true".into()]
        })
        .collect();
    let mut arguments = vec!["--format", "maxwell"];
    arguments.extend(flags.iter().map(String::as_str));
    let mut ours = decode(&mysqld.data().join("binlog.000002"), &arguments);
    ours.pop();
    Outcome::Passed(compare(&ours, &theirs, |document| &document["table"], &known()))
}

fn known() -> Vec<Known> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    vec![
        Known::new("`xid`, `commit`, `xoffset`", |d| {
            matches!(d.path, "/xid" | "/commit" | "/xoffset") && d.ours.is_null()
        }),
        Known { is_by_chance: true, ..Known::new("`ts`", |d| d.path == "/ts") },
        Known::new("YEAR 0000 in Maxwell", |d| d.is_column("integers", "y")),
        Known::new("BIT of more than 31 bits", |d| d.table == "bits"),
        Known::new("dates that do not exist", |d| {
            (d.table == "dates" || d.is_column("strict", "dt6")) && !text(d.theirs).is_empty()
        }),
        Known::new("TIME below zero, or above a day", |d| d.table == "times"),
        Known::new("BINARY ending in zeros", |d| {
            d.table == "blobs" && text(d.ours).len() > text(d.theirs).len()
        }),
        Known::new("labels of ENUM and SET with a quote", |d| {
            d.is_column("members", "e") && text(d.theirs).contains("''")
        }),
        Known::new("ENUM without a valid label", |d| {
            d.is_column("members", "e") && text(d.ours).is_empty() && d.theirs.is_null()
        }),
        Known::new("JSON: times and binary values in Maxwell", |d| {
            d.is_column("documents", "j") && d.ours.is_array()
        }),
    ]
}
