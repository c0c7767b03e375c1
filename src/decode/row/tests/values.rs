use super::*;

fn expect(column: &WireColumn<'_>, bytes: &[u8], expected: Owned) {
    assert_eq!(read(column, bytes), Ok(expected), "type {} {:?}", column.wire_type, column.meta);
    // The same, cut short, is an error.
    for len in 0..bytes.len() {
        let plan = ColumnPlan::new(column).expect("a valid column");
        let cut = plan.reader.read(&bytes[..len], &mut 0, &mut Vec::new());
        assert!(matches!(cut, Err(CellError::Short { .. })), "{len} bytes: {cut:?}");
    }
}

#[test]
fn integers_keep_their_sign() {
    for (wire_type, bytes, signed, unsigned) in [
        (1, &[0x80][..], -128, 128),
        (2, &[0xff, 0xff], -1, 65_535),
        (9, &[0xff, 0xff, 0xff], -1, 16_777_215),
        (9, &[0, 0, 0x80], -8_388_608, 8_388_608),
        (9, &[0xff, 0xff, 0x7f], 8_388_607, 8_388_607),
        (3, &[0, 0, 0, 0x80], -2_147_483_648, 2_147_483_648),
        (8, &[0xff; 8], -1, u64::MAX),
    ] {
        let column = column(wire_type, &[]);
        expect(&column, bytes, Owned::Int(signed));
        expect(&WireColumn { unsigned: true, ..column }, bytes, Owned::UInt(unsigned));
    }
}

#[test]
fn floats_bits_and_years_read_as_stored() {
    expect(&column(4, &[4]), &[0, 0, 192, 191], Owned::Float(-1.5));
    expect(&column(5, &[8]), &[154, 153, 153, 153, 153, 153, 185, 63], Owned::Double(0.1));
    expect(&column(16, &[1, 0]), &[1], Owned::UInt(1));
    expect(&column(16, &[4, 1]), &[15, 255], Owned::UInt(4_095));
    expect(&column(16, &[0, 8]), &[255; 8], Owned::UInt(u64::MAX));
    for (bits, bytes) in [([1, 0], &[2][..]), ([4, 1], &[16, 0]), ([7, 0], &[128])] {
        let wide = read(&column(16, &bits), bytes);
        assert!(matches!(wide, Err(CellError::OutOfRange { what: "BIT", .. })), "{wide:?}");
    }
    expect(&column(13, &[]), &[0], Owned::Int(0));
    expect(&column(13, &[]), &[255], Owned::Int(2_155));
}

#[test]
fn decimals_print_every_digit_of_their_scale() {
    let longest = [
        122, 10, 31, 0, 196, 101, 54, 0, 196, 101, 54, 0, 196, 101, 54, 0, 196, 101, 54, 0, 196,
        101, 54, 0, 196, 101, 54, 0, 252, 24,
    ];
    let nines = format!("-{}.{}", "9".repeat(35), "9".repeat(30));
    for (precision, scale, bytes, expected) in [
        (65, 30, &longest[..], nines.as_str()),
        (5, 2, &[127, 255, 205], "-0.50"),
        (5, 2, &[128, 123, 45], "123.45"),
        (30, 30, &[128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "0.000000000000000000000000000001"),
        (10, 0, &[129, 13, 251, 56, 210], "1234567890"),
        (10, 0, &[127, 255, 255, 255, 254], "-1"),
        (10, 0, &[128, 0, 0, 0, 0], "0"),
    ] {
        expect(&column(246, &[precision, scale]), bytes, text(expected));
    }
    let damaged = read(&column(246, &[9, 0]), &[0xff; 4]);
    assert!(matches!(damaged, Err(CellError::OutOfRange { .. })), "{damaged:?}");
}

#[test]
fn times_borrow_their_negative_fraction() {
    for (digits, bytes, expected) in [
        (0, &[75, 145, 5][..], "-838:59:59"),
        (0, &[128, 0, 0], "00:00:00"),
        (1, &[127, 255, 255, 246], "-00:00:00.1"),
        (2, &[127, 255, 255, 157], "-00:00:00.99"),
        (3, &[127, 239, 255, 255, 136], "-01:00:00.012"),
        (4, &[180, 110, 250, 39, 15], "838:59:58.9999"),
        (6, &[127, 255, 255, 255, 255, 255], "-00:00:00.000001"),
        (6, &[127, 255, 255, 0, 0, 0], "-00:00:01.000000"),
    ] {
        expect(&column(19, &[digits]), bytes, text(expected));
    }
}

#[test]
fn dates_may_be_zero_or_partial() {
    for (wire_type, bytes, expected) in [
        (10, &[116, 213, 15], "2026-11-20"),
        (14, &[0, 212, 15], "2026-00-00"),
        (10, &[0, 0, 0], "0000-00-00"),
    ] {
        expect(&column(wire_type, &[]), bytes, text(expected));
    }
    for (digits, bytes, expected) in [
        (0, &[128, 0, 0, 0, 0][..], "0000-00-00 00:00:00"),
        (0, &[254, 243, 255, 126, 251], "9999-12-31 23:59:59"),
        (1, &[153, 187, 105, 67, 0, 10], "2026-11-20 20:12:00.1"),
        (3, &[153, 187, 65, 67, 0, 0, 120], "2026-11-00 20:12:00.012"),
        (6, &[153, 187, 105, 67, 0, 0, 0, 1], "2026-11-20 20:12:00.000001"),
    ] {
        expect(&column(18, &[digits]), bytes, text(expected));
    }
    let damaged = read(&column(10, &[]), &[0xff; 3]);
    assert!(matches!(damaged, Err(CellError::OutOfRange { .. })), "{damaged:?}");
}

#[test]
fn timestamps_are_in_utc_and_zero_is_the_zero_date() {
    for (digits, bytes, expected) in [
        (0, &[0, 0, 0, 0][..], "0000-00-00 00:00:00"),
        (0, &[127, 255, 255, 255], "2038-01-19 03:14:07"),
        (3, &[101, 225, 26, 127, 19, 136], "2024-02-29 23:59:59.500"),
        (6, &[0, 0, 0, 0, 0, 0, 0], "0000-00-00 00:00:00.000000"),
    ] {
        expect(&column(17, &[digits]), bytes, text(expected));
    }
}

#[test]
fn temporals_of_before_5_6_read_too() {
    let datetime = 99_991_231_235_959_u64.to_le_bytes();
    expect(&column(12, &[]), &datetime, text("9999-12-31 23:59:59"));
    expect(&column(12, &[]), &[0; 8], text("0000-00-00 00:00:00"));
    expect(&column(11, &[]), &(-8_385_959_i32).to_le_bytes()[..3], text("-838:59:59"));
    expect(&column(11, &[]), &[0; 3], text("00:00:00"));
    expect(&column(7, &[]), &1_i32.to_le_bytes(), text("1970-01-01 00:00:01"));
    expect(&column(7, &[]), &[0; 4], text("0000-00-00 00:00:00"));
}

#[test]
fn strings_read_by_their_length_and_collation() {
    let bytes = |bytes: &[u8]| Owned::Bytes(bytes.to_vec());
    for (column, stored, expected) in [
        (text_column(15, &[255, 0], UTF8MB4), &[2, 0xc3, 0xa9][..], text("é")),
        (text_column(15, &[44, 1], LATIN1), &[1, 0, 0xe9], text("é")),
        (text_column(15, &[10, 0], BINARY), &[1, 0], bytes(&[0])),
        (text_column(15, &[10, 0], UTF8MB4), &[1, 0xff], Owned::Malformed(vec![0xff])),
        // No collation told: text if it can be.
        (text_column(15, &[10, 0], 0), &[2, 0xc3, 0xa9], text("é")),
        (text_column(15, &[10, 0], 0), &[1, 0xe9], Owned::Malformed(vec![0xe9])),
        // A collation that nobody knows: never guessed at.
        (text_column(15, &[10, 0], 9_999), &[1, b'a'], Owned::Malformed(vec![b'a'])),
        // CHAR(255) of four-byte characters: 1,020 bytes, so two of length.
        (text_column(254, &[206, 252], UTF8MB4), &[2, 0, 0xc3, 0xa9], text("é")),
        (text_column(254, &[254, 40], UTF8MB4), &[2, b'a', b'b'], text("ab")),
        (text_column(252, &[2], UTF8MB4), &[3, 0, b'a', b'b', b' '], text("ab ")),
        (text_column(252, &[4], BINARY), &[1, 0, 0, 0, 9], bytes(&[9])),
    ] {
        expect(&column, stored, expected);
    }
}

#[test]
fn binary_gets_its_trailing_zeros_back() {
    let column = text_column(254, &[254, 4], BINARY);
    expect(&column, &[1, 1], Owned::Bytes(vec![1, 0, 0, 0]));
    expect(&column, &[0], Owned::Bytes(vec![0; 4]));
    expect(&column, &[4, 1, 2, 3, 4], Owned::Bytes(vec![1, 2, 3, 4]));
}

#[test]
fn enums_and_sets_read_as_labels() {
    let told = |meta: [u8; 2], members| WireColumn { members, ..text_column(254, &meta, LATIN1) };
    let labels: &[&[u8]] = &[b"a", b"\xe9", b"c"];
    let (an_enum, a_set) = (told([247, 1], Some(labels)), told([248, 1], Some(labels)));
    expect(&an_enum, &[2], text("é"));
    expect(&an_enum, &[0], text(""));
    expect(&an_enum, &[4], Owned::UInt(4));
    expect(&a_set, &[0b110], text("é,c"));
    expect(&a_set, &[0], text(""));
    expect(&a_set, &[0b1001], Owned::UInt(9));
    expect(&told([247, 2], None), &[1, 1], Owned::UInt(257));
    expect(&told([248, 8], None), &[255; 8], Owned::UInt(u64::MAX));

    let odd: &[&[u8]] = &[b"ok", b"\xff"];
    let column = WireColumn { members: Some(odd), ..text_column(254, &[247, 1], UTF8MB4) };
    expect(&column, &[2], Owned::Malformed(vec![0xff]));
    let members = ColumnPlan::new(&column).expect("a valid column").members();
    assert_eq!(members, ["ok", "\\xff"]);
}

#[test]
fn values_with_a_length_in_front_read_as_stored() {
    expect(&column(255, &[4]), &[3, 0, 0, 0, 1, 2, 3], Owned::Bytes(vec![1, 2, 3]));
    expect(&column(242, &[4]), &[4, 0, 0, 0, 0, 0, 128, 63], Owned::Vector(vec![0, 0, 128, 63]));
    expect(&column(245, &[4]), &[3, 0, 0, 0, 5, 7, 0], Owned::Json("7".into()));
    expect(&column(245, &[4]), &[0, 0, 0, 0], Owned::Json("null".into()));
    let odd = read(&column(242, &[4]), &[1, 0, 0, 0, 0]);
    assert!(matches!(odd, Err(CellError::Unexpected { found: 1, .. })), "{odd:?}");
}

#[test]
fn compressed_columns_of_mariadb_are_unpacked() {
    let column = text_column(140, &[2], UTF8MB4);
    expect(&column, &[0, 0], text(""));
    expect(&column, &[4, 0, 0, b'a', b'b', b'c'], text("abc"));
    // zlib's stored block: 3 bytes and their Adler-32.
    let stream = [0x78, 0x01, 1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c', 0x02, 0x4d, 0x01, 0x27];
    let packed = |len: u8| [&[16, 0, 0x81, len], &stream[..]].concat();
    expect(&column, &packed(3), text("abc"));
    for lying in [2, 4] {
        let found = read(&column, &packed(lying));
        assert!(matches!(found, Err(CellError::OutOfRange { .. })), "{found:?}");
    }
    let unknown = read(&column, &[1, 0, 0x20]);
    assert!(matches!(unknown, Err(CellError::Unexpected { found: 2, .. })), "{unknown:?}");
}

#[test]
fn impossible_columns_are_refused() {
    for column in [
        column(0, &[]),
        column(20, &[]),
        column(246, &[66, 0]),
        column(246, &[5, 6]),
        column(16, &[8, 0]),
        column(16, &[1, 8]),
        column(16, &[0, 0]),
        column(17, &[7]),
        column(252, &[5]),
        column(252, &[0]),
        column(254, &[247, 3]),
        column(254, &[248, 9]),
    ] {
        assert!(ColumnPlan::new(&column).is_err(), "{column:?}");
    }
}

#[test]
fn types_read_as_in_ddl() {
    let labels: &[&[u8]] = &[b"a", b"it's"];
    for (column, expected) in [
        (column(1, &[]), "tinyint"),
        (column(2, &[]), "smallint"),
        (WireColumn { unsigned: true, ..column(9, &[]) }, "mediumint unsigned"),
        (column(3, &[]), "int"),
        (column(8, &[]), "bigint"),
        (column(4, &[4]), "float"),
        (column(5, &[8]), "double"),
        (column(13, &[]), "year"),
        (column(10, &[]), "date"),
        // Of servers before 5.6.4, and with avoid_temporal_upgrade.
        (column(7, &[]), "timestamp"),
        (column(11, &[]), "time"),
        (column(12, &[]), "datetime"),
        (column(19, &[2]), "time(2)"),
        (column(246, &[10, 2]), "decimal(10,2)"),
        (column(16, &[4, 1]), "bit(12)"),
        (column(18, &[0]), "datetime"),
        (column(17, &[6]), "timestamp(6)"),
        (text_column(15, &[64, 1], UTF8MB4), "varchar(80)"),
        (text_column(15, &[64, 1], BINARY), "varbinary(320)"),
        (text_column(254, &[206, 252], UTF8MB4), "char(255)"),
        (text_column(254, &[254, 16], BINARY), "binary(16)"),
        (text_column(252, &[3], LATIN1), "mediumtext"),
        (text_column(252, &[4], BINARY), "longblob"),
        (text_column(141, &[45, 1], LATIN1), "varchar(300) compressed"),
        (WireColumn { members: Some(labels), ..column(254, &[247, 1]) }, "enum('a','it''s')"),
        (column(254, &[248, 1]), "set"),
        (column(245, &[4]), "json"),
    ] {
        let plan = ColumnPlan::new(&column).expect("a valid column");
        assert_eq!(plan.mysql_type(), expected);
    }
}
