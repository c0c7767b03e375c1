//! What the filters keep back stays back, whatever the log says and however the server compares names.

use binpulse_demo::{Options, settings_for};
use tokio::time::{Instant, timeout_at};

use crate::bed::{Bed, Rig, SOON, Topic, binary, command};
use crate::suite::{Outcome, tests};

tests! {
    masks_hold_when_the_binlog_stops_naming_columns on [Mysql97, Mysql80, Mariadb1011];
    masks_hold_by_names_from_information_schema on [Mysql97, Mysql57, Mariadb1011];
    a_source_that_stops_naming_columns_is_told_at_once on [Mysql97, Mariadb118];
    what_a_rename_uncovers_is_told on [Mysql97, Mariadb118];
    names_are_compared_as_the_server_does on [Mysql80, Mysql57, Mariadb1011];
    a_pattern_that_matches_nothing_is_named on [Mysql97, Mysql57, Mariadb1011];
    a_database_that_is_not_in_the_binary_log_is_named_and_never_quiet on [Mysql80, Mariadb1011];
    on_rds_what_it_keeps_is_read_from_its_own_table on [Mysql80];
}

/// What arrives, as text, until a line has these words.
pub(crate) async fn lines_until(
    rig: &mut Rig,
    words: &[&str],
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let give_up = Instant::now() + SOON;
    let mut lines = Vec::new();
    let has = |lines: &[String], words: &str| lines.iter().any(|line| line.contains(words));
    while !words.iter().all(|words| has(&lines, words)) {
        rig.streamer.must_run()?;
        let mut show = |_: &str, line: String| lines.push(line);
        let received = timeout_at(give_up, rig.consumer.receive(&mut show)).await;
        received.map_err(|_| format!("{words:?}: {lines:?}; {}", rig.streamer.log_tail()))??;
    }
    Ok(lines)
}

/// All that is left in the queue.
async fn rest(rig: &mut Rig) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let mut lines = Vec::new();
    while rig.consumer.receive(&mut |_: &str, line: String| lines.push(line)).await? > 0 {}
    Ok(lines)
}

/// Without the names of columns.
fn nameless(bed: &Bed) -> &'static str {
    if bed.version().starts_with("maria") { "NO_LOG" } else { "MINIMAL" }
}

fn masks() -> Vec<(&'static str, String)> {
    vec![
        ("filter.tables", "shop.*".to_owned()),
        ("filter.drop_columns", "shop.customers.EMail".to_owned()),
        ("filter.hash_columns", "shop.customers.name".to_owned()),
        ("filter.hash_key", "a key of some length".to_owned()),
    ]
}

const SHOP: [&str; 3] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.customers (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT, email TEXT, city TEXT)",
    "CREATE TABLE shop.cities (id INT PRIMARY KEY, city TEXT)",
];

async fn masks_hold_when_the_binlog_stops_naming_columns(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &masks()).await?;
    rig.mysqld.execute(&SHOP).await?;
    let insert =
        "INSERT INTO shop.customers (name, email, city) VALUES ('SECRET-NAME', 'SECRET-MAIL', ";
    rig.mysqld.execute(&[format!("{insert}'Paris')")]).await?;
    let mut lines = lines_until(&mut rig, &["Paris"]).await?;

    // Tables without masks continue without names; the first row of one with masks is the end.
    let minimal = format!("SET GLOBAL binlog_row_metadata = {}", nameless(&bed));
    let city = "INSERT INTO shop.cities VALUES (1, 'Lyon')".to_owned();
    rig.mysqld.execute(&[minimal, city, format!("{insert}'Nice')")]).await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("undecodable") && log.contains("table shop.customers"), "{log}");
    assert!(log.contains("SET GLOBAL binlog_row_metadata = FULL"), "{log}");

    // So it is after a restart.
    rig.streamer.start_again().await?;
    assert_ne!(rig.streamer.wait(SOON).await?, Some(0), "{}", rig.streamer.log_tail());

    lines.extend(rest(&mut rig).await?);
    assert!(lines.iter().any(|line| line.contains("Lyon")), "{lines:?}");
    assert!(
        lines.iter().all(|line| !line.contains("Nice") && !line.contains("SECRET")),
        "{lines:?}"
    );
    Ok(())
}

async fn masks_hold_by_names_from_information_schema(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options { full_metadata: false, ..Options::default() }).await?;
    // The clocks of sessions make the tables older, and a row younger, than they are.
    let old = "SET timestamp = UNIX_TIMESTAMP() - 100";
    mysqld.execute(&[SHOP[0], old, SHOP[1], SHOP[2]]).await?;
    let mut settings = masks();
    settings.push(("source.schema_fallback", "information_schema".to_owned()));
    settings.push(("source.start", "now".to_owned()));
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    rig.mysqld.execute(&["GRANT SELECT ON shop.* TO 'binpulse'@'%'"]).await?;
    let insert = |city: &str| {
        format!(
            "INSERT INTO shop.customers (name, email, city) VALUES ('SECRET-NAME', 'SECRET-MAIL', '{city}')"
        )
    };
    // A row that is younger than its table is masked by today's names.
    let young = "SET timestamp = UNIX_TIMESTAMP() + 100".to_owned();
    rig.mysqld.execute(&[young, insert("Paris")]).await?;
    let mut lines = lines_until(&mut rig, &["Paris"]).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());

    // Another could be of a time when the column had another name, as this one is.
    let rename = "ALTER TABLE shop.customers CHANGE email note TEXT".to_owned();
    rig.mysqld.execute(&[insert("Nice"), rename]).await?;
    rig.streamer.start_again().await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("table shop.customers") && log.contains("created or altered"), "{log}");
    lines.extend(rest(&mut rig).await?);
    assert!(
        lines.iter().all(|line| !line.contains("Nice") && !line.contains("SECRET")),
        "{lines:?}"
    );
    Ok(())
}

async fn a_source_that_stops_naming_columns_is_told_at_once(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    rig.mysqld.execute(&SHOP).await?;
    let set = |value: &str| format!("SET GLOBAL binlog_row_metadata = {value}");
    let insert = |id: u32| format!("INSERT INTO shop.cities VALUES ({id}, 'Lyon')");
    rig.mysqld.execute(&[set(nameless(&bed)), insert(1)]).await?;
    let is_found = |status: &serde_json::Value| {
        let findings = status["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().any(|finding| finding["what"] == "binlog_row_metadata")
    };
    rig.streamer.until("the finding", SOON, is_found).await?;
    let found = ["what=\"binlog_row_metadata\""];
    let metric = rig.streamer.metric("binpulse_source_finding", &found).await?;
    assert_eq!(metric, Some(1.0));
    rig.mysqld.execute(&[set("FULL"), insert(2)]).await?;
    rig.streamer.until("no finding", SOON, |status| !is_found(status)).await?;
    Ok(())
}

async fn what_a_rename_uncovers_is_told(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &masks()).await?;
    rig.mysqld.execute(&SHOP).await?;
    let insert = |table: &str, city: &str| {
        format!("INSERT INTO shop.{table} (name, city) VALUES ('SECRET', '{city}')")
    };
    let statements = [
        "INSERT INTO shop.customers (city) VALUES ('Paris')".to_owned(),
        "ALTER TABLE shop.customers CHANGE email contact TEXT".to_owned(),
        insert("customers", "Lyon"),
        "RENAME TABLE shop.customers TO shop.clients".to_owned(),
        "INSERT INTO shop.clients (city) VALUES ('Nice')".to_owned(),
    ];
    rig.mysqld.execute(&statements).await?;
    let lines = lines_until(&mut rig, &["Paris", "Lyon", "Nice"]).await?;
    assert!(lines.iter().all(|line| !line.contains("SECRET")), "{lines:?}");
    assert_eq!(rig.streamer.stop().await?, Some(0), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    let told = |words: &[&str]| {
        log.lines().filter(|line| words.iter().all(|words| line.contains(words))).count()
    };
    assert_eq!(told(&["shop.customers.EMail", "matches none of its columns"]), 1, "{log}");
    assert_eq!(told(&["shop.customers.name", "matches none of its columns"]), 0, "{log}");
    assert_eq!(told(&["a table was renamed", "shop.customers", "shop.clients"]), 1, "{log}");
    Ok(())
}

async fn names_are_compared_as_the_server_does(bed: Bed) -> Outcome {
    let extra = vec!["--lower-case-table-names=1".to_owned()];
    let has_names = bed.version() != "mysql-5.7";
    let mysqld = bed.mysqld(Options { extra, ..Options::default() }).await?;
    let mut settings = vec![
        ("filter.tables", "Shop.*".to_owned()),
        ("filter.exclude", "Shop.Hidden".to_owned()),
        ("heartbeat.schema", "BinPulse".to_owned()),
    ];
    if has_names {
        settings.push(("filter.drop_columns", "Shop.Orders.Secret".to_owned()));
    }
    mysqld
        .execute(&[
            "CREATE DATABASE Shop",
            "CREATE TABLE Shop.Orders (Id INT PRIMARY KEY, Secret VARCHAR(20), City TEXT)",
            "CREATE TABLE Shop.Hidden (Id INT PRIMARY KEY, City TEXT)",
            "INSERT INTO Shop.Hidden VALUES (1, 'HIDDEN')",
            "INSERT INTO Shop.Orders VALUES (1, 'HIDDEN', 'Paris')",
            "ALTER TABLE SHOP.HIDDEN ADD Note TEXT",
            "ALTER TABLE SHOP.ORDERS ADD Note TEXT",
        ])
        .await?;
    if !has_names {
        mysqld.execute(&["UPDATE Shop.Orders SET Secret = 'x'", "RESET MASTER"]).await?;
        mysqld.execute(&["UPDATE Shop.Hidden SET City = 'HIDDEN 2'"]).await?;
        mysqld.execute(&["UPDATE Shop.Orders SET City = 'Paris 2'"]).await?;
        mysqld.execute(&["ALTER TABLE SHOP.HIDDEN ADD C TEXT, COMMENT 'ADD Note'"]).await?;
        mysqld.execute(&["ALTER TABLE SHOP.ORDERS COMMENT 'ADD Note'"]).await?;
        settings.push(("source.schema_fallback", "information_schema".to_owned()));
    }
    let mut rig = start_in(&bed, mysqld, &settings).await?;
    let lines = lines_until(&mut rig, &["Paris", "ADD Note"]).await?;
    let all = lines.join("\n");
    assert!(!all.contains("HIDDEN"), "{all}");
    Ok(())
}

/// A stream whose own schema has another name.
async fn start_in(
    bed: &Bed,
    mysqld: binpulse_demo::Mysqld,
    settings: &[(&'static str, String)],
) -> Result<Rig, Box<dyn std::error::Error + Send + Sync>> {
    binpulse_demo::prepare(&mysqld, binary()).await?;
    mysqld.execute(&["GRANT SELECT ON *.* TO 'binpulse'@'%'"]).await?;
    let mut of_init = settings_for(&mysqld);
    of_init.retain(|(key, _)| !matches!(*key, "source.user" | "source.password"));
    of_init.push(("source.user", "root".to_owned()));
    of_init.extend(settings.iter().filter(|(key, _)| *key == "heartbeat.schema").cloned());
    let init = command("init", of_init);
    let (code, log) = init.run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{log}");
    Ok(Rig::start_prepared(bed, mysqld, Topic::Standard, settings).await?)
}

async fn a_pattern_that_matches_nothing_is_named(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld.execute(&SHOP).await?;
    mysqld
        .execute(&[
            "CREATE TABLE shop.parents (id INT PRIMARY KEY)",
            "CREATE TABLE shop.children (id INT PRIMARY KEY, parent INT, CONSTRAINT of_parent FOREIGN \
             KEY (parent) REFERENCES shop.parents (id) ON DELETE CASCADE ON UPDATE SET NULL)",
        ])
        .await?;
    binpulse_demo::prepare(&mysqld, binary()).await?;
    let run = async |strict: bool, fixed: bool| {
        let mut settings = settings_for(&mysqld);
        let wrong =
            |text: &str, right: &str| if fixed { right.to_owned() } else { text.to_owned() };
        settings.extend([
            ("filter.tables", wrong("shop.*,shopp.*", "shop.*")),
            ("filter.exclude", wrong("shop.city", "shop.cities")),
            ("filter.drop_columns", wrong("shop.customer.email", "shop.c*.email")),
            ("filter.strict", strict.to_string()),
            ("sink.kind", "null".to_owned()),
        ]);
        if bed.version() == "mysql-5.7" {
            settings.push(("source.schema_fallback", "information_schema".to_owned()));
        }
        command("check", settings).run_to_end(SOON).await
    };
    // Who sees no table can't tell.
    let (code, said) = run(false, false).await?;
    assert!(
        code == Some(0) && said.contains("`shop.customer.email` of filter.drop_columns"),
        "{said}"
    );
    let (code, said) = run(true, true).await?;
    assert!(code == Some(1) && said.contains("filter.strict"), "{code:?} {said}");

    mysqld.execute(&["GRANT SELECT, REFERENCES ON *.* TO 'binpulse'@'%'"]).await?;
    let (code, said) = run(false, false).await?;
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "`shopp.*` matches no table",
        "`shop.city` matches no table",
        "`shop.customer.email` matches no column",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("`shop.*`"), "{said}");
    // What a foreign key changes is in the log of MySQL 9.6 and newer only.
    let cascade = "shop.children: of_parent to parents ON DELETE CASCADE ON UPDATE SET NULL";
    assert_eq!(said.contains(cascade), bed.version() != "mysql-9.7", "{said}");
    let (code, said) = run(true, false).await?;
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = run(true, true).await?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

async fn a_database_that_is_not_in_the_binary_log_is_named_and_never_quiet(bed: Bed) -> Outcome {
    let extra = vec!["--binlog-ignore-db=hr".to_owned()];
    let mysqld = bed.mysqld(Options { extra, ..Options::default() }).await?;
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &[]).await?;
    let now = rig
        .streamer
        .until("an unknown state", SOON, |now| now["verdict"]["state"] == "indeterminate")
        .await?;
    assert!(now["verdict"]["certificate"].is_null(), "{now}");
    assert!(now["verdict"]["sentence"].as_str().unwrap_or_default().contains("hr"), "{now}");
    let findings = now["findings"].as_array().cloned().unwrap_or_default();
    let is_it = |it: &serde_json::Value| it["what"] == "binlog-ignore-db";
    assert!(findings.iter().any(is_it), "{now}");

    // A database that is left out proves nothing and needs no proof.
    let left_out = ("filter.exclude", "hr.*".to_owned());
    rig.streamer.command_mut().settings.push(left_out);
    rig.streamer.start_again().await?;
    let quiet = |now: &serde_json::Value| now["verdict"]["state"] == "quiet";
    rig.streamer.until("quiet", SOON, quiet).await?;
    Ok(())
}

async fn on_rds_what_it_keeps_is_read_from_its_own_table(bed: Bed) -> Outcome {
    let extra = vec!["--binlog-row-image=MINIMAL".to_owned()];
    let mysqld = bed.mysqld(Options { extra, ..Options::default() }).await?;
    binpulse_demo::prepare(&mysqld, binary()).await?;
    mysqld
        .execute(&[
            "CREATE TABLE mysql.rds_configuration (name CHAR(100), value CHAR(100), description TEXT)",
            "INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL, '')",
            "GRANT SELECT ON mysql.rds_configuration TO 'binpulse'@'%'",
        ])
        .await?;
    let mut settings = settings_for(&mysqld);
    settings.push(("sink.kind", "null".to_owned()));
    let (code, said) = command("check", settings).run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("CALL mysql.rds_set_configuration('binlog retention hours', 168);"),
        "{said}"
    );
    assert!(said.contains("DB parameter group") && !said.contains("SET PERSIST"), "{said}");

    mysqld.execute(&["UPDATE mysql.rds_configuration SET value = '100'"]).await?;
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &[]).await?;
    let is_read = |now: &serde_json::Value| now["progress"]["log_expiry_seconds"] == 360_000.0;
    rig.streamer.until("the time for which RDS keeps logs", SOON, is_read).await?;
    Ok(())
}
