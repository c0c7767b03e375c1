//! Ledgers over their stores: what is applied once, whatever fails. BINPULSE_TEST_MYSQL and BINPULSE_TEST_REDIS name
//! servers (host:port); clients/test.py starts them.

use std::time::Duration;

use binpulse_client::ledger::{CREATE_TABLE, Change, Ledger, Next, Sql, Store, StoreError};
use binpulse_client::once::{Claim, Once, Outcome, Store as _};
use binpulse_client::proto::{ChangeBatch, Row, Source, Suppressed};
use binpulse_client::redis::RedisStore;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, TxOpts};

const NOW: Duration = Duration::ZERO;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn source() -> Source {
    Source { stream: "shop".into(), epoch: 1, ..Source::default() }
}

fn batch(first: u64, count: usize) -> ChangeBatch {
    ChangeBatch {
        source: Some(source()),
        lane: "shop.T#0".into(),
        sequence_first: first,
        rows: vec![Row::default(); count],
        ..ChangeBatch::default()
    }
}

/// A store whose effects are numbers that are applied.
trait Effects: Store<Error: std::error::Error + Send + Sync + 'static> {
    /// Applies the numbers, and saves the change; breaks down behind it where told to.
    async fn apply(&mut self, change: &Change, numbers: &[u64], breaks: bool) -> Result<(), Error>;
}

impl Effects for Conn {
    async fn apply(&mut self, change: &Change, numbers: &[u64], breaks: bool) -> Result<(), Error> {
        let mut transaction = self.start_transaction(TxOpts::default()).await?;
        for number in numbers {
            transaction.exec_drop("INSERT INTO copy (number) VALUES (?)", (number,)).await?;
        }
        transaction.save(change).await?;
        if breaks {
            transaction.rollback().await?;
            return Err("broken".into());
        }
        Ok(transaction.commit().await?)
    }
}

impl Effects for RedisStore<redis::aio::MultiplexedConnection> {
    async fn apply(&mut self, change: &Change, _: &[u64], breaks: bool) -> Result<(), Error> {
        if breaks {
            return Err("broken".into());
        }
        Ok(self.save(change).await?)
    }
}

/// Takes a message; the numbers that were applied, and whether it may be deleted.
async fn take(
    ledger: &mut Ledger,
    store: &mut impl Effects,
    (first, count): (u64, usize),
    breaks: bool,
) -> Result<(Vec<u64>, bool), Error> {
    let mut applied = Vec::new();
    loop {
        match ledger.next(store, &batch(first, count), NOW).await? {
            Next::Skip => return Ok((applied, true)),
            Next::Wait => return Ok((applied, false)),
            Next::Apply(change) => {
                let begin = first + change.skip() as u64;
                let numbers: Vec<u64> = (begin..begin + change.take() as u64).collect();
                store.apply(&change, &numbers, breaks).await?;
                applied.extend(numbers);
                ledger.saved(*change);
            }
        }
    }
}

/// What each store must do.
async fn history(store: &mut impl Effects) -> Result<(), Error> {
    let mut one = Ledger::default();
    assert_eq!(take(&mut one, store, (1, 3), false).await?, (vec![1, 2, 3], true));
    take(&mut one, store, (4, 1), true).await.expect_err("it is broken");
    let held = Suppressed {
        source: Some(source()),
        lane: "shop.T#0".into(),
        sequence_first: 4,
        count: 3,
        ..Suppressed::default()
    };
    let change = one.suppressed(store, &held, NOW).await?;
    store.save(&change).await?;
    one.saved(change);
    assert_eq!(take(&mut one, store, (7, 2), false).await?, (vec![7, 8], true));
    assert_eq!(take(&mut one, store, (10, 1), false).await?, (vec![], false));
    // A new process; rows that were suppressed come after all, packed with others.
    let mut two = Ledger::default();
    assert_eq!(take(&mut two, store, (1, 5), false).await?, (vec![4, 5], true));
    assert_eq!(take(&mut two, store, (3, 7), false).await?, (vec![6, 9], true));
    // The first process did not notice.
    take(&mut one, store, (9, 1), false).await.expect_err("another process has changed the lane");
    assert_eq!(take(&mut one, store, (9, 1), false).await?, (vec![], true));
    assert_eq!(take(&mut one, store, (10, 1), false).await?, (vec![10], true));
    // A gap that is given up.
    assert_eq!(take(&mut one, store, (13, 1), false).await?, (vec![], false));
    let (name, gap) = one.gaps(Duration::from_hours(1)).remove(0);
    assert_eq!((gap.first, gap.last), (11, 12));
    let change = one.give_up(store, name, gap, NOW).await?;
    store.save(&change).await?;
    one.saved(change);
    assert_eq!(take(&mut one, store, (13, 1), false).await?, (vec![13], true));
    Ok(())
}

fn server(name: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        println!("SKIPPED: no server, {name} is not set");
    }
    found
}

#[tokio::test]
async fn numbers_in_the_transaction_of_a_database() -> Result<(), Error> {
    let Some(address) = server("BINPULSE_TEST_MYSQL") else { return Ok(()) };
    let mut db = Conn::new(Opts::from_url(&format!("mysql://root@{address}"))?).await?;
    for sql in [
        "DROP DATABASE IF EXISTS rust",
        "CREATE DATABASE rust",
        "USE rust",
        &format!("{CREATE_TABLE} COLLATE utf8mb4_bin"),
        "CREATE TABLE copy (at INT AUTO_INCREMENT PRIMARY KEY, number BIGINT)",
    ] {
        db.query_drop(sql).await?;
    }
    history(&mut db).await?;
    let copied: Vec<u64> = db.query("SELECT number FROM copy ORDER BY at").await?;
    assert_eq!(copied, [1, 2, 3, 7, 8, 4, 5, 6, 9, 10, 13]);

    // What another program wrote there is no state.
    db.query_drop("UPDATE binpulse_lanes SET suppressed = 'x'").await?;
    let read = Ledger::default().next(&mut db, &batch(14, 1), NOW).await;
    assert!(matches!(read, Err(StoreError::State(_))), "{read:?}");
    assert_eq!(db.run("SELECT 5, 'a'", &[]).await?.row, Some((5, "a".to_owned())));
    Ok(db.disconnect().await?)
}

#[tokio::test]
async fn numbers_and_effects_in_redis() -> Result<(), Error> {
    let Some(address) = server("BINPULSE_TEST_REDIS") else { return Ok(()) };
    let client = redis::Client::open(format!("redis://{address}"))?;
    let connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection.clone()).await?;
    let mut store = RedisStore::new(connection.clone());
    history(&mut store).await?;

    let minute = Duration::from_mins(1);
    let once = Once::new(store, minute, minute);
    once.run("id", async { Err::<(), _>("broken") }).await.expect_err("it is broken");
    let run = async |id: &str| once.run(id, async { Ok::<_, Error>(()) }).await;
    assert_eq!(run("id").await?, Outcome::Ran(()));
    assert_eq!(run("id").await?, Outcome::Done);
    let Claim::Yours { fence } = once.store().claim("other", minute).await? else {
        panic!("nobody has it")
    };
    once.store().release("other", fence ^ 1).await?;
    assert_eq!(run("other").await?, Outcome::Taken);
    once.store().release("other", fence).await?;
    let late = once.run("other", async {
        redis::cmd("DEL")
            .arg("binpulse:once:other")
            .query_async::<()>(&mut connection.clone())
            .await
    });
    assert_eq!(late.await?, Outcome::Late(()));
    Ok(())
}
