//! Logins at servers that ask for what no honest one would, and for methods that are not spoken.

use std::io;

use binpulse::mysql::Session;
use binpulse::source::{Error, Liveness, Replica, Start};

use crate::server::{CACHING, Fake, Talk};
use crate::{PASSWORD, command, options, source};

/// An RSA key of 512 bits, too small for any password.
const SMALL_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALL6rjFj4SYx9ibkrqy9sbCkeOyjXihM
XcrjDJZ+y0TjUg9KcYBPkokzGr/9EugWJEGUWskmaik34x7jVcngpv0CAwEAAQ==
-----END PUBLIC KEY-----
";

/// What a server does after its greeting.
#[derive(Debug, Clone)]
enum Ask {
    /// Another method, with this challenge.
    Switch(&'static [u8], Vec<u8>),
    /// `caching_sha2_password`'s long way, with this as its public key.
    Key(Vec<u8>),
    /// Its public key, which nobody asked for.
    UnaskedKey(&'static str),
    /// MariaDB's parsec, with this salt.
    Salt(Vec<u8>),
    /// Methods without end.
    SwitchForEver,
    /// Any other packet.
    Packet(Vec<u8>),
    /// An announced packet that is larger than any login's.
    Announce(usize),
}

impl Ask {
    async fn tell(self, talk: &mut Talk) -> io::Result<()> {
        talk.greet(CACHING).await?;
        talk.receive().await?;
        match self {
            Self::Switch(plugin, challenge) => talk.switch(plugin, &challenge).await?,
            Self::Key(pem) => {
                talk.send(&[1, 4]).await?;
                assert_eq!(talk.receive().await?, [2], "it asks for the key");
                talk.send(&[&[1], pem.as_slice()].concat()).await?;
            }
            Self::UnaskedKey(pem) => talk.send(&[&[1], pem.as_bytes()].concat()).await?,
            Self::Salt(salt) => {
                talk.switch(b"parsec", &[7; 32]).await?;
                talk.receive().await?;
                talk.send(&[&[1], salt.as_slice()].concat()).await?;
            }
            Self::SwitchForEver => loop {
                talk.switch(b"mysql_native_password", &[7; 20]).await?;
                talk.receive().await?;
            },
            Self::Packet(payload) => talk.send(&payload).await?,
            Self::Announce(bytes) => {
                talk.head(bytes).await?;
                loop {
                    talk.raw(&[b'x'; 4096]).await?;
                }
            }
        }
        talk.receive().await.map(drop)
    }
}

/// Requests, whether keys may be asked for, and the name of the refusal.
fn cases() -> Vec<(Ask, bool, &'static str)> {
    let key = |pem: &str| Ask::Key(pem.as_bytes().to_vec());
    let salt =
        |factor: u8, bytes: usize| Ask::Salt([&[b'P', factor][..], &vec![1; bytes]].concat());
    let cut = |bytes: usize| key(&SMALL_KEY[..bytes]);
    let mut cases = vec![
        (Ask::Switch(b"dialog", vec![7; 20]), false, "login_method"),
        (Ask::Switch(b"auth_gssapi_client", vec![]), false, "login_method"),
        (Ask::Switch(b"mysql_clear_password", vec![]), false, "login_method"),
        (Ask::Switch(b"", vec![]), false, "login_method"),
        (Ask::Switch(&[0xff, 0xfe, b'\n'], vec![7; 20]), false, "login_method"),
        (Ask::Switch(&[b'x'; 40_000], vec![7; 20]), false, "login_method"),
        (Ask::Packet(vec![0xfe]), false, "login_method"),
        (Ask::Switch(b"client_ed25519", vec![7; 20]), false, "protocol"),
        (Ask::Switch(b"client_ed25519", vec![]), false, "protocol"),
        (Ask::Switch(b"parsec", vec![7; 31]), false, "protocol"),
        (salt(3, 17), false, "protocol"),
        (salt(31, 18), false, "protocol"),
        (salt(255, 18), false, "protocol"),
        (Ask::Salt(vec![]), false, "protocol"),
        (Ask::SwitchForEver, false, "protocol"),
        (Ask::Packet(vec![]), false, "protocol"),
        (Ask::Packet(vec![0x77; 300]), false, "protocol"),
        (Ask::Packet(vec![1]), false, "protocol"),
        (Ask::Announce(0xff_ffff), false, "protocol"),
        // The long way without TLS, and nobody allowed to ask for the key
        (Ask::Packet(vec![1, 4]), false, "key_not_allowed"),
        (Ask::Switch(b"sha256_password", vec![7; 20]), false, "key_not_allowed"),
        (Ask::UnaskedKey(SMALL_KEY), false, "protocol"),
        (Ask::UnaskedKey(SMALL_KEY), true, "public_key"),
        (key(""), true, "public_key"),
        (key("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"), true, "public_key"),
        (
            key("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----"),
            true,
            "public_key",
        ),
        (key("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), true, "public_key"),
        (key(SMALL_KEY), true, "public_key"),
        (Ask::Key(vec![0xff; 500]), true, "public_key"),
    ];
    cases
        .extend((1..SMALL_KEY.len() - 1).step_by(17).map(|bytes| (cut(bytes), true, "public_key")));
    cases
}

async fn asking(ask: Ask) -> Fake {
    Fake::start(move |talk| Box::pin(ask.clone().tell(talk))).await
}

#[tokio::test]
async fn sessions_and_streams_refuse_a_login_by_the_same_name() {
    for (ask, allowed, name) in cases() {
        let shown = format!("{:.200}", format!("{ask:?}"));
        let fake = asking(ask).await;
        let session = Session::connect(&options(fake.address, allowed)).await;
        let session = Error::from(session.expect_err(&shown));
        assert_eq!(session.name(), name, "session: {shown}: {session}");
        let (config, start) =
            (source(fake.address, allowed), Start::Gtid(binpulse::change::GtidSet::default()));
        let stream = Replica::connect(&config, 0, &start, &Liveness::new()).await;
        let stream = stream.map(drop).expect_err(&shown);
        assert_eq!(stream.name(), name, "stream: {shown}: {stream}");
        for error in [session, stream] {
            let text = format!("{error}; {}", error.remedy());
            assert!(text.len() < 4_000 && !text.contains(PASSWORD), "{text}");
            assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
        }
    }
}

#[tokio::test]
async fn every_command_refuses_such_a_login_by_name_and_ends_in_order() {
    let cases = [
        (Ask::Switch(b"dialog", vec![7; 20]), false, "method"),
        (Ask::Switch(b"client_ed25519", vec![7; 5]), false, "a challenge of 5 bytes"),
        (Ask::Key(b"no key".to_vec()), true, "RSA public key"),
        (Ask::Packet(vec![1, 4]), false, "get_server_public_key"),
    ];
    for (ask, allowed, words) in cases {
        let fake = asking(ask.clone()).await;
        for (name, codes) in [("check", &[1][..]), ("init", &[69]), ("tail", &[69]), ("run", &[69])]
        {
            // What a retry may fix is waited for.
            if name == "run" && matches!(ask, Ask::Switch(b"client_ed25519", _)) {
                continue;
            }
            let output = command(name, fake.address, allowed).await;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let code = output.status.code();
            assert!(
                code.is_some_and(|code| codes.contains(&code)),
                "{name} {ask:?}: {code:?}\n{said}"
            );
            assert!(said.contains(words), "{name} {ask:?}:\n{said}");
            assert!(!said.contains("panicked") && !said.contains(PASSWORD), "{name}:\n{said}");
        }
    }
}
