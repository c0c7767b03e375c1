//! Passwords that change while the streamer runs.

use std::fs;

use binpulse_demo::{Mysqld, Options, PASSWORD, USER, prepare};
use mysql_async::prelude::Queryable;

use crate::bed::{Bed, SOON, binary};
use crate::start::start_with;
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    passwords_in_files_are_read_again_with_each_connection on [Mysql97, Mysql57, Mariadb1011];
}

/// Ends all sessions of an account.
async fn throw_out(mysqld: &Mysqld, user: &str) -> Outcome {
    let mut session = mysqld.connect().await?;
    let query = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
    let sessions: Vec<u64> = session.query(query).await?;
    for id in sessions {
        // It may have ended by itself.
        drop(session.query_drop(format!("KILL {id}")).await);
    }
    session.disconnect().await?;
    Ok(())
}

async fn passwords_in_files_are_read_again_with_each_connection(bed: Bed) -> Outcome {
    // Given a streamer with two accounts, whose passwords are in files
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    mysqld
        .execute(&[
            format!("CREATE USER writer IDENTIFIED BY '{PASSWORD}'"),
            "GRANT SELECT, INSERT, UPDATE, DELETE ON binpulse.* TO writer".to_owned(),
        ])
        .await?;
    let folder = tempfile::tempdir()?;
    let [own, writers] = ["own", "writers"].map(|name| folder.path().join(name));
    for path in [&own, &writers] {
        fs::write(path, format!("{PASSWORD}\n"))?;
    }
    let arguments = [("--source-password-file", &own), ("--heartbeat-password-file", &writers)];
    let arguments =
        arguments.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
    let fallback = if bed.version() == "mysql-5.7" { "information_schema" } else { "refuse" };
    let settings = [
        ("heartbeat.user", "writer".to_owned()),
        ("sink.kind", "null".to_owned()),
        ("source.schema_fallback", fallback.to_owned()),
    ];
    let mut streamer = start_with(Some(&mysqld), &settings, arguments.collect())?;
    streamer.until("a healthy verdict", SOON, is_healthy).await?;

    for (number, path, user) in [(1, &own, USER), (2, &writers, "writer")] {
        // When one is rotated, and those who logged in with the old one are thrown out
        let rotated = format!("rotated-{number}");
        let password = format!("ALTER USER '{user}'@'%' IDENTIFIED BY '{rotated}'");
        mysqld.execute(&[password]).await?;
        fs::write(path, &rotated)?;
        let seen = streamer.status().await?["heartbeat"]["seen"].as_u64();
        throw_out(&mysqld, user).await?;

        // Then it continues with the new one
        let goes_on = |status: &serde_json::Value| {
            let rises = status["heartbeat"]["seen"].as_u64() > seen.map(|seen| seen + 3);
            is_healthy(status) && rises && status["source"]["connected"] == true
        };
        streamer
            .until(&format!("heartbeats with the new password of {user}"), SOON, goes_on)
            .await?;
    }
    assert_eq!(streamer.stop().await?, Some(0));
    Ok(())
}
