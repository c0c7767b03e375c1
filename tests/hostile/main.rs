//! Whoever answers may not be who was asked: a server, an AWS endpoint or a peer that means harm, or
//! is broken in ways that no real one can be made to be.
//!
//! Nothing that they send ends the program, takes memory or time without bound, or gets a secret;
//! what is refused is refused by name.

mod answers;
mod aws;
#[expect(dead_code, reason = "shared with tests that throw more")]
#[path = "../support/dice.rs"]
mod dice;
mod dump;
mod limits;
mod login;
mod server;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use binpulse::mysql::{ConnectOptions, HostPort, Secret, TlsConfig, TlsMode};
use binpulse::source::{Config, Deadlines};

/// For a step with a server that answers at once: only a hang takes as long.
const SOON: Duration = Duration::from_secs(20);

const PASSWORD: &str = "the-secret-password";

/// How to log in at a fake server, without TLS.
fn options(address: SocketAddr, get_server_public_key: bool) -> ConnectOptions {
    let tls = TlsConfig { mode: TlsMode::Off, get_server_public_key, ..TlsConfig::default() };
    ConnectOptions {
        host: HostPort::new(address.ip().to_string(), address.port()),
        user: "binpulse".to_owned(),
        password: Secret::new(PASSWORD),
        tls: tls.load().expect("no files"),
        database: None,
        connect_timeout: SOON,
        query_timeout: SOON,
    }
}

/// A source at a fake server.
fn source(address: SocketAddr, get_server_public_key: bool) -> Config {
    let options = options(address, get_server_public_key);
    Config {
        hosts: vec![options.host],
        user: options.user,
        password: options.password,
        tls: options.tls,
        stream: "hostile".to_owned(),
        server_id: None,
        replica_uuid: None,
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Config::HEARTBEAT_PERIOD,
        send_timeout: Config::SEND_TIMEOUT,
        deadlines: Deadlines { connect: SOON, login: SOON, query: SOON, ..Deadlines::default() },
    }
}

/// Runs a command of the program against a fake server.
async fn command(name: &'static str, address: SocketAddr, allowed: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_binpulse"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BINPULSE_")) {
        command.env_remove(name);
    }
    let folder = tempfile::tempdir().expect("a folder");
    command
        .arg(name)
        .env("BINPULSE_SOURCE_HOSTS", address.to_string())
        .env("BINPULSE_SOURCE_PASSWORD", PASSWORD)
        .env("BINPULSE_SOURCE_TLS", "off")
        .env("BINPULSE_SOURCE_GET_SERVER_PUBLIC_KEY", allowed.to_string())
        .env("BINPULSE_STREAM_NAME", "hostile")
        .env("BINPULSE_SINK_KIND", "null")
        .env("BINPULSE_HTTP_LISTEN", "127.0.0.1:0")
        .env("BINPULSE_CHECKPOINT_PATH", folder.path().join("checkpoint"));
    let run = tokio::task::spawn_blocking(move || {
        let output = command.output().expect("it runs");
        drop(folder);
        output
    });
    run.await.expect("it ends")
}
