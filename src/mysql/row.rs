//! Answers to statements.

use mysql_common::value::Value;

use super::Error;
use crate::excerpt::excerpt;

/// One row of an answer. Columns count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    pub(in crate::mysql) fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The column as the driver gives it; NULL when there is no such column.
    pub fn value(&self, column: usize) -> &Value {
        self.0.get(column).unwrap_or(&Value::NULL)
    }

    /// Number of columns.
    #[expect(clippy::len_without_is_empty, reason = "every row has a column")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As text; `None` for NULL. Bytes that are not UTF-8 are replaced: fit for names and
    /// variables, not for users' data.
    pub fn text(&self, column: usize) -> Option<String> {
        match self.value(column) {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::UInt(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Double(number) => Some(number.to_string()),
            other @ (Value::Date(..) | Value::Time(..)) => Some(other.as_sql(true)),
        }
    }

    /// As text that goes into messages and logs: see [`excerpt`].
    pub fn excerpt(&self, column: usize) -> Option<String> {
        self.text(column).map(|text| excerpt(&text))
    }

    /// As an unsigned number; `None` for NULL.
    pub fn unsigned(&self, column: usize) -> Result<Option<u64>, Error> {
        self.parse(column, "an unsigned number")
    }

    /// As a signed number; `None` for NULL.
    pub fn signed(&self, column: usize) -> Result<Option<i64>, Error> {
        self.parse(column, "a number")
    }

    fn parse<T: std::str::FromStr>(
        &self,
        column: usize,
        expected: &'static str,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(column) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::Unexpected { column, found: excerpt(&text), expected }),
        }
    }
}

/// Rows, and the names of their columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names, in the order of the columns.
    pub(super) names: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// The column of this name, in any case of letters, as text; `None` for NULL and for columns that
    /// are not there.
    pub fn text(&self, row: usize, name: &str) -> Option<String> {
        let column = self.names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        self.rows.get(row)?.text(column)
    }

    /// A table of texts, for tests.
    #[cfg(test)]
    pub(crate) fn of_texts<const N: usize>(names: &[&str; N], rows: &[[&str; N]]) -> Self {
        let bytes = |text: &&str| Value::Bytes(text.as_bytes().to_vec());
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows.iter().map(|row| Row(row.iter().map(bytes).collect())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Value};

    #[test]
    fn columns_are_read_whether_they_came_as_text_or_as_numbers() {
        let row = Row::new(vec![Value::Bytes(b"12".to_vec()), Value::Int(-3), Value::NULL]);
        assert_eq!(row.unsigned(0).expect("a number"), Some(12));
        assert_eq!(row.signed(1).expect("a number"), Some(-3));
        assert!(row.unsigned(1).is_err());
        assert_eq!(row.text(2), None);
        assert_eq!(row.text(7), None);
    }
}
