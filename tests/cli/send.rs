//! `send`: fixtures to standard output and to an address; `tests/live` has the queue.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use super::typed;

#[test]
fn a_fixture_is_printed_in_the_form_and_envelope_that_were_asked_for() {
    let names = typed(&["send", "--fixture", "list"]).out;
    assert!(names.lines().any(|name| name == "every-type"), "{names}");

    let json = typed(&["send", "--fixture", "every-type", "--form", "json"]).out;
    let document: Value = serde_json::from_str(&json).expect("a document");
    assert_eq!(document["kind"], "change");

    let event = typed(&["send", "--fixture", "every-type", "--as", "lambda", "--form", "json"]).out;
    let event: Value = serde_json::from_str(&event).expect("an event");
    assert_eq!(event["Records"][0]["body"], json.trim_end());
    assert_eq!(event["Records"][0]["messageAttributes"]["kind"]["stringValue"], "change");

    let all = typed(&["send", "--fixture", "all"]).out;
    assert_eq!(all.lines().count(), names.lines().count());

    let hostile = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/hostile.json");
    assert!(typed(&["send", "--fixture", hostile]).out.lines().count() > 20);

    let unknown = typed(&["send", "--fixture", "nothing"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(64), ""));
    assert!(unknown.error.contains("no case is named \"nothing\""), "{}", unknown.error);
}

#[test]
fn a_consumer_that_refuses_a_post_is_told_of() {
    for (answer, code) in [("200 OK", Some(0)), ("500 Internal Server Error", Some(1))] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let consumer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"]}") {
                let read = stream.read(&mut buffer).expect("a request");
                assert!(read > 0, "the request ends early");
                request.extend_from_slice(&buffer[..read]);
            }
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").expect("an answer");
            String::from_utf8(request).expect("UTF-8")
        });
        let url = format!("http://{address}/function");
        let sent = typed(&["send", "--fixture", "canary", "--as", "lambda", "--to", &url]);
        assert_eq!(sent.code, code, "{}", sent.error);
        let request = consumer.join().expect("it was asked");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("POST /function HTTP/1.0\r\n"), "{head}");
        let event: Value = serde_json::from_str(body).expect("an event");
        assert_eq!(event["Records"][0]["messageId"], "canary");
    }
}
