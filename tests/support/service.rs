//! The program under test as a service: how it is started against an endpoint of ours.

use std::path::Path;
use std::time::Duration;

use binpulse_demo::{Command, standin_environment};
use mysql_async::{Conn, OptsBuilder};

use crate::aws::REGION;

/// Time for a start.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_binpulse"))
}

/// `run` with these settings, in the region of the endpoint.
pub(crate) fn command(settings: Vec<(&'static str, String)>) -> Command {
    let mut environment = standin_environment();
    environment.retain(|(name, _)| *name != "AWS_REGION");
    environment.push(("AWS_REGION", REGION.to_owned()));
    Command {
        binary: binary().to_owned(),
        command: "run".to_owned(),
        settings,
        arguments: Vec::new(),
        environment,
    }
}

/// A session of `root` that counts rows found, not rows changed.
pub(crate) async fn session(port: u16) -> Result<Conn, mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("root"))
        .client_found_rows(true)
        .prefer_socket(false);
    Conn::new(options).await
}
