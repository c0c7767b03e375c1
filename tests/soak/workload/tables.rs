//! The tables.

use crate::plan::{Plan, Source};

/// Statements that make them.
pub(super) fn all(plan: &Plan) -> Vec<String> {
    // MariaDB keeps JSON as text, and has vectors from 11.7 only; MySQL has them from 9.0 on.
    let bytes = match (plan.source, plan.release) {
        (Source::Gtid | Source::Position, "") => "j JSON, vec VECTOR(5)",
        (Source::Gtid | Source::Position, _) => "j JSON",
        (Source::Mariadb, _) => "j LONGTEXT",
    };
    let mut all: Vec<String> = FIXED.iter().map(|text| (*text).to_owned()).collect();
    all.push(format!(
        "CREATE TABLE bytes (id BIGINT AUTO_INCREMENT PRIMARY KEY, b BINARY(8), \
         v VARBINARY(300), bl BLOB, {bytes})"
    ));
    all.extend((0..super::ddl::EVOLVING).map(super::ddl::create));
    if plan.rate > 0 {
        all.extend(super::paced::table());
    }
    all
}

/// Tables whose columns stay as they are.
const FIXED: &[&str] = &[
    "CREATE TABLE marker (id BIGINT PRIMARY KEY)",
    "CREATE TABLE plain (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200), c DECIMAL(20,6), d DATETIME(3)
    )",
    "CREATE TABLE numbers (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT,
        m MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED,
        d DECIMAL(65,30), f FLOAT, g DOUBLE, bits BIT(13), y YEAR
    )",
    "CREATE TABLE moments (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, d DATE, t TIME(6), dt DATETIME(6),
        ts TIMESTAMP(6) NULL, plain_ts TIMESTAMP NULL
    )",
    "CREATE TABLE texts (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, c CHAR(20), v VARCHAR(400), l TEXT CHARACTER SET latin1,
        m MEDIUMTEXT, e ENUM('red', 'green', 'blue'), s SET('a', 'b', 'c', 'd')
    )",
    "CREATE TABLE places (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, g POINT)",
    "CREATE TABLE composite (
        a INT, b VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, v INT, PRIMARY KEY (a, b)
    )",
    "CREATE TABLE heap (
        a INT, b VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, d DOUBLE, x VARBINARY(20)
    )",
    "CREATE TABLE computed (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, twice BIGINT AS (a * 2) STORED,
        next BIGINT AS (a + 1) VIRTUAL, hidden INT DEFAULT 5 INVISIBLE
    )",
    "CREATE TABLE `odd \"name'é` (`the id` BIGINT AUTO_INCREMENT PRIMARY KEY, `a.b` INT)",
];

/// Written row by row and by itself: `mysqlbinlog` reads no further in a transaction than to the first
/// value of a spatial type.
pub(super) const ALONE: &str = "`places`";

/// Names of tables that take part in transactions, quoted.
pub(super) fn names() -> Vec<String> {
    let fixed = ["plain", "numbers", "moments", "texts", "bytes", "composite", "heap", "computed"];
    let mut all: Vec<String> = fixed.iter().map(|name| format!("`{name}`")).collect();
    all.push("`odd \"name'é`".to_owned());
    all.extend((0..super::ddl::EVOLVING).map(|number| format!("`evolving_{number}`")));
    all
}
