//! Servers that say what no server should.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Liveness, Replica};
use crate::binlog::tests::{description, event};
use crate::change::Position;
use crate::mysql::server_side::{OK, greeting, packets, result_set};
use crate::mysql::{HostPort, Secret, TlsConfig};
use crate::source::{Config, Deadlines, Error, Recovery, ServerErrorKind, Start, Step};

const LIMIT: Duration = Duration::from_millis(500);

fn config(port: u16) -> Config {
    Config {
        hosts: vec![HostPort::new("127.0.0.1", port)],
        user: "binpulse".to_owned(),
        password: Secret::new("secret"),
        tls: TlsConfig::default().load().expect("no files"),
        stream: "orders".to_owned(),
        server_id: None,
        replica_uuid: None,
        report_host: String::new(),
        report_port: 1,
        heartbeat_period: Duration::from_millis(100),
        send_timeout: Config::SEND_TIMEOUT,
        deadlines: Deadlines {
            connect: LIMIT,
            login: LIMIT,
            query: LIMIT,
            first_event: LIMIT,
            silence: Some(LIMIT),
        },
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    packets(sequence, [payload])
}

/// An answer of one row.
fn row(columns: &[&str]) -> Vec<u8> {
    let names = columns.iter().map(|_| "c");
    packets(1, result_set(names, [columns.iter().map(Some)]))
}

/// Everything that a MariaDB answers up to the request for the stream.
fn accepting() -> Vec<Vec<u8>> {
    let mut script =
        vec![packet(0, &greeting("11.4.2-MariaDB")), packet(2, &OK), row(&["1", "11.4.2-MariaDB"])];
    // Five settings and the registration.
    script.extend(vec![packet(1, &OK); 6]);
    script
}

/// A server that says each piece of its script after it heard something, then goes quiet or away.
async fn serve(script: Vec<Vec<u8>>, stays: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let mut heard = [0; 4096];
        for (index, piece) in script.into_iter().enumerate() {
            if index > 0 && !matches!(stream.read(&mut heard).await, Ok(1..)) {
                return;
            }
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
        while stays && matches!(stream.read(&mut heard).await, Ok(1..)) {}
    });
    port
}

async fn stream(script: Vec<Vec<u8>>, stays: bool) -> Result<Vec<Vec<u8>>, Error> {
    let config = config(serve(script, stays).await);
    let start = Start::Position(Position::new("b.000001", 4));
    let mut replica = Replica::connect(&config, 0, &start, &Liveness::new()).await?;
    let mut events = Vec::new();
    while let Some(event) = replica.next().await? {
        events.push(event.to_vec());
    }
    Ok(events)
}

fn events(events: &[&[u8]]) -> Vec<u8> {
    packets(1, events.iter().map(|event| [&[0], *event].concat()))
}

/// A stream of these events, from a server that ends it behind them, or has nothing more.
pub(crate) async fn replica_of(sent: &[Vec<u8>], ends: bool) -> Replica {
    let end = ends.then(|| vec![0xfe, 0, 0, 2, 0]);
    let sent = sent.iter().map(|event| [&[0], &event[..]].concat()).chain(end);
    let script = [accepting(), vec![packets(1, sent)]].concat();
    let mut config = config(serve(script, true).await);
    let patient = Duration::from_mins(1);
    (config.deadlines.first_event, config.deadlines.silence) = (patient, Some(patient));
    let start = Start::Position(Position::new("log.000001", 4));
    Replica::connect(&config, 0, &start, &Liveness::new()).await.expect("it opens")
}

#[tokio::test]
async fn each_step_that_stalls_is_named_with_its_deadline() {
    let whole = accepting();
    for (pieces, step) in
        [(0, Step::Greeting), (1, Step::Login), (2, Step::SetUp), (8, Step::Register)]
    {
        let error = stream(whole[..pieces].to_vec(), true).await.expect_err("a stall");
        let Error::TimedOut { step: found, .. } = error else { panic!("{pieces}: {error}") };
        assert_eq!(found, step);
        assert_eq!(error.recovery(), Recovery::NextHost);
    }
    let error = stream(whole, true).await.expect_err("a stall");
    assert!(matches!(error, Error::TimedOut { step: Step::FirstEvent, .. }), "{error}");
}

#[tokio::test]
async fn the_first_event_has_a_deadline_of_its_own() {
    let mut config = config(serve(accepting(), true).await);
    config.deadlines.silence = Some(LIMIT / 10);
    let start = Start::Position(Position::new("b.000001", 4));
    let mut replica = Replica::connect(&config, 0, &start, &Liveness::new()).await.expect("opens");
    let error = replica.next().await.expect_err("a stall");
    let Error::TimedOut { step: Step::FirstEvent, after } = error else { panic!("{error}") };
    assert_eq!(after, LIMIT);
}

#[tokio::test]
async fn silence_counts_from_the_last_byte_once_the_stream_flows() {
    let mut script = accepting();
    script.push(events(&[&description("11.4.2-MariaDB", 1, 0), &event(30, b"rows", 0, true)]));
    let error = stream(script, true).await.expect_err("silence");
    assert!(matches!(error, Error::Silent { .. }), "{error}");
}

#[tokio::test]
async fn what_has_arrived_is_taken_without_waiting_and_the_end_shows_when_waited_for() {
    let mut script = accepting();
    let rows = event(30, b"rows", 0, true);
    let sent = events(&[&description("11.4.2-MariaDB", 1, 0), &rows, &rows]);
    script.push([sent, packet(4, &[0xfe, 0, 0, 2, 0])].concat());
    let config = config(serve(script, true).await);
    let start = Start::Position(Position::new("b.000001", 4));
    let mut replica = Replica::connect(&config, 0, &start, &Liveness::new()).await.expect("opens");
    assert!(matches!(replica.next_buffered(), Ok(None)), "nothing has been read yet");
    replica.next().await.expect("the first is waited for").expect("a description");
    let mut taken = 0;
    while replica.next_buffered().expect("undamaged").is_some() {
        taken += 1;
    }
    assert_eq!(taken, 2);
    assert!(replica.next().await.expect("in order").is_none(), "the stream has ended");
}

#[tokio::test]
async fn a_damaged_event_is_never_handed_out() {
    let described = description("11.4.2-MariaDB", 1, 0);
    let good = event(30, b"rows", 0, true);
    for at in [4, 9, 20, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let mut script = accepting();
        script.push(events(&[&described, &bad]));
        let error = stream(script, false).await.expect_err("damage");
        assert!(matches!(error, Error::Damaged(_)), "{at}: {error}");
    }
}

#[tokio::test]
async fn only_a_short_packet_of_the_end_is_the_end() {
    for (bytes, is_end) in [(1, true), (5, true), (8, true), (9, false), (30, false)] {
        let mut end = vec![0; bytes];
        end[0] = 0xfe;
        let mut script = accepting();
        script.push(packet(1, &end));
        let found = stream(script, true).await;
        assert_eq!(found.is_ok(), is_end, "{bytes}: {found:?}");
        assert!(is_end || matches!(found, Err(Error::Protocol { .. })), "{found:?}");
    }
}

#[tokio::test]
async fn an_error_instead_of_a_greeting_names_its_reason() {
    let refusal = packet(0, b"\xff\x10\x04Too many connections");
    let error = stream(vec![refusal], false).await.expect_err("full");
    let full = matches!(error, Error::Refused { refusal: ServerErrorKind::TooManyConnections, .. });
    assert!(full, "{error}");
    // Another protocol at that port
    let error = stream(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], false).await;
    let error = error.expect_err("no greeting");
    assert!(matches!(error, Error::Protocol { .. } | Error::Closed { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_server_says_is_an_error_or_an_end_never_a_panic(
        pieces in 0_usize..10,
        noise in proptest::collection::vec(any::<u8>(), 1..60),
        framed: bool,
        mark in prop_oneof![Just(0_u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut script = accepting();
            script.truncate(pieces);
            let sequence = match pieces { 0 => 0, 1 => 2, _ => 1 };
            let marked = [&[mark], noise.as_slice()].concat();
            script.push(if framed { packet(sequence, &marked) } else { noise });
            let _ignored = stream(script, false).await;
        });
    }
}
