//! Greeting, TLS, and password.

use std::time::Duration;

use mysql_common::scramble::{scramble_native, scramble_sha256};

use super::bytes::{Bytes, quote};
use super::channel::Channel;
use super::command::answer;
use super::greeting::{Greeting, capability};
use super::public_key;
use super::socket::Socket;
use crate::mysql::{HostPort, Secret, Tls, TlsMode};
use crate::source::{Error, Step};

const NATIVE: &str = "mysql_native_password";
const CACHING_SHA2: &str = "caching_sha2_password";
const SHA256: &str = "sha256_password";

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
    /// Deadline of each step.
    pub(crate) deadline: Duration,
}

impl Login<'_> {
    /// Takes a fresh connection to a logged-in one.
    pub(crate) async fn perform(&self, channel: &mut Channel<Socket>) -> Result<Greeting, Error> {
        let greeting = self.within(Step::Greeting, greet(channel)).await?;
        let secured = self.secure(channel, &greeting).await?;
        self.within(Step::Login, self.authenticate(channel, &greeting, secured)).await?;
        Ok(greeting)
    }

    async fn within<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = self.deadline;
        tokio::time::timeout(after, work).await.map_err(|_| Error::TimedOut { step, after })?
    }

    /// Asks for TLS where the mode wants it; whether the connection is under TLS now.
    async fn secure(
        &self,
        channel: &mut Channel<Socket>,
        greeting: &Greeting,
    ) -> Result<bool, Error> {
        let Some(client) = self.tls.client() else { return Ok(false) };
        if !greeting.has(capability::SSL) {
            return match self.tls.mode() {
                TlsMode::Off | TlsMode::Preferred => Ok(false),
                TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => {
                    Err(Error::TlsUnavailable { host: self.host.clone() })
                }
            };
        }
        // Bytes behind the greeting would be taken for ones that came under TLS.
        if channel.holds_bytes() {
            return Err(Error::Protocol {
                step: Step::TlsHandshake,
                found: "bytes in the clear behind the greeting".to_owned(),
                expected: "silence until TLS is up",
            });
        }
        let request = header(greeting, capability::SSL);
        channel.reply(&request).await.map_err(|error| error.at(Step::TlsHandshake))?;
        self.within(Step::TlsHandshake, async {
            let secured = channel.socket_mut().secure(client.clone(), &self.host.host).await;
            secured.map_err(|source| Error::TlsHandshake { host: self.host.clone(), source })
        })
        .await?;
        Ok(true)
    }

    async fn authenticate(
        &self,
        channel: &mut Channel<Socket>,
        greeting: &Greeting,
        secured: bool,
    ) -> Result<(), Error> {
        let step = Step::Login;
        let mut plugin = match greeting.plugin.as_str() {
            known @ (CACHING_SHA2 | SHA256) => known.to_owned(),
            // Others are switched to once the server has looked at the account.
            _ => NATIVE.to_owned(),
        };
        let mut nonce = greeting.nonce.clone();
        let proof = self.prove(&plugin, &nonce, secured)?;
        let response = self.response(greeting, &plugin, &proof, secured);
        channel.reply(&response).await.map_err(|error| error.at(step))?;

        for _ in 0..EXCHANGES_MAX {
            let packet = answer(channel, step).await?;
            let reply = match packet.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xfe, [])) => {
                    return Err(Error::LoginMethod { plugin: "mysql_old_password".to_owned() });
                }
                Some((0xfe, switch)) => {
                    let mut input = Bytes(switch);
                    plugin = String::from_utf8_lossy(input.until_zero()).into_owned();
                    nonce = input.0.strip_suffix(&[0]).unwrap_or(input.0).to_vec();
                    Some(self.prove(&plugin, &nonce, secured)?)
                }
                Some((0x01, more)) => self.go_on(&plugin, &nonce, more, secured)?,
                Some(_) | None => return Err(unexpected(&packet)),
            };
            if let Some(reply) = reply {
                channel.reply(&reply).await.map_err(|error| error.at(step))?;
            }
        }
        Err(Error::Protocol {
            step,
            found: format!("{EXCHANGES_MAX} packets without an end"),
            expected: "a decision about the login",
        })
    }

    /// The first proof of the password under a login method.
    fn prove(&self, plugin: &str, nonce: &[u8], secured: bool) -> Result<Vec<u8>, Error> {
        let password = self.password.expose().as_bytes();
        match plugin {
            NATIVE => Ok(scramble_native(nonce, password).map(Vec::from).unwrap_or_default()),
            CACHING_SHA2 => Ok(scramble_sha256(nonce, password).map(Vec::from).unwrap_or_default()),
            SHA256 if password.is_empty() => Ok(vec![0]),
            SHA256 if secured => Ok(self.clear_password()),
            // Asks for the server's public key.
            SHA256 => Ok(vec![1]),
            _ => Err(Error::LoginMethod { plugin: plugin.to_owned() }),
        }
    }

    /// What to send after the server asked for more; `None` to wait.
    fn go_on(
        &self,
        plugin: &str,
        nonce: &[u8],
        more: &[u8],
        secured: bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        const FAST_ENOUGH: &[u8] = &[3];
        const FULL: &[u8] = &[4];
        const ASK_FOR_KEY: u8 = 2;
        match (plugin, more) {
            (CACHING_SHA2, FAST_ENOUGH) => Ok(None),
            (CACHING_SHA2, FULL) if secured => Ok(Some(self.clear_password())),
            (CACHING_SHA2, FULL) => Ok(Some(vec![ASK_FOR_KEY])),
            // Under TLS no key was asked for: one that comes all the same is not to be trusted.
            (CACHING_SHA2 | SHA256, pem) if !secured => {
                let sent = public_key::encrypt(self.password.expose(), nonce, pem);
                sent.map(Some).ok_or_else(|| Error::Protocol {
                    step: Step::Login,
                    found: quote(pem),
                    expected: "the server's RSA public key, large enough for the password",
                })
            }
            (_, other) => Err(unexpected(other)),
        }
    }

    fn clear_password(&self) -> Vec<u8> {
        let mut clear = self.password.expose().as_bytes().to_vec();
        clear.push(0);
        clear
    }

    fn response(&self, greeting: &Greeting, plugin: &str, proof: &[u8], secured: bool) -> Vec<u8> {
        let mut payload = header(greeting, if secured { capability::SSL } else { 0 });
        payload.extend_from_slice(self.user.as_bytes());
        payload.push(0);
        // A proof longer than 255 bytes is a clear password under TLS; those are sent on request
        // only.
        let proof = if proof.len() > 255 { &[] } else { proof };
        payload.push(u8::try_from(proof.len()).unwrap_or_default());
        payload.extend_from_slice(proof);
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        if greeting.has(capability::CONNECT_ATTRS) {
            payload.extend_from_slice(&attributes());
        }
        payload
    }
}

async fn greet(channel: &mut Channel<Socket>) -> Result<Greeting, Error> {
    let packet = answer(channel, Step::Greeting).await?;
    Greeting::parse(&packet).map_err(|found| Error::Protocol {
        step: Step::Greeting,
        found,
        expected: "MySQL's greeting, protocol version 10",
    })
}

/// The part of the response that also asks for TLS.
fn header(greeting: &Greeting, extra: u32) -> Vec<u8> {
    let wanted = capability::LONG_PASSWORD
        | capability::LONG_FLAG
        | capability::PROTOCOL_41
        | capability::TRANSACTIONS
        | capability::SECURE_CONNECTION
        | capability::PLUGIN_AUTH
        | capability::CONNECT_ATTRS;
    let capabilities = wanted & greeting.capabilities | capability::PROTOCOL_41 | extra;
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend_from_slice(&PACKET_BYTES_MAX.to_le_bytes());
    payload.push(COLLATION);
    payload.extend_from_slice(&[0; 23]);
    payload
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
        "_client_role",
        "binary_log_listener",
    ] {
        body.push(u8::try_from(text.len()).unwrap_or_default());
        body.extend_from_slice(text.as_bytes());
    }
    let mut payload = vec![u8::try_from(body.len()).unwrap_or_default()];
    payload.extend_from_slice(&body);
    payload
}

fn unexpected(packet: &[u8]) -> Error {
    Error::Protocol {
        step: Step::Login,
        found: quote(packet),
        expected: "the next step of the login, or a decision about it",
    }
}
