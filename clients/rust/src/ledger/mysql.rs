//! The driver `mysql_async`.

use mysql_async::prelude::Queryable;
use mysql_async::{
    BinaryProtocol, Conn, DriverError, Error, FromRowError, Params, QueryResult, Row, Transaction,
    Value,
};

use super::{Answer, Sql, SqlValue};

impl Sql for Conn {
    type Error = Error;

    async fn run(&mut self, sql: &str, values: &[SqlValue<'_>]) -> Result<Answer, Error> {
        answer(self.exec_iter(sql, params(values)).await?).await
    }
}

impl Sql for Transaction<'_> {
    type Error = Error;

    async fn run(&mut self, sql: &str, values: &[SqlValue<'_>]) -> Result<Answer, Error> {
        answer(self.exec_iter(sql, params(values)).await?).await
    }
}

fn params(values: &[SqlValue<'_>]) -> Params {
    let value = |value: &SqlValue<'_>| match value {
        SqlValue::Number(number) => Value::from(*number),
        SqlValue::Text(text) => Value::from(*text),
    };
    Params::Positional(values.iter().map(value).collect())
}

async fn answer(mut result: QueryResult<'_, '_, BinaryProtocol>) -> Result<Answer, Error> {
    let row: Option<Row> = if result.is_empty() { None } else { result.next().await? };
    let row = row.map(mysql_async::from_row_opt).transpose();
    let row = row.map_err(|FromRowError(row)| DriverError::FromRow { row });
    let changed = result.affected_rows();
    result.drop_result().await?;
    Ok(Answer { row: row?, changed })
}
