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
    let table = format!("evolving_{number}");
    let extra = format!("extra_{}", dice.below(3));
    let kinds = ["INT", "BIGINT UNSIGNED", "VARCHAR(80)", "DATETIME(2)", "DOUBLE", "JSON"];
    let kind = dice.pick(&kinds);
    let one = match dice.below(14) {
        0 => format!("ALTER TABLE {table} ADD COLUMN {extra} {kind} NULL, ALGORITHM = INSTANT"),
        1 => format!("ALTER TABLE {table} ADD COLUMN {extra} {kind} NULL FIRST"),
        2 => format!("ALTER TABLE {table} ADD COLUMN {extra} INT NOT NULL DEFAULT 7 AFTER a"),
        3 | 4 => format!("ALTER TABLE {table} DROP COLUMN {extra}"),
        5 => format!("ALTER TABLE {table} RENAME COLUMN {extra} TO extra_{}", dice.below(3)),
        6 => format!("ALTER TABLE {table} MODIFY COLUMN b VARCHAR(50) AFTER id"),
        7 => format!("ALTER TABLE {table} MODIFY COLUMN a BIGINT"),
        8 => format!("ALTER TABLE {table} MODIFY COLUMN d BIGINT UNSIGNED AFTER c"),
        9 => format!("ALTER TABLE {table} ADD INDEX (a), MODIFY COLUMN c DECIMAL(20,4)"),
        10 => format!("TRUNCATE TABLE {table}"),
        11 => {
            return vec![format!("DROP TABLE IF EXISTS {table}"), create(number)];
        }
        // As gh-ost and pt-online-schema-change end: a new table takes the old one's name.
        12 => {
            let ghost = format!("_ghost_{number}");
            return vec![
                format!("DROP TABLE IF EXISTS {ghost}, {ghost}_old"),
                format!("CREATE TABLE {ghost} LIKE {table}"),
                format!("ALTER TABLE {ghost} ADD COLUMN {extra} {kind} NULL"),
                format!("INSERT INTO {ghost} (id, a, b) SELECT id, a, b FROM {table} LIMIT 200"),
                format!("RENAME TABLE {table} TO {ghost}_old, {ghost} TO {table}"),
                format!("DROP TABLE {ghost}_old"),
            ];
        }
        _ => {
            let other = (number + 1) % EVOLVING;
            format!(
                "RENAME TABLE {table} TO swap_{number}, evolving_{other} TO {table}, \
                 swap_{number} TO evolving_{other}"
            )
        }
    };
    vec![one]
}
