//! DDL: tables that change while they are written.

use crate::dice::Dice;

/// How many tables evolve.
pub(super) const EVOLVING: u64 = 4;

/// The statement that makes one.
pub(super) fn create(number: u64) -> String {
    format!(
        "CREATE TABLE evolving_{number} (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, \
         b VARCHAR(50), c DECIMAL(12,2), d INT UNSIGNED)"
    )
}

/// Statements of one change. Some fail, for what they change is not there: that is as good.
pub(super) fn change(dice: &mut Dice) -> Vec<String> {
    let number = dice.below(EVOLVING);
    match dice.below(8) {
        0..=4 => vec![alter(number, dice)],
        5 => swap(number, dice),
        6 => online(number, dice),
        _ => odd(number, dice),
    }
}

/// One statement that changes a table.
fn alter(number: u64, dice: &mut Dice) -> String {
    let table = format!("evolving_{number}");
    let extra = format!("extra_{}", dice.below(3));
    let kind = kind(dice);
    let change = match dice.below(20) {
        0 => format!("ADD COLUMN {extra} {kind} NULL, ALGORITHM = INSTANT"),
        1 => format!("ADD COLUMN {extra} {kind} NULL FIRST"),
        2 => format!("ADD COLUMN {extra} INT NOT NULL DEFAULT 7 AFTER a"),
        3..=5 => format!("DROP COLUMN {extra}"),
        6 => format!("RENAME COLUMN {extra} TO extra_{}", dice.below(3)),
        7 => "MODIFY COLUMN b VARCHAR(50) AFTER id".to_owned(),
        8 => "MODIFY COLUMN a BIGINT".to_owned(),
        9 => "MODIFY COLUMN d BIGINT UNSIGNED AFTER c".to_owned(),
        10 => "ADD INDEX (a), MODIFY COLUMN c DECIMAL(20,4)".to_owned(),
        11 => format!("ADD COLUMN {extra} BIGINT AS (id + 1) STORED"),
        12 => format!("ADD COLUMN {extra} BIGINT AS (id * 2) VIRTUAL AFTER id"),
        13 => "MODIFY COLUMN b VARCHAR(90) COLLATE utf8mb4_bin".to_owned(),
        14 => "ENGINE = InnoDB".to_owned(),
        15 => "COMMENT = 'rebuilt', ROW_FORMAT = COMPACT".to_owned(),
        16 => "PARTITION BY HASH (id) PARTITIONS 3".to_owned(),
        17 => "REMOVE PARTITIONING".to_owned(),
        18 => "TRUNCATE PARTITION p1".to_owned(),
        _ => return format!("TRUNCATE TABLE {table}"),
    };
    format!("ALTER TABLE {table} {change}")
}

fn kind(dice: &mut Dice) -> &'static str {
    const KINDS: [&str; 6] =
        ["INT", "BIGINT UNSIGNED", "VARCHAR(80)", "DATETIME(2)", "DOUBLE", "JSON"];
    KINDS[usize::try_from(dice.below(KINDS.len() as u64)).expect("below a length")]
}

/// Tables that change their names, or are made again.
fn swap(number: u64, dice: &mut Dice) -> Vec<String> {
    let table = format!("evolving_{number}");
    let other = format!("evolving_{}", (number + 1) % EVOLVING);
    match dice.below(3) {
        0 => vec![format!("DROP TABLE IF EXISTS {table}"), create(number)],
        1 => vec![format!(
            "RENAME TABLE {table} TO swap_{number}, {other} TO {table}, swap_{number} TO {other}"
        )],
        _ => vec![
            format!("ALTER TABLE {table} RENAME TO away_{number}"),
            format!("ALTER TABLE away_{number} RENAME AS {table}"),
        ],
    }
}

/// Changes as the tools make them that keep a table in use meanwhile.
fn online(number: u64, dice: &mut Dice) -> Vec<String> {
    let table = format!("evolving_{number}");
    let (extra, kind) = (format!("extra_{}", dice.below(3)), kind(dice));
    if dice.one_in(2) { as_gh_ost(&table, &extra, kind) } else { as_pt_osc(&table, &extra, kind) }
}

/// gh-ost: a ghost that is filled in pieces, with REPLACE for what comes meanwhile, and takes the name
/// at the end; a table beside tells how far it is.
fn as_gh_ost(table: &str, extra: &str, kind: &str) -> Vec<String> {
    let (ghost, log, old) =
        (format!("_{table}_gho"), format!("_{table}_ghc"), format!("_{table}_del"));
    let columns = "id, a, b";
    vec![
        format!("DROP TABLE IF EXISTS {ghost}, {log}, {old}"),
        format!(
            "CREATE TABLE {log} (id INT AUTO_INCREMENT PRIMARY KEY, hint VARCHAR(64), value VARCHAR(99))"
        ),
        format!("CREATE TABLE {ghost} LIKE {table}"),
        format!("ALTER TABLE {ghost} ADD COLUMN {extra} {kind} NULL"),
        format!("INSERT INTO {log} (hint, value) VALUES ('state', 'GhostTableMigrated')"),
        format!(
            "INSERT IGNORE INTO {ghost} ({columns}) SELECT {columns} FROM {table} ORDER BY id LIMIT 100"
        ),
        format!(
            "REPLACE INTO {ghost} ({columns}) SELECT {columns} FROM {table} ORDER BY id DESC LIMIT 20"
        ),
        format!("DELETE FROM {ghost} ORDER BY id LIMIT 1"),
        format!("RENAME TABLE {table} TO {old}, {ghost} TO {table}"),
        format!("DROP TABLE IF EXISTS {log}, {old}"),
    ]
}

/// pt-online-schema-change: triggers write into the new table what others write into the old one.
fn as_pt_osc(table: &str, extra: &str, kind: &str) -> Vec<String> {
    let (new, old) = (format!("_{table}_new"), format!("_{table}_old"));
    let replace = format!("REPLACE INTO {new} (id, a, b) VALUES (NEW.id, NEW.a, NEW.b)");
    let delete = format!("DELETE IGNORE FROM {new} WHERE id <=> OLD.id");
    let drop_triggers =
        ["ins", "upd", "del"].map(|name| format!("DROP TRIGGER IF EXISTS pt_{table}_{name}"));
    let mut all = drop_triggers.to_vec();
    all.extend([
        format!("DROP TABLE IF EXISTS {new}, {old}"),
        format!("CREATE TABLE {new} LIKE {table}"),
        format!("ALTER TABLE {new} ADD COLUMN {extra} {kind} NULL"),
        format!("CREATE TRIGGER pt_{table}_del AFTER DELETE ON {table} FOR EACH ROW {delete}"),
        format!(
            "CREATE TRIGGER pt_{table}_upd AFTER UPDATE ON {table} FOR EACH ROW \
             BEGIN {delete}; {replace}; END"
        ),
        format!("CREATE TRIGGER pt_{table}_ins AFTER INSERT ON {table} FOR EACH ROW {replace}"),
        format!(
            "INSERT LOW_PRIORITY IGNORE INTO {new} (id, a, b) SELECT id, a, b FROM {table} LIMIT 200"
        ),
        format!("RENAME TABLE {table} TO {old}, {new} TO {table}"),
    ]);
    all.extend(drop_triggers);
    all.push(format!("DROP TABLE IF EXISTS {old}"));
    all
}

/// What is rare: a table made from a query, views, and a table that nobody sees.
fn odd(number: u64, dice: &mut Dice) -> Vec<String> {
    let table = format!("evolving_{number}");
    match dice.below(3) {
        0 => vec![
            format!("DROP TABLE IF EXISTS made_{number}"),
            format!("CREATE TABLE made_{number} AS SELECT id, a, b, c FROM {table} LIMIT 50"),
            format!("UPDATE made_{number} SET a = 1 LIMIT 3"),
        ],
        1 => vec![
            format!("CREATE OR REPLACE VIEW seen_{number} AS SELECT id FROM {table}"),
            format!("DROP VIEW seen_{number}"),
        ],
        _ => vec![
            format!("CREATE TEMPORARY TABLE passing_{number} AS SELECT id FROM {table} LIMIT 5"),
            format!("INSERT INTO {table} (a) SELECT 5 FROM passing_{number}"),
            format!("DROP TEMPORARY TABLE passing_{number}"),
        ],
    }
}
