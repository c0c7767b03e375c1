//! Types and values at their edges.

/// How the server is asked for a value, and how the answer compares to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A whole number.
    Number,
    /// FLOAT and DOUBLE: equal as numbers.
    Float,
    /// Text, compared in UTF-8.
    Text,
    /// Bytes as stored.
    Bytes,
}

impl Shown {
    /// The expression that shows column `c`.
    pub(super) fn select(self) -> &'static str {
        match self {
            Self::Number => "c + 0",
            Self::Float => "c + 0e0",
            Self::Text => "HEX(CAST(c AS CHAR CHARACTER SET utf8mb4))",
            Self::Bytes => "HEX(c)",
        }
    }

    /// A row's answer, as cells are shown.
    pub(super) fn expected(self, answer: Option<String>) -> String {
        match (self, answer) {
            (_, None) => super::NULL.into(),
            (Self::Number, Some(number)) => number,
            (Self::Float, Some(number)) => {
                number.parse::<f64>().expect("a number of the server").to_string()
            }
            (Self::Text, Some(hex)) => format!("text {hex}"),
            (Self::Bytes, Some(hex)) => format!("bytes {hex}"),
        }
    }
}

/// One column type with values for it.
pub(super) struct Case {
    pub(super) ddl: String,
    pub(super) values: Vec<String>,
    pub(super) shown: Shown,
    /// Reads right only with what `binlog_row_metadata` tells: signs, collations, labels.
    pub(super) told: bool,
}

fn case<V: ToString>(ddl: &str, shown: Shown, values: impl IntoIterator<Item = V>) -> Case {
    let values = values.into_iter().map(|value| value.to_string()).collect();
    Case { ddl: ddl.into(), values, shown, told: false }
}

fn told(case: Case) -> Case {
    Case { told: true, ..case }
}

fn quoted<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    values.into_iter().map(|value| format!("'{value}'")).collect()
}

/// Types of every server.
pub(super) fn common() -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(decimals());
    cases.extend(temporals());
    cases.extend(strings());
    cases
}

fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bits) in
        [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)]
    {
        let (min, max) = (-(1_i128 << (bits - 1)), (1_i128 << bits) - 1);
        cases.push(case(name, Shown::Number, [min, min + 1, -1, 0, 1, max / 2]));
        cases.push(told(case(
            &format!("{name} UNSIGNED"),
            Shown::Number,
            [0, 1, max / 2 + 1, max],
        )));
    }
    for bits in [1, 7, 8, 9, 16, 31, 33, 63, 64] {
        let max = (1_u128 << bits) - 1;
        cases.push(case(&format!("BIT({bits})"), Shown::Number, [0, 1, max / 2, max]));
    }
    cases.push(case("YEAR", Shown::Number, [0, 1901, 1970, 2155]));
    let floats = ["0", "-1.5", "0.1", "16777217", "3.4028234e38", "1.17549435e-38", "1e-45"];
    cases.push(case("FLOAT", Shown::Float, floats));
    cases.push(case("FLOAT(7,3)", Shown::Float, ["1.234", "-9999.999"]));
    let doubles = [
        "0",
        "0.1",
        "1.7976931348623157e308",
        "-2.2250738585072014e-308",
        "5e-324",
        "123456789.123456789",
    ];
    cases.push(case("DOUBLE", Shown::Float, doubles));
    cases
}

fn decimals() -> Vec<Case> {
    let sizes = [
        (65, 30),
        (65, 0),
        (30, 30),
        (1, 0),
        (1, 1),
        (9, 9),
        (10, 9),
        (18, 9),
        (19, 10),
        (5, 2),
        (27, 13),
        (38, 19),
        (14, 4),
        (9, 0),
        (10, 0),
    ];
    let case_of = |(precision, scale): (usize, usize)| {
        let whole = precision - scale;
        let point = |whole: String, fraction: String| {
            let whole = if whole.is_empty() { "0".into() } else { whole };
            if scale == 0 { whole } else { format!("{whole}.{fraction}") }
        };
        let most = point("9".repeat(whole), "9".repeat(scale));
        let least = point(String::new(), format!("{:0>scale$}", 1));
        let round = point(format!("{:0<whole$}", 1), "0".repeat(scale));
        let round = if whole == 0 { least.clone() } else { round };
        let signed = [&most, &least, &round].map(|value| format!("-{value}"));
        let values = [most, least, round, "0".into()].into_iter().chain(signed);
        case(&format!("DECIMAL({precision},{scale})"), Shown::Text, values)
    };
    sizes.into_iter().map(case_of).collect()
}

fn temporals() -> Vec<Case> {
    let dates = [
        "0000-00-00",
        "0000-00-01",
        "2026-00-00",
        "2026-11-00",
        "0001-01-01",
        "1000-01-01",
        "2023-02-31",
        "2024-02-29",
        "9999-12-31",
    ];
    let times = [
        "00:00:00",
        "-00:00:00.000001",
        "-00:00:00.1",
        "-00:00:01",
        "-00:00:01.5",
        "-838:59:59",
        "838:59:59",
        "838:59:58.999999",
        "-838:59:58.000001",
        "12:34:56.123456",
        "-12:34:56.654321",
        "-00:59:59.99",
        "-00:00:59.9",
        "-01:00:00.01",
        "-00:00:00.99",
    ];
    let moments = [
        "2026-11-20 20:12:00.123456",
        "9999-12-31 23:59:59",
        "0000-00-00 10:11:12",
        "2000-01-01 00:00:00.000001",
    ];
    let stamps = [
        "0000-00-00 00:00:00",
        "1970-01-01 00:00:01",
        "2038-01-19 03:14:07",
        "2026-11-20 20:12:00.123456",
        "2024-02-29 23:59:59.9",
        "2000-03-01 00:00:00",
        "1999-12-31 12:00:00",
    ];
    let mut cases = vec![case("DATE", Shown::Text, quoted(dates))];
    for digits in 0..=6 {
        cases.push(case(&format!("TIME({digits})"), Shown::Text, quoted(times)));
        let datetimes = quoted(dates.into_iter().chain(moments));
        cases.push(case(&format!("DATETIME({digits})"), Shown::Text, datetimes));
        cases.push(case(&format!("TIMESTAMP({digits}) NULL"), Shown::Text, quoted(stamps)));
    }
    cases
}

fn strings() -> Vec<Case> {
    let texts = ["''", "'a'", "'a  '", "'grüße'", "REPEAT('x', 255)", "REPEAT('é', 64)"];
    let blobs = ["''", "x'00'", "x'0001FF00'", "REPEAT(x'FF', 255)"];
    let members =
        |count: usize| (0..count).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(",");
    let mut cases = Vec::new();
    for name in [
        "VARCHAR(255)",
        "VARCHAR(10000)",
        "CHAR(255)",
        "TINYTEXT",
        "TEXT",
        "MEDIUMTEXT",
        "LONGTEXT",
    ] {
        cases.push(case(name, Shown::Text, texts));
    }
    cases.push(case("VARCHAR(63)", Shown::Text, ["''", "'abc'"]));
    cases.push(case("MEDIUMTEXT", Shown::Text, ["REPEAT('ab', 50000)"]));
    for name in [
        "VARBINARY(255)",
        "VARBINARY(300)",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "BINARY(255)",
    ] {
        cases.push(told(case(name, Shown::Bytes, blobs)));
    }
    let padded = [
        "''",
        "x'00'",
        "x'0102030000'",
        "REPEAT(x'FF', 16)",
        "x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00'",
    ];
    cases.push(told(case("BINARY(16)", Shown::Bytes, padded)));
    cases.push(told(case("CHAR(200) CHARACTER SET latin1", Shown::Text, ["'é€ÿ'", "x'8190'"])));
    cases.push(told(case("ENUM('a','bé','it''s')", Shown::Text, ["'a'", "'bé'", "'it''s'", "0"])));
    cases.push(told(case(
        &format!("ENUM({})", members(300)),
        Shown::Text,
        ["'m0'", "'m255'", "'m299'"],
    )));
    cases.push(told(case("SET('x','yé','z')", Shown::Text, ["''", "'x'", "'x,yé,z'"])));
    let full = ["'m0'", "'m63'", "'m0,m31,m32,m63'", "18446744073709551615"];
    cases.push(told(case(&format!("SET({})", members(64)), Shown::Text, full)));
    cases.push(told(case("ENUM('é','ñ') CHARACTER SET latin1", Shown::Text, ["'ñ'"])));
    cases.push(told(case("SET('あ','い') CHARACTER SET sjis", Shown::Text, ["'あ,い'"])));
    cases
}

/// Spatial types; `function` makes a geometry of text.
pub(super) fn spatial(function: &str) -> Vec<Case> {
    let shapes = [
        ("POINT", "POINT(1 2)"),
        ("LINESTRING", "LINESTRING(0 0,1 1,2 2)"),
        ("POLYGON", "POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 2,1 1))"),
        ("MULTIPOINT", "MULTIPOINT(0 0,20 20)"),
        ("MULTILINESTRING", "MULTILINESTRING((0 0,1 1),(2 2,3 3))"),
        ("MULTIPOLYGON", "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))"),
        ("GEOMETRYCOLLECTION", "GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))"),
    ];
    let mut cases = Vec::new();
    for (name, text) in shapes {
        let values = [format!("{function}('{text}')"), format!("{function}('{text}', 4326)")];
        cases.push(case(name, Shown::Bytes, values.clone()));
        cases.push(case("GEOMETRY", Shown::Bytes, values));
    }
    cases
}

/// VECTOR of MySQL 9.
pub(super) fn vectors() -> Vec<Case> {
    let long = "STRING_TO_VECTOR(CONCAT('[1', REPEAT(',2.5', 2047), ']'))";
    vec![
        case("VECTOR(3)", Shown::Bytes, ["STRING_TO_VECTOR('[1,-0.5,1e30]')"]),
        case("VECTOR(2048)", Shown::Bytes, [long]),
    ]
}

/// MariaDB's own types.
pub(super) fn maria() -> Vec<Case> {
    let texts = ["''", "'abc'", "REPEAT('abc', 90)", "REPEAT('é', 200)"];
    vec![
        case("VARCHAR(300) COMPRESSED", Shown::Text, texts),
        case("TEXT COMPRESSED", Shown::Text, texts.into_iter().chain(["REPEAT('é', 20000)"])),
        case("TEXT COMPRESSED CHARACTER SET latin1", Shown::Text, ["REPEAT('é', 2000)"]),
        case("BLOB COMPRESSED", Shown::Bytes, ["''", "x'00'", "REPEAT(x'00', 60000)"]),
    ]
}

/// JSON of MySQL 5.7 and later. 5.7 prints whole doubles and long binary values in its own way; those
/// are for `later`.
pub(super) fn json(later: bool) -> Case {
    let mut values: Vec<String> = [
        "null",
        "true",
        "0",
        "-1",
        "32768",
        "-32769",
        "65536",
        "2147483648",
        "-2147483649",
        "4294967296",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "0.1",
        "1e20",
        "1e-7",
        "1.5e300",
        "1e15",
        "123456789012345.6",
        "1e-15",
        "1e-16",
        "0.00012",
        r#""""#,
        r#""é😀\\u0000\\u001f\\"\\\\\\b\\n\\u007f""#,
        "[]",
        "{}",
        r#"{"":1}"#,
        r#"{"a":1,"b":[1,2.5,"x"],"long key":{"é":null},"bb":true,"aa":false}"#,
        r#"[1,65536,2147483648,-40000,1.5,null,"s",[],{}]"#,
    ]
    .map(|text| format!("'{text}'"))
    .into();
    values.push(format!("'{}1{}'", "[".repeat(99), "]".repeat(99)));
    values.push(format!("'{}1{}'", r#"{"a":"#.repeat(99), "}".repeat(99)));
    values.extend([127, 128, 16_384].map(|length| format!("JSON_QUOTE(REPEAT('x', {length}))")));
    values.push("CAST(CONCAT('[', REPEAT('12345,', 20000), '1]') AS JSON)".into());
    values.push("CAST(CONCAT('{', REPEAT('\"k\":\"v\",', 3), '\"z\":\"', REPEAT('w', 70000), '\"}') AS JSON)".into());
    values.push(
        "JSON_ARRAY(DATE'2026-01-01', CAST('-10:11:12.5' AS TIME(1)), CAST('-838:59:59' AS TIME), \
         TIMESTAMP'9999-12-31 23:59:59.999999', 1.50, -0.5, -1234567890.123456789, b'1', x'00ff')"
            .into(),
    );
    if later {
        values.extend(["1.0", "-0.0", "1e14", "[1e5, 100.0]"].map(|text| format!("'{text}'")));
        values.push(
            "JSON_ARRAY(CAST(REPEAT('a', 200) AS BINARY), CAST(REPEAT('b', 57) AS BINARY))".into(),
        );
    }
    case("JSON", Shown::Text, values)
}
