//! Tables: the types of their columns, values, and how the binary log writes them.

/// A column's type, as far as the model needs any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    U64,
    I64,
    U32,
    I8,
    /// At most so many bytes.
    VarChar(u16),
    Char(u8),
    Binary(u8),
    Datetime6,
    LongText,
    Text,
    /// Never in a row's image, as a column that the server leaves out.
    Absent,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Null,
    Int(i128),
    Bytes(Vec<u8>),
    /// Microseconds since 1970 UTC.
    Time(i64),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    pub(crate) fn int(&self) -> i128 {
        match self {
            Self::Int(value) => *value,
            Self::Bytes(bytes) => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
            }
            Self::Null | Self::Time(_) => 0,
        }
    }

    pub(crate) fn as_text(&self) -> String {
        self.shown().map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// As a server sends it in an answer; `None` is NULL.
    pub(crate) fn shown(&self) -> Option<Vec<u8>> {
        match self {
            Self::Null => None,
            Self::Int(value) => Some(value.to_string().into_bytes()),
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Time(us) => Some(us.to_string().into_bytes()),
        }
    }
}

/// The values of a row, in the order of its table's columns.
pub(crate) type Row = Vec<Value>;

/// A table, as it was made.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) id: u64,
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<(String, Type)>,
    /// So many of the first columns are the key.
    pub(crate) key: usize,
}

impl Definition {
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| column == name)
    }

    pub(crate) fn key_of(&self, row: &[Value]) -> Vec<Value> {
        row[..self.key].to_vec()
    }

    /// The body of its table map.
    pub(crate) fn table_map(&self) -> Vec<u8> {
        let mut body = self.id.to_le_bytes()[..6].to_vec();
        body.extend([1, 0]);
        for name in [self.schema, self.name] {
            body.push(short(name.len()));
            body.extend(name.as_bytes());
            body.push(0);
        }
        body.push(short(self.columns.len()));
        body.extend(self.columns.iter().map(|(_, kind)| kind.wire()));
        let meta: Vec<u8> = self.columns.iter().flat_map(|(_, kind)| kind.meta()).collect();
        body.push(short(meta.len()));
        body.extend(meta);
        body.extend(vec![0; self.columns.len().div_ceil(8)]);
        // Signs, the character set of all, names, and the key.
        let numeric = self.columns.iter().filter(|(_, kind)| kind.is_numeric());
        let mut signs = Vec::new();
        for (index, (_, kind)) in numeric.enumerate() {
            if index % 8 == 0 {
                signs.push(0);
            }
            if matches!(kind, Type::U64 | Type::U32) {
                *signs.last_mut().expect("just pushed") |= 0x80 >> (index % 8);
            }
        }
        let mut field = |kind: u8, value: Vec<u8>| {
            body.push(kind);
            put_length(value.len(), &mut body);
            body.extend(value);
        };
        if !signs.is_empty() {
            field(1, signs);
        }
        // utf8mb4_bin of all, but binary of those that are.
        let mut charsets = vec![46];
        let texts = self.columns.iter().filter(|(_, kind)| kind.is_text());
        for (index, (_, kind)) in texts.enumerate() {
            if matches!(kind, Type::Binary(_)) {
                charsets.extend([short(index), 63]);
            }
        }
        field(2, charsets);
        let mut names = Vec::new();
        for (name, _) in &self.columns {
            put_length(name.len(), &mut names);
            names.extend(name.as_bytes());
        }
        field(4, names);
        field(8, (0..self.key).map(short).collect());
        body
    }

    /// Which columns are in an image.
    pub(crate) fn present(&self) -> Vec<u8> {
        let mut bitmap = vec![0; self.columns.len().div_ceil(8)];
        for (index, (_, kind)) in self.columns.iter().enumerate() {
            if *kind != Type::Absent {
                bitmap[index / 8] |= 1 << (index % 8);
            }
        }
        bitmap
    }

    /// A row's image.
    pub(crate) fn image(&self, row: &[Value]) -> Vec<u8> {
        let there = self.columns.iter().zip(row).filter(|((_, kind), _)| *kind != Type::Absent);
        let (mut nulls, mut cells) = (Vec::new(), Vec::new());
        for (index, ((_, kind), value)) in there.enumerate() {
            if index % 8 == 0 {
                nulls.push(0);
            }
            if *value == Value::Null {
                *nulls.last_mut().expect("just pushed") |= 1 << (index % 8);
            } else {
                kind.put(value, &mut cells);
            }
        }
        [nulls, cells].concat()
    }
}

fn short(length: usize) -> u8 {
    u8::try_from(length).ok().filter(|length| *length < 251).expect("a short one")
}

pub(crate) fn put_length(length: usize, into: &mut Vec<u8>) {
    match length {
        0..=250 => into.push(u8::try_from(length).expect("checked")),
        _ => {
            into.push(0xfc);
            into.extend(u16::try_from(length).expect("short").to_le_bytes());
        }
    }
}

impl Type {
    fn is_numeric(self) -> bool {
        matches!(self, Self::U64 | Self::I64 | Self::U32 | Self::I8 | Self::Absent)
    }

    fn is_text(self) -> bool {
        !self.is_numeric() && self != Self::Datetime6
    }

    fn wire(self) -> u8 {
        match self {
            Self::U64 | Self::I64 => 8,
            Self::U32 | Self::Absent => 3,
            Self::I8 => 1,
            Self::VarChar(_) => 15,
            Self::Char(_) | Self::Binary(_) => 254,
            Self::Datetime6 => 18,
            Self::LongText | Self::Text => 252,
        }
    }

    fn meta(self) -> Vec<u8> {
        match self {
            Self::U64 | Self::I64 | Self::U32 | Self::I8 | Self::Absent => Vec::new(),
            Self::VarChar(most) => most.to_le_bytes().to_vec(),
            Self::Char(most) | Self::Binary(most) => vec![254, most],
            Self::Datetime6 => vec![6],
            Self::LongText => vec![4],
            Self::Text => vec![2],
        }
    }

    fn put(self, value: &Value, into: &mut Vec<u8>) {
        let number = value.int();
        let bytes = || value.shown().unwrap_or_default();
        match self {
            Self::U64 | Self::I64 => into.extend(&number.to_le_bytes()[..8]),
            Self::U32 | Self::Absent => into.extend(&number.to_le_bytes()[..4]),
            Self::I8 => into.push(number.to_le_bytes()[0]),
            Self::VarChar(256..) | Self::Text => prefixed(2, &bytes(), into),
            Self::VarChar(_) | Self::Char(_) | Self::Binary(_) => prefixed(1, &bytes(), into),
            Self::LongText => prefixed(4, &bytes(), into),
            Self::Datetime6 => {
                let Value::Time(us) = value else { panic!("{value:?} is no time") };
                into.extend(datetime(*us));
            }
        }
    }
}

fn prefixed(width: usize, bytes: &[u8], into: &mut Vec<u8>) {
    into.extend(&bytes.len().to_le_bytes()[..width]);
    into.extend(bytes);
}

/// DATETIME(6), packed: MySQL's `my_time.cc`.
fn datetime(us: i64) -> Vec<u8> {
    use chrono::{Datelike, Timelike};
    let time = chrono::DateTime::from_timestamp_micros(us).expect("of this age");
    let day = (i64::from(time.year()) * 13 + i64::from(time.month())) << 5 | i64::from(time.day());
    let clock =
        i64::from(time.hour()) << 12 | i64::from(time.minute()) << 6 | i64::from(time.second());
    let packed = ((day << 17) | clock) + 0x80_0000_0000;
    let mut bytes = packed.to_be_bytes()[3..].to_vec();
    bytes.extend(&time.timestamp_subsec_micros().to_be_bytes()[1..]);
    bytes
}
