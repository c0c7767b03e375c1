//! Table ids.

use std::collections::{BTreeMap, BTreeSet};

use binpulse_demo::Error;

use crate::stage::{Figures, Setup, Stage};

const TABLES: usize = 12;

/// A server counts its table ids again when it is restarted, and gives a table another one whenever
/// it is opened again.
pub(super) async fn a_table_id_that_comes_again_is_another_table(
    _whole: bool,
) -> Result<Figures, Error> {
    let mut stage = Stage::start(Setup::default()).await?;
    let create = (0..TABLES).map(|table| {
        let odd = ["v INT", "v VARCHAR(9), w DATE", "u BIGINT, v CHAR(3)"][table % 3];
        format!("CREATE TABLE big.t{table} (id INT AUTO_INCREMENT PRIMARY KEY, {odd})")
    });
    stage.mysqld.execute(&create.collect::<Vec<_>>()).await?;
    let insert = |table: usize| format!("INSERT INTO big.t{table} (v) VALUES ('{}')", table % 10);
    for round in 0..3 {
        if round > 0 {
            stage.mysqld.stop().await?;
            stage.mysqld.start_again().await?;
        }
        // In another order each time.
        let tables = (0..TABLES).map(|at| (at * (2 * round + 1) + round) % TABLES);
        let mut statements: Vec<_> = tables.map(insert).collect();
        // And after DDL, within one life of the server.
        statements
            .push("ALTER TABLE big.t0 ADD COLUMN (`c` INT DEFAULT 7), RENAME TO big.x".into());
        statements.push("ALTER TABLE big.t1 RENAME TO big.t0".into());
        statements.push("ALTER TABLE big.x RENAME TO big.t1".into());
        statements.push("FLUSH TABLES".into());
        statements.extend([0, 1].map(insert));
        if round > 0 {
            // The names were swapped back and forth: columns of the same name can't be added twice.
            statements.retain(|statement| !statement.contains("ADD COLUMN"));
            statements.retain(|statement| !statement.contains("RENAME"));
        }
        stage.mysqld.execute(&statements).await?;
    }
    stage.catch_up().await?;
    for table in 2..TABLES {
        let name = format!("t{table}");
        stage.compare("big", &name, &format!("SELECT * FROM big.{name}")).await?;
    }
    let shared = ids_of_several_tables(&stage)?;
    if shared == 0 {
        return crate::wrong("no table id came again");
    }
    stage.end(format!("{shared} ids meant several tables")).await
}

/// How many table ids stand for more than one table in the source's logs.
fn ids_of_several_tables(stage: &Stage) -> Result<usize, Error> {
    let mut tables: BTreeMap<u64, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let failed = |error: std::io::Error| Error::Message(error.to_string());
    for entry in std::fs::read_dir(stage.mysqld.data()).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_log = path.file_stem().is_some_and(|stem| stem == "binlog")
            && path.extension().is_some_and(|digits| digits != "index");
        if !is_log {
            continue;
        }
        let file = std::fs::read(&path).map_err(failed)?;
        let mut at = 4;
        while let Some(header) = file.get(at..at + 19) {
            let length = u32::from_le_bytes([header[9], header[10], header[11], header[12]]);
            if header[4] == 19 {
                let body = &file[at + 19..];
                let mut id = [0; 8];
                id[..6].copy_from_slice(&body[..6]);
                // Database and name, with their lengths, from byte 8 on.
                let database = usize::from(body[8]);
                let name = usize::from(body[8 + database + 2]);
                let names = body[8..8 + database + 2 + 1 + name].to_vec();
                tables.entry(u64::from_le_bytes(id)).or_default().insert(names);
            }
            at += usize::try_from(length).expect("32 bits").max(19);
        }
    }
    Ok(tables.values().filter(|names| names.len() > 1).count())
}
