//! A table as of one event: what TABLE_MAP says of it; and as its server's dictionary describes it,
//! for logs that do not tell.

use std::sync::Arc;

/// Family of a column's type: which [`Cell`](super::Cell) its values take, and how to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogicalType {
    /// TINYINT to BIGINT: `Cell::Int`, or `Cell::UInt` when unsigned.
    Integer,
    /// FLOAT: `Cell::Float`.
    Float,
    /// DOUBLE: `Cell::Double`.
    Double,
    /// DECIMAL: `Cell::Text`, all digits of its scale.
    Decimal,
    /// BIT(n): `Cell::UInt`.
    Bit,
    /// YEAR: `Cell::Int`, 0 or 1901 to 2155.
    Year,
    /// DATE: `Cell::Text`, `2026-11-20`, also `0000-00-00` and partial dates.
    Date,
    /// TIME(f): `Cell::Text`, `-838:59:59.000000` with f digits of fraction.
    Time,
    /// DATETIME(f): `Cell::Text`, `2026-11-20 20:12:00.123`, f digits of fraction.
    Datetime,
    /// TIMESTAMP(f): `Cell::Text` in UTC, the format of DATETIME.
    Timestamp,
    /// CHAR, VARCHAR, TEXT: `Cell::Text` or `Cell::Malformed`.
    Text,
    /// BINARY, VARBINARY, BLOB: `Cell::Bytes`.
    Binary,
    /// ENUM: `Cell::Text`, its label; without metadata `Cell::UInt`, its index.
    Enum,
    /// SET: `Cell::Text`, labels joined by commas; without metadata `Cell::UInt`, its bit mask.
    Set,
    /// JSON: `Cell::Json`, or `Cell::JsonDiff`.
    Json,
    /// Spatial types: `Cell::Bytes`, 4 bytes of SRID and WKB.
    Geometry,
    /// VECTOR: `Cell::Vector`.
    Vector,
}

/// One column, as of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name; `@1`, `@2` ... (ordinal from 1) when the binlog carries no names.
    pub name: String,
    /// Family of its type.
    pub logical_type: LogicalType,
    /// Type as MySQL writes it, as far as the binlog tells: `varchar(80)`, `int unsigned`; behind an
    /// integer of which nobody tells the sign stands [`Column::SIGN_UNTOLD`].
    pub mysql_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether an integer, decimal or float is unsigned.
    pub unsigned: bool,
    /// Collation id of character data, ENUM and SET; 0 when the binlog does not tell.
    pub collation: u16,
    /// Character set's name for `collation`, `utf8mb4`; empty when unknown or not character data.
    pub charset: &'static str,
    /// Labels of ENUM and SET in their order; empty when the binlog does not tell.
    pub members: Vec<String>,
    /// Whether `SELECT *` shows it (invisible columns, generated invisible primary keys).
    pub visible: bool,
}

impl Column {
    /// Behind the type of an integer that may be signed or unsigned: MySQL before 8.0, and MariaDB with
    /// `binlog_row_metadata=NO_LOG`, do not tell. Its values are read as signed.
    pub const SIGN_UNTOLD: &'static str = "/* sign not in the binlog */";

    /// Whether it is such an integer.
    pub fn has_untold_sign(&self) -> bool {
        self.mysql_type.ends_with(Self::SIGN_UNTOLD)
    }

    /// Whether it is text of which nobody tells the character set.
    pub fn has_untold_charset(&self) -> bool {
        self.logical_type == LogicalType::Text && self.collation == 0
    }
}

/// A table as of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Database it is in.
    pub database: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Columns in the table's order.
    pub columns: Vec<Column>,
    /// Ordinals (from 0) of the primary key's columns in the key's order; empty without a key, or
    /// when the binlog does not tell.
    pub primary_key: Vec<usize>,
    /// Whether the columns' names are known: from the binlog (`binlog_row_metadata=FULL`), or from a
    /// [`Description`](super::Description).
    pub named: bool,
    /// Hash of everything above: equal fingerprints mean equal schemas.
    pub fingerprint: u64,
    /// Set where each row is a message of an outbox, and not a change.
    pub outbox: Option<Arc<OutboxColumns>>,
}

/// Where the parts of a message are in the rows of an outbox table: ordinals of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxColumns {
    /// What names the message.
    pub id: usize,
    /// What it is about: messages of one aggregate stay in order.
    pub aggregate_id: usize,
    /// Its body.
    pub payload: usize,
    /// Kind of the aggregate.
    pub aggregate_type: Option<usize>,
    /// Kind of the message.
    pub event_type: Option<usize>,
    /// A JSON object of attributes.
    pub headers: Option<usize>,
    /// Columns that become attributes, with the attributes' names.
    pub attributes: Vec<(String, usize)>,
}

/// What `information_schema` says of a table: as it was when it was asked, which is later than the
/// events that it is needed for. The decoder holds it against the log.
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
