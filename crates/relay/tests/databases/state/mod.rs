//! The three stores against one model, and what only a real server shows.

mod model;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use binpulse_demo::{Mysqld, Options};
use binpulse_relay::lane::LaneKey;
use binpulse_relay::state::{
    Acquired, Lease, PARKED_BYTES_MAX, Parked, ParkedFilter, Reason, Save, StateError, Store,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::servers::{self, Private};
use model::{Step, World};

/// Long enough never to end in a test.
const LONG: Duration = Duration::from_hours(1);
/// Histories for each store.
const HISTORIES: u32 = 24;

/// Where a store can be opened, and what it needs to be alive.
pub(crate) struct Place {
    url: String,
    /// One process alone: its leases end with it.
    is_file: bool,
    mysqld: Option<Mysqld>,
    redis: Option<Private>,
    _folder: Option<tempfile::TempDir>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runs")
}

fn in_file() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file:{}", folder.path().join("state").display());
    Place { url, is_file: true, mysqld: None, redis: None, _folder: Some(folder) }
}

async fn in_mysql(name: &str) -> Option<Place> {
    let server = servers::mysqls(&[name]).pop()?;
    let options = Options { durable: true, ..Options::default() };
    let mysqld = Mysqld::start(&server, options).await.expect("a server");
    mysqld.execute(&["CREATE DATABASE relay"]).await.expect("a database");
    let url = format!("mysql://root@127.0.0.1:{}/relay", mysqld.port());
    Some(Place { url, is_file: false, mysqld: Some(mysqld), redis: None, _folder: None })
}

fn in_redis(options: &[&str]) -> Option<Place> {
    let redis = servers::redis(options)?;
    let url = format!("redis://127.0.0.1:{}/", redis.port);
    Some(Place { url, is_file: false, mysqld: None, redis: Some(redis), _folder: None })
}

/// A name that no other test of this process has.
fn route() -> String {
    static ROUTES: AtomicU32 = AtomicU32::new(0);
    format!("route-{}", ROUTES.fetch_add(1, Ordering::Relaxed))
}

fn lane(number: u32) -> LaneKey {
    // Percent-encoded, as lanes are; quotes and spaces show what a store does not escape.
    LaneKey { stream: "shop".into(), epoch: 17, lane: format!("shop.or'd ers#{number}").into() }
}

fn parked(id: &str, number: u64, body: Vec<u8>) -> Parked {
    Parked {
        id: id.to_owned(),
        lane: Some(lane(0)),
        first: number,
        last: number + 1,
        keys: vec!["ключ".to_owned(), "鍵".to_owned()],
        body,
        content_type: "application/json".to_owned(),
        reason: Reason::Refused,
        attempts: 15,
        answer: "503 no".to_owned(),
        parked_at_us: 1_790_000_000_000_000,
    }
}

/// Drives a store and the model through the same histories.
fn histories(runtime: &tokio::runtime::Runtime, place: &Place) {
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let steps = proptest::collection::vec(any::<Step>(), 1..40);
    let run = TestRunner::new(config).run(&steps, |steps| {
        // A file is of one route.
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("file:{}", folder.path().join("state").display());
        let url = if place.is_file { url } else { place.url.clone() };
        runtime.block_on(async {
            let mut world = World::open(&url, &route(), place.is_file).await;
            for step in steps {
                world.take(&step).await?;
                world.compare().await?;
            }
            Ok(())
        })
    });
    run.unwrap_or_else(|error| panic!("{}: {error}", place.url));
}

#[test]
fn the_file_does_what_the_model_does() {
    histories(&runtime(), &in_file());
}

#[test]
fn mysql_does_what_the_model_does() {
    let runtime = runtime();
    for name in ["mysql-9.7", "mysql-8.0", "mariadb-10.11", "mariadb-11.8"] {
        if let Some(place) = runtime.block_on(in_mysql(name)) {
            histories(&runtime, &place);
            drop(runtime.enter());
        }
    }
}

#[test]
fn redis_does_what_the_model_does() {
    if let Some(place) = in_redis(&[]) {
        histories(&runtime(), &place);
    }
}

/// Each of two owners takes the lease again and again (it ends at once), reads the number, and saves one
/// more. What was saved behind the other's back would be lost.
async fn race(place: &Place) {
    let route = route();
    let first = Arc::new(Store::open(&place.url, &route).await.expect("opens"));
    let second = if place.is_file {
        Arc::clone(&first)
    } else {
        Arc::new(Store::open(&place.url, &route).await.expect("opens"))
    };
    let work = |store: Arc<Store>, owner: &'static str| async move {
        let mut saved = 0;
        for _ in 0..60 {
            let acquired = store.acquire(&lane(0), owner, Duration::ZERO).await.expect("answers");
            let Acquired::Leased { fence, mut record } = acquired else { continue };
            tokio::task::yield_now().await;
            record.next += 1;
            let (park, put_back, unpark) = (Vec::new(), Vec::new(), Vec::new());
            let save = Save { lane: lane(0), fence, record, park, put_back, unpark };
            saved += u64::from(store.save(&[save]).await.expect("answers").is_empty());
        }
        saved
    };
    let one = tokio::spawn(work(Arc::clone(&first), "one"));
    let other = tokio::spawn(work(second, "other"));
    let saved = one.await.expect("ends") + other.await.expect("ends");
    let lanes = first.lanes().await.expect("answers");
    assert_eq!(lanes.first().map(|lane| lane.record.next), Some(saved), "{}", place.url);
    assert!(saved > 0);
}

#[test]
fn what_one_saves_the_other_never_undoes() {
    let runtime = runtime();
    runtime.block_on(async {
        race(&in_file()).await;
        if let Some(place) = in_redis(&[]) {
            race(&place).await;
        }
        for name in ["mysql-9.7", "mariadb-11.8"] {
            if let Some(place) = in_mysql(name).await {
                race(&place).await;
            }
        }
    });
}

/// A store that is away is an error, and the next call connects again.
async fn away_and_back(mut place: Place) {
    let store = Store::open(&place.url, &route()).await.expect("opens");
    store.park(&[parked("a", 1, vec![0, 255])]).await.expect("parks");
    if let Some(server) = &mut place.mysqld {
        server.kill().await.expect("killed");
    }
    if let Some(server) = &mut place.redis {
        server.kill().await;
    }
    for _ in 0..2 {
        let error = store.parked_count(&ParkedFilter::default()).await.expect_err("it is away");
        assert!(matches!(error, StateError::Unavailable { .. }), "{error}");
    }
    if let Some(server) = &mut place.mysqld {
        server.start_again().await.expect("starts");
    }
    if let Some(server) = &mut place.redis {
        server.start_again();
    }
    // Redis takes connections while it still loads what it has, and refuses what is asked then.
    let mut parks = store.park(&[parked("b", 2, vec![])]).await;
    for _ in 0..1_000 {
        if !matches!(parks, Err(StateError::Unavailable { .. })) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        parks = store.park(&[parked("b", 2, vec![])]).await;
    }
    parks.expect("parks");
    let entries = store.parked(&ParkedFilter::default(), 0, 10).await.expect("answers");
    assert_eq!(entries.last().map(|entry| entry.parked.clone()), Some(parked("b", 2, vec![])));
    if place.mysqld.is_some() {
        assert_eq!(entries[0].parked, parked("a", 1, vec![0, 255]));
    }
}

#[test]
fn a_store_that_comes_back_is_used_again() {
    runtime().block_on(async {
        if let Some(place) = in_redis(&["--appendonly", "yes", "--appendfsync", "always"]) {
            away_and_back(place).await;
        }
        if let Some(place) = in_mysql("mysql-9.7").await {
            away_and_back(place).await;
        }
    });
}

#[test]
fn large_rows_are_read_in_pages() {
    runtime().block_on(async {
        let mut places = vec![in_file()];
        places.extend(in_redis(&[]));
        places.extend(in_mysql("mariadb-10.11").await);
        for place in places {
            let store = Store::open(&place.url, &route()).await.expect("opens");
            let body =
                |number: u64| vec![u8::try_from(number).expect("small"); PARKED_BYTES_MAX / 3];
            let rows: Vec<_> = (0..5).map(|n| parked(&format!("row {n}"), n, body(n))).collect();
            store.park(&rows).await.expect("parks");
            let (mut found, mut after, mut sizes) = (Vec::new(), 0, Vec::new());
            loop {
                let page =
                    store.parked(&ParkedFilter::default(), after, 10).await.expect("answers");
                let Some(last) = page.last() else { break };
                after = last.number;
                sizes.push(page.len());
                found.extend(page.into_iter().map(|entry| entry.parked));
            }
            assert!(found == rows, "{}", place.url);
            assert_eq!(sizes, [3, 2], "{}", place.url);
            assert!(
                store.parked(&ParkedFilter::default(), 0, 0).await.expect("answers").is_empty()
            );
        }
    });
}

#[test]
fn a_file_is_private_and_of_one_process_and_route() {
    runtime().block_on(async {
        let place = in_file();
        let store = Store::open(&place.url, "one").await.expect("opens");
        let path = place.url.strip_prefix("file:").expect("a path");
        let mode = std::fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = Store::open(&place.url, "one").await.expect_err("locked").to_string();
        let holder = format!("locked by process {} on ", std::process::id());
        assert!(error.contains(&holder) && error.contains("stop the other relay"), "{error}");
        drop(store);
        let error = Store::open(&place.url, "two").await.expect_err("another route").to_string();
        assert!(error.contains("route one") && error.contains("a file of its own"), "{error}");
        // Damaged in the middle, it is refused and not read.
        let mut bytes = std::fs::read(path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[..middle].fill(0xaa);
        std::fs::write(path, bytes).expect("written");
        let error = Store::open(&place.url, "one").await.expect_err("damaged").to_string();
        assert!(error.contains("needed a state file that is whole"), "{error}");
        let error = Store::open("file:/nowhere/at/all", "one").await.expect_err("no folder");
        assert!(error.to_string().contains("relay.state file:/nowhere/at/all"), "{error}");
    });
}

#[test]
fn what_is_no_store_is_refused_without_its_password() {
    runtime().block_on(async {
        for (url, part) in [
            ("postgres://relay:s3cret@host/relay", "another kind"),
            ("mysql://relay:s3cret@host", "another form"),
            ("mysql:s3cret", "another form"),
            ("redis:s3cret", "another form"),
            ("s3cret", "another kind"),
        ] {
            let error = Store::open(url, "one").await.expect_err("no store").to_string();
            assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        }
        for route in ["", "a b", "{x}", &"x".repeat(65)] {
            let error = Store::open("file:/nowhere/at/all", route).await.expect_err("no name");
            assert!(error.to_string().contains("relay.name"), "{error}");
        }
        if let Some(place) = in_redis(&["--requirepass", "other"]) {
            let url = place.url.replace("redis://", "redis://:s3cret@");
            let error = Store::open(&url, "one").await.expect_err("a wrong password").to_string();
            assert!(error.contains("uthentication failed") && !error.contains("s3cret"), "{error}");
        }
    });
}

#[test]
fn a_redis_that_evicts_is_refused() {
    runtime().block_on(async {
        if let Some(place) = in_redis(&["--maxmemory-policy", "allkeys-lru"]) {
            let error = Store::open(&place.url, "one").await.expect_err("it evicts").to_string();
            assert!(error.contains("maxmemory-policy allkeys-lru"), "{error}");
        }
    });
}

#[test]
fn who_may_not_make_tables_is_told_the_statement() {
    runtime().block_on(async {
        let Some(place) = in_mysql("mysql-9.7").await else { return };
        let mysqld = place.mysqld.as_ref().expect("a server");
        let make = "CREATE USER relay@'%' IDENTIFIED BY 's3cret'";
        let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON relay.* TO relay@'%'";
        mysqld.execute(&[make, grant]).await.expect("a user");
        let url = place.url.replace("root@", "relay:s3cret@");
        for _ in 0..2 {
            let error = Store::open(&url, "one").await.expect_err("no privilege").to_string();
            assert!(error.contains("denied") && !error.contains("s3cret"), "{error}");
            let (_, statement) = error.split_once("run: ").expect("a statement");
            mysqld.execute(&["USE relay", statement]).await.expect("as it stands");
        }
        let store = Store::open(&url, "one").await.expect("opens");
        let acquired = store.acquire(&lane(1), "one", LONG).await.expect("answers");
        let Acquired::Leased { fence, .. } = acquired else { panic!("{acquired:?}") };
        let lease = Lease { lane: lane(1), fence };
        assert!(store.renew(&[lease], LONG).await.expect("answers").is_empty());
    });
}
