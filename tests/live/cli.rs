//! What an operator types before the first row is streamed: `init --print`, `check`, `run`, `tail`.

use std::process::Stdio;
use std::time::Duration;

use binpulse::config::Setting;
use binpulse_demo::{Aws, Mysqld, Options, Standin, settings_for, standin_environment};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::bed::{Bed, SOON, binary};
use crate::suite::{Outcome, tests};

tests! {
    what_init_prints_runs_as_it_is_and_gives_exactly_the_rights_that_check_asks_for on
        [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
    check_lists_all_that_is_wrong_at_once_and_its_statements_fix_it on
        [Mysql97, Mysql80, Mariadb1011];
    run_refuses_in_the_words_of_check on [Mysql97, Mariadb1011];
    what_is_wrong_at_start_has_its_exit_code on [Mysql97, Mariadb1011];
    check_names_what_fixes_a_login on [Mysql97];
    check_names_each_table_that_a_first_snapshot_can_not_read on [Mysql97, Mariadb1011];
    no_account_and_no_password_is_ever_printed on
        [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
    tail_prints_a_change_as_it_happens on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011];
}

/// The password that tests put into what `init --print` says.
const PASSWORD: &str = "it's-secret";

/// A command with settings, without those of this environment.
pub(crate) fn command(name: &str, settings: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BINPULSE_")) {
        command.env_remove(name);
    }
    for (key, value) in settings {
        let setting = Setting::find(key).expect("a setting");
        command.env(setting.env(), value);
    }
    command.env("RUST_LOG", "info").envs(standin_environment());
    command.arg(name).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end: exit code, output, errors.
async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = timeout(SOON, command.output()).await.expect("in time").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What `check` reports, as JSON; its exit code.
pub(crate) async fn check(settings: &[(&'static str, String)]) -> (Option<i32>, Vec<Value>) {
    let (code, out, error) = run(command("check", settings)).await;
    assert_eq!(error, "", "{out}");
    let reports = out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    (code, reports.collect())
}

/// Reports of what is not fine.
fn wrong(reports: &[Value]) -> Vec<&Value> {
    reports.iter().filter(|report| report["ok"] == false).collect()
}

fn set(settings: &mut Vec<(&'static str, String)>, key: &'static str, value: impl Into<String>) {
    settings.retain(|(known, _)| *known != key);
    settings.push((key, value.into()));
}

/// Settings with two accounts that are not there yet.
fn two_accounts(mysqld: &Mysqld) -> Vec<(&'static str, String)> {
    let mut settings = settings_for(mysqld);
    set(&mut settings, "source.user", "reader");
    set(&mut settings, "source.password", PASSWORD);
    set(&mut settings, "heartbeat.user", "writer");
    set(&mut settings, "heartbeat.password", PASSWORD);
    set(&mut settings, "sink.kind", "null");
    settings
}

/// The statements that `init --print` says, with passwords.
async fn printed(settings: &[(&'static str, String)]) -> Vec<String> {
    let quoted = format!("'{}'", PASSWORD.replace('\'', "''"));
    let statements = printed_as_it_is(settings).await.into_iter();
    statements.map(|statement| statement.replace("<password>", &quoted)).collect()
}

/// The same without.
async fn printed_as_it_is(settings: &[(&'static str, String)]) -> Vec<String> {
    let mut init = command("init", settings);
    init.arg("--print");
    let (code, script, error) = run(init).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{script}");
    let bare: Vec<_> = script.lines().filter(|line| !line.starts_with("--")).collect();
    let bare = bare.join("\n");
    let statements = bare.split(";\n").map(str::trim).filter(|text| !text.is_empty());
    statements.map(str::to_owned).collect()
}

async fn what_init_prints_runs_as_it_is_and_gives_exactly_the_rights_that_check_asks_for(
    bed: Bed,
) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings = two_accounts(&mysqld);
    // Whoever forgets the passwords gets an error, and nothing else
    let refused = mysqld.execute(&printed_as_it_is(&settings).await).await;
    let error = refused.err().ok_or("accounts with a well known password")?.to_string();
    assert!(error.contains("1064"), "{error}");
    let mut root = mysqld.connect().await?;
    for made in [
        "SELECT COUNT(*) FROM mysql.user WHERE user IN ('reader', 'writer')",
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'binpulse'",
    ] {
        assert_eq!(root.query_first(made).await?, Some(0), "{made}");
    }
    root.disconnect().await?;

    let statements = printed(&settings).await;
    mysqld.execute(&statements).await?;
    // Again, as after an upgrade
    mysqld.execute(&statements).await?;
    let (code, reports) = check(&settings).await;
    // What a version can't do is no matter of rights.
    let old = ["version", "binlog_row_metadata"];
    let about_rights: Vec<_> = wrong(&reports)
        .into_iter()
        .filter(|report| {
            let what = report["what"].as_str().expect("text");
            !old.iter().any(|old| what.ends_with(old))
        })
        .collect();
    assert!(about_rights.is_empty(), "{about_rights:#?}");
    let knows_metadata = bed.server().is_mysql(8, 0) || bed.server().is_mariadb(10, 5);
    assert_eq!(code, Some(i32::from(!knows_metadata)), "{reports:#?}");

    // Not a right too many: without any one of the grants, check says so, and names the grant.
    for (revoke, grant) in [
        ("REVOKE REPLICATION SLAVE ON *.* FROM reader", "REPLICATION SLAVE"),
        ("REVOKE INSERT, UPDATE, DELETE, SELECT ON binpulse.* FROM writer", "init"),
    ] {
        mysqld.execute(&[revoke]).await?;
        let (_, reports) = check(&settings).await;
        let named = wrong(&reports)
            .iter()
            .any(|report| report["remedy"].as_str().expect("text").contains(grant));
        assert!(named, "{revoke}: {reports:#?}");
        mysqld.execute(&statements).await?;
    }
    Ok(())
}

/// A server on which everything is as it should not be, and an account without rights.
async fn badly_set_up(bed: &Bed) -> Result<Mysqld, Box<dyn std::error::Error + Send + Sync>> {
    let mut extra = vec!["--binlog-format=STATEMENT", "--binlog-row-image=MINIMAL"];
    if bed.version().starts_with("mysql") {
        extra.extend(["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    }
    let options = Options {
        gtid: false,
        full_metadata: false,
        extra: extra.into_iter().map(str::to_owned).collect(),
        ..Options::default()
    };
    let mysqld = bed.mysqld(options).await?;
    let account = format!("IDENTIFIED BY '{}'", PASSWORD.replace('\'', "''"));
    mysqld
        .execute(&[
            format!("CREATE USER reader {account}"),
            format!("CREATE USER writer {account}"),
        ])
        .await?;
    Ok(mysqld)
}

/// The statements in a remedy.
fn statements(remedy: &str) -> Vec<String> {
    let parts = remedy.split(';').map(str::trim);
    let is_one = |part: &&str| part.starts_with("SET ") || part.starts_with("GRANT ");
    parts.filter(is_one).map(str::to_owned).collect()
}

async fn check_lists_all_that_is_wrong_at_once_and_its_statements_fix_it(bed: Bed) -> Outcome {
    let mysqld = badly_set_up(&bed).await?;
    let standin = bed.standin().await?;
    let missing = Standin::topic_arn(&bed.topic_name());
    let mut settings = two_accounts(&mysqld);
    set(&mut settings, "sink.kind", "sns");
    set(&mut settings, "sns.topic", missing.clone());
    set(&mut settings, "sns.endpoint_url", standin.url());
    let (code, reports) = check(&settings).await;
    assert_eq!(code, Some(1));
    let listed = wrong(&reports);
    let mut expected = vec![
        "binlog_format",
        "binlog_row_image",
        "binlog_row_metadata",
        "REPLICATION SLAVE",
        "REPLICATION CLIENT",
        "topic",
    ];
    if bed.version().starts_with("mysql") {
        expected.push("gtid_mode");
    }
    for what in expected {
        let found = listed.iter().find(|r| r["what"].as_str().expect("text").contains(what));
        let Some(found) = found else { panic!("{what} is not listed: {listed:#?}") };
        for part in ["found", "needed", "remedy"] {
            assert_ne!(found[part], "", "{found:#?}");
        }
    }
    assert!(reports.iter().any(|report| report.to_string().contains(&missing)), "{reports:#?}");

    let mut unreachable = settings.clone();
    set(&mut unreachable, "sns.endpoint_url", "http://127.0.0.1:1");
    let (code, reports) = check(&unreachable).await;
    assert_eq!((code, wrong(&reports).len()), (Some(1), listed.len()), "{reports:#?}");

    for report in listed {
        mysqld.execute(&statements(report["remedy"].as_str().expect("text"))).await?;
    }
    mysqld.execute(&printed(&settings).await).await?;
    let topic = Aws::at(&standin.url()).create_topic(&bed.topic_name()).await?;
    set(&mut settings, "sns.topic", topic);
    // The last step to GTIDs waits for a stream that is behind.
    let (_, reports) = check(&settings).await;
    for report in wrong(&reports) {
        let remedy = report["remedy"].as_str().expect("text");
        assert!(
            report["found"] == "ON_PERMISSIVE" && remedy.contains("gtid_mode = ON;"),
            "{report}"
        );
        mysqld.execute(&["FLUSH BINARY LOGS", "SET GLOBAL gtid_mode = ON"]).await?;
    }
    let (code, reports) = check(&settings).await;
    assert_eq!(wrong(&reports), Vec::<&Value>::new());
    assert_eq!(code, Some(0));
    Ok(())
}

async fn run_refuses_in_the_words_of_check(bed: Bed) -> Outcome {
    let mysqld = badly_set_up(&bed).await?;
    // Enough to look around, too little to run
    mysqld.execute(&["GRANT REPLICATION CLIENT ON *.* TO reader"]).await?;
    let folder = tempfile::tempdir()?;
    let mut settings = two_accounts(&mysqld);
    let path = folder.path().join("checkpoint");
    set(&mut settings, "checkpoint.path", path.to_string_lossy());
    set(&mut settings, "http.listen", "127.0.0.1:0");
    set(&mut settings, "source.start_patience", "5s");
    let (_, reports) = check(&settings).await;
    let (code, out, error) = run(command("run", &settings)).await;
    assert_eq!(code, Some(69), "{out}{error}");
    // Logs are JSON here, so quotes come escaped.
    let said = format!("{out}{error}").replace("\\\"", "\"");
    for report in reports.iter().filter(|report| report["refuses"] == true) {
        for part in ["found", "remedy"] {
            let words = report[part].as_str().expect("text");
            assert!(said.contains(words), "{words} is not in\n{said}");
        }
    }
    assert!(reports.iter().any(|report| report["refuses"] == true));
    Ok(())
}

/// The log of a server carries accounts with the hashes of their passwords.
async fn no_account_and_no_password_is_ever_printed(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&printed(&two_accounts(&mysqld)).await).await?;
    let password = "SET PASSWORD FOR writer = ";
    let other = if bed.server().is_mysql(8, 0) { "'other-pw'" } else { "PASSWORD('other-pw')" };
    mysqld.execute(&[&format!("{password}{other}"), "DROP USER reader"]).await?;
    let mut decode = command("decode", &[]);
    let mut session = mysqld.connect().await?;
    let logs: Vec<mysql_async::Row> = session.query("SHOW BINARY LOGS").await?;
    session.disconnect().await?;
    for log in logs {
        decode.arg(mysqld.data().join(log.get::<String, _>(0).expect("a name")));
    }
    let (code, out, error) = run(decode).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("CREATE TABLE IF NOT EXISTS"), "{out}");
    for word in ["reader", "IDENTIFIED", "PASSWORD", "GRANT "] {
        assert!(!out.contains(word), "{word} in {out}");
    }
    Ok(())
}

async fn tail_prints_a_change_as_it_happens(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&printed(&two_accounts(&mysqld)).await).await?;
    mysqld.execute(&["CREATE DATABASE d", "CREATE TABLE d.t (id INT, word TEXT)"]).await?;
    let mut settings = two_accounts(&mysqld);
    // No sink and no heartbeats are needed.
    settings.retain(|(key, _)| !key.starts_with("heartbeat.") && *key != "sink.kind");
    set(&mut settings, "source.heartbeat_period", "200ms");
    set(&mut settings, "filter.tables", "d.*");
    let mut child = command("tail", &settings).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();

    // It starts now, whenever that is: rows are written until one is seen.
    let mut written = 0;
    let first = loop {
        written += 1;
        assert!(written < 600, "nothing is printed");
        mysqld.execute(&[format!("INSERT INTO d.t VALUES ({written}, 'grüße')")]).await?;
        if let Ok(line) = timeout(Duration::from_millis(100), lines.next_line()).await {
            break line?.expect("a line");
        }
    };
    let first: Value = serde_json::from_str(&first)?;
    let names = &first["after"];
    let has_metadata = bed.server().is_mysql(8, 0) || bed.server().is_mariadb(10, 5);
    let (id, word) = if has_metadata { ("id", "word") } else { ("@1", "@2") };
    assert_eq!((&first["op"], &names[word]), (&"insert".into(), &"grüße".into()), "{first}");
    let seen = names[id].as_u64().expect("a number");

    mysqld.execute(&["UPDATE d.t SET word = 'x' LIMIT 1", "DELETE FROM d.t LIMIT 1"]).await?;
    let mut ops = Vec::new();
    while ops.last().is_none_or(|op| op != "delete") {
        let line = timeout(SOON, lines.next_line()).await??.expect("a line");
        let line: Value = serde_json::from_str(&line)?;
        ops.push(line["op"].as_str().expect("text").to_owned());
    }
    let inserts = ops.iter().filter(|op| *op == "insert").count() as u64;
    assert_eq!(inserts, written - seen, "{ops:?}");
    assert_eq!(ops[ops.len() - 2..], ["update", "delete"]);
    Ok(())
}

/// Each line of the table of exit codes that a server has a part in.
async fn what_is_wrong_at_start_has_its_exit_code(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&printed(&two_accounts(&mysqld)).await).await?;
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("checkpoint");
    let mut sound = two_accounts(&mysqld);
    set(&mut sound, "checkpoint.path", place.to_string_lossy());
    set(&mut sound, "http.listen", "127.0.0.1:0");
    set(&mut sound, "source.start_patience", "1s");
    set(&mut sound, "shutdown.on_halt", "exit");
    let foreign = if bed.version().starts_with("mysql") {
        "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    } else {
        "gtid:0-77-1000"
    };
    for (key, value, expected, words) in [
        ("source.start", foreign, 75, "diverged"),
        ("source.start", "position:binlog.000099:4", 75, "position lost"),
        ("source.start", "position:binlog.000001:99999999", 75, "diverged"),
        ("source.password", "wrong", 69, "check user, password"),
        ("source.hosts", "127.0.0.1:1", 69, "check that the server runs"),
        ("source.start", "time:2199-01-01T00:00:00Z", 64, "not in the future"),
    ] {
        let mut settings = sound.clone();
        set(&mut settings, key, value);
        for name in ["run", "tail"] {
            let (code, out, error) = run(command(name, &settings)).await;
            let said = format!("{out}{error}");
            assert_eq!(code, Some(expected), "{name} {key}={value}: {said}");
            assert!(said.contains(words), "{name} {key}={value}: {said}");
        }
    }
    // A damaged checkpoint is a lost position too.
    std::fs::write(&place, b"no checkpoint at all, but long enough to be one")?;
    let (code, out, error) = run(command("run", &sound)).await;
    assert_eq!(code, Some(75), "{out}{error}");
    assert!(format!("{out}{error}").contains("is damaged"), "{out}{error}");
    Ok(())
}

/// What `check` says of servers, accounts and certificates that do not fit names what fixes it.
async fn check_names_what_fixes_a_login(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&printed(&two_accounts(&mysqld)).await).await?;
    let sound = two_accounts(&mysqld);
    // For a name that it does not know MySQL acts as if there were an account, with a login plugin
    // that it picks by the name and a secret of its own: what it says differs from server to server.
    let unknown = ["check the user name", "check user, password"];
    for (key, value, what, words) in [
        ("source.user", "nobody-such", "server", &unknown[..]),
        ("source.password", "wrong", "server", &["check user, password"]),
        ("source.tls", "verify-ca", "server", &["source.tls_ca"]),
        ("heartbeat.password", "wrong", "heartbeat writer", &["heartbeat.password"]),
        (
            "heartbeat.schema",
            "elsewhere",
            "table",
            &["GRANT SELECT, INSERT, UPDATE, DELETE ON `elsewhere`"],
        ),
    ] {
        let mut settings = sound.clone();
        set(&mut settings, key, value);
        let (_, reports) = check(&settings).await;
        let found = wrong(&reports).iter().any(|report| {
            let remedy = report["remedy"].as_str().expect("text");
            report["what"].as_str().expect("text").starts_with(what)
                && words.iter().any(|words| remedy.contains(words))
        });
        assert!(found, "{key}={value}: {reports:#?}");
    }
    Ok(())
}

async fn check_names_each_table_that_a_first_snapshot_can_not_read(bed: Bed) -> Outcome {
    let is_mysql = bed.server().is_mysql(8, 0);
    let off = ["--gtid-mode=OFF".to_owned(), "--enforce-gtid-consistency=OFF".to_owned()];
    let extra = if is_mysql { off.into() } else { Vec::new() };
    let mysqld = bed.mysqld(Options { gtid: false, extra, ..Options::default() }).await?;
    let mut settings = two_accounts(&mysqld);
    set(&mut settings, "snapshot.on_start", "all");
    set(&mut settings, "filter.tables", "shop.*");
    set(&mut settings, "filter.exclude", "shop.hidden");
    mysqld
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY)",
            "CREATE TABLE shop.keyless (a INT)",
            "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE VIEW shop.some AS SELECT * FROM shop.orders",
            "CREATE TABLE shop.hidden (a INT)",
        ])
        .await?;
    // With the grants that `init --print` says for it
    mysqld.execute(&printed(&settings).await).await?;
    let (code, reports) = check(&settings).await;
    assert_eq!(code, Some(0), "the stream would run: {reports:#?}");
    let of = |reports: &[Value], what: &str| {
        let report = reports.iter().find(|report| report["what"] == what).cloned();
        report.unwrap_or_else(|| panic!("{what}: {reports:#?}"))
    };
    for (table, found) in [("keyless", "no key"), ("old", "MyISAM")] {
        let report = of(&reports, &format!("snapshot of shop.{table}"));
        assert!(report["ok"] == false && report["found"].as_str().expect("text").contains(found));
    }
    assert_eq!(of(&reports, "snapshot.on_start")["found"], "1 of 3 tables can be read");
    if is_mysql {
        let named = wrong(&reports).iter().any(|report| {
            let text = |member: &str| report[member].as_str().expect("text").to_owned();
            text("what").ends_with("gtid_mode")
                && text("needed").contains("snapshot.on_start")
                && text("remedy").contains("gtid_mode = ON")
        });
        assert!(named, "{reports:#?}");
    }

    // And without them
    mysqld.execute(&["REVOKE SELECT ON shop.* FROM reader"]).await?;
    let report = of(&check(&settings).await.1, "snapshot.on_start");
    assert!(report["ok"] == false, "{report}");
    assert!(report["remedy"].as_str().expect("text").contains("GRANT SELECT"), "{report}");
    Ok(())
}
