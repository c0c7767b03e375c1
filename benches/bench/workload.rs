//! What the binary logs hold: tables, and the statements that fill them, all seeded.

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// One letter.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) what: &'static str,
    /// Rows in the log at scale 1.
    pub(crate) rows: u64,
    /// Rows of each transaction.
    pub(crate) rows_per_transaction: u64,
    /// Statements before the log begins.
    pub(crate) setup: fn() -> Vec<String>,
    /// The statement of transaction `i`; `base` is the number of its first row.
    pub(crate) statement: fn() -> String,
    /// Whether transactions are compressed in the log.
    pub(crate) compressed: bool,
}

/// All of them.
pub(crate) const ALL: [Workload; 9] = [
    Workload {
        name: "S",
        what: "single-row transactions, 8 columns, about 190 B a row",
        rows: 800_000,
        rows_per_transaction: 1,
        setup: || vec![orders()],
        statement: || format!("INSERT INTO orders {} LIMIT 1", order_rows()),
        compressed: false,
    },
    Workload {
        name: "M",
        what: "100-row inserts, 8 columns, about 190 B a row",
        rows: 3_000_000,
        rows_per_transaction: 100,
        setup: || vec![orders()],
        statement: || format!("INSERT INTO orders {}", order_rows()),
        compressed: false,
    },
    Workload {
        name: "U",
        what: "100-row updates with both images, 20 columns",
        rows: 300_000,
        rows_per_transaction: 100,
        setup: || vec![accounts(), account_rows()],
        statement: || {
            "UPDATE accounts SET balance = balance + 1.25, seen = seen + INTERVAL 1 SECOND, \
             visits = visits + 1, token = LEFT(SHA2(CONCAT(seed, '-', base, '-', id), 256), 32) \
             WHERE id BETWEEN base % 10000 AND base % 10000 + 99"
                .to_owned()
        },
        compressed: false,
    },
    Workload {
        name: "W",
        what: "20-row inserts, 200 columns",
        rows: 40_000,
        rows_per_transaction: 20,
        setup: || vec![wide::<200>()],
        statement: wide_rows::<200, 20>,
        compressed: false,
    },
    Workload {
        name: "J",
        what: "10-row inserts of JSON and text, about 2 KB a row",
        rows: 60_000,
        rows_per_transaction: 10,
        setup: || {
            vec![
                "CREATE TABLE docs (id BIGINT UNSIGNED PRIMARY KEY, doc JSON, body TEXT)"
                    .to_owned(),
            ]
        },
        statement: document_rows,
        compressed: false,
    },
    Workload {
        name: "B",
        what: "single-row inserts of 64,000 B blobs",
        rows: 2_000,
        rows_per_transaction: 1,
        setup: || {
            vec!["CREATE TABLE blobs (id BIGINT UNSIGNED PRIMARY KEY, data LONGBLOB)".to_owned()]
        },
        statement: || {
            "INSERT INTO blobs SELECT base, GROUP_CONCAT(UNHEX(SHA2(CONCAT(seed, base, k), 512)) \
             SEPARATOR '') FROM thousand"
                .to_owned()
        },
        compressed: false,
    },
    Workload {
        name: "C",
        what: "the 100-row inserts of M as compressed transactions",
        rows: 1_500_000,
        rows_per_transaction: 100,
        setup: || vec![orders()],
        statement: || format!("INSERT INTO orders {}", order_rows()),
        compressed: true,
    },
    tables::<100>("T", "the 100-row inserts of M into 100 tables in turn"),
    Workload {
        name: "L",
        what: "one transaction of all rows of M's kind",
        rows: 1_400_000,
        rows_per_transaction: 1_400_000,
        setup: || vec![orders()],
        statement: || {
            format!(
                "SET @end = base + per; START TRANSACTION; WHILE base < @end DO \
                 INSERT INTO orders {}; SET base = base + 100; END WHILE; COMMIT; \
                 SET base = base - per",
                order_rows()
            )
        },
        compressed: false,
    },
];

/// What `scaling` measures with more and more tables, and how many those are.
pub(crate) const BY_TABLES: [(u32, Workload); 4] = [
    (1, tables::<1>("T1", "the 100-row inserts of M into one table")),
    (10, tables::<10>("T10", "the 100-row inserts of M into 10 tables in turn")),
    (100, tables::<100>("T", "the 100-row inserts of M into 100 tables in turn")),
    (1000, tables::<1000>("T1000", "the 100-row inserts of M into 1,000 tables in turn")),
];

/// The same with columns.
pub(crate) const BY_COLUMNS: [(u32, Workload); 4] = [
    (5, columns::<5>("S5", 600_000)),
    (20, columns::<20>("S20", 400_000)),
    (50, columns::<50>("S50", 300_000)),
    (200, columns::<200>("S200", 150_000)),
];

const fn tables<const COUNT: u64>(name: &'static str, what: &'static str) -> Workload {
    Workload {
        name,
        what,
        rows: 1_500_000,
        rows_per_transaction: 100,
        setup: many_tables::<COUNT>,
        statement: one_of_many_tables::<COUNT>,
        compressed: false,
    }
}

const fn columns<const COUNT: usize>(name: &'static str, rows: u64) -> Workload {
    Workload {
        name,
        what: "single-row transactions, every eighth column NULL",
        rows,
        rows_per_transaction: 1,
        setup: || vec![wide::<COUNT>()],
        statement: wide_rows::<COUNT, 1>,
        compressed: false,
    }
}

/// Bytes that a row of M has in the log, about.
const ROW_BYTES: u64 = 193;

/// A workload with so many megabytes of rows of M's kind: in one transaction, if it is one of those.
pub(crate) fn of_megabytes(name: &str, megabytes: u64) -> Option<Workload> {
    let mut workload = ALL.into_iter().find(|workload| workload.name == name)?;
    let is_one = workload.rows == workload.rows_per_transaction;
    workload.rows = (megabytes * 1_000_000 / ROW_BYTES / 100).max(1) * 100;
    if is_one {
        workload.rows_per_transaction = workload.rows;
    }
    Some(workload)
}

/// Those that are named; the fallback when none is.
pub(crate) fn named(names: &[String], fallback: &[&str]) -> Vec<Workload> {
    let wanted = |workload: &Workload| {
        if names.is_empty() {
            fallback.contains(&workload.name)
        } else {
            names.iter().any(|name| name == workload.name)
        }
    };
    ALL.into_iter().filter(wanted).collect()
}

fn orders() -> String {
    "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, customer INT UNSIGNED NOT NULL, \
     sku VARCHAR(24) NOT NULL, quantity INT NOT NULL, price_cents BIGINT NOT NULL, \
     placed DATETIME(6) NOT NULL, note VARCHAR(160), discount INT)"
        .to_owned()
}

fn order_rows() -> String {
    "SELECT base + k, CRC32(CONCAT(seed, base + k)) % 1000000, \
     CONCAT('SKU-', LPAD((base + k * 7919) % 99991, 8, '0')), 1 + (base + k) % 12, \
     100 + CRC32(CONCAT(base + k, seed)) % 100000, \
     '2026-11-20 20:12:00' + INTERVAL base * 1000 + k MICROSECOND, \
     CONCAT('please deliver to the back door and ring the bell twice; our reference is ', \
     SHA2(CONCAT(seed, '-', base + k), 256)), \
     IF(k % 4 = 0, 5, NULL) FROM hundred"
        .to_owned()
}

fn many_tables<const COUNT: u64>() -> Vec<String> {
    let copies = (0..COUNT).map(|number| format!("CREATE TABLE orders_{number} LIKE orders"));
    std::iter::once(orders()).chain(copies).collect()
}

/// The table's name takes a prepared statement, and that sees no variables but the session's.
fn one_of_many_tables<const COUNT: u64>() -> String {
    let rows = order_rows().replace("base", "@base").replace("seed", "@seed").replace('\'', "''");
    format!(
        "SET @base = base, @seed = seed; \
         SET @insert = CONCAT('INSERT INTO orders_', (base DIV per) % {COUNT}, ' {rows}'); \
         PREPARE fill FROM @insert; EXECUTE fill; DEALLOCATE PREPARE fill"
    )
}

fn accounts() -> String {
    "CREATE TABLE accounts (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(60), mail VARCHAR(80), \
     balance DECIMAL(14,2), seen DATETIME, made TIMESTAMP(3) NULL, visits INT UNSIGNED, \
     token CHAR(32), tier ENUM('free','basic','premium'), flags SET('a','b','c'), a INT, b INT, \
     c BIGINT, d BIGINT, e DOUBLE, f DATE, g SMALLINT, h TINYINT, i VARCHAR(40), j VARCHAR(40))"
        .to_owned()
}

fn account_rows() -> String {
    "INSERT INTO accounts SELECT k + 100 * (t - 1), CONCAT('customer number ', t), \
     CONCAT(LEFT(SHA2(t, 256), 32), '@example.com'), t * 10.5, '2026-01-01', '2026-01-01', t, LEFT(SHA2(k, 256), 32), \
     1 + k % 3, 'a,c', k, t, k * t, NULL, k / 3, '2026-11-20', k, k % 100, LEFT(SHA2(t, 256), 32), NULL \
     FROM hundred, (SELECT k + 1 AS t FROM thousand) thousands WHERE t <= 101"
        .to_owned()
}

/// Numbers, texts, decimals and times in turn, every eighth column NULL.
fn wide<const COLUMNS: usize>() -> String {
    let columns: Vec<String> = (1..COLUMNS)
        .map(|column| match column % 5 {
            0 => format!("c{column} VARCHAR(20)"),
            1 => format!("c{column} INT"),
            2 => format!("c{column} BIGINT"),
            3 => format!("c{column} DECIMAL(12,2)"),
            _ => format!("c{column} DATETIME"),
        })
        .collect();
    format!("CREATE TABLE wide (id BIGINT UNSIGNED PRIMARY KEY, {})", columns.join(", "))
}

fn wide_rows<const COLUMNS: usize, const ROWS: usize>() -> String {
    let values: Vec<String> = (1..COLUMNS)
        .map(|column| match (column % 8, column % 5) {
            (0, _) => "NULL".to_owned(),
            (_, 0) => format!("CONCAT('text ', base, ' {column}')"),
            (_, 1 | 2) => format!("base + k * {column}"),
            (_, 3) => format!("(base + k) % 100000 + 0.{column}"),
            _ => format!("'2026-11-20 20:12:00' + INTERVAL base + {column} SECOND"),
        })
        .collect();
    format!("INSERT INTO wide SELECT base + k, {} FROM hundred WHERE k < {ROWS}", values.join(", "))
}

fn document_rows() -> String {
    "INSERT INTO docs SELECT base + k, JSON_OBJECT('id', base + k, 'name', LEFT(SHA2(base + k, 256), 32), \
     'tags', JSON_ARRAY('red', 'green', 'blue', k), 'price', (base + k) / 8, 'nested', \
     JSON_OBJECT('active', TRUE, 'none', NULL, 'list', JSON_ARRAY(1, 2.5, -3, 4000000000), \
     'note', REPEAT(SHA2(CONCAT(seed, base, k), 224), 10)), 'more', JSON_ARRAY(\
     JSON_OBJECT('a', 1, 'b', 'two'), JSON_OBJECT('a', 2, 'b', 'three'))), \
     CONCAT(REPEAT(CONCAT(LEFT(SHA2(base + k, 256), 32), ' lorem ipsum dolor sit amet '), 20)) \
     FROM hundred WHERE k < 10"
        .to_owned()
}
