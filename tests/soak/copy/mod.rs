//! The copy: an empty server of the same version to which what was received is applied, statements
//! and rows in the order of their places, so that its tables can be compared with the source's.

mod literal;
mod parts;
mod writer;

use binpulse::encode::proto::SchemaChange;
use binpulse_demo::{Error, Mysqld, Options, Server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use self::parts::Parts;
use self::writer::Writer;
use crate::collect::{Received, Row, number_of};
use crate::service::session;
use crate::truth::Truth;
use crate::workload::DATABASE;

/// One thing to apply.
enum Step<'a> {
    Statement(&'a SchemaChange),
    /// In this lane, under this number.
    Row((u64, &'a str), u64, &'a Row),
}

/// Makes the copy; what could not be applied is told in words.
pub(crate) async fn make(
    server: &Server,
    received: &Received,
    truth: &Truth,
) -> Result<(Mysqld, Vec<String>), Error> {
    let mysqld = Mysqld::start(server, Options { binlog: false, ..Options::default() }).await?;
    let mut session = session(mysqld.port()).await?;
    session
        .query_drop(
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', NAMES utf8mb4, \
             autocommit = 0",
        )
        .await?;
    session.query_drop(format!("CREATE DATABASE IF NOT EXISTS {DATABASE}")).await?;
    let mut writer = Writer::new(session);
    let mut parts = Parts::new(received);
    for (_, step) in steps(received, truth) {
        match step {
            Step::Row(lane, number, row) => {
                parts.before_row(&mut writer, lane, number).await?;
                writer.row(row).await?;
            }
            Step::Statement(change) => {
                writer.flush().await?;
                parts.before_statement(&mut writer).await?;
                statement(&mut writer, change).await?;
            }
        }
    }
    parts.at_the_end(&mut writer).await?;
    let wrong = writer.finish().await?;
    Ok((mysqld, wrong))
}

/// By transaction and number. What a statement made comes behind it. Of an update that became two rows
/// the delete comes first.
fn steps<'a>(received: &'a Received, truth: &Truth) -> Vec<((u32, u64, bool), Step<'a>)> {
    let rows = received.lanes.iter().flat_map(|((epoch, name), lane)| {
        lane.rows.iter().map(move |(number, row)| ((*epoch, name.as_str()), *number, row))
    });
    let rows =
        rows.filter(|(.., row)| row.schema.database == DATABASE).map(|(lane, number, row)| {
            let order = truth.order(&truth.name_of_origin(&row.origin));
            ((order, row.number, row.op == 1), Step::Row(lane, number, row))
        });
    let statements = received.statements.values().filter(|change| change.database == DATABASE);
    let statements = statements.map(|change| {
        let position = change.position.clone().unwrap_or_default();
        let place = (number_of(&position.file), position.offset);
        let order = truth.order(&truth.name_of(&change.gtid, place));
        ((order, 0, false), Step::Statement(change))
    });
    let mut steps: Vec<_> = statements.chain(rows).collect();
    // Stable: a statement stands before the rows of its transaction.
    steps.sort_by_key(|(at, _)| *at);
    steps
}

async fn statement(writer: &mut Writer, change: &SchemaChange) -> Result<(), Error> {
    let text = &change.statement;
    let upper = text.trim_start().to_ascii_uppercase();
    // What triggers do is among the rows; here they would do it again.
    if upper.starts_with("CREATE DATABASE") || upper.contains(" TRIGGER ") {
        return Ok(());
    }
    // A table made from a query: the rows come by themselves.
    let text = text.strip_suffix(" START TRANSACTION").unwrap_or(text);
    let session: &mut Conn = writer.session();
    session.query_drop(format!("USE {DATABASE}")).await?;
    if let Err(error) = session.query_drop(text).await {
        writer.wrong(&format!("{text}: {error}"));
    }
    writer.schema_changed();
    Ok(())
}
