//! Copies in real servers, under kills, duplicates and two processes, compared with their source by
//! SELECT.

mod digests;
mod parts;
mod world;
mod zoo;

use std::sync::Arc;

use binpulse_client::proto;
use binpulse_core::encode::opened::OpenedRows;
use binpulse_demo::{Mysqld, Options};
use binpulse_relay::lane::LaneKey;
use binpulse_relay::target::copy::{Applied, Config, Copy, CopyError, SchemaPolicy, Unit};
use mysql_async::prelude::Queryable;

use crate::dice::Dice;
use crate::servers;
use world::World;
use zoo::Val;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runs")
}

/// A server for copies.
pub(crate) enum Server {
    Mysql(Mysqld),
    Postgres(servers::Private, tokio_postgres::Client),
}

impl Server {
    pub(crate) async fn mysql(name: &str) -> Option<Self> {
        let server = servers::mysqls(&[name]).pop()?;
        let options = Options { binlog: false, gtid: false, ..Options::default() };
        let mysqld = Mysqld::start(&server, options).await.expect("a server");
        mysqld
            .execute(&["CREATE DATABASE relay", "CREATE DATABASE shop"])
            .await
            .expect("databases");
        Some(Self::Mysql(mysqld))
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let server = servers::postgres()?;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
        // It takes connections before it serves them.
        for _ in 0..1_000 {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&url, tokio_postgres::NoTls).await
            {
                tokio::spawn(connection);
                return Some(Self::Postgres(server, client));
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("PostgreSQL does not serve");
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    /// Whether it is MySQL, not MariaDB.
    pub(crate) fn is_mysql(&self) -> bool {
        matches!(self, Self::Mysql(mysqld) if mysqld.server().is_mysql(5, 0))
    }

    pub(crate) fn has_vectors(&self) -> bool {
        match self {
            Self::Mysql(mysqld) => {
                mysqld.server().is_mysql(9, 0) || mysqld.server().is_mariadb(11, 7)
            }
            Self::Postgres(..) => false,
        }
    }

    pub(crate) fn config(&self) -> Config {
        let url = match self {
            Self::Mysql(mysqld) => format!("mysql://root@127.0.0.1:{}/relay", mysqld.port()),
            Self::Postgres(server, _) => {
                format!("postgres://postgres@127.0.0.1:{}/postgres", server.port)
            }
        };
        Config { url, schema: SchemaPolicy::Add }
    }

    pub(crate) async fn copy(&self) -> Copy {
        Copy::open(self.config()).await.expect("opens")
    }

    pub(crate) async fn run(&self, sql: &str) {
        match self {
            Self::Mysql(mysqld) => mysqld.execute(&[sql]).await.expect(sql),
            Self::Postgres(_, client) => client.batch_execute(sql).await.expect(sql),
        }
    }

    /// Rows as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Mysql(mysqld) => {
                let mut conn = mysqld.connect().await.expect("connects");
                conn.query_drop("SET time_zone = '+00:00'").await.expect("sets");
                let rows: Vec<mysql_async::Row> = conn.query(sql).await.expect(sql);
                let text = |value: Option<mysql_async::Value>| match value.expect("a value") {
                    mysql_async::Value::NULL => None,
                    mysql_async::Value::Bytes(bytes) => {
                        Some(String::from_utf8(bytes).expect("text"))
                    }
                    other => Some(other.as_sql(true)),
                };
                rows.into_iter()
                    .map(|row| row.unwrap_raw().into_iter().map(text).collect())
                    .collect()
            }
            Self::Postgres(_, client) => {
                let messages = client.simple_query(sql).await.expect(sql);
                let rows = messages.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                    }
                    _ => None,
                });
                rows.collect()
            }
        }
    }

    /// Ends the sessions of copies, in the middle of whatever they do.
    pub(crate) async fn kill_copies(&self) {
        match self {
            Self::Mysql(mysqld) => {
                let mut conn = mysqld.connect().await.expect("connects");
                let list: Vec<mysql_async::Row> =
                    conn.query("SHOW PROCESSLIST").await.expect("a list");
                let of_copies = |row: &mysql_async::Row| {
                    let database: Option<String> = row.get("db").expect("a column");
                    (database.as_deref() == Some("relay")).then(|| row.get("Id").expect("an id"))
                };
                let ids: Vec<u64> = list.iter().filter_map(of_copies).collect();
                for id in ids {
                    // It may be gone by now.
                    drop(conn.query_drop(format!("KILL {id}")).await);
                }
            }
            Self::Postgres(_, client) => {
                let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                            WHERE application_name = 'binpulse relay'";
                client.batch_execute(kill).await.expect("kills");
            }
        }
    }
}

pub(crate) fn lane(name: &str) -> LaneKey {
    LaneKey { stream: "shop".into(), epoch: 3, lane: format!("shop.{name}#0").into() }
}

/// A batch of a lane; `first` 0 is one of a snapshot.
pub(crate) fn opened(
    table: proto::TableSchema,
    lane: &LaneKey,
    first: u64,
    rows: Vec<proto::Row>,
) -> Arc<OpenedRows> {
    let source = proto::Source {
        stream: "shop".into(),
        epoch: 3,
        snapshot: first == 0,
        ..Default::default()
    };
    let batch = proto::ChangeBatch {
        source: Some(source),
        table: Some(table),
        lane: lane.lane.to_string(),
        lane_count: 1,
        sequence_first: first,
        files: vec!["binlog.000001".to_owned()],
        transactions: vec![proto::Transaction::default()],
        before_image: proto::BeforeImage::Full.into(),
        rows,
        ..Default::default()
    };
    Arc::new(OpenedRows::new(batch, |_| None).expect("consistent"))
}

pub(crate) fn rows_unit(lane: &LaneKey, rows: &Arc<OpenedRows>) -> Unit {
    let (first, rows) = (rows.first(), Arc::clone(rows));
    let last = first + rows.len() as u64 - 1;
    Unit::Rows { lane: lane.clone(), rows, first, last }
}

pub(crate) fn row(
    op: proto::Op,
    before: Option<Vec<proto::Value>>,
    after: Option<Vec<proto::Value>>,
) -> proto::Row {
    let image = |values: Option<Vec<_>>| values.map(|values| proto::Image { values });
    proto::Row { op: op.into(), before: image(before), after: image(after), ..Default::default() }
}

/// A schema of `shop` whose first `keys` columns are the key.
pub(crate) fn schema(name: &str, columns: &[zoo::Kin], keys: u32) -> proto::TableSchema {
    let columns: Vec<_> = columns.iter().map(zoo::column).collect();
    let fingerprint = columns.len() as u64 * 1000 + u64::from(keys);
    proto::TableSchema {
        database: "shop".to_owned(),
        table: name.to_owned(),
        columns,
        primary_key: (0..keys).collect(),
        fingerprint,
        columns_named: true,
    }
}

/// Applies until the copy has it, as the relay does.
pub(crate) async fn apply(copy: &Copy, units: &[Unit]) -> Applied {
    let mut last = None;
    for _ in 0..200 {
        match copy.apply(units).await {
            Ok(applied) => return applied,
            Err(error @ CopyError::Unavailable { .. }) => last = Some(error),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("not applied in 200 attempts: {last:?}");
}

/// Random histories, see [`World`].
async fn it_equals_its_source_under_kills_duplicates_and_two_processes(server: &Server) {
    let seed = std::env::var("COPY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Dice::new(seed);
    let world = World::new(&mut dice, server, 600);
    world.deliver(&mut dice, server).await;
    if !server.is_postgres() {
        world.compare(server, server).await;
    } else if let Some(source) = Server::mysql("mysql-9.7").await {
        world.compare(&source, server).await;
    }
}

/// Everything that holds for each server.
async fn all(server: Option<Server>) {
    let Some(server) = server else { return };
    it_equals_its_source_under_kills_duplicates_and_two_processes(&server).await;
    parts::behind_a_snapshot_a_copy_is_its_source(&server).await;
    digests::digests_tell_whether_a_copy_is_its_source(&server).await;
    a_lane_that_lacks_rows_is_left_as_it_is(&server).await;
    canaries_only_go_forward(&server).await;
    what_can_never_be_applied_is_refused_by_name_and_without_its_value(&server).await;
    a_schema_is_changed_only_as_allowed(&server).await;
    two_processes_make_the_same_tables_at_once(&server).await;
    partial_json_updates_are_applied_or_refused(&server).await;
}

#[test]
fn a_copy_in_mysql_9_7() {
    runtime().block_on(async { all(Server::mysql("mysql-9.7").await).await });
}

#[test]
fn a_copy_in_mysql_8_0() {
    runtime().block_on(async { all(Server::mysql("mysql-8.0").await).await });
}

#[test]
fn a_copy_in_mariadb_10_11() {
    runtime().block_on(async { all(Server::mysql("mariadb-10.11").await).await });
}

#[test]
fn a_copy_in_mariadb_11_8() {
    runtime().block_on(async { all(Server::mysql("mariadb-11.8").await).await });
}

#[test]
fn a_copy_in_postgresql() {
    runtime().block_on(async { all(Server::postgres().await).await });
}

/// Writes a private file.
fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).expect("a file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
}

#[test]
fn postgresql_is_reached_by_tls_if_its_certificate_is_trusted() {
    runtime().block_on(async {
        let own =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let server = servers::postgres_with(|folder| {
            let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
            write_private(&certificate, &own.cert.pem());
            write_private(&key, &own.signing_key.serialize_pem());
            let certificate = format!("ssl_cert_file={}", certificate.display());
            vec!["ssl=on".to_owned(), certificate, format!("ssl_key_file={}", key.display())]
        });
        let Some(server) = server else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let trusted = folder.path().join("trusted.pem");
        write_private(&trusted, &own.cert.pem());
        let open = async |query: &str| {
            let url = format!("postgres://postgres@localhost:{}/postgres?{query}", server.port);
            let mut last = None;
            for _ in 0..1_000 {
                let opened =
                    Copy::open(Config { url: url.clone(), schema: SchemaPolicy::Add }).await;
                let is_starting = |error: &CopyError| error.to_string().contains("57P03");
                match opened {
                    Err(error) if is_starting(&error) => last = Some(error),
                    other => return other,
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            panic!("{last:?}");
        };
        let root = format!("sslmode=require&sslrootcert={}", trusted.display());
        open(&root).await.expect("trusted");
        for query in ["sslmode=require", "sslmode=prefer"] {
            let error = open(query).await.expect_err("not trusted").to_string();
            assert!(error.contains("certificate"), "{error}");
        }
        let error = open("sslrootcert=/nowhere.pem").await.expect_err("no file").to_string();
        assert!(error.contains("sslrootcert /nowhere.pem"), "{error}");
        open("sslmode=disable").await.expect("in clear");
    });
}

#[test]
#[ignore = "prints figures"]
fn speed() {
    runtime().block_on(async {
        for name in ["mysql-9.7", "mariadb-11.8"] {
            if let Some(server) = Server::mysql(name).await {
                speed_of_a_copy(&server).await;
            }
        }
        if let Some(server) = Server::postgres().await {
            speed_of_a_copy(&server).await;
        }
    });
}

async fn a_lane_that_lacks_rows_is_left_as_it_is(server: &Server) {
    let copy = server.copy().await;
    let (first, second) = (lane("one"), lane("two"));
    let [id, _] = zoo::key();
    let batch = |lane: &LaneKey, name: &str, number: u64, count: u64| {
        let rows = (0..count).map(|at| {
            let id = Val::Int(i64::try_from(number + at).expect("small")).proto();
            row(proto::Op::Insert, None, Some(vec![id]))
        });
        opened(schema(name, std::slice::from_ref(&id), 1), lane, number, rows.collect())
    };
    // A lane that is not known begins where its first row is.
    let one = batch(&first, "one", 5, 3);
    let applied = apply(&copy, &[rows_unit(&first, &one)]).await;
    assert_eq!((applied.rows, applied.lanes[0].1.next), (3, 8));
    // 8 is missing: nothing of this lane, all of the other.
    let late = batch(&first, "one", 9, 2);
    let other = batch(&second, "two", 1, 2);
    let applied = apply(&copy, &[rows_unit(&first, &late), rows_unit(&second, &other)]).await;
    assert_eq!((applied.rows, &applied.behind), (2, &vec![first.clone()]));
    assert_eq!(copy.lane(&first).await.expect("answers").next, 8);
    // It is given up, and what was applied is not applied again.
    let passed = Unit::Passed { lane: first.clone(), first: 8, last: 8 };
    let applied = apply(&copy, &[passed, rows_unit(&first, &one), rows_unit(&first, &late)]).await;
    assert_eq!((applied.rows, applied.skipped, applied.lanes[0].1.next), (2, 3, 11));
    let count = server.rows("SELECT COUNT(*) FROM shop.one").await;
    assert_eq!(count[0][0].as_deref(), Some("5"));
}

async fn canaries_only_go_forward(server: &Server) {
    let copy = server.copy().await;
    let canary = |epoch, number| Unit::Canary {
        stream: "shop".to_owned(),
        epoch,
        canary: Box::new(proto::Canary {
            number,
            phase: proto::CanaryPhase::Update.into(),
            written_at_us: 1_790_000_000_000_000,
            ..Default::default()
        }),
    };
    apply(&copy, &[canary(3, 9), canary(3, 8), canary(2, 100)]).await;
    apply(&copy, &[canary(3, 10), canary(3, 7)]).await;
    let found = server
        .rows(
            "SELECT epoch, number, phase FROM binpulse_relay_canary"
                .replace(
                    "binpulse",
                    if server.is_postgres() { "binpulse" } else { "relay.binpulse" },
                )
                .as_str(),
        )
        .await;
    let text: Vec<_> = found[0].iter().flatten().map(String::as_str).collect();
    assert_eq!((found.len(), text), (1, vec!["3", "10", "update"]));
}

async fn what_can_never_be_applied_is_refused_by_name_and_without_its_value(server: &Server) {
    let copy = server.copy().await;
    let [id, code] = zoo::key();
    let insert = |name: &str, columns: &[zoo::Kin], keys, values: Vec<Val>| {
        let values = values.iter().map(Val::proto).collect();
        let rows = vec![row(proto::Op::Insert, None, Some(values))];
        let lane = lane(name);
        let opened = opened(schema(name, columns, keys), &lane, 1, rows);
        rows_unit(&lane, &opened)
    };
    let good = insert("good", std::slice::from_ref(&id), 1, vec![Val::Int(1)]);
    let keyless = insert("keyless", std::slice::from_ref(&id), 0, vec![Val::Int(1)]);
    let error = copy.apply(&[good.clone(), keyless]).await.expect_err("no key");
    let CopyError::Refused { unit: Some(1), table, found, .. } = &error else { panic!("{error}") };
    assert_eq!((table.as_str(), found.as_str()), ("shop.keyless", "no primary key"));
    // The whole was not applied.
    assert_eq!(copy.lane(&lane("good")).await.expect("answers").next, 0);
    // A value that does not fit: the copy's column is narrower.
    server.run("CREATE TABLE shop.narrow (id int primary key, code varchar(3))").await;
    let columns = [id.clone(), code.clone()];
    let long = insert("narrow", &columns, 1, vec![Val::Int(1), Val::Text("s3cret".to_owned())]);
    let error = copy.apply(&[long]).await.expect_err("too long");
    assert!(matches!(error, CopyError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    // Another key in the copy, or a second one.
    server.run("CREATE TABLE shop.other (id int, code varchar(20) primary key)").await;
    let other = insert("other", &columns, 1, vec![Val::Int(1), Val::Text("a".to_owned())]);
    let error = copy.apply(&[other]).await.expect_err("another key");
    assert!(error.to_string().contains("primary key (code) of table shop.other"), "{error}");
    server.run("CREATE TABLE shop.second (id int primary key, code varchar(20) unique)").await;
    let second = insert("second", &columns, 1, vec![Val::Int(1), Val::Text("a".to_owned())]);
    let error = copy.apply(&[second]).await.expect_err("a second key");
    assert!(error.to_string().contains("UNIQUE index"), "{error}");
    // And the good one still goes.
    assert_eq!(apply(&copy, &[good]).await.rows, 1);
}

async fn a_schema_is_changed_only_as_allowed(server: &Server) {
    let [id, code] = zoo::key();
    let unit = |columns: &[zoo::Kin], number: u64| {
        let values = columns.iter().map(|kin| {
            if kin.name == "id" {
                Val::Int(i64::try_from(number).expect("small")).proto()
            } else {
                Val::Text("x".to_owned()).proto()
            }
        });
        let rows = vec![row(proto::Op::Insert, None, Some(values.collect()))];
        let lane = lane("grown");
        rows_unit(&lane, &opened(schema("grown", columns, 1), &lane, number, rows))
    };
    let with =
        async |schema| Copy::open(Config { schema, ..server.config() }).await.expect("opens");
    let (narrow, wide) = (std::slice::from_ref(&id), [id.clone(), code]);
    let refuses = with(SchemaPolicy::Refuse).await;
    let error = refuses.apply(&[unit(narrow, 1)]).await.expect_err("no table").to_string();
    assert!(
        error.contains("no table shop.grown") && error.contains("run: CREATE TABLE"),
        "{error}"
    );
    let creates = with(SchemaPolicy::Create).await;
    assert_eq!(apply(&creates, &[unit(narrow, 1)]).await.rows, 1);
    let error = creates.apply(&[unit(&wide, 2)]).await.expect_err("no column").to_string();
    assert!(error.contains("run: ALTER TABLE"), "{error}");
    let adds = with(SchemaPolicy::Add).await;
    // Rows of both schemas in one transaction, the older ones behind: nothing is dropped.
    assert_eq!(apply(&adds, &[unit(&wide, 2), unit(narrow, 3)]).await.rows, 2);
    // An operator drops it: it is made again, after one failure.
    server.run("DROP TABLE shop.grown").await;
    assert_eq!(apply(&adds, &[unit(&wide, 4)]).await.rows, 1);
    let found = server.rows("SELECT id, code FROM shop.grown").await;
    assert_eq!(found, [[Some("4".to_owned()), Some("x".to_owned())]]);
}

fn first_row(table: &str) -> Unit {
    let [id, _] = zoo::key();
    let columns = std::slice::from_ref(&id);
    let lane = lane(table);
    let rows = vec![row(proto::Op::Insert, None, Some(vec![Val::Int(1).proto()]))];
    rows_unit(&lane, &opened(schema(table, columns, 1), &lane, 1, rows))
}

async fn two_processes_make_the_same_tables_at_once(server: &Server) {
    let copies = [server.copy().await, server.copy().await];
    for table in 0..20 {
        let units = [first_row(&format!("at_once_{table}"))];
        let [one, other] = &copies;
        tokio::join!(apply(one, &units), apply(other, &units));
    }
    let Server::Postgres(..) = server else { return };
    // What PostgreSQL says when the other one was the faster by a moment, as long as somebody wants it.
    server.run("CREATE TYPE shop.behind AS ENUM ('x')").await;
    let units = [first_row("behind")];
    let error = copies[0].apply(&units).await.expect_err("the type has the name");
    assert!(
        matches!(&error, CopyError::Unavailable { message, .. }
            if message.contains("42710: type \"behind\" already exists")),
        "{error}"
    );
    server.run("DROP TYPE shop.behind").await;
    assert_eq!(apply(&copies[0], &units).await.rows, 1);
}

async fn partial_json_updates_are_applied_or_refused(server: &Server) {
    let [id, _] = zoo::key();
    let doc = zoo::Kin {
        name: "doc",
        sql: "json",
        logical: proto::LogicalType::Json,
        value: |_| Val::Null,
    };
    let columns = [id, doc];
    let copy = server.copy().await;
    let lane = lane("docs");
    let unit =
        |number, rows| rows_unit(&lane, &opened(schema("docs", &columns, 1), &lane, number, rows));
    let document = Val::Json(r#"{"a": 1, "b c": [1, 2]}"#.to_owned()).proto();
    let insert = row(proto::Op::Insert, None, Some(vec![Val::Int(1).proto(), document]));
    let diff = |text: &str| {
        let diff = proto::Value { kind: Some(proto::value::Kind::JsonDiff(text.to_owned())) };
        let key = vec![Val::Int(1).proto()];
        row(proto::Op::Update, Some(key.clone()), Some([key, vec![diff]].concat()))
    };
    let steps = r#"[{"op": "replace", "path": "$.a", "value": 12345678901234567.25}, {"op": "insert", "path": "$.\"b c\"[1]", "value": {"x": "it's"}}, {"op": "insert", "path": "$.d", "value": null}]"#;
    let applied = apply(&copy, &[unit(1, vec![insert, diff(steps)])]).await;
    assert_eq!((applied.rows, applied.missing), (2, 0));
    let found = server.rows("SELECT doc FROM shop.docs").await;
    let text = found[0][0].clone().expect("a document").replace(' ', "");
    assert!(text.contains(r#""bc":[1,{"x":"it's"},2]"#) && text.contains(r#""d":null"#), "{text}");
    if server.is_postgres() {
        assert!(text.contains("12345678901234567.25"), "{text}");
    }
    let gone = unit(3, vec![diff(r#"[{"op": "remove", "path": "$.nowhere"}]"#)]);
    let error = copy.apply(&[gone]).await.expect_err("no path").to_string();
    assert!(error.contains("shop.docs") && error.contains("partial JSON update"), "{error}");
    assert_eq!(copy.lane(&lane).await.expect("answers").next, 3);
}

/// `cargo test -p binpulse-relay --test databases -- --ignored --nocapture speed`
async fn speed_of_a_copy(server: &Server) {
    let [id, _] = zoo::key();
    let kin = zoo::zoo(true, false);
    let columns: Vec<_> = std::iter::once(id)
        .chain(kin.into_iter().filter(|kin| ["b", "dec", "at", "name4", "e"].contains(&kin.name)))
        .collect();
    let copy = server.copy().await;
    let lane = lane("speed");
    let mut dice = Dice::new(1);
    let mut units = Vec::new();
    let (total, each) = (100_000_u64, 500_u64);
    for first in (1..=total).step_by(usize::try_from(each).expect("small")) {
        let rows = (first..first + each).map(|number| {
            let values = columns.iter().map(|kin| match kin.name {
                "id" => Val::Int(i64::try_from(number).expect("small")).proto(),
                _ => (kin.value)(&mut dice).proto(),
            });
            row(proto::Op::Insert, None, Some(values.collect()))
        });
        let rows = rows.collect();
        units.push(rows_unit(&lane, &opened(schema("speed", &columns, 1), &lane, first, rows)));
    }
    let begun = std::time::Instant::now();
    for units in units.chunks(10) {
        apply(&copy, units).await;
    }
    let took = begun.elapsed();
    println!(
        "{}: {total} rows in {took:?}, {:.0} rows/s",
        copy.place(),
        f64::from(u32::try_from(total).expect("small")) / took.as_secs_f64()
    );
}
