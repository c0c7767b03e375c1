//! From an address to a connection that is logged in.

use std::time::Duration;

use super::channel::Channel;
use super::failure::{Failure, Step};
use super::greeting::Greeting;
use super::login::Login;
use super::socket::{Socket, connect};
use crate::mysql::{HostPort, Secret, Tls};

/// Where to, and as whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dial<'a> {
    pub(crate) host: &'a HostPort,
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) tls: &'a Tls,
    /// Default schema.
    pub(crate) database: Option<&'a str>,
    /// Deadline of name lookup and TCP connect together.
    pub(crate) connect: Duration,
    /// Deadline of greeting, TLS handshake and login, each.
    pub(crate) login: Duration,
}

/// A connection that is logged in.
pub(crate) struct Dialled {
    pub(crate) channel: Channel<Socket>,
    pub(crate) greeting: Greeting,
    /// See [`Proof::depends_on_cache`](super::proof::Proof::depends_on_cache).
    pub(crate) depends_on_cache: bool,
}

/// Connects and logs in, without TLS where it can't be had and need not be.
pub(crate) async fn dial(to: Dial<'_>) -> Result<Dialled, Failure> {
    match once(to).await {
        Err(Failure::TlsHandshake(_)) if to.tls.may_fall_back() => {
            once(Dial { tls: &to.tls.without(), ..to }).await
        }
        other => other,
    }
}

async fn once(to: Dial<'_>) -> Result<Dialled, Failure> {
    let step = Step::Connect;
    let connected = tokio::time::timeout(to.connect, connect(to.host)).await;
    let socket = connected.map_err(|_| Failure::TimedOut { step, after: to.connect })??;
    let mut channel = Channel::new(socket);
    let login = Login {
        host: to.host,
        user: to.user,
        password: to.password,
        tls: to.tls,
        database: to.database,
        deadline: to.login,
    };
    let (greeting, depends_on_cache) = login.perform(&mut channel).await?;
    Ok(Dialled { channel, greeting, depends_on_cache })
}
