//! `snapshot` against a service that answers as it is told to.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{Run, typed};

/// Answers one request after the other, and gives back what was asked. A GET gets the next of
/// `statuses` as the snapshot, the last one for ever; a POST gets `code` and `words`.
fn with_service(
    statuses: &[Value],
    (code, words): (u16, &str),
    arguments: &[&str],
) -> (Run, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (mut statuses, words) = (statuses.to_vec(), words.to_owned());
    let served = std::thread::spawn(move || {
        let mut heads = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).expect("a request") == 0 {
                    return heads;
                }
                head.push(byte[0].into());
            }
            let (code, body) = if head.starts_with("POST") {
                (code, words.clone())
            } else {
                let next = statuses[0].clone();
                if statuses.len() > 1 {
                    statuses.remove(0);
                }
                (200, json!({"snapshot": next}).to_string())
            };
            heads.push(head);
            write!(stream, "HTTP/1.1 {code} X\r\n\r\n{body}").expect("it reads");
        }
    });
    let run = typed(&[arguments, &["--http-listen", &address]].concat());
    // A connection without a request ends it.
    drop(std::net::TcpStream::connect(&address).expect("it listens"));
    (run, served.join().expect("it served"))
}

fn snapshot(id: &str, state: &str, table: &str) -> Value {
    json!({
        "id": id, "state": state, "waits_for": null, "reason": "no such table: shop.orderz",
        "audience": null, "started_at_us": 0, "newest_chunk_at_us": null, "rows": 7,
        "rows_per_second": 1.5, "seconds_left": null, "of_a_newer_version": 1,
        "tables": [{
            "database": "shop", "table": "orders", "state": table, "rows": 7,
            "rows_estimated": 1_200, "chunks": 1, "reason": null,
        }],
    })
}

const POSTED: (u16, &str) = (200, "the snapshot's tables are looked at\n");

#[test]
fn start_tells_what_is_read() {
    let old = snapshot("1", "done", "done");
    let statuses = [
        old.clone(),
        old,
        snapshot("2", "checking", "waiting"),
        snapshot("2", "running", "reading"),
    ];
    let arguments = ["snapshot", "start", "--tables", "shop.orders", "--where", "ä = 1"];
    let (run, heads) = with_service(&statuses, POSTED, &arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.contains("snapshot 2\n  shop.orders: about 1,200 rows\n"), "{run:?}");
    let post = heads.iter().find(|head| head.starts_with("POST /snapshot ")).expect("a POST");
    let header = "binpulse-snapshot: {\"command\":\"start\",\"tables\":[\"shop.orders\"],\
                  \"where\":\"\\u00e4 = 1\"}\r\n";
    assert!(post.contains(header), "{post}");
}

#[test]
fn a_refusal_is_told_and_ends_with_1() {
    let arguments = ["snapshot", "start", "--tables", "shop.orderz"];
    let (run, _) = with_service(&[Value::Null], (409, "a snapshot is not over yet\n"), &arguments);
    assert_eq!((run.code, run.error.as_str()), (Some(1), "binpulse: a snapshot is not over yet\n"));
    let statuses = [Value::Null, snapshot("2", "refused", "waiting")];
    let (run, _) = with_service(&statuses, POSTED, &arguments);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.error.contains("refused: no such table: shop.orderz"), "{run:?}");
    for command in ["pause", "resume", "stop"] {
        let (run, heads) =
            with_service(&[Value::Null], (409, "there is no snapshot\n"), &["snapshot", command]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(heads[0].contains(&format!("{{\"command\":\"{command}\"}}")), "{heads:?}");
    }
}

#[test]
fn status_is_a_line_of_json_and_a_watch_ends_with_the_snapshot() {
    let (run, _) =
        with_service(&[snapshot("2", "paused", "reading")], POSTED, &["snapshot", "status"]);
    let told: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((run.code, &told["state"]), (Some(0), &json!("paused")));

    for (state, table, code) in
        [("done", "done", 0), ("done", "abandoned", 1), ("stopped", "done", 1)]
    {
        let statuses = [snapshot("2", "running", "reading"), snapshot("2", state, table)];
        let (run, _) = with_service(&statuses, POSTED, &["snapshot", "status", "--watch"]);
        assert_eq!((run.code, run.out.lines().count()), (Some(code), 2), "{run:?}");
    }
    let (none, _) = with_service(&[Value::Null], POSTED, &["snapshot", "status"]);
    assert_eq!((none.code, none.out.as_str()), (Some(2), ""), "{none:?}");
}

#[test]
fn without_a_service_a_command_ends_with_1_and_a_look_with_2() {
    let silent = ["--http-listen", "127.0.0.1:1"];
    let start = [&["snapshot", "start", "--tables", "a.b"][..], &silent].concat();
    assert_eq!(typed(&start).code, Some(1));
    assert_eq!(typed(&[&["snapshot", "pause"][..], &silent].concat()).code, Some(1));
    assert_eq!(typed(&[&["snapshot", "status"][..], &silent].concat()).code, Some(2));
}
