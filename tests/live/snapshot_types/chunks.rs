//! What becomes of a chunk: sizes, conditions, tables that change or can't be read, and visibility.

use std::time::Duration;

use binpulse::change::{Cell, GtidSet, Position};
use binpulse::snapshot::{Armed, Range, Read, ReadError, Reader, Unreadable, log_end};

use super::{LONG, chunk, layout, nothing_processed, read_all, reader};
use crate::bed::Bed;
use crate::source::config;
use crate::source::server::{Server, gtid_options};
use crate::suite::{Outcome, tests};

tests! {
    tables_that_can_not_be_read_are_refused_with_the_reason
        on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    a_condition_takes_its_rows_and_never_more on [Mysql97, Mysql57, Mariadb1011];
    a_chunk_ends_early_where_its_rows_are_large on [Mysql97, Mariadb1011];
    a_table_that_was_altered_is_not_read on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    a_locked_table_and_a_slow_condition_end_the_chunk_in_time
        on [Mysql97, Mysql80, Mysql57, Mariadb1011, Mariadb118];
    what_was_processed_is_waited_for on [Mysql97, Mysql80, Mysql57, Mysql56, Mariadb1011, Mariadb118];
    only_keys_of_the_table_go_into_statements on [Mysql97];
}

async fn number_table(server: &Server) {
    server
        .run(&[
            "CREATE DATABASE d CHARACTER SET utf8mb4",
            "CREATE TABLE d.t (a INT PRIMARY KEY, b INT, c LONGTEXT)",
            "INSERT INTO d.t (a, b) VALUES (0, 0), (1, 1)",
            "INSERT INTO d.t (a, b) SELECT a + 2, a + 2 FROM d.t",
            "INSERT INTO d.t (a, b) SELECT a + 4, a + 4 FROM d.t",
            "INSERT INTO d.t (a, b) SELECT a + 8, a + 8 FROM d.t",
            "INSERT INTO d.t (a, b) SELECT a + 16, a + 16 FROM d.t",
        ])
        .await;
}

async fn tables_that_can_not_be_read_are_refused_with_the_reason(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    server
        .run(&[
            "CREATE DATABASE d CHARACTER SET utf8mb4",
            "USE d",
            "CREATE TABLE keyless (a INT)",
            "CREATE TABLE nullable (a INT, UNIQUE u (a))",
            "CREATE TABLE part (a VARCHAR(200), b INT, PRIMARY KEY (a(10)))",
            "CREATE TABLE sets (a SET('x','y') PRIMARY KEY)",
            "CREATE TABLE old (a INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE VIEW v AS SELECT a FROM sets",
            "CREATE TABLE sound (a INT PRIMARY KEY)",
        ])
        .await;
    let mut reader = reader(&server).await;
    for (table, words) in [
        ("keyless", "it has no key that its rows can be read by: add a PRIMARY KEY"),
        ("nullable", "(u allows NULL)"),
        ("part", "(PRIMARY is of the first characters of a column only)"),
        ("sets", "(PRIMARY begins with a SET"),
        ("old", "its engine MyISAM has no transactions"),
        ("v", "it is a view"),
        ("nowhere", "there is no such table"),
        ("SOUND", "there is no such table"),
    ] {
        let found = reader.layout("d", table).await?.expect_err(table).to_string();
        assert!(found.contains(words), "{table}: {found}");
    }
    reader.layout("d", "sound").await??;
    let tables = reader.tables().await?;
    let ours: Vec<_> =
        tables.iter().map(|(database, table)| format!("{database}.{table}")).collect();
    assert_eq!(ours, ["d.keyless", "d.nullable", "d.old", "d.part", "d.sets", "d.sound"]);
    // An account that may replicate, and read nothing; then that may read one column.
    let mut blind = Reader::connect(&config(&server, "rep"), 0).await?;
    let found = blind.layout("d", "part").await?.expect_err("not shown");
    // Servers before 8.0 show that it is there.
    let is_old = matches!(bed.version(), "mysql-5.6" | "mysql-5.7");
    assert_eq!(found, if is_old { Unreadable::Denied } else { Unreadable::Missing });
    server.run(&["SET sql_log_bin = 0", "GRANT SELECT (b) ON d.part TO 'rep'@'%'"]).await;
    let mut blind = Reader::connect(&config(&server, "rep"), 0).await?;
    assert_eq!(blind.layout("d", "part").await?.expect_err("in part"), Unreadable::Denied);
    Ok(())
}

async fn a_condition_takes_its_rows_and_never_more(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    number_table(&server).await;
    let mut reader = reader(&server).await;
    let layout = layout(&mut reader, "t").await;
    for bad in ["nothing = 1", "b = ", "1) OR (1", "b = 1 /*", "1 ORDER BY a", "b = 1; x"] {
        let found = reader.check_condition(&layout, bad).await?;
        assert!(found.is_err(), "{bad}");
    }
    for (sound, expected) in [
        ("b % 10 = 3", vec![3, 13, 23]),
        ("b = 5 OR b = 31", vec![5, 31]),
        ("b > 100", vec![]),
        ("a <> 2 AND b < 4 -- few", vec![0, 1, 3]),
    ] {
        reader.check_condition(&layout, sound).await??;
        for rows_max in [1, 2, 5, 32, 100] {
            let mut found = Vec::new();
            let chunks = read_all(&mut reader, &layout, Some(sound), rows_max, |rows| {
                for row in 0..rows.len() {
                    let Cell::Int(number) = rows.image(row).cell(0) else { panic!("a number") };
                    found.push(number);
                }
            })
            .await;
            assert_eq!(found, expected, "{sound} in chunks of {rows_max}");
            // Chunks are so many rows of the table, whether they meet the condition or not.
            assert_eq!(chunks, 32 / rows_max + 1, "{sound} in chunks of {rows_max}");
        }
    }
    Ok(())
}

async fn a_chunk_ends_early_where_its_rows_are_large(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    number_table(&server).await;
    server
        .run(&[
            "UPDATE d.t SET c = REPEAT('x', 100000) WHERE a >= 8",
            "UPDATE d.t SET c = REPEAT('y', 30000000) WHERE a = 30",
        ])
        .await;
    let mut reader = reader(&server).await;
    let layout = layout(&mut reader, "t").await;
    let (mut after, mut sizes, mut numbers) = (None::<String>, Vec::new(), Vec::new());
    loop {
        let range = Range {
            after: after.as_deref(),
            rows_max: 1_000,
            bytes_max: 50_000,
            ..Range::default()
        };
        let rows = chunk(&mut reader, &layout, range).await;
        sizes.push(rows.len());
        for row in 0..rows.len() {
            let image = rows.image(row);
            let Cell::Int(number) = image.cell(0) else { panic!("a number") };
            numbers.push(number);
            let length = match (number, image.cell(2)) {
                (_, Cell::Text(text)) => text.len(),
                (_, _) => 0,
            };
            let expected = match number {
                30 => 30_000_000,
                8.. => 100_000,
                _ => 0,
            };
            assert_eq!(length, expected, "{number}");
        }
        if rows.is_end() {
            break;
        }
        after = rows.last_key();
    }
    assert_eq!(numbers, (0..32).collect::<Vec<_>>());
    // So does one of chosen keys: those behind its last row were not looked at.
    let keys = ["31", "30", "12", "11", "10", "9", "77"].map(str::to_owned);
    let range = Range { keys: &keys, rows_max: 8, bytes_max: 50_000, ..Range::default() };
    let rows = chunk(&mut reader, &layout, range).await;
    assert_eq!((rows.len(), rows.is_end(), rows.last_key()), (2, false, Some("10".to_owned())));
    let rest = Range { after: Some("10"), bytes_max: 50_000_000, ..range };
    let rows = chunk(&mut reader, &layout, rest).await;
    assert_eq!((rows.len(), rows.is_end(), rows.last_key()), (4, true, Some("31".to_owned())));
    // Twice the bytes of a chunk fit into four times its size.
    assert!(sizes.len() > 5 && sizes[0] == 10, "{sizes:?}");
    Ok(())
}

async fn a_table_that_was_altered_is_not_read(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    server.run(&["CREATE DATABASE d CHARACTER SET utf8mb4"]).await;
    let mut reader = reader(&server).await;
    for alter in [
        "ALTER TABLE d.t MODIFY b BIGINT",
        "ALTER TABLE d.t MODIFY b INT NOT NULL",
        "ALTER TABLE d.t MODIFY c VARCHAR(11) CHARACTER SET latin1",
        "ALTER TABLE d.t MODIFY c VARCHAR(10) CHARACTER SET gbk",
        "ALTER TABLE d.t CHANGE b renamed INT",
        "ALTER TABLE d.t DROP COLUMN c",
        "ALTER TABLE d.t DROP PRIMARY KEY",
        "ALTER TABLE d.t DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
        "DROP TABLE d.t",
        "RENAME TABLE d.t TO d.u",
        "DROP DATABASE d",
    ] {
        server
            .run(&[
                "CREATE DATABASE IF NOT EXISTS d CHARACTER SET utf8mb4",
                "DROP TABLE IF EXISTS d.t",
                "CREATE TABLE d.t (a INT PRIMARY KEY, b INT, c VARCHAR(10) CHARACTER SET latin1)",
                "INSERT INTO d.t VALUES (1, 1, 'a')",
            ])
            .await;
        let layout = layout(&mut reader, "t").await;
        let range = Range { rows_max: 10, bytes_max: 1 << 20, ..Range::default() };
        assert_eq!(chunk(&mut reader, &layout, range).await.len(), 1);
        server.run(&[alter]).await;
        let armed = nothing_processed(&reader);
        let read = reader.read(&layout, &range, &armed).await?;
        assert!(matches!(read, Read::SchemaChanged), "{alter}: {read:?}");
        // No transaction is left open: nothing waits for it.
        server.run(&["DROP DATABASE IF EXISTS d"]).await;
    }
    Ok(())
}

async fn a_locked_table_and_a_slow_condition_end_the_chunk_in_time(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    number_table(&server).await;
    let mut reader = reader(&server).await;
    let layout = layout(&mut reader, "t").await;
    let armed = nothing_processed(&reader);
    let range = Range { rows_max: 10, bytes_max: 1 << 20, ..Range::default() };
    let mut session = server.session().await;
    session.query("LOCK TABLES d.t WRITE").await?;
    let read = reader.read(&layout, &range, &armed).await?;
    assert!(matches!(read, Read::TooSlow), "{read:?}");
    session.query("UNLOCK TABLES").await?;
    // Far more work than a second's.
    let slow = "(SELECT COUNT(*) FROM d.t x, d.t y, d.t z, d.t w, d.t v, d.t u WHERE x.b + y.b + z.b + \
         w.b + v.b + u.b = t.a) > 0";
    let read = reader.read(&layout, &Range { condition: Some(slow), ..range }, &armed).await?;
    assert!(matches!(read, Read::TooSlow), "{read:?}");
    let rows = chunk(&mut reader, &layout, range).await;
    assert_eq!(rows.len(), 10);
    session.close().await;
    Ok(())
}

async fn what_was_processed_is_waited_for(bed: Bed) -> Outcome {
    let options: Vec<_> = match bed.version() {
        "mysql-5.6" => [gtid_options(&bed), &["--log-slave-updates"]].concat(),
        _ => gtid_options(&bed).to_vec(),
    };
    let server = Server::start(&bed, &options).await;
    number_table(&server).await;
    let mut reader = reader(&server).await;
    let layout = layout(&mut reader, "t").await;
    let mut session = server.session().await;
    let end = log_end(&mut session).await?;
    let range = Range { rows_max: 100, bytes_max: 1 << 20, ..Range::default() };
    if server.is_maria() {
        let armed = |position| Armed { position, ..nothing_processed(&reader) };
        let now = armed(end.clone());
        let later = [
            armed(Position::new(std::sync::Arc::clone(&end.file), end.offset + 1)),
            armed(Position::new("binlog.1000000", 4)),
        ];
        let elsewhere = Armed { server: "mariadb-77".to_owned(), ..now.clone() };
        assert!(reader.wait_until_visible(&now, LONG).await?);
        assert!(matches!(reader.read(&layout, &range, &now).await?, Read::Rows(_)));
        for armed in &later {
            assert!(matches!(reader.read(&layout, &range, armed).await?, Read::NotVisible));
        }
        session.query("INSERT INTO d.t (a) VALUES (100)").await?;
        session.query("FLUSH LOGS").await?;
        assert!(matches!(reader.read(&layout, &range, &later[0]).await?, Read::Rows(_)));
        let other = reader.read(&layout, &range, &elsewhere).await;
        assert!(matches!(other, Err(ReadError::OtherServer { .. })), "{other:?}");
        return Ok(());
    }
    let executed = session.query_first("SELECT @@GLOBAL.gtid_executed").await?;
    let gtids: GtidSet = executed.and_then(|row| row.text(0)).expect("a set").parse()?;
    let now = Armed { gtids: gtids.clone(), ..nothing_processed(&reader) };
    assert!(reader.wait_until_visible(&now, LONG).await?);
    let next = format!("{}:1-1000", reader.server());
    let later = Armed { gtids: next.parse()?, ..now };
    assert!(!reader.wait_until_visible(&later, Duration::ZERO).await?);
    let server_name = reader.server();
    let one_more = format!("{server_name}:{}", gtids.count() + 1).parse()?;
    let later = Armed { gtids: one_more, ..later };
    let (visible, written) = tokio::join!(
        reader.wait_until_visible(&later, LONG),
        session.query("INSERT INTO d.t (a) VALUES (100)"),
    );
    written?;
    assert!(visible?);
    let Read::Rows(rows) = reader.read(&layout, &range, &later).await? else { panic!("rows") };
    assert_eq!(rows.len(), 33);
    session.close().await;
    Ok(())
}

async fn only_keys_of_the_table_go_into_statements(bed: Bed) -> Outcome {
    let server = Server::start(&bed, &[]).await;
    number_table(&server).await;
    server
        .run(&[
            "CREATE TABLE d.s (a VARCHAR(20) PRIMARY KEY, b ENUM('x','y'))",
            "INSERT INTO d.s VALUES ('Grün', 'x'), ('blau', 'y')",
        ])
        .await;
    let mut reader = reader(&server).await;
    let numbered = layout(&mut reader, "t").await;
    let named = layout(&mut reader, "s").await;
    for bad in ["1 OR 1", "1,2", "", "0x31", "-", "1; DROP TABLE d.t", "(SELECT 1)", "--1", "a"] {
        assert!(numbered.check_key(bad).is_err(), "{bad}");
        let keys = [bad.to_owned()];
        for range in [
            Range { after: Some(bad), ..Range::default() },
            Range { upto: Some(bad), ..Range::default() },
            Range { keys: &keys, ..Range::default() },
        ] {
            let armed = nothing_processed(&reader);
            let refused = reader.read(&numbered, &range, &armed).await;
            assert!(matches!(refused, Err(ReadError::Key { .. })), "{bad}: {refused:?}");
        }
        assert!(numbered.key_value(bad).is_err(), "{bad}");
        assert!(named.check_key(bad).is_err(), "{bad}");
    }
    // What operators type.
    let keys = [named.key_value("grün")?, named.key_value("x' OR 1 -- ")?];
    let range = Range { keys: &keys, rows_max: 10, bytes_max: 1 << 20, ..Range::default() };
    let rows = chunk(&mut reader, &named, range).await;
    assert_eq!((rows.len(), rows.image(0).cell(0)), (1, Cell::Text("Grün".as_bytes())));
    let keys = [numbered.key_value("17")?, numbered.key_value("3")?];
    let range = Range { keys: &keys, ..range };
    let rows = chunk(&mut reader, &numbered, range).await;
    assert_eq!(
        (rows.len(), rows.key_literals(0), rows.last_key()),
        (2, "3".into(), Some("17".into()))
    );
    Ok(())
}
