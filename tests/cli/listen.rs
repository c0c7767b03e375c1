//! `listen`: lines of standard input to a webhook and to standard output.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::SystemTime;

use binpulse_client::verify_webhook;

use super::run;

/// Reads a request and answers it; its headers, by names in small letters, and its body.
fn taken(stream: &mut TcpStream, answer: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let read = stream.read(&mut buffer).expect("a request");
        assert!(read > 0, "the request ends early");
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let headers: Vec<(String, String)> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, length)| length.parse().ok());
        if Some(body.len()) == length {
            break (headers, body.as_bytes().to_vec());
        }
    };
    write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .expect("an answer");
    (head, body)
}

#[test]
fn lines_come_as_signed_requests_and_again_after_a_failure() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", socket.local_addr().expect("an address"));
    let receiver = std::thread::spawn(move || {
        let answers = ["500 Internal Server Error", "204 No Content", "200 OK"];
        answers.map(|answer| taken(&mut socket.accept().expect("a connection").0, answer))
    });
    let input = "{\"row\":1,\"text\":\"é\"}\n{\"row\":2}\n";
    let listened = run(&["listen", "--to", &url], &[], input.as_bytes());
    assert_eq!(listened.code, Some(0), "{}", listened.error);
    assert!(listened.error.contains("500"), "{}", listened.error);
    let (_, secret) = listened.error.split_once("signed with ").expect("the secret is told");
    let secret = secret.lines().next().expect("a line");
    let requests = receiver.join().expect("all came");
    let ids = requests.map(|(headers, body)| {
        let header = |wanted: &str| {
            headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        let id = verify_webhook(&body, header, &[secret], SystemTime::now()).expect("it is signed");
        assert_eq!(header("content-type"), Some("application/json"));
        (id.to_owned(), String::from_utf8(body).expect("UTF-8"))
    });
    assert_eq!(ids[0], ids[1], "the same row has the same id");
    assert_ne!(ids[1].0, ids[2].0);
    assert_eq!([&*ids[1].1, &*ids[2].1], ["{\"row\":1,\"text\":\"é\"}", "{\"row\":2}"]);
    assert_eq!((&ids[0].0[..3], ids[0].0.len()), ("bp_", 35));
}

#[test]
fn without_a_webhook_lines_go_to_standard_output() {
    let listened = run(&["listen"], &[], b"{\"row\":1}\n\n{\"row\":2}\n");
    assert_eq!((listened.code, &*listened.out), (Some(0), "{\"row\":1}\n{\"row\":2}\n"));
    let cut = run(&["listen"], &[], b"{\"row\":1}\n{\"row\"");
    assert_eq!((cut.code, &*cut.out), (Some(69), "{\"row\":1}\n"));
    let address = run(&["listen", "--to", "ftp://x"], &[], b"");
    assert_eq!(address.code, Some(64), "{}", address.error);
}
