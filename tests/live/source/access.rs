//! Who gets in: TLS, certificates, passwords.

use binpulse::mysql::{Secret, Session, TlsMode};
use binpulse::source::{Error, Halt, Liveness, Recovery, Refusal, Replica};

use super::server::{Server, gtid_options, tls};
use super::{config, drain, earliest, open};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    each_tls_mode_asks_for_what_it_says on [Mysql97];
    a_client_certificate_is_shown_to_a_server_that_asks_for_one on [Mysql97];
    passwords_are_proven_with_and_without_tls on [Mysql80];
}

async fn each_tls_mode_asks_for_what_it_says(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    let stranger = Server::start(&bed, &[]).await;
    let bare = Server::start(&bed, &["--tls-version="]).await;
    let (good, wrong) = (Some(server.ca_file()), Some(stranger.ca_file()));
    for (mode, ca_file, works, secured) in [
        (TlsMode::Off, None, true, false),
        (TlsMode::Preferred, None, true, true),
        (TlsMode::Required, None, true, true),
        (TlsMode::VerifyCa, good.clone(), true, true),
        (TlsMode::VerifyCa, wrong.clone(), false, false),
        // A server's own certificate carries no host name.
        (TlsMode::VerifyIdentity, good, false, false),
        (TlsMode::VerifyIdentity, wrong, false, false),
    ] {
        let mut config = config(&server, "rep");
        config.tls = tls(mode, ca_file);
        let stream = Replica::connect(&config, 0, &earliest(&server), &Liveness::new()).await;
        let session = Session::connect(&config.session(0).expect("a host")).await;
        assert_eq!(stream.is_ok(), works, "{mode}: {:?}", stream.err().map(|e| e.to_string()));
        assert_eq!(session.is_ok(), works, "{mode}: {:?}", session.err().map(|e| e.to_string()));
        if let (Ok(mut stream), Ok(mut session)) = (stream, session) {
            assert_eq!(stream.identity().secured, secured, "{mode}");
            assert!(!drain(&mut stream).await.is_empty());
            let row = session.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await;
            let cipher = row.expect("a row").expect("a row").text(1).unwrap_or_default();
            assert_eq!(!cipher.is_empty(), secured, "{mode}: {cipher}");
        }
    }

    // Given a server without TLS, preferred goes on in the clear, and required refuses
    for (mode, works) in [(TlsMode::Preferred, true), (TlsMode::Required, false)] {
        let mut config = config(&bare, "rep");
        config.tls = tls(mode, None);
        let stream = Replica::connect(&config, 0, &earliest(&bare), &Liveness::new()).await;
        let session = Session::connect(&config.session(0).expect("a host")).await;
        assert_eq!((stream.is_ok(), session.is_ok()), (works, works), "{mode}");
        if let Err(error) = stream {
            assert!(matches!(error, Error::TlsUnavailable { .. }), "{error}");
        }
    }
    Ok(())
}

async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    server
        .run(&[
            "CREATE USER 'x'@'%' IDENTIFIED BY 'x-pw' REQUIRE X509",
            "GRANT REPLICATION SLAVE ON *.* TO 'x'@'%'",
        ])
        .await;
    let mut config = config(&server, "x");
    config.tls = tls(TlsMode::Required, None);
    let refused = Replica::connect(&config, 0, &earliest(&server), &Liveness::new()).await;
    assert!(refused.is_err());
    config.tls = binpulse::mysql::TlsConfig {
        mode: TlsMode::VerifyCa,
        ca_file: Some(server.ca_file()),
        client_certificate_file: Some(server.data.join("client-cert.pem")),
        client_key_file: Some(server.data.join("client-key.pem")),
    }
    .load()
    .expect("the server's files");
    open(&config, &earliest(&server)).await;
    Session::connect(&config.session(0).expect("a host")).await.expect("a session");
    Ok(())
}

async fn passwords_are_proven_with_and_without_tls(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    for (user, plugin) in [
        ("caching", "caching_sha2_password"),
        ("sha", "sha256_password"),
        ("native", "mysql_native_password"),
    ] {
        let long = "p".repeat(90);
        let create = format!("CREATE USER {user} IDENTIFIED WITH {plugin} BY '{long}'");
        let grant = format!("GRANT REPLICATION SLAVE ON *.* TO {user}");
        for mode in [TlsMode::Off, TlsMode::Required] {
            server.run(&[&format!("DROP USER IF EXISTS {user}"), &create, &grant]).await;
            let mut config = config(&server, user);
            config.password = Secret::new(long.as_str());
            config.tls = tls(mode, None);
            // The first login takes the long way, the second is known to the server's cache.
            for _ in 0..2 {
                open(&config, &earliest(&server)).await;
            }
            config.password = Secret::new("wrong");
            let error = Replica::connect(&config, 0, &earliest(&server), &Liveness::new())
                .await
                .expect_err("a wrong password");
            let is_denied =
                matches!(error, Error::Refused { refusal: Refusal::AccessDenied, code: 1045, .. });
            assert!(is_denied, "{plugin} {mode}: {error}");
            assert_eq!(error.recovery(), Recovery::Halt(Halt::Denied));
        }
    }
    server
        .run(&["CREATE USER blank IDENTIFIED BY ''", "GRANT REPLICATION SLAVE ON *.* TO blank"])
        .await;
    let mut config = config(&server, "blank");
    config.password = Secret::default();
    open(&config, &earliest(&server)).await;
    Ok(())
}
