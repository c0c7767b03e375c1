//! Greeting, TLS, and password.

use std::time::Duration;

use super::bytes::Bytes;
use super::channel::Channel;
use super::failure::{Failure, Step};
use super::greeting::{Greeting, capability};
use super::proof::{Method, Proof, unexpected};
use super::socket::Socket;
use super::statement::packet;
use crate::excerpt::excerpt_bytes;
use crate::mysql::{HostPort, Secret, Tls, TlsMode};

/// utf8mb4_general_ci: known to every server since 5.5.3.
const COLLATION: u8 = 45;
/// Largest packet that we take, as the protocol counts it.
const PACKET_BYTES_MAX: u32 = 1 << 30;
/// Packets that a login may take before it is no login any more.
const EXCHANGES_MAX: usize = 16;

/// Who logs in, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) host: &'a HostPort,
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) tls: &'a Tls,
    /// Default schema.
    pub(crate) database: Option<&'a str>,
    /// Deadline of each step.
    pub(crate) deadline: Duration,
}

impl Login<'_> {
    /// Takes a fresh connection to a logged-in one.
    ///
    /// Returns the greeting too, and whether the login hangs on the server's cache.
    pub(super) async fn perform(
        &self,
        channel: &mut Channel<Socket>,
    ) -> Result<(Greeting, bool), Failure> {
        let greeting = self.within(Step::Greeting, greet(channel)).await?;
        let secured = self.secure(channel, &greeting).await?;
        let proof = self.authenticate(channel, &greeting, secured);
        let depends_on_cache = self.within(Step::Login, proof).await?.depends_on_cache();
        Ok((greeting, depends_on_cache))
    }

    async fn within<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let after = self.deadline;
        tokio::time::timeout(after, work).await.map_err(|_| Failure::TimedOut { step, after })?
    }

    /// Asks for TLS where the mode wants it; whether the connection is under TLS now.
    async fn secure(
        &self,
        channel: &mut Channel<Socket>,
        greeting: &Greeting,
    ) -> Result<bool, Failure> {
        let Some(client) = self.tls.client() else { return Ok(false) };
        if !greeting.has(capability::SSL) {
            return match self.tls.mode() {
                TlsMode::Off | TlsMode::Preferred => Ok(false),
                TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => {
                    Err(Failure::TlsUnavailable)
                }
            };
        }
        // Bytes behind the greeting would be taken for ones that came under TLS.
        if channel.holds_bytes() {
            return Err(Failure::Protocol {
                step: Step::TlsHandshake,
                found: "unencrypted bytes after the greeting".to_owned(),
                expected: "silence until TLS is up",
            });
        }
        let request = self.header(greeting, true);
        channel.reply(&request).await.map_err(|error| error.at(Step::TlsHandshake))?;
        self.within(Step::TlsHandshake, async {
            let secured = channel.socket_mut().secure(client.clone(), &self.host.host).await;
            secured.map_err(Failure::TlsHandshake)
        })
        .await?;
        Ok(true)
    }

    async fn authenticate(
        &self,
        channel: &mut Channel<Socket>,
        greeting: &Greeting,
        secured: bool,
    ) -> Result<Proof<'_>, Failure> {
        let step = Step::Login;
        let method = match Method::named(&greeting.plugin) {
            Ok(known @ (Method::CachingSha2 | Method::Sha256)) => known,
            // Others are switched to once the server has looked at the account.
            Ok(Method::Native | Method::Ed25519 | Method::Parsec) | Err(_) => Method::Native,
        };
        let mut proof = Proof {
            method,
            password: self.password,
            nonce: greeting.nonce.clone(),
            secured,
            may_ask_for_key: self.tls.may_ask_for_key(),
        };
        let response = self.response(greeting, method, &proof.first()?, secured);
        channel.reply(&response).await.map_err(|error| error.at(step))?;

        for _ in 0..EXCHANGES_MAX {
            let packet = packet(channel, step).await?;
            let reply = match packet.split_first() {
                Some((0x00, _)) => return Ok(proof),
                Some((0xfe, [])) => {
                    return Err(Failure::LoginMethod { plugin: "mysql_old_password".to_owned() });
                }
                Some((0xfe, switch)) => {
                    let mut input = Bytes(switch);
                    proof.method = Method::named(&excerpt_bytes(input.until_zero()))?;
                    proof.nonce = input.0.strip_suffix(&[0]).unwrap_or(input.0).to_vec();
                    Some(proof.first()?)
                }
                Some((0x01, more)) => proof.next(more)?,
                // The first servers with parsec sent its salt without the mark for more.
                Some((b'P', _)) if proof.method == Method::Parsec => proof.next(&packet)?,
                Some(_) | None => return Err(unexpected(&packet)),
            };
            if let Some(reply) = reply {
                channel.reply(&reply).await.map_err(|error| error.at(step))?;
            }
        }
        Err(Failure::Protocol {
            step,
            found: format!("{EXCHANGES_MAX} packets without an end"),
            expected: "a decision about the login",
        })
    }

    /// The part of the response that also asks for TLS: servers look at the capabilities in the first
    /// of the two.
    fn header(&self, greeting: &Greeting, secured: bool) -> Vec<u8> {
        let wanted = capability::LONG_PASSWORD
            | capability::LONG_FLAG
            | capability::PROTOCOL_41
            | capability::TRANSACTIONS
            | capability::SECURE_CONNECTION
            | capability::MULTI_RESULTS
            | capability::PLUGIN_AUTH
            | capability::CONNECT_ATTRS;
        let mut capabilities = wanted & greeting.capabilities | capability::PROTOCOL_41;
        if secured {
            capabilities |= capability::SSL;
        }
        if self.database(greeting).is_some() {
            capabilities |= capability::CONNECT_WITH_DB;
        }
        let mut payload = capabilities.to_le_bytes().to_vec();
        payload.extend_from_slice(&PACKET_BYTES_MAX.to_le_bytes());
        payload.push(COLLATION);
        payload.extend_from_slice(&[0; 23]);
        payload
    }

    fn database(&self, greeting: &Greeting) -> Option<&str> {
        self.database.filter(|_| greeting.has(capability::CONNECT_WITH_DB))
    }

    fn response(
        &self,
        greeting: &Greeting,
        method: Method,
        proof: &[u8],
        secured: bool,
    ) -> Vec<u8> {
        let mut payload = self.header(greeting, secured);
        payload.extend_from_slice(self.user.as_bytes());
        payload.push(0);
        // A proof longer than 255 bytes is a clear password under TLS; those are sent on request
        // only.
        let proof = if proof.len() > 255 { &[] } else { proof };
        payload.push(u8::try_from(proof.len()).unwrap_or_default());
        payload.extend_from_slice(proof);
        if let Some(database) = self.database(greeting) {
            payload.extend_from_slice(database.as_bytes());
            payload.push(0);
        }
        payload.extend_from_slice(method.as_str().as_bytes());
        payload.push(0);
        if greeting.has(capability::CONNECT_ATTRS) {
            payload.extend_from_slice(&attributes());
        }
        payload
    }
}

async fn greet(channel: &mut Channel<Socket>) -> Result<Greeting, Failure> {
    let packet = packet(channel, Step::Greeting).await?;
    Greeting::parse(&packet).map_err(|found| Failure::Protocol {
        step: Step::Greeting,
        found,
        expected: "MySQL's greeting, protocol version 10",
    })
}

/// Shown in performance_schema.session_connect_attrs.
fn attributes() -> Vec<u8> {
    let mut body = Vec::new();
    for text in [
        "program_name",
        "binpulse",
        "_client_name",
        "binpulse",
        "_client_version",
        env!("CARGO_PKG_VERSION"),
    ] {
        body.push(u8::try_from(text.len()).unwrap_or_default());
        body.extend_from_slice(text.as_bytes());
    }
    let mut payload = vec![u8::try_from(body.len()).unwrap_or_default()];
    payload.extend_from_slice(&body);
    payload
}
