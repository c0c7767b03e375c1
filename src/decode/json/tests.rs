use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// The server's binary form of `value`: its type and its bytes.
fn encode(value: &Json, large: bool) -> (u8, Vec<u8>) {
    match value {
        Json::Null => (4, vec![0]),
        Json::Bool(value) => (4, vec![2 - u8::from(*value)]),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => (9, value.to_le_bytes().to_vec()),
            (_, Some(value), _) => (10, value.to_le_bytes().to_vec()),
            (_, _, value) => (11, value.expect("a number").to_le_bytes().to_vec()),
        },
        Json::String(text) => {
            let mut bytes = length(text.len());
            bytes.extend_from_slice(text.as_bytes());
            (12, bytes)
        }
        Json::Array(cells) => {
            let cells: Vec<_> = cells.iter().map(|cell| encode(cell, large)).collect();
            (if large { 3 } else { 2 }, container(&[], &cells, large))
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| (key.len(), key.as_bytes().to_vec()));
            let keys: Vec<_> = members.iter().map(|(key, _)| key.as_bytes()).collect();
            let cells: Vec<_> = members.iter().map(|(_, cell)| encode(cell, large)).collect();
            (u8::from(large), container(&keys, &cells, large))
        }
    }
}

fn container(keys: &[&[u8]], cells: &[(u8, Vec<u8>)], large: bool) -> Vec<u8> {
    let number = |value: usize| {
        let bytes = u32::try_from(value).expect("small enough").to_le_bytes();
        bytes[..if large { 4 } else { 2 }].to_vec()
    };
    let width = if large { 4 } else { 2 };
    let mut offset = 2 * width + keys.len() * (width + 2) + cells.len() * (width + 1);
    let (mut entries, mut body) = (Vec::new(), Vec::new());
    for key in keys {
        entries.extend(number(offset));
        entries.extend(u16::try_from(key.len()).expect("a short key").to_le_bytes());
        body.extend_from_slice(key);
        offset += key.len();
    }
    for (kind, bytes) in cells {
        entries.push(*kind);
        if *kind == 4 {
            entries.extend(number(bytes[0].into()));
            continue;
        }
        entries.extend(number(offset));
        body.extend_from_slice(bytes);
        offset += bytes.len();
    }
    [number(cells.len()), number(offset), entries, body].concat()
}

fn length(mut len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(len & 0x7f).expect("masked");
        len >>= 7;
        bytes.push(if len > 0 { low | 0x80 } else { low });
        if len == 0 {
            return bytes;
        }
    }
}

fn document(value: &Json, large: bool) -> Vec<u8> {
    let (kind, bytes) = encode(value, large);
    [vec![kind], bytes].concat()
}

fn text(binary: &[u8]) -> Result<String, JsonError> {
    let mut out = Vec::new();
    write_text(binary, &mut out)?;
    Ok(String::from_utf8(out).expect("JSON text is UTF-8"))
}

/// One change as the server writes it.
fn diff(op: u8, path: &str, value: Option<&Json>) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let value = value.map_or(Vec::new(), |value| sized(&document(value, false)));
    [vec![op], sized(path.as_bytes()), value].concat()
}

#[test]
fn a_document_reads_as_the_server_prints_it() {
    // As MySQL 9.7 writes {"b": [1, 2.5, "x"], "a": 1, "bb": true, "c": null}.
    let captured: &[u8] = &[
        0, 4, 0, 60, 0, 32, 0, 1, 0, 33, 0, 1, 0, 34, 0, 1, 0, 35, 0, 2, 0, 5, 1, 0, 2, 37, 0, 4,
        0, 0, 4, 1, 0, 97, 98, 99, 98, 98, 3, 0, 23, 0, 5, 1, 0, 11, 13, 0, 12, 21, 0, 0, 0, 0, 0,
        0, 0, 4, 64, 1, 120,
    ];
    assert_eq!(
        text(captured).as_deref(),
        Ok(r#"{"a": 1, "b": [1, 2.5, "x"], "c": null, "bb": true}"#)
    );
}

#[test]
fn strings_of_every_length_are_read_whole() {
    for length in [0, 1, 127, 128, 129, 16_383, 16_384, 16_385, 2_097_151, 2_097_152] {
        let value = Json::String("x".repeat(length));
        let read = text(&document(&value, true)).expect("text");
        let quoted = value.to_string();
        assert!(read == quoted, "{length}: {} bytes", read.len());
    }
    // Five bytes of length hold 35 bits, and no more follow.
    let of = |length: &[u8]| text(&[&[12], length].concat()).expect_err("no string has it");
    assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x7f]), JsonError::Length);
    assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0xff, 1]), JsonError::Length);
    assert!(matches!(of(&[0xff, 0xff]), JsonError::Short { len: 2, .. }));
}

#[test]
fn every_character_is_escaped_as_json_wants_it() {
    for code in (0..0x250).chain([0x2028, 0xffff, 0x1_f600]) {
        let value = Json::String(char::from_u32(code).expect("a character").into());
        let read = text(&document(&value, false)).expect("text");
        assert_eq!(read, value.to_string(), "U+{code:04X}");
    }
}

#[test]
fn values_that_json_lacks_read_as_the_server_prints_them() {
    // As MySQL 9.7 writes json_array(date'2026-11-20', time'-00:00:00.000001',
    // timestamp'2026-11-20 20:12:00.25', -1.50, x'00ff').
    let captured: &[u8] = &[
        2, 5, 0, 59, 0, 15, 19, 0, 15, 29, 0, 15, 39, 0, 15, 49, 0, 15, 55, 0, 10, 8, 0, 0, 0, 0,
        0, 104, 187, 25, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 12, 8, 144, 208, 3, 0, 67,
        105, 187, 25, 246, 4, 3, 2, 126, 205, 15, 2, 0, 255,
    ];
    let expected = "[\"2026-11-20\", \"-00:00:00.000001\", \"2026-11-20 20:12:00.250000\", -1.50, \
                    \"base64:type15:AP8=\"]";
    assert_eq!(text(captured).as_deref(), Ok(expected));
}

#[test]
fn scalars_read_as_the_server_prints_them() {
    for (binary, expected) in [
        (&[][..], "null"),
        (&[4, 1], "true"),
        (&[5, 0xff, 0xff], "-1"),
        (&[6, 0xff, 0xff], "65535"),
        (&[7, 0, 0, 0, 0x80], "-2147483648"),
        (&[8, 0xff, 0xff, 0xff, 0xff], "4294967295"),
        (&[9, 0, 0, 0, 0, 0, 0, 0, 0x80], "-9223372036854775808"),
        (&[10, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"),
        (&[12, 8, b'"', b'\\', b'/', 8, 10, 0x1f, 0x7f, b'e'], "\"\\\"\\\\/\\b\\n\\u001f\u{7f}e\""),
        (&[15, 15, 2, 0, 255], "\"base64:type15:AP8=\""),
    ] {
        assert_eq!(text(binary).as_deref(), Ok(expected));
    }
    // A fraction of more than six digits.
    assert_eq!(
        text(&[15, 11, 8, 255, 255, 255, 0, 0, 0, 0, 0]),
        Err(JsonError::OutOfRange("TIME"))
    );
}

#[test]
fn doubles_read_as_the_server_prints_them() {
    for (value, expected) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (100_000.0, "100000.0"),
        (123_456_789_012_345.6, "123456789012345.6"),
        (1e14, "100000000000000.0"),
        (1e15, "1e15"),
        (1e20, "1e20"),
        (1.234_567_890_123_456_8e17, "1.2345678901234568e17"),
        (1.5e-7, "0.00000015"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
    ] {
        let binary = [&[11], &f64::to_le_bytes(value)[..]].concat();
        assert_eq!(text(&binary).as_deref(), Ok(expected));
    }
    let infinite = [&[11], &f64::INFINITY.to_le_bytes()[..]].concat();
    assert_eq!(text(&infinite), Err(JsonError::NotFinite));
}

#[test]
fn long_base64_is_broken_into_lines_as_the_server_does() {
    let binary = [&[15, 15, 58], &[b'b'; 58][..]].concat();
    let line = "YmJi".repeat(19);
    assert_eq!(text(&binary), Ok(format!("\"base64:type15:{line}\\nYg==\"")));
}

#[test]
fn nesting_ends_at_a_hundred_levels() {
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(text(&document(&nested(100), false)).is_ok());
    assert_eq!(text(&document(&nested(101), false)), Err(JsonError::TooDeep));
}

#[test]
fn a_document_whose_parts_overlap_is_refused_soon() {
    // Each array holds the next one twice: 2^90 values in 1 KiB.
    let mut inner = vec![0, 0, 4, 0];
    for _ in 0..90 {
        let size = u16::try_from(10 + inner.len()).expect("small");
        let [low, high] = size.to_le_bytes();
        inner = [&[2, 0, low, high, 2, 10, 0, 2, 10, 0], &inner[..]].concat();
    }
    let started = Instant::now();
    assert_eq!(text(&[&[2], &inner[..]].concat()), Err(JsonError::Overlap));
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn a_partial_update_gives_the_document_after() {
    let before = json!({"a": 1, "b": [1, 2], "key": {"q\"uote": null}});
    for (changes, expected) in [
        (vec![], r#"{"a": 1, "b": [1, 2], "key": {"q\"uote": null}}"#),
        (
            vec![diff(0, "$.a", Some(&json!("x")))],
            r#"{"a": "x", "b": [1, 2], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(1, "$.b[1]", Some(&json!([])))],
            r#"{"a": 1, "b": [1, [], 2], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(1, "$.b[9]", Some(&json!(3)))],
            r#"{"a": 1, "b": [1, 2, 3], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(1, "$.c", Some(&json!(true)))],
            r#"{"a": 1, "b": [1, 2], "c": true, "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(2, "$.b[0]", None), diff(2, "$.a", None)],
            r#"{"b": [2], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(0, r#"$.key."q\"uote""#, Some(&json!(5)))],
            r#"{"a": 1, "b": [1, 2], "key": {"q\"uote": 5}}"#,
        ),
        (
            vec![diff(0, "$.a[0]", Some(&json!(7)))],
            r#"{"a": 7, "b": [1, 2], "key": {"q\"uote": null}}"#,
        ),
        (vec![diff(0, "$", Some(&json!(0)))], "0"),
        (
            vec![diff(0, "$.b[last]", Some(&json!(7))), diff(0, "$.a[last]", Some(&json!(8)))],
            r#"{"a": 8, "b": [1, 7], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(1, "$.b[last]", Some(&json!(7))), diff(1, "$.b[last-9]", Some(&json!(0)))],
            r#"{"a": 1, "b": [0, 1, 7, 2], "key": {"q\"uote": null}}"#,
        ),
        (
            vec![diff(2, "$[last].b[last-1]", None), diff(2, "$.b[last]", None)],
            r#"{"a": 1, "b": [], "key": {"q\"uote": null}}"#,
        ),
    ] {
        for large in [false, true] {
            let mut out = Vec::new();
            apply(&document(&before, large), &changes.concat(), &mut out).expect(expected);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }
}

#[test]
fn a_partial_update_that_does_not_fit_is_refused() {
    let before = document(&json!({"a": 1, "b": [1]}), false);
    for (change, expected) in [
        (diff(0, "$.x", Some(&json!(1))), JsonError::NoSuchPath),
        (diff(1, "$.a", Some(&json!(1))), JsonError::NoSuchPath),
        (diff(2, "$.b[1]", None), JsonError::NoSuchPath),
        (diff(2, "$", None), JsonError::NoSuchPath),
        (diff(0, "$.a.b", Some(&json!(1))), JsonError::NoSuchPath),
        (diff(0, "a", Some(&json!(1))), JsonError::Path),
        (diff(0, "$.*", Some(&json!(1))), JsonError::Path),
        (diff(0, "$.b[last-1]", Some(&json!(1))), JsonError::NoSuchPath),
        (diff(2, "$.b[last-1]", None), JsonError::NoSuchPath),
        (diff(0, "$.a[last-1]", Some(&json!(1))), JsonError::NoSuchPath),
        (diff(0, "$.b[x]", Some(&json!(1))), JsonError::Path),
        (vec![3, 1, b'$'], JsonError::Unknown { what: "operation of a partial update", found: 3 }),
    ] {
        assert_eq!(apply(&before, &change, &mut Vec::new()), Err(expected), "{change:?}");
    }
}

#[test]
fn a_partial_update_reads_as_a_list_of_changes() {
    let changes = [diff(0, "$.a", Some(&json!([1]))), diff(2, r#"$."b c""#, None)].concat();
    let mut out = Vec::new();
    write_diffs(&changes, &mut out).expect("sound changes");
    let expected = r#"[{"op": "replace", "path": "$.a", "value": [1]}, {"op": "remove", "path": "$.\"b c\""}]"#;
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        // serde_json may miss others by their last bits; they have a property of their own.
        any::<i32>().prop_map(|value| Json::from(f64::from(value) / 16.0)),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..8)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_reads_back(value in any_json(), large in any::<bool>()) {
        let found = text(&document(&value, large)).expect("a sound document");
        let parsed: Json = serde_json::from_str(&found).expect("valid JSON");
        prop_assert_eq!(parsed, value);
    }

    #[test]
    fn every_double_reads_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let found = text(&[&[11], &value.to_le_bytes()[..]].concat()).expect("a finite double");
        prop_assert_eq!(found.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{}", found);
        prop_assert!(found.contains(['.', 'e']));
    }

    #[test]
    fn damaged_documents_never_panic(
        value in any_json(),
        large in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut binary = document(&value, large);
        for (place, byte) in damage {
            let place = place.index(binary.len());
            binary[place] = byte;
        }
        binary.truncate(cut.index(binary.len()) + 1);
        let mut out = Vec::new();
        if write_text(&binary, &mut out).is_ok() {
            prop_assert!(std::str::from_utf8(&out).is_ok());
            prop_assert!(out.len() <= 64 * (binary.len() + 1));
        }
    }

    #[test]
    fn random_bytes_never_panic(
        binary in proptest::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..200),
        diffs in proptest::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..200),
    ) {
        let mut out = Vec::new();
        if write_text(&binary, &mut out).is_ok() {
            prop_assert!(out.len() <= 64 * (binary.len() + 1));
        }
        let _: Result<(), JsonError> = write_diffs(&diffs, &mut Vec::new());
        let _: Result<(), JsonError> = apply(&binary, &diffs, &mut Vec::new());
    }
}
