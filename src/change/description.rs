//! A table as its server's dictionary describes it, for logs that do not tell.

/// What `information_schema` says of a table: as it was when it was asked, which is later than the
/// events that it is needed for. [`Decoder`](crate::decode::Decoder) holds it against the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Columns in the table's order.
    pub columns: Vec<ColumnDescription>,
    /// Ordinals (from 0) of the primary key's columns in the key's order; empty without a key. `None`
    /// when the server's answers about it contradict each other.
    pub primary_key: Option<Vec<usize>>,
    /// When the server last created or rebuilt the table (`CREATE_TIME`), seconds since 1970 UTC, by
    /// the server's clock; `None` when it does not tell.
    pub changed_at: Option<i64>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its type as DDL has it: `int(10) unsigned`, `enum('a','b')`.
    pub column_type: String,
    /// Most bytes of a string (`CHARACTER_OCTET_LENGTH`); `None` for what is not a string.
    pub octets: Option<u64>,
    /// Collation id of character data, ENUM and SET; `None` for what has none, binary strings too. An id that is
    /// not known leaves the values bytes.
    pub collation: Option<u16>,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether `SELECT *` shows it.
    pub visible: bool,
}
