//! Changes that were logged as statements, and statements that carry passwords.

use binpulse_demo::{Command, Mysqld, Options};

use crate::bed::{Bed, Rig, SOON, Topic, binary};
use crate::filters::lines_until;
use crate::suite::{Outcome, tests};

tests! {
    statements_about_tables_that_are_left_out_pass_and_those_with_triggers_halt
        on [Mysql97, Mysql80, Mysql57, Mariadb1011];
    triggers_from_before_the_stream_halt_where_the_account_sees_them_and_warn_once_else
        on [Mysql80, Mariadb1011, Mariadb118];
    what_a_server_writes_by_itself_stops_nothing on [Mysql57, Mysql80, Mariadb118];
    a_statement_about_a_published_table_is_never_passed_over on [Mysql97, Mariadb118];
    rows_of_accounts_are_not_published on [Mysql97, Mysql57, Mariadb118];
    passwords_within_statements_are_not_published on [Mysql97, Mysql57, Mariadb118];
}

fn settings(bed: &Bed) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("filter.tables", "shop.*".to_owned()),
        ("filter.exclude", "percona.*,shop.secret_*".to_owned()),
    ];
    if bed.version() == "mysql-5.7" {
        settings.push(("source.schema_fallback", "information_schema".to_owned()));
    }
    settings
}

/// A stream of a shop, with an account that may read it.
async fn start(bed: &Bed, extra: &[&str]) -> Result<Rig, Box<dyn std::error::Error + Send + Sync>> {
    let extra = extra.iter().map(|option| (*option).to_owned()).collect();
    let mysqld = bed.mysqld(Options { extra, ..Options::default() }).await?;
    let rig = Rig::start(bed, mysqld, Topic::Standard, &settings(bed)).await?;
    rig.mysqld
        .execute(&[
            "CREATE DATABASE shop",
            "GRANT SELECT ON shop.* TO 'binpulse'@'%'",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, city TEXT)",
            "CREATE TABLE shop.secret_keys (id INT PRIMARY KEY)",
            "CREATE DATABASE percona",
            "CREATE TABLE percona.checksums (id INT PRIMARY KEY, crc CHAR(40))",
            "CREATE PROCEDURE percona.keep(kept INT) INSERT INTO checksums VALUES (kept, 'kept')",
        ])
        .await?;
    Ok(rig)
}

const AS_STATEMENTS: &str = "SET SESSION binlog_format = STATEMENT";

async fn statements_about_tables_that_are_left_out_pass_and_those_with_triggers_halt(
    bed: Bed,
) -> Outcome {
    let mut rig = start(&bed, &["--secure-file-priv="]).await?;
    let file = rig.mysqld.data().join("rows.txt").display().to_string();
    std::fs::write(&file, "7\tseven\n8\teight\n")?;
    let load =
        format!("LOAD DATA INFILE '{file}' INTO TABLE checksums (id, @crc) SET crc = UPPER(@crc)");
    let passing = [
        "REPLACE INTO checksums VALUES (1, 'a')",
        "REPLACE INTO percona.checksums (id, crc) SELECT 2, COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(\
         CONCAT_WS('#', `id`, `city`)) AS UNSIGNED)), 10, 16)), 0) FROM `shop`.`orders` /*checksum*/",
        &load,
        "UPDATE checksums AS c JOIN (SELECT id FROM shop.orders) o ON o.id = c.id SET crc = 'b'",
        "DELETE c FROM checksums c WHERE c.id = 1",
        "INSERT INTO shop.secret_keys VALUES (1)",
        // Logged with NAME_CONST in place of the parameter.
        "CALL percona.keep(3)",
    ];
    let row = "INSERT INTO shop.orders VALUES (1, 'Paris')";
    rig.mysqld.execute(&[&[row, "USE percona", AS_STATEMENTS], &passing[..]].concat()).await?;
    rig.mysqld.execute(&["INSERT INTO shop.orders VALUES (2, 'Lyon')"]).await?;
    lines_until(&mut rig, &["Paris", "Lyon"]).await?;
    let passed = rig.streamer.metric("binpulse_passed_statements_total", &[]).await?;
    assert_eq!(passed, Some(7.0));

    // A trigger changes a published table, and no row of that is in the log.
    let trigger = "CREATE TRIGGER percona.g AFTER INSERT ON percona.checksums FOR EACH ROW \
                   INSERT INTO shop.orders VALUES (NEW.id, 'by a trigger')";
    let insert = "INSERT INTO percona.checksums VALUES (50, 'x')";
    rig.mysqld.execute(&[trigger, AS_STATEMENTS, insert]).await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let log = rig.streamer.log_tail();
    assert!(log.contains("statement-based change in the log: INSERT"), "{log}");
    assert!(log.contains("percona.checksums") || log.contains("tables of shop too"), "{log}");
    Ok(())
}

async fn triggers_from_before_the_stream_halt_where_the_account_sees_them_and_warn_once_else(
    bed: Bed,
) -> Outcome {
    // Given a database that is published in part, with a trigger and a view from excluded tables into
    // published ones, made before the stream begins
    let mysqld = bed.mysqld(Options::default()).await?;
    mysqld
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, city TEXT)",
            "CREATE TABLE shop.secret_keys (id INT PRIMARY KEY)",
            "CREATE TABLE shop.secret_log (id INT PRIMARY KEY)",
            "CREATE VIEW shop.secret_view AS SELECT * FROM shop.orders",
            "CREATE TRIGGER shop.g AFTER INSERT ON shop.secret_keys FOR EACH ROW \
             INSERT INTO shop.orders VALUES (NEW.id, 'by a trigger')",
        ])
        .await?;
    let mut settings = settings(&bed);
    settings.push(("source.start", "now".to_owned()));
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let warnings = |rig: &Rig, table: &str| {
        let log = rig.streamer.log_tail();
        log.lines().filter(|line| line.contains("was skipped") && line.contains(table)).count()
    };

    // When the account does not see triggers, then one warning for each table tells of it
    let write = |table: &str, id| format!("INSERT INTO shop.{table} VALUES ({id})");
    let (keys, log) = ("secret_keys", "secret_log");
    let marked = |city: &str, id| format!("INSERT INTO shop.orders VALUES ({id}, '{city}')");
    let mut statements = vec![AS_STATEMENTS.to_owned()];
    statements.extend((1..=3).flat_map(|id| [write(keys, id), write(log, id)]));
    rig.mysqld.execute(&statements).await?;
    rig.mysqld.execute(&[marked("Paris", 100)]).await?;
    lines_until(&mut rig, &["Paris"]).await?;
    assert_eq!((warnings(&rig, keys), warnings(&rig, log)), (1, 1), "{}", rig.streamer.log_tail());

    // When it sees all of them, then a table that has none passes without a warning
    rig.mysqld.execute(&["GRANT SELECT, TRIGGER ON *.* TO 'binpulse'@'%'"]).await?;
    assert_eq!(rig.streamer.stop().await?, Some(0));
    rig.streamer.start_again().await?;
    rig.streamer.until_ready(SOON).await?;
    rig.mysqld.execute(&[AS_STATEMENTS.to_owned(), write(log, 10)]).await?;
    rig.mysqld.execute(&[marked("Lyon", 101)]).await?;
    lines_until(&mut rig, &["Lyon"]).await?;
    let tail = rig.streamer.log_tail();
    let since = tail.rsplit("listening for HTTP").next().unwrap_or_default();
    assert!(since.contains("streaming") && !since.contains("was skipped"), "{tail}");

    // And a statement on a view, or on a table with a trigger, halts and names it
    let through_view = marked("Nice", 102).replace("orders", "secret_view");
    rig.mysqld.execute(&[AS_STATEMENTS.to_owned(), through_view, write(keys, 10)]).await?;
    assert_eq!(rig.streamer.wait(SOON).await?, Some(75), "{}", rig.streamer.log_tail());
    let about = |table: &str| format!("of shop.{table}, which is a view or has a trigger");
    assert!(rig.streamer.log_tail().contains(&about("secret_view")), "{}", rig.streamer.log_tail());

    // Also where such statements are put aside
    let file = rig.streamer.folder().path().join("quarantine").display().to_string();
    let settings = &mut rig.streamer.command_mut().settings;
    settings.extend([("decode.on_error", "quarantine".to_owned()), ("sink.quarantine", file)]);
    rig.streamer.start_again().await?;
    rig.streamer.until_ready(SOON).await?;
    rig.mysqld.execute(&[marked("Metz", 103)]).await?;
    lines_until(&mut rig, &["Metz"]).await?;
    let log = rig.streamer.log_tail();
    assert!(log.contains(&about("secret_view")) && log.contains(&about(keys)), "{log}");
    Ok(())
}

/// Restarts the server, which finds its MEMORY tables empty.
async fn restart(mysqld: &mut Mysqld) -> Outcome {
    mysqld.stop().await?;
    mysqld.start_again().await?;
    Ok(())
}

async fn what_a_server_writes_by_itself_stops_nothing(bed: Bed) -> Outcome {
    let mut rig = start(&bed, &[]).await?;
    rig.mysqld
        .execute(&[
            "CREATE TABLE percona.cache (id INT) ENGINE = MEMORY",
            "INSERT INTO percona.cache VALUES (1)",
        ])
        .await?;
    restart(&mut rig.mysqld).await?;
    rig.mysqld.execute(&["SELECT * FROM percona.cache"]).await?;
    if bed.version() == "mariadb-11.8" {
        // Such a table's changes are logged as statements whatever the format.
        rig.mysqld
            .execute(&[
                "CREATE TABLE percona.trx (id INT PRIMARY KEY, x INT, rs BIGINT UNSIGNED GENERATED \
                 ALWAYS AS ROW START, re BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR \
                 SYSTEM_TIME (rs, re)) WITH SYSTEM VERSIONING ENGINE = InnoDB",
                "INSERT INTO percona.trx (id, x) VALUES (1, 1)",
            ])
            .await?;
    }
    rig.mysqld.execute(&["INSERT INTO shop.orders VALUES (1, 'Paris')"]).await?;
    lines_until(&mut rig, &["Paris"]).await?;
    if bed.version() == "mariadb-11.8" {
        let passed = rig.streamer.metric("binpulse_passed_statements_total", &[]).await?;
        assert!(passed.is_some_and(|count| count >= 1.0), "{passed:?}");
    }
    Ok(())
}

async fn a_statement_about_a_published_table_is_never_passed_over(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let setup = [
        "CREATE DATABASE st",
        "CREATE TABLE st.t (id INT PRIMARY KEY, x INT)",
        "CREATE FUNCTION st.f() RETURNS INT DETERMINISTIC RETURN 1",
        "INSERT INTO st.t VALUES (1, 1)",
    ];
    mysqld.execute(&setup).await?;
    for (statements, words) in [
        ("INSERT INTO t VALUES (30, 1) /* generated by server */", "of table st.t"),
        ("CREATE TABLE ctas SELECT * FROM t", "of table st.ctas"),
        ("CREATE TABLE made (a INT) REPLACE VALUES (1), (2)", "of table st.made"),
        ("CREATE TABLE made2 AS (VALUES (1), (2))", "of table st.made2"),
        // Where the text ends depends on the session: a backslash that stands for itself, or that is the
        // second byte of a character.
        (
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; CREATE TABLE c1 (a INT) COMMENT 'x\\' SELECT 1 b",
            "of table st.c1",
        ),
        (
            "SET NAMES gbk; CREATE TABLE c2 (a INT) COMMENT '\u{4e2d}\\' SELECT 1 b",
            "of table st.c2",
        ),
        ("INSERT INTO other.o VALUES (f())", "calls f"),
        ("UPDATE t SET x = 'SECRET' + 1", "of table st.t"),
    ] {
        // MySQL has no such tables of values.
        if statements.contains("VALUES (1), (2)") && bed.version().starts_with("mysql") {
            continue;
        }
        let (setting, statement) = statements.split_once("; ").unwrap_or(("DO 1", statements));
        let statement = [
            "CREATE DATABASE IF NOT EXISTS other",
            "CREATE TABLE IF NOT EXISTS other.o (id INT)",
            "SET SESSION sql_mode = ''",
            "USE st",
            AS_STATEMENTS,
            setting,
            "FLUSH BINARY LOGS",
            statement,
            "FLUSH BINARY LOGS",
        ];
        mysqld.execute(&statement).await?;
        let mut files: Vec<_> = std::fs::read_dir(mysqld.data())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let number = path.extension().map(|number| number.to_string_lossy().into_owned());
                let is_log = path.file_stem().is_some_and(|stem| stem == "binlog");
                is_log && number.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
            })
            .collect();
        files.sort();
        let file = files[files.len() - 2].display().to_string();
        let decode = |tables: &str| Command {
            binary: binary().to_owned(),
            command: "decode".to_owned(),
            settings: Vec::new(),
            arguments: vec!["--tables".to_owned(), tables.to_owned(), file.clone()],
            environment: Vec::new(),
        };
        let (code, said) = decode("st.*").run_to_end(SOON).await?;
        assert!(code == Some(65) && said.contains(words), "{statement:?}: {code:?} {said}");
        assert!(!said.contains("SECRET"), "{said}");
        let (code, said) = decode("shop.*").run_to_end(SOON).await?;
        let passes = words.starts_with("of table");
        assert_eq!(code, Some(if passes { 0 } else { 65 }), "{statement:?}: {said}");
    }
    Ok(())
}

async fn rows_of_accounts_are_not_published(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let settings = match bed.version() {
        "mysql-5.7" => vec![("source.schema_fallback", "information_schema".to_owned())],
        _ => Vec::new(),
    };
    let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
    let change = if bed.version().starts_with("maria") {
        "UPDATE mysql.global_priv SET Priv = '{\"authentication_string\":\"SECRET\"}' WHERE User = 'u'"
    } else {
        "UPDATE mysql.user SET authentication_string = 'SECRET' WHERE User = 'u'"
    };
    let row = "INSERT INTO shop.cities VALUES (1, 'Paris')";
    let table = "CREATE TABLE shop.cities (id INT PRIMARY KEY, city TEXT)";
    let granted = "GRANT SELECT ON shop.* TO 'binpulse'@'%'";
    let statements = ["CREATE DATABASE shop", granted, table, "CREATE USER u", change, row];
    rig.mysqld.execute(&statements).await?;
    let lines = lines_until(&mut rig, &["Paris"]).await?;
    assert!(lines.iter().all(|line| !line.contains("SECRET")), "{lines:?}");
    Ok(())
}

async fn passwords_within_statements_are_not_published(bed: Bed) -> Outcome {
    let mut rig = start(&bed, &[]).await?;
    let mut statements = vec![
        "USE shop".to_owned(),
        "CREATE USER u IDENTIFIED BY 'SECRET-1'".to_owned(),
        "CREATE PROCEDURE p1() ALTER USER u IDENTIFIED BY 'SECRET-2'".to_owned(),
        "CREATE EVENT e1 ON SCHEDULE EVERY 1 YEAR DO ALTER USER u IDENTIFIED BY 'SECRET-3'".to_owned(),
        "CREATE PROCEDURE p2() BEGIN PREPARE s FROM 'ALTER USER u IDENTIFIED BY ''SECRET-4'''; EXECUTE s; \
         END"
            .to_owned(),
        "CREATE PROCEDURE p3() BEGIN SET @s = CONCAT('ALTER US', 'ER u IDENT', 'IFIED BY ''SECRET-5'''); \
         PREPARE s FROM @s; EXECUTE s; END"
            .to_owned(),
        "/*! CREATE */ /* a */ PROCEDURE p4() BEGIN /*!50003 GRANT USAGE ON *.* TO u */; SET @a = 'SECRET-6'; END"
            .to_owned(),
        "CREATE TRIGGER g BEFORE INSERT ON orders FOR EACH ROW SET NEW.city = 'IDENTIFIED BY SECRET-7'"
            .to_owned(),
        "ALTER EVENT e1 DO SET PASSWORD FOR u = 'SECRET-8'".to_owned(),
        "CREATE PROCEDURE harmless() SELECT 'PUBLISHED-1'".to_owned(),
        "DROP TRIGGER g".to_owned(),
        "ALTER TABLE orders ADD note TEXT COMMENT 'the password: PUBLISHED-2'".to_owned(),
    ];
    if bed.version().starts_with("maria") {
        statements.push(
            "SET STATEMENT max_statement_time = 9 FOR CREATE PROCEDURE p5() EXECUTE IMMEDIATE \
             CONCAT('ALTER US', 'ER u IDENT', 'IFIED BY ''SECRET-9''')"
                .to_owned(),
        );
    }
    statements.push("CREATE TABLE last (id INT COMMENT 'PUBLISHED-3')".to_owned());
    rig.mysqld.execute(&statements).await?;
    let lines = lines_until(&mut rig, &["PUBLISHED-1", "PUBLISHED-2", "PUBLISHED-3"]).await?;
    let leaked: Vec<_> = lines.iter().filter(|line| line.contains("SECRET")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    Ok(())
}
