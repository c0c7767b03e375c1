//! Wide tables.

use binpulse_demo::Error;

use crate::stage::{Figures, Setup, Stage};

pub(super) async fn tables_of_200_and_of_4096_columns_arrive_whole(
    whole: bool,
) -> Result<Figures, Error> {
    let mut stage = Stage::start(Setup::default()).await?;
    let rows = if whole { 512 } else { 32 };
    // InnoDB ends at 1,017 columns; MyISAM has MySQL's own limit of 4,096.
    for (table, columns, engine) in
        [("w200", 200_usize, "InnoDB"), ("w1017", 1_017, "InnoDB"), ("w4096", 4_096, "MyISAM")]
    {
        let types = ["INT", "VARCHAR(5) NOT NULL DEFAULT 'x'", "BIGINT UNSIGNED", "DATE"];
        let narrow = ["TINYINT", "CHAR(1)", "SMALLINT UNSIGNED", "TINYINT UNSIGNED"];
        let types = if columns > 1_000 { narrow } else { types };
        let columns: Vec<String> =
            (1..columns).map(|at| format!("`column {at:04}` {}", types[at % 4])).collect();
        let create = format!(
            "CREATE TABLE big.{table} (id INT PRIMARY KEY, {}) ENGINE={engine}",
            columns.join(", ")
        );
        let mut statements = vec![create];
        for id in 0..rows {
            // Each row has some columns, the others have their defaults.
            let some: Vec<usize> = (0..columns.len()).filter(|at| (at + id) % 7 == 0).collect();
            let names: Vec<_> = some.iter().map(|at| format!("`column {:04}`", at + 1)).collect();
            let values = some.iter().map(|at| match (at + 1) % 4 {
                3 if columns.len() < 1_000 => "'2026-11-20'".to_owned(),
                1 => "'7'".to_owned(),
                _ => ((at + id) % 100).to_string(),
            });
            let values: Vec<_> = values.collect();
            statements.push(format!(
                "INSERT INTO big.{table} (id, {}) VALUES ({id}, {})",
                names.join(","),
                values.join(",")
            ));
        }
        statements.push(format!("UPDATE big.{table} SET `column 0100` = '5' WHERE id % 2 = 0"));
        stage.mysqld.execute(&statements).await?;
    }
    stage.catch_up().await?;
    for table in ["w200", "w1017", "w4096"] {
        stage.compare("big", table, &format!("SELECT * FROM big.{table}")).await?;
    }
    stage.end("200, 1,017 and 4,096 columns").await
}
