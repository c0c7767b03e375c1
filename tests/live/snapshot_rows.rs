//! Snapshots of rows that are not like others: masked, marked, large, moved, without a primary key.

use binpulse_demo::{Mysqld, Options};
use mysql_async::prelude::Queryable;
use tokio::sync::watch;

use crate::bed::Bed;
use crate::snapshot::{ASK_EVERY, Failure, command, is_done, until};
use crate::snapshot_faults::{Scene, numbers, usual};
use crate::suite::{Outcome, tests};

tests! {
    masks_hold_for_rows_of_snapshots_as_for_those_of_the_stream on [Mysql97, Mariadb1011];
    rows_that_carry_the_mark_of_a_canary_are_in_no_snapshot on [Mysql97];
    documents_in_json_are_copied_as_they_are on [Mysql97, Mysql80, Mariadb118];
    a_row_that_is_too_large_for_its_topic_is_told_and_its_neighbours_are_whole on [Mysql97];
    a_partition_that_is_exchanged_in_the_middle_of_a_snapshot_is_read_again on [Mysql97, Mariadb118];
    rows_that_move_to_other_keys_are_not_lost_with_minimal_images on [Mysql97, Mariadb1011];
    a_table_without_a_key_is_copied_whole_under_a_lock on [Mysql97, Mysql80, Mariadb1011, Mariadb118];
    a_lock_waits_for_writers_and_holds_up_nobody_for_long on [Mysql97, Mariadb118];
    a_table_without_a_key_that_can_not_be_locked_is_refused_with_the_reason on [Mysql97];
    a_table_with_only_a_unique_key_is_copied_and_repaired_by_that_key on [Mysql97, Mariadb1011];
}

fn statements(of: &[&str]) -> Vec<String> {
    of.iter().map(|statement| (*statement).to_owned()).collect()
}

async fn masks_hold_for_rows_of_snapshots_as_for_those_of_the_stream(bed: Bed) -> Outcome {
    // Given a table with columns that are dropped and hashed, and rows of before the stream
    let tables = statements(&[
        "CREATE TABLE d.people (ssn VARCHAR(20), id INT PRIMARY KEY, email VARCHAR(90), city TEXT)",
        "INSERT INTO d.people VALUES ('SECRET-1', 1, 'SECRET@a', 'Paris'), \
         ('SECRET-2', 2, 'SECRET@b', 'Lyon')",
    ]);
    let settings = [
        ("filter.drop_columns", "d.people.ssn".to_owned()),
        ("filter.hash_columns", "d.people.email".to_owned()),
        ("filter.hash_key", "a key of some length".to_owned()),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &settings, &tables).await?;

    // When they are snapshotted, and the same values come on the stream
    scene.snapshot(&["--tables", "d.people"]).await?;
    let insert = "INSERT INTO d.people SELECT ssn, id + 10, email, city FROM d.people";
    scene.execute(&[insert]).await?;

    // Then both have the same hashes, and neither has a value of the dropped column
    let (copy, report) = scene.copy(&bed, 2, 1).await?;
    let mut session = copy.connect().await?;
    let columns: Vec<String> = session
        .query("SHOW COLUMNS FROM d.people")
        .await?
        .into_iter()
        .map(|row: mysql_async::Row| row.get(0).unwrap_or_default())
        .collect();
    assert_eq!(columns, ["id", "email", "city"], "{report}");
    let rows: Vec<(i32, String, String)> =
        session.query("SELECT id, email, city FROM d.people ORDER BY id").await?;
    let [one, two, three, four] = &rows[..] else { panic!("{rows:?}") };
    assert!(one.1 == three.1 && two.1 == four.1 && one.1 != two.1, "{rows:?}");
    assert!(rows.iter().all(|row| !row.1.contains("SECRET")), "{rows:?}");
    Ok(())
}

async fn rows_that_carry_the_mark_of_a_canary_are_in_no_snapshot(bed: Bed) -> Outcome {
    // Given a table in which canaries are left behind
    let tables = statements(&[
        "CREATE TABLE d.orders (id INT AUTO_INCREMENT PRIMARY KEY, ref VARCHAR(190), total INT)",
        "INSERT INTO d.orders (ref, total) VALUES ('a', 1), ('b', 2)",
    ]);
    let settings = [
        ("canary.enabled", "true".to_owned()),
        ("canary.interval", "500ms".to_owned()),
        ("canary.paths", "orders=d.orders.ref".to_owned()),
        (
            "canary.insert",
            "orders=INSERT INTO d.orders (ref, total) VALUES ('{mark}', 7)".to_owned(),
        ),
        ("heartbeat.seen_deadline", "1s".to_owned()),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &settings, &tables).await?;
    scene.execute(&["GRANT INSERT ON d.orders TO 'binpulse'@'%'"]).await?;
    let mut source = scene.rig.mysqld.connect().await?;
    let give_up = tokio::time::Instant::now() + crate::bed::SOON;
    loop {
        let marked: Option<u32> =
            source.query_first("SELECT COUNT(*) FROM d.orders WHERE total = 7").await?;
        if marked >= Some(2) {
            break;
        }
        assert!(tokio::time::Instant::now() < give_up, "{}", scene.rig.streamer.log_tail());
        tokio::time::sleep(crate::snapshot::ASK_EVERY).await;
    }

    // When it is snapshotted
    let done = scene.snapshot(&["--tables", "d.orders"]).await?;

    // Then only the rows of the business are there
    assert_eq!(done["rows"], 2, "{done}");
    let (copy, report) = scene.copy(&bed, 0, 1).await?;
    let rows: Vec<(i32, String, i32)> =
        copy.connect().await?.query("SELECT id, ref, total FROM d.orders ORDER BY id").await?;
    assert_eq!(rows, [(1, "a".to_owned(), 1), (2, "b".to_owned(), 2)], "{report}");
    Ok(())
}

async fn documents_in_json_are_copied_as_they_are(bed: Bed) -> Outcome {
    let document = "JSON_OBJECT('n', n, 'half', n / 2e0, 'text', CONCAT('é \"', n), 'list', \
                    JSON_ARRAY(NULL, TRUE, n * 1.5e0, JSON_OBJECT()), 'long', REPEAT('x', n % 300))";
    let tables = [
        "CREATE TABLE d.docs (id INT PRIMARY KEY, doc JSON, other JSON)".to_owned(),
        format!(
            "INSERT INTO d.docs SELECT n, {document}, IF(n % 3, NULL, CAST(n AS CHAR)) FROM ({}) AS \
             numbers",
            numbers(1)
        ),
        "INSERT INTO d.docs VALUES (-1, '[]', 'null'), (-2, '18446744073709551615', '-0.0')"
            .to_owned(),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &[], &tables).await?;
    scene.snapshot(&["--tables", "d.docs"]).await?;
    scene
        .execute(&["UPDATE d.docs SET doc = JSON_SET(doc, '$.n', 'changed') WHERE id < 20"])
        .await?;
    scene.is_copied(&bed, 21, 1).await?;
    Ok(())
}

async fn a_row_that_is_too_large_for_its_topic_is_told_and_its_neighbours_are_whole(
    bed: Bed,
) -> Outcome {
    // Given a row of more than a topic takes, which does not compress
    let tables = [
        "CREATE TABLE d.big (id INT PRIMARY KEY, v VARCHAR(20), blobs LONGBLOB)".to_owned(),
        "INSERT INTO d.big VALUES (1, 'one', 'x'), (2, 'two', NULL), (3, 'three', 'z')".to_owned(),
        "SET SESSION group_concat_max_len = 1000000".to_owned(),
        format!(
            "UPDATE d.big SET blobs = (SELECT GROUP_CONCAT(RANDOM_BYTES(1000) SEPARATOR '') FROM ({}) \
             AS numbers WHERE n < 700) WHERE id = 2",
            numbers(1)
        ),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &[], &tables).await?;

    // When it is snapshotted
    let done = scene.snapshot(&["--tables", "d.big"]).await?;

    // Then its largest value is marked as left out, as the stream does it, and the rest is there
    assert_eq!(done["rows"], 3, "{done}");
    let (copy, report) = scene.copy(&bed, 0, 1).await?;
    assert_eq!(report["omitted"], 1, "{report}");
    let rows: Vec<(i32, String, Option<String>)> =
        copy.connect().await?.query("SELECT id, v, blobs FROM d.big ORDER BY id").await?;
    let expected = [(1, "one", Some("x")), (2, "two", None), (3, "three", Some("z"))];
    assert_eq!(rows, expected.map(|(id, v, b)| (id, v.to_owned(), b.map(str::to_owned))));
    Ok(())
}

async fn a_partition_that_is_exchanged_in_the_middle_of_a_snapshot_is_read_again(
    bed: Bed,
) -> Outcome {
    // Given a table that was read to its middle; only it is published
    let only = [("filter.tables", "d.t".to_owned())];
    let [create, insert] = &usual()[..] else { panic!("two statements") };
    let partitions = " PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1500), \
                      PARTITION p1 VALUES LESS THAN MAXVALUE)";
    let tables = [
        create.replace("d.t", "d.x"),
        format!("{create}{partitions}"),
        insert.clone(),
        "INSERT INTO d.x SELECT id, other, CONCAT('exchanged ', id), 9 FROM d.t WHERE id < 1500 AND \
         id % 2 = 0"
            .to_owned(),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &only, &tables).await?;
    scene.until_the_middle().await?;

    // When the partition that was read is exchanged for other rows, which no row event tells
    scene
        .execute(&["ALTER TABLE d.t EXCHANGE PARTITION p0 WITH TABLE d.x", "DROP TABLE d.x"])
        .await?;
    scene.resume_to_the_end().await?;

    // Then the copy has those that came, and not those that went
    let report = scene.is_copied(&bed, 0, 1).await?;
    assert!(report["gone"].as_u64() > Some(0), "{report}");
    Ok(())
}

async fn rows_that_move_to_other_keys_are_not_lost_with_minimal_images(bed: Bed) -> Outcome {
    // Given a log that tells only the key of a row and what changed, and a snapshot in its middle
    let options =
        Options { extra: vec!["--binlog-row-image=MINIMAL".to_owned()], ..Options::default() };
    let mut scene = Scene::set(&bed, options, &[], &usual()).await?;
    scene.until_the_middle().await?;

    // When rows that were not read yet move to where it was read, and others the other way
    scene
        .execute(&[
            "UPDATE d.t SET id = -1 - id WHERE id > 2990",
            "UPDATE d.t SET id = id + 100000 WHERE id BETWEEN 0 AND 9",
            "DELETE FROM d.t WHERE id = 20",
        ])
        .await?;
    scene.resume_to_the_end().await?;

    // Then none is missing, and none is there twice
    scene.is_copied(&bed, 20, 1).await?;
    Ok(())
}

/// `d.k`, of which no row can be told from some others.
fn without_key() -> Vec<String> {
    vec![
        "CREATE TABLE d.k (a INT, v VARCHAR(20))".to_owned(),
        format!(
            "INSERT INTO d.k SELECT n DIV 4, CONCAT('v', n DIV 4) FROM ({}) AS numbers",
            numbers(1)
        ),
    ]
}

/// The rows of `d.k`, in an order.
async fn sorted(server: &Mysqld) -> Result<Vec<(i32, String)>, Failure> {
    Ok(server.connect().await?.query("SELECT a, v FROM d.k ORDER BY a, v").await?)
}

async fn a_table_without_a_key_is_copied_whole_under_a_lock(bed: Bed) -> Outcome {
    // Given a table of rows that are there several times over, and others that write to it all the time
    let mut scene = Scene::set(&bed, Options::default(), &[], &without_key()).await?;
    scene.execute(&["GRANT LOCK TABLES ON d.* TO 'binpulse'@'%'"]).await?;
    let (over, is_over) = watch::channel(false);
    let mut writer = scene.rig.mysqld.connect().await?;
    let write = async {
        let mut rows = 0_u64;
        while !*is_over.borrow() {
            writer.query_drop(format!("INSERT INTO d.k VALUES ({rows}, 'new')")).await?;
            writer.query_drop("UPDATE d.k SET a = -1 WHERE a > 3 LIMIT 1").await?;
            writer.query_drop("DELETE FROM d.k WHERE a >= 0 LIMIT 1").await?;
            rows += 3;
        }
        Ok::<_, Failure>(rows)
    };

    // When it is read, with and without a pattern
    let read = async {
        scene.snapshot(&["--tables", "d.k", "--lock-keyless"]).await?;
        scene.snapshot(&["--tables", "d.*", "--lock-keyless"]).await?;
        over.send_replace(true);
        Ok::<_, Failure>(())
    };
    let (written, read) = tokio::join!(write, read);
    read?;

    // Then a copy has each row as often as the source
    let (copy, report) = scene.copy(&bed, written?, 2).await?;
    assert_eq!(sorted(&copy).await?, sorted(&scene.rig.mysqld).await?, "{report}");
    Ok(())
}

async fn a_lock_waits_for_writers_and_holds_up_nobody_for_long(bed: Bed) -> Outcome {
    // Given a transaction that has written, and does not end
    let lock = [("snapshot.keyless", "lock".to_owned())];
    let mut scene = Scene::set(&bed, Options::default(), &lock, &without_key()).await?;
    scene.execute(&["GRANT LOCK TABLES ON d.* TO 'binpulse'@'%'"]).await?;
    let mut writer = scene.rig.mysqld.connect().await?;
    writer.query_drop("BEGIN").await?;
    writer.query_drop("INSERT INTO d.k VALUES (5000, 'held')").await?;

    // When the table is read
    scene.begin(&["--tables", "d.k"]).await?;
    let discarded = ("binpulse_snapshot_discarded_chunks_total", ["reason=\"too_slow\""]);
    let give_up = tokio::time::Instant::now() + crate::bed::SOON;
    while scene.rig.streamer.metric(discarded.0, &discarded.1).await? < Some(1.0) {
        assert!(tokio::time::Instant::now() < give_up, "{}", scene.rig.streamer.log_tail());
        tokio::time::sleep(ASK_EVERY).await;
    }

    // Then others can still write, and with the end of the transaction it is read
    scene.execute(&["INSERT INTO d.k VALUES (5001, 'beside')"]).await?;
    writer.query_drop("COMMIT").await?;
    until(&scene.rig.streamer, is_done).await?;
    let locked = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'binpulse' AND \
                  info LIKE 'LOCK TABLES%'";
    let locks: Option<u64> = writer.query_first(locked).await?;
    assert_eq!(locks, Some(0));
    scene.execute(&["INSERT INTO d.k VALUES (5002, 'behind')"]).await?;
    let (copy, report) = scene.copy(&bed, 3, 1).await?;
    assert_eq!(sorted(&copy).await?, sorted(&scene.rig.mysqld).await?, "{report}");
    Ok(())
}

async fn a_table_without_a_key_that_can_not_be_locked_is_refused_with_the_reason(
    bed: Bed,
) -> Outcome {
    let few = [("snapshot.keyless_rows", "500".to_owned())];
    let mut tables = without_key();
    tables.push("CREATE TABLE d.small (a INT)".to_owned());
    tables.push("ANALYZE TABLE d.k".to_owned());
    let mut scene = Scene::set(&bed, Options::default(), &few, &tables).await?;
    for (arguments, words) in [
        (&["--tables", "d.small"][..], "it has no key"),
        (&["--tables", "d.small", "--lock-keyless"], "grant LOCK TABLES on `d`.*"),
        (&["--tables", "d.small", "--lock-keyless", "--where", "a = 1"], "leave out --where"),
        (&["--tables", "d.k", "--lock-keyless"], "snapshot.keyless_rows"),
    ] {
        let all: Vec<_> = ["start"].iter().chain(arguments).copied().collect();
        let (code, output) = command(&mut scene.rig.streamer, &all).await?;
        assert_eq!(code, Some(1), "{arguments:?}: {output}");
        assert!(output.contains(words), "{arguments:?}: {output}");
    }
    // The others of a pattern are read.
    scene.execute(&["CREATE TABLE d.sound (id INT PRIMARY KEY)"]).await?;
    let done = scene.snapshot(&["--tables", "d.*"]).await?;
    let states: Vec<_> = done["tables"].as_array().into_iter().flatten().collect();
    assert_eq!(states.iter().filter(|table| table["state"] == "done").count(), 1, "{done}");
    Ok(())
}

async fn a_table_with_only_a_unique_key_is_copied_and_repaired_by_that_key(bed: Bed) -> Outcome {
    // Given a table without a primary key, and its copy
    let tables = [
        "CREATE TABLE d.u (v VARCHAR(20), b VARCHAR(20) NOT NULL, a INT NOT NULL, UNIQUE KEY (b, a))"
            .to_owned(),
        format!("INSERT INTO d.u SELECT 'x', n DIV 50, n FROM ({}) AS numbers", numbers(1)),
    ];
    let mut scene = Scene::set(&bed, Options::default(), &[], &tables).await?;
    scene.snapshot(&["--tables", "d.u"]).await?;

    // When rows change and go without a word in the log, and it is copied once more
    scene
        .execute(&[
            "UPDATE d.u SET v = 'y' WHERE a = 5",
            "SET sql_log_bin = 0",
            "UPDATE d.u SET v = 'z' WHERE a = 6",
            "DELETE FROM d.u WHERE a % 10 = 3",
        ])
        .await?;
    scene.snapshot(&["--tables", "d.u"]).await?;

    // Then they are replaced and deleted by that key
    let report = scene.is_copied(&bed, 1, 2).await?;
    assert_eq!(report["gone"], 100, "{report}");
    Ok(())
}
