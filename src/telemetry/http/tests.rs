use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Access, Caller, Certificate, Endpoints, Http, ReplayRefused, Switch, Token, chain};
use crate::telemetry::metrics::tests::metrics;
use crate::telemetry::words::StreamState;
use crate::telemetry::{Hidden, Loops, Readiness, Status, verdict_history};

/// Knows one consumer.
struct Known;

impl Switch for Known {
    fn maintenance(&self, consumer: &str, lasting: Duration) -> Result<String, String> {
        let is_known = consumer == "billing";
        is_known.then(|| format!("{consumer} {}", lasting.as_secs())).ok_or("who?".to_owned())
    }

    fn snapshot(&self, command: &str) -> Result<String, String> {
        if command == "{}" { Ok("it begins".to_owned()) } else { Err("not now".to_owned()) }
    }

    fn yields(&self) -> Result<String, String> {
        Ok("yields".to_owned())
    }

    fn replay(&self, command: &str) -> Result<String, ReplayRefused> {
        let refuse = if command == "[1]" { ReplayRefused::Busy } else { ReplayRefused::Wrong };
        self.snapshot(command).map_err(refuse)
    }

    fn control(&self, command: &str) -> Result<String, String> {
        self.snapshot(command)
    }

    fn reload(&self, check: bool) -> Result<String, String> {
        if check { Ok("nothing has changed".to_owned()) } else { Err("not now".to_owned()) }
    }
}

struct Server {
    address: std::net::SocketAddr,
    readiness: Readiness,
    loops: Loops,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn server() -> Server {
    server_for(Access::default()).await
}

async fn server_for(access: Access) -> Server {
    server_at([127, 0, 0, 1], access).await
}

async fn server_at(listen: [u8; 4], access: Access) -> Server {
    let (loops, readiness) = (Loops::default(), Readiness::default());
    let pages = Endpoints {
        metrics: Arc::new(metrics()),
        loops: loops.clone(),
        readiness: readiness.clone(),
        switch: Arc::new(Known),
        digests: None,
        history: Box::new(verdict_history::Document::default),
        hidden: Hidden::new(["planted-in-the-status"]),
        status: Box::new(|| Status { state: StreamState::Running, ..Status::default() }),
    };
    let http = Http::bind((listen, 0).into(), pages, access).await.expect("a free port");
    let address = http.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let task = tokio::spawn(http.run(stop.clone()));
    Server { address, readiness, loops, stop, task }
}

impl Server {
    /// Sends raw bytes and reads until the server closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        match tokio::time::timeout(Duration::from_secs(20), read).await.expect("it closes") {
            Ok(_) => {}
            // It closed while bytes of ours were unread; what it said before counts.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        String::from_utf8(answer).expect("text")
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.exchange(request.as_bytes()).await
    }
}

fn code(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn each_path_answers_with_its_type() {
    let server = server().await;
    let metrics = server.ask("GET", "/metrics").await;
    assert_eq!(code(&metrics), "200");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(body(&metrics).contains("\nbinpulse_build_info{version="));

    let status = server.ask("GET", "/status?pretty").await;
    assert!(status.contains("content-type: application/json\r\n"));
    let document: serde_json::Value = serde_json::from_str(body(&status)).expect("JSON");
    assert_eq!(document["state"], "running");

    let page = server.ask("GET", "/").await;
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"));
    assert!(body(&page).starts_with("<!doctype html>") && body(&page).ends_with("</html>\n"));
    let head = server.ask("HEAD", "/metrics").await;
    assert_eq!((code(&head), body(&head)), ("200", ""));
}

#[tokio::test]
async fn nothing_but_the_page_s_own_style_and_script_may_run() {
    let server = server().await;
    for path in ["/", "/status", "/metrics", "/nowhere"] {
        let answer = server.ask("GET", path).await;
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "content-security-policy: default-src 'none'; ",
        ] {
            assert!(answer.contains(header), "{path}: {header}");
        }
        assert!(!answer.contains("unsafe-"), "{path}");
    }
    let page = server.ask("GET", "/").await;
    assert!(page.contains("; script-src 'sha256-") && page.contains("; connect-src 'self'; "));
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told_apart() {
    let server = server().await;
    for path in ["/metric", "/metrics/", "//status", "/../status", "/%2e"] {
        assert_eq!(code(&server.ask("GET", path).await), "404", "{path}");
    }
    assert_eq!(code(&server.ask("POST", "/nowhere").await), "404");
    assert!(body(&server.ask("GET", "/nowhere").await).contains("/healthz"), "says what there is");
    assert_eq!(code(&server.ask("POST", "/").await), "405");
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let answer = server.ask(method, "/status").await;
        assert_eq!(code(&answer), "405", "{method}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn health_is_about_loops_and_readiness_about_stream_and_sink() {
    let server = server().await;
    assert_eq!(body(&server.ask("GET", "/healthz").await), "ok\n");
    let ready = server.ask("GET", "/readyz").await;
    assert_eq!(code(&ready), "503");
    assert_eq!(body(&ready), "the stream is not up\nthe sink is not up\n");

    server.readiness.stream(true);
    server.readiness.sink(true);
    assert_eq!(code(&server.ask("GET", "/readyz").await), "200");

    let _stuck = server.loops.register("reader", Duration::ZERO);
    let mut health = server.ask("GET", "/healthz").await;
    while code(&health) == "200" {
        // The registry counts whole milliseconds.
        health = server.ask("GET", "/healthz").await;
    }
    assert!(body(&health).starts_with("loop `reader` has not run"), "{health}");
}

#[tokio::test]
async fn hostile_requests_end_in_an_error_and_the_server_lives_on() {
    let server = server().await;
    let many = "X: y\r\n".repeat(200);
    let long = "a".repeat(100_000);
    for (request, expected) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), "400"),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), ""),
        (format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes(), "431"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes(), "4"),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n").into_bytes(), "4"),
        (b"POST /status HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(), "400"),
    ] {
        let answer = server.exchange(&request).await;
        assert!(code(&answer).starts_with(expected), "{expected}: {answer}");
    }
    assert_eq!(code(&server.ask("GET", "/healthz").await), "200");
}

/// Peers that hold connections without a word, and open each again that is closed.
fn crowd(address: std::net::SocketAddr, peers: usize) -> tokio::task::JoinSet<()> {
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..peers {
        crowd.spawn(async move {
            while let Ok(mut stream) = TcpStream::connect(address).await {
                let _closed = stream.read(&mut [0]).await;
            }
        });
    }
    crowd
}

#[tokio::test]
async fn silent_peers_that_come_again_lock_nobody_out() {
    let server = server().await;
    // More connections than may be open, from the address that the probes come from too.
    let _crowd = crowd(server.address, super::connections::CONNECTIONS_MAX + 6);
    for _ in 0..20 {
        let asked = tokio::time::timeout(Duration::from_secs(4), server.ask("GET", "/healthz"));
        assert_eq!(code(&asked.await.expect("before any idle peer's time is up")), "200");
    }
}

#[tokio::test]
async fn peers_that_have_asked_and_stay_lock_nobody_out() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..super::connections::CONNECTIONS_MAX + 6 {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
        stream.read_exact(&mut [0; 12]).await.expect("an answer");
        idle.push(stream);
    }
}

#[tokio::test]
async fn stopping_ends_open_connections() {
    // Given a peer that keeps its connection, and whose request was answered to the end
    let server = server().await;
    let mut idle = TcpStream::connect(server.address).await.expect("it listens");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok\n") {
        assert_ne!(idle.read_buf(&mut answer).await.expect("an answer"), 0, "{answer:?}");
    }

    // When the server stops; time passes only where something waits for it
    tokio::time::pause();
    let asked_at = tokio::time::Instant::now();
    server.stop.cancel();
    server.task.await.expect("without a panic");

    // Then it has ended at once, not when the connection's own time was over, and the connection too
    assert_eq!(asked_at.elapsed(), Duration::ZERO);
    let end = idle.read_buf(&mut answer).await;
    assert_eq!(end.expect("an end"), 0, "{answer:?}");
}

#[tokio::test]
async fn a_consumer_is_taken_out_of_evaluation_by_our_own_headers_only() {
    let server = server().await;
    let post = async |headers: &str| {
        let request = format!(
            "POST /maintenance HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
        );
        server.exchange(request.as_bytes()).await
    };
    let done = post("Binpulse-Consumer: billing\r\nBinpulse-Seconds: 90\r\n").await;
    assert_eq!((code(&done), body(&done)), ("200", "billing 90\n"));
    let unknown = post("Binpulse-Consumer: search\r\nBinpulse-Seconds: 90\r\n").await;
    assert_eq!((code(&unknown), body(&unknown)), ("404", "who?\n"));
    for headers in [
        "",
        "Binpulse-Consumer: billing\r\n",
        "Binpulse-Consumer: billing\r\nBinpulse-Seconds: -1\r\n",
    ] {
        assert_eq!(code(&post(headers).await), "400", "{headers}");
    }
    assert_eq!(code(&server.ask("GET", "/maintenance").await), "404");
}

#[tokio::test]
async fn a_snapshot_is_commanded_by_our_own_header_only() {
    let server = server().await;
    let post = async |headers: &str| {
        let request = format!(
            "POST /snapshot HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
        );
        server.exchange(request.as_bytes()).await
    };
    let done = post("Binpulse-Snapshot: {}\r\n").await;
    assert_eq!((code(&done), body(&done)), ("200", "it begins\n"));
    let refused = post("Binpulse-Snapshot: []\r\n").await;
    assert_eq!((code(&refused), body(&refused)), ("409", "not now\n"));
    assert_eq!(code(&post("").await), "400");
    assert_eq!(code(&server.ask("GET", "/snapshot").await), "404");
    let longest = "x".repeat(super::SNAPSHOT_BYTES_MAX);
    assert_eq!(code(&post(&format!("Binpulse-Snapshot: {longest}\r\n")).await), "409");
}

#[tokio::test]
async fn a_replay_is_asked_for_with_the_token_where_there_is_one() {
    let server = server_for(Access { token: Some(Token::new(TOKEN)), tls: None }).await;
    let post = async |headers: &str| {
        let request = format!(
            "POST /replay HTTP/1.1\r\nHost: streamer\r\n{headers}Connection: close\r\n\r\n"
        );
        server.exchange(request.as_bytes()).await
    };
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let done = post(&format!("{token}Binpulse-Replay: {{}}\r\n")).await;
    assert_eq!((code(&done), body(&done)), ("200", "it begins\n"));
    let refused = post(&format!("{token}Binpulse-Replay: []\r\n")).await;
    assert_eq!((code(&refused), body(&refused)), ("409", "not now\n"));
    let busy = post(&format!("{token}Binpulse-Replay: [1]\r\n")).await;
    assert_eq!((code(&busy), body(&busy)), ("503", "not now\n"));
    assert_eq!(code(&post(&token).await), "400");
    assert_eq!(code(&post("Binpulse-Replay: {}\r\n").await), "401");
}

#[test]
fn nobody_else_s_machine_and_no_browser_changes_anything() {
    let request = hyper::Request::post("/")
        .header(super::CONSUMER_HEADER, "billing")
        .header(super::SECONDS_HEADER, "5")
        .header(super::SNAPSHOT_HEADER, "{}")
        .header(super::REPLAY_HEADER, "{}")
        .body(())
        .expect("a request");
    for path in [super::MAINTENANCE_PATH, super::SNAPSHOT_PATH, super::REPLAY_PATH] {
        let act_with = |headers: &hyper::HeaderMap, peer: &str, has_token| {
            let caller = Caller { peer: peer.parse().expect("an address"), has_token };
            super::switch::act(path, headers, caller, &Known).expect("a path").is_ok()
        };
        let act = |headers: &hyper::HeaderMap, peer: &str| act_with(headers, peer, false);
        // Relays run elsewhere: with the token they may ask for replays, and for nothing else.
        let is_replay = path == super::REPLAY_PATH;
        assert_eq!(act_with(request.headers(), "10.0.0.7", true), is_replay, "{path}");
        for (peer, admitted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.7", false),
            ("::ffff:10.0.0.7", false),
        ] {
            assert_eq!(act(request.headers(), peer), admitted, "{path} {peer}");
        }
        for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")]
        {
            let mut headers = request.headers().clone();
            headers.insert(name, value.parse().expect("a value"));
            assert!(!act(&headers, "127.0.0.1"), "{path} {name}");
            assert!(!act_with(&headers, "10.0.0.7", true), "{path} {name}");
        }
    }
}

#[test]
fn whoever_comes_from_the_address_that_was_called_is_on_this_machine() {
    let is_here = |peer: &str, called: Option<&str>| {
        let address = |text: &str| text.parse().expect("an address");
        super::effective_peer(address(peer), called.map(address)).to_canonical().is_loopback()
    };
    assert!(is_here("10.0.0.7", Some("10.0.0.7")) && is_here("2001:db8::7", Some("2001:db8::7")));
    assert!(is_here("127.0.0.1", Some("127.0.0.1")) && is_here("::ffff:127.0.0.1", None));
    assert!(!is_here("10.0.0.8", Some("10.0.0.7")) && !is_here("10.0.0.7", None));
}

#[tokio::test]
async fn a_name_of_somebody_else_s_reads_nothing_from_a_loopback_listener_without_a_token() {
    let request = |path: &str, host: &str| {
        format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n").into_bytes()
    };
    let server = server().await;
    for path in ["/", "/metrics", "/status", "/nowhere"] {
        let refused = server.exchange(&request(path, "Host: evil.example:9187\r\n")).await;
        assert_eq!(code(&refused), "403", "{path}");
        assert!(body(&refused).contains("ask by 127.0.0.1 or localhost, or set http.token"));
    }
    for host in ["Host: 127.0.0.1:9187\r\n", "Host: [::1]:9187\r\n", "Host: localhost\r\n", ""] {
        assert_eq!(code(&server.exchange(&request("/status", host)).await), "200", "{host}");
    }
    let probed = server.exchange(&request("/healthz", "Host: evil.example\r\n")).await;
    assert_eq!(code(&probed), "200");

    // Others reach this one, by whatever name it has for them.
    let mut open = server_at([0, 0, 0, 0], Access::default()).await;
    open.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(code(&open.exchange(&request("/metrics", "Host: binpulse:9187\r\n")).await), "200");
}

const TOKEN: &str = "a-token-of-some-length";

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

#[tokio::test]
async fn with_a_token_only_probes_are_answered_without_it() {
    let server = server_for(Access { token: Some(Token::new(TOKEN)), tls: None }).await;
    for path in ["/", "/metrics", "/status", "/nowhere"] {
        let refused = server.ask("GET", path).await;
        assert_eq!(code(&refused), "401", "{path}");
        assert!(refused.contains("www-authenticate: Bearer") && refused.contains(": Basic"));
        assert!(!body(&refused).contains("running") && !body(&refused).contains("binpulse_"));
    }
    assert_eq!(code(&server.ask("GET", "/healthz").await), "200");
    assert_eq!(code(&server.ask("GET", "/readyz").await), "503");

    let with = |authorization: &str| {
        format!("GET /status HTTP/1.1\r\nConnection: close\r\nHost: x\r\n{authorization}\r\n\r\n")
    };
    let shown = server.exchange(with(&format!("Authorization: Bearer {TOKEN}")).as_bytes()).await;
    assert_eq!(code(&shown), "200");
    let wrong = server.exchange(with("Authorization: Bearer another-token").as_bytes()).await;
    assert_eq!(code(&wrong), "401");
}

#[tokio::test]
async fn a_token_in_a_file_is_rotated_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, TOKEN).expect("a file");
    let token = Some(Token::in_file(TOKEN, &path));
    let server = server_for(Access { token, tls: None }).await;
    let (before, after) = (TOKEN, "another-token-of-some-length");
    // What is too short for a token, or gone, changes nothing.
    for (content, valid) in [(Some(after), after), (Some("short"), before), (None, before)] {
        match content {
            Some(content) => fs::write(&path, format!("{content}\n")).expect("a file"),
            None => fs::remove_file(&path).expect("removed"),
        }
        for token in [before, after] {
            let shown = format!("Authorization: Bearer {token}\r\n");
            let request = format!("GET /status HTTP/1.1\r\nConnection: close\r\n{shown}\r\n");
            let answer = server.exchange(request.as_bytes()).await;
            let expected = if token == valid { "200" } else { "401" };
            assert_eq!(code(&answer), expected, "{content:?} {token}");
        }
    }
}

#[tokio::test]
async fn with_tls_it_answers_over_tls_and_not_without() {
    let pair =
        Certificate::open(&certificate("page.crt"), &certificate("page.key")).expect("files");
    let server = server_for(Access { token: None, tls: Some(pair) }).await;
    let without = server.ask("GET", "/healthz").await;
    assert!(!without.contains("200 OK"), "{without}");

    let mut roots = rustls::RootCertStore::empty();
    for certificate in chain(&certificate("page.crt")).expect("file") {
        roots.add(certificate).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(server.address).await.expect("it listens");
    let name = "page.test".try_into().expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    assert_eq!((code(&answer), body(&answer)), ("200", "ok\n"));
}

#[tokio::test]
async fn peers_that_never_shake_hands_lock_nobody_out() {
    let pair =
        Certificate::open(&certificate("page.crt"), &certificate("page.key")).expect("files");
    let server = server_for(Access { token: None, tls: Some(pair) }).await;
    let _crowd = crowd(server.address, super::connections::CONNECTIONS_MAX + 6);
    // It is let in at once, and closed for it speaks no TLS.
    let asked = tokio::time::timeout(Duration::from_secs(4), server.ask("GET", "/healthz"));
    assert!(!asked.await.expect("before any idle peer's time is up").contains("200 OK"));
}
