use super::*;

/// INT, VARCHAR(10), JSON.
fn plans() -> Vec<ColumnPlan> {
    [column(3, &[]), text_column(15, &[40, 0], UTF8MB4), column(245, &[4])]
        .iter()
        .map(|column| ColumnPlan::new(column).expect("a valid column"))
        .collect()
}

fn bitmap(bits: &[u8], len: usize) -> Bitmap<'_> {
    Bitmap::take(bits, &mut 0, len).expect("enough bytes")
}

/// `{"a": 1}`
const DOCUMENT: [u8; 13] = [0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a'];

fn json_cell(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("short").to_le_bytes();
    [&len[..], bytes].concat()
}

#[test]
fn an_image_holds_values_nulls_and_absences() {
    let image = [&[0b010][..], &[7, 0, 0, 0], &json_cell(&DOCUMENT)].concat();
    let (mut at, mut slots, mut scratch) = (0, Vec::new(), Vec::new());
    read_image(&plans(), bitmap(&[0b111], 3), &image, &mut at, &mut slots, &mut scratch)
        .expect("a sound image");
    let found = own_all(&slots, &image, &scratch);
    assert_eq!(found, [Owned::Int(7), Owned::Null, Owned::Json("{\"a\": 1}".into())]);
    assert_eq!(at, image.len());

    // Null bits count the columns that are present.
    let image = [0b01, 1, b'x'];
    let (mut at, mut slots) = (0, Vec::new());
    read_image(&plans(), bitmap(&[0b011], 3), &image, &mut at, &mut slots, &mut scratch)
        .expect("a sound image");
    assert_eq!(own_all(&slots, &image, &scratch), [Owned::Null, text("x"), Owned::Absent]);
    assert_eq!(at, image.len());
}

#[test]
fn an_error_names_the_column() {
    let image = [0, 7, 0, 0, 0, 5, b'x'];
    let read =
        read_image(&plans(), bitmap(&[0b111], 3), &image, &mut 0, &mut Vec::new(), &mut Vec::new());
    let error = read.expect_err("the string is cut short");
    assert_eq!(error.to_string(), "column 2: string needs 5 bytes, the event has 1 left");

    let read = read_image(
        &plans(),
        bitmap(&[0b1111], 4),
        &image,
        &mut 0,
        &mut Vec::new(),
        &mut Vec::new(),
    );
    let error = read.expect_err("four columns where the table has three");
    assert!(matches!(error, ImageError::Frame(_)), "{error}");
}

/// An after image whose JSON column is partial: `$.a` becomes 2.
fn partial_after() -> Vec<u8> {
    let diffs = [0, 3, b'$', b'.', b'a', 3, 5, 2, 0];
    [&[1, 0b1][..], &[0], &json_cell(&diffs)].concat()
}

fn read_partial(before: &[u8], before_present: u8) -> (Vec<Owned>, usize) {
    let event = [before, &partial_after()].concat();
    let (mut at, mut slots, mut scratch) = (before.len(), Vec::new(), Vec::new());
    let present = [before_present];
    let before = Before { present: bitmap(&present, 3), start: 0 };
    read_partial_image(
        &plans(),
        bitmap(&[0b100], 3),
        before,
        &event,
        &mut at,
        &mut slots,
        &mut scratch,
    )
    .expect("a sound image");
    assert_eq!(at, event.len());
    (own_all(&slots, &event, &scratch), at)
}

#[test]
fn a_partial_update_is_applied_to_the_before_image() {
    let before = [&[0][..], &[7, 0, 0, 0], &[1, b'x'], &json_cell(&DOCUMENT)].concat();
    let (found, _) = read_partial(&before, 0b111);
    assert_eq!(found, [Owned::Absent, Owned::Absent, Owned::Json("{\"a\": 2}".into())]);
}

#[test]
fn a_partial_update_without_its_before_image_is_passed_on() {
    let (found, _) = read_partial(&[0, 7, 0, 0, 0], 0b001);
    let diff = r#"[{"op": "replace", "path": "$.a", "value": 2}]"#;
    assert_eq!(found, [Owned::Absent, Owned::Absent, Owned::JsonDiff(diff.into())]);
}

#[test]
fn partial_bits_count_json_columns_that_are_absent() {
    // Two JSON columns, only the second is in the image, only its bit says partial.
    let plans: Vec<_> = [column(245, &[4]), column(3, &[]), column(245, &[4])]
        .iter()
        .map(|column| ColumnPlan::new(column).expect("a valid column"))
        .collect();
    let before = [&[0][..], &[7, 0, 0, 0]].concat();
    let diffs = [2, 3, b'$', b'.', b'a'];
    let event = [&before[..], &[1, 0b10], &[0], &json_cell(&diffs)].concat();
    let (mut at, mut slots, mut scratch) = (before.len(), Vec::new(), Vec::new());
    let old = Before { present: bitmap(&[0b010], 3), start: 0 };
    read_partial_image(&plans, bitmap(&[0b100], 3), old, &event, &mut at, &mut slots, &mut scratch)
        .expect("a sound image");
    let diff = r#"[{"op": "remove", "path": "$.a"}]"#;
    assert_eq!(own_all(&slots, &event, &scratch)[2], Owned::JsonDiff(diff.into()));
}

#[test]
fn bitmaps_count_only_their_own_bits() {
    for (bytes, bits, count) in [
        (&[0xff][..], 3, 3),
        (&[0xff, 0xff], 9, 9),
        (&[0xff, 0xff], 16, 16),
        (&[0x0f, 0x02], 10, 5),
        (&[], 0, 0),
    ] {
        assert_eq!(bitmap(bytes, bits).count(), count);
    }
    assert!(!bitmap(&[0xff], 3).get(3));
}
