//! TLS modes and login methods.

use std::time::{Duration, Instant};

use binpulse::mysql::{Error as SqlError, Secret, Session, TlsConfig, TlsMode, Value};
use binpulse::source::{Error, Halt, Liveness, Recovery, Replica, ServerErrorKind};

use super::server::{Server, gtid_options, tls};
use super::{config, drain, earliest, open};
use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    each_tls_mode_asks_for_what_it_says on [Mysql97];
    a_client_certificate_is_shown_to_a_server_that_asks_for_one on [Mysql97];
    passwords_are_proven_with_and_without_tls on [Mysql80];
    preferred_tls_reaches_every_version on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
    mariadbs_own_login_methods_are_spoken on [Mariadb1011, Mariadb118];
    without_tls_the_key_is_asked_for_only_where_that_is_allowed on [Mysql97, Mysql80];
    a_session_is_of_no_use_after_a_statement_passed_its_deadline on [Mysql97];
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

    // Given a server without TLS, preferred continues in the clear, and required refuses
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
    config.tls = TlsConfig {
        mode: TlsMode::VerifyCa,
        ca_file: Some(server.ca_file()),
        client_certificate_file: Some(server.data.join("client-cert.pem")),
        client_key_file: Some(server.data.join("client-key.pem")),
        ..TlsConfig::default()
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
            let is_denied = matches!(
                error,
                Error::Refused { refusal: ServerErrorKind::AccessDenied, code: 1045, .. }
            );
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

async fn preferred_tls_reaches_every_version(bed: Bed) -> Outcome {
    let name = bed.version();
    let server = Server::start(&bed, gtid_options(&bed)).await;
    let mut config = config(&server, "rep");
    config.tls = tls(TlsMode::Preferred, None);
    let mut replica = open(&config, &earliest(&server)).await;
    drain(&mut replica).await;
    let mut session = Session::connect(&config.session(0).expect("a host")).await.expect(name);
    let row = session.query_first("SHOW SESSION STATUS LIKE 'Ssl_version'").await;
    let version = row.expect("a row").expect("a row").text(1).unwrap_or_default();
    // Those of before 2018 offer no TLS that is still spoken.
    let modern = matches!(name, "mysql-9.7" | "mysql-8.0");
    println!("{name}: replica secured: {}, session {version:?}", replica.identity().secured);
    assert_eq!(replica.identity().secured, !version.is_empty(), "{name}");
    assert!(!modern || replica.identity().secured, "{name}");
    Ok(())
}

async fn mariadbs_own_login_methods_are_spoken(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    let mut methods = vec![("auth_ed25519", "ed25519")];
    if bed.server().is_mariadb(11, 6) {
        methods.push(("auth_parsec", "parsec"));
    }
    for (library, plugin) in methods {
        server
            .run(&[
                &format!("INSTALL SONAME '{library}'"),
                &format!(
                    "CREATE USER 'm'@'%' IDENTIFIED VIA {plugin} USING PASSWORD('m-pw \u{e9}')"
                ),
                "GRANT REPLICATION SLAVE ON *.* TO 'm'@'%'",
            ])
            .await;
        let mut config = config(&server, "m");
        for tls_mode in [TlsMode::Off, TlsMode::Preferred] {
            config.tls = tls(tls_mode, None);
            config.password = Secret::new("m-pw \u{e9}");
            open(&config, &earliest(&server)).await;
            Session::connect(&config.session(0).expect("a host")).await.expect(plugin);
            config.password = Secret::new("wrong");
            let error = Session::connect(&config.session(0).expect("a host")).await;
            assert_eq!(error.expect_err("a wrong password").code(), Some(1045), "{plugin}");
        }
        server.run(&["DROP USER 'm'@'%'"]).await;
    }
    Ok(())
}

async fn without_tls_the_key_is_asked_for_only_where_that_is_allowed(bed: Bed) -> Outcome {
    let server = Server::start(&bed, gtid_options(&bed)).await;
    let mut careful = config(&server, "rep");
    careful.tls =
        TlsConfig { mode: TlsMode::Off, ..TlsConfig::default() }.load().expect("no files");
    let options = careful.session(0).expect("a host");
    // Given a server that does not know the account yet, the password stays here
    let stream = Replica::connect(&careful, 0, &earliest(&server), &Liveness::new()).await;
    let stream = stream.map(drop).expect_err("not allowed");
    assert!(matches!(stream, Error::KeyNotAllowed { .. }), "{stream}");
    assert_eq!(stream.recovery(), Recovery::Halt(Halt::Misconfigured));
    let session = Session::connect(&options).await.expect_err("not allowed");
    assert!(matches!(session, SqlError::KeyNotAllowed { .. }), "{session}");
    // One that knows it from another login asks for no more than a proof
    open(&config(&server, "rep"), &earliest(&server)).await;
    let session = Session::connect(&options).await.expect("known to the cache");
    assert!(session.depends_on_cache());
    Ok(())
}

async fn a_session_is_of_no_use_after_a_statement_passed_its_deadline(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    let mut session = server.session().await;
    let id = session.id().expect("a number");
    let late = session.query_within("SELECT SLEEP(600)", Duration::from_millis(300)).await;
    assert!(matches!(&late, Err(SqlError::TimedOut { .. })), "{late:?}");
    let next = session.query("SELECT 1").await;
    assert!(matches!(&next, Err(SqlError::Abandoned)), "{next:?}");
    assert_eq!(session.id(), None);

    // A refusal, on the other hand, leaves the session as it was; so does the lost one the server
    let mut session = server.session().await;
    let refused = session.query("SELECT nonsense").await.expect_err("no such column");
    assert_eq!(refused.code(), Some(1054), "{refused}");
    let row = session.exec("SELECT ?, ?", vec![7.into(), Value::NULL]).await.expect("a row");
    assert_eq!((row[0].signed(0).expect("a number"), row[0].text(1)), (Some(7), None));
    // The server control messages the closed socket by itself
    let deadline = Instant::now() + Duration::from_secs(30);
    let listed = format!("SELECT 1 FROM information_schema.processlist WHERE id = {id}");
    while !session.query(&listed).await.expect("rows").is_empty() {
        assert!(Instant::now() < deadline, "the socket is still open");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
