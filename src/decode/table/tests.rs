//! Questions for what the log does not tell, and their answers.

use crate::change::{ColumnDescription, Description, Op, Position};
use crate::decode::tests::{begin, event, format, insert, query, table_map};
use crate::decode::{Agreement, Answer, Config, Decoder, Fault, Misfit, Step, kind};

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Config { asks_for_schemas: true, ..Config::default() });
    decoder.start_at(Position::new("log.000001", 4));
    pass(&mut decoder, &format());
    decoder
}

/// Feeds an event of which nothing is asked.
fn pass(decoder: &mut Decoder, event: &[u8]) {
    let mut steps = decoder.feed(event).expect("an event");
    while steps.next().expect("a step").is_some() {}
}

/// The table of `table_map`: one column, TINYINT NULL.
fn description(name: &str, column_type: &str) -> Description {
    Description {
        columns: vec![ColumnDescription {
            name: name.into(),
            column_type: column_type.into(),
            octets: None,
            collation: None,
            nullable: true,
            visible: true,
        }],
        primary_key: Some(vec![]),
        changed_at: Some(1_699_999_999),
    }
}

/// Begins a transaction with rows of a table, and asks for them: the table that is asked for, how the
/// answer agrees, and what the first row looks like.
fn rows(decoder: &mut Decoder, answer: Answer<'_>) -> (Option<String>, Option<Agreement>, String) {
    if !decoder.in_transaction() {
        begin(decoder);
    }
    pass(decoder, &table_map("t"));
    let event = insert(&[200], 1);
    let mut steps = decoder.feed(&event).expect("rows");
    let (mut asked, mut agreement) = (None, None);
    let mut shown = String::new();
    loop {
        match steps.next() {
            Ok(None) => return (asked, agreement, shown),
            Ok(Some(Step::Rows(mut rows))) => {
                assert_eq!(rows.op(), Op::Insert);
                let name = rows.table().columns[0].name.clone();
                shown = match rows.next() {
                    Ok(row) => {
                        let image = row.expect("a row").after.expect("an image");
                        format!("{name} {:?}", image.cells().next().expect("a cell"))
                    }
                    Err(error) => error.to_string(),
                };
            }
            Ok(Some(step)) => panic!("{step:?}"),
            Err(error) => {
                let Fault::SchemaNeeded { database, table } = &error.fault else {
                    panic!("{error}")
                };
                assert!(asked.is_none(), "asked twice");
                asked = Some(format!("{database}.{table}"));
                agreement = Some(steps.describe(answer).expect("it was asked"));
            }
        }
    }
}

fn is_asked(decoder: &mut Decoder) -> bool {
    rows(decoder, Answer::Described(&description("a", "tinyint"))).0.is_some()
}

#[test]
fn a_table_without_names_is_asked_for_once_and_then_read_by_the_answer() {
    let mut decoder = decoder();
    let answer = description("size", "tinyint(3) unsigned");
    let (asked, agreement, row) = rows(&mut decoder, Answer::Described(&answer));
    assert_eq!((asked.as_deref(), agreement), (Some("d.t"), Some(Agreement::Yes)));
    assert_eq!(row, "size UInt(200)");
    let (asked, _, row) = rows(&mut decoder, Answer::Unknown);
    assert_eq!((asked, row.as_str()), (None, "size UInt(200)"));
}

#[test]
fn the_question_is_repeated_until_it_is_answered_and_then_the_same_rows_come() {
    let mut decoder = decoder();
    begin(&mut decoder);
    pass(&mut decoder, &table_map("t"));
    let event = insert(&[1, 2], 1);
    let mut steps = decoder.feed(&event).expect("rows");
    for _ in 0..3 {
        let error = steps.next().expect_err("not answered");
        assert!(matches!(error.fault, Fault::SchemaNeeded { .. }));
    }
    let answer = description("a", "tinyint");
    steps.describe(Answer::Described(&answer)).expect("it was asked");
    assert!(steps.describe(Answer::Described(&answer)).is_err(), "answered already");
    let Some(Step::Rows(mut rows)) = steps.next().expect("rows") else { panic!("no rows") };
    assert_eq!(rows.next().expect("a row").expect("a row").row, 0);
    assert_eq!(rows.next().expect("a row").expect("a row").row, 1);
    assert!(rows.next().expect("the end").is_none());
    assert!(steps.next().expect("the end").is_none());
    pass(&mut decoder, &query("COMMIT"));
}

#[test]
fn an_answer_holds_until_a_statement_or_a_file_may_have_changed_it() {
    let mut decoder = decoder();
    assert!(is_asked(&mut decoder));
    pass(&mut decoder, &query("COMMIT"));
    assert!(!is_asked(&mut decoder), "the next transaction");
    pass(&mut decoder, &query("COMMIT"));
    pass(&mut decoder, &query("ALTER TABLE other ADD b INT"));
    assert!(is_asked(&mut decoder), "behind a statement");
    pass(&mut decoder, &query("DROP TEMPORARY TABLE x"));
    assert!(is_asked(&mut decoder), "behind a statement in a transaction");
    pass(&mut decoder, &query("COMMIT"));
    pass(&mut decoder, &format());
    assert!(is_asked(&mut decoder), "in a new file");
    let other_id: Vec<u8> = {
        let mut map = table_map("t");
        map[19] = 6;
        map
    };
    pass(&mut decoder, &other_id);
    let mut other_rows = insert(&[1], 1);
    other_rows[19] = 6;
    let mut steps = decoder.feed(&other_rows).expect("rows");
    assert!(steps.next().is_err(), "another id");
    decoder.start_at(Position::new("log.000002", 4));
    pass(&mut decoder, &format());
    assert!(is_asked(&mut decoder), "on a new connection");
}

#[test]
fn what_does_not_fit_is_an_error_as_soon_as_a_row_is_asked_for() {
    let two = Description {
        columns: [description("a", "tinyint").columns, description("b", "tinyint").columns]
            .concat(),
        ..description("a", "tinyint")
    };
    let not_null = |mut description: Description| {
        description.columns[0].nullable = false;
        description
    };
    let keyless = Description { primary_key: None, ..description("a", "tinyint") };
    for (answer, words) in [
        (
            description("a", "smallint"),
            "column 1 (a): found `tinyint, null` in the binlog, `smallint",
        ),
        (description("a", "what(is,this)"), "`what(is,this), null` in information_schema"),
        (not_null(description("a", "tinyint")), "`tinyint, not null` in information_schema"),
        (two, "found 1 columns in the binlog, 2 in information_schema"),
        (keyless, "contradicts itself"),
    ] {
        let (_, agreement, row) = rows(&mut decoder(), Answer::Described(&answer));
        assert_eq!(agreement, Some(Agreement::No));
        assert!(row.contains("table d.t: ") && row.contains(words), "{row}");
    }
    let (_, agreement, row) = rows(&mut decoder(), Answer::Unknown);
    assert_eq!(agreement, Some(Agreement::No));
    assert!(row.contains(&Misfit::Missing.to_string()), "{row}");
}

/// A table map of one column of `wire_type`, with what the log tells beyond that.
fn map_of(wire_type: u8, meta: &[u8], optional: &[u8]) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, wire_type];
    body.push(u8::try_from(meta.len()).expect("short"));
    body.extend(meta);
    body.push(1);
    body.extend(optional);
    event(kind::TABLE_MAP, 0, &body)
}

/// How an answer agrees with such a table, and what its row looks like, or why there is none.
fn answered(map: &[u8], answer: &Description) -> (Option<Agreement>, String) {
    let mut decoder = decoder();
    begin(&mut decoder);
    pass(&mut decoder, map);
    let event = insert(&[200], 1);
    let mut steps = decoder.feed(&event).expect("rows");
    assert!(steps.next().is_err(), "it is asked");
    let agreement = steps.describe(Answer::Described(answer)).expect("it was asked");
    let Some(Step::Rows(mut rows)) = steps.next().expect("rows") else { panic!("no rows") };
    let shown = match rows.next() {
        Ok(row) => format!(
            "{:?}",
            row.expect("a row").after.expect("an image").cells().next().expect("a cell")
        ),
        Err(error) => error.to_string(),
    };
    (Some(agreement), shown)
}

#[test]
fn signs_are_the_logs_where_it_tells_them_and_the_answers_where_it_does_not() {
    // SIGNEDNESS: a bit for each number.
    let (signed, unsigned) = ([1, 1, 0], [1, 1, 0x80]);
    for (told, declared, expected) in [
        (&[][..], "tinyint(4)", Some("Int(-56)")),
        (&[], "tinyint(3) unsigned", Some("UInt(200)")),
        (&signed, "tinyint", Some("Int(-56)")),
        (&unsigned, "tinyint unsigned", Some("UInt(200)")),
        (&signed, "tinyint unsigned", None),
        (&unsigned, "tinyint", None),
    ] {
        let (agreement, row) = answered(&map_of(1, &[], told), &description("a", declared));
        let agrees = if expected.is_some() { Agreement::Yes } else { Agreement::No };
        assert_eq!(agreement, Some(agrees), "{told:?} {declared}: {row}");
        match expected {
            Some(cell) => assert!(row.contains(cell), "{row}"),
            None => assert!(row.contains("information_schema"), "{row}"),
        }
    }
    // A year has no sign, and is told as a number without one.
    for told in [&[][..], &unsigned] {
        let (agreement, row) = answered(&map_of(13, &[], told), &description("a", "year"));
        assert_eq!(agreement, Some(Agreement::Yes), "{row}");
    }
}

#[test]
fn a_column_is_invisible_where_the_log_says_so() {
    // VISIBILITY: a bit for each column, set if it is visible.
    for (told, visible) in [(&[][..], true), (&[12, 1, 0x80], true), (&[12, 1, 0], false)] {
        let mut decoder = decoder();
        begin(&mut decoder);
        // COLUMN_NAME and SIGNEDNESS: nothing is asked for.
        pass(&mut decoder, &map_of(1, &[], &[&[1, 1, 0, 4, 2, 1, b'a'], told].concat()));
        let event = insert(&[200], 1);
        let mut steps = decoder.feed(&event).expect("rows");
        let Some(Step::Rows(rows)) = steps.next().expect("rows") else { panic!("no rows") };
        assert_eq!(rows.table().columns[0].visible, visible, "{told:?}");
    }
}

#[test]
fn a_text_of_another_collation_does_not_fit_and_both_are_told() {
    let answer = |collation| {
        let mut described = description("a", "varchar(9)");
        (described.columns[0].octets, described.columns[0].collation) = (Some(36), collation);
        described
    };
    // DEFAULT_CHARSET, of a collation's number.
    let map = map_of(15, &[36, 0], &[2, 1, 46]);
    let (agreement, row) = answered(&map, &answer(Some(46)));
    assert_eq!(agreement, Some(Agreement::Yes), "{row}");
    let (agreement, row) = answered(&map, &answer(Some(45)));
    assert_eq!(agreement, Some(Agreement::No));
    assert!(
        row.contains("varchar or varbinary of 36 bytes in utf8mb4 (collation 46), null"),
        "{row}"
    );
    assert!(row.contains("varchar(9) of 36 bytes in utf8mb4 (collation 45), null"), "{row}");
}

#[test]
fn rows_of_a_table_that_does_not_fit_can_be_passed_over() {
    let mut decoder = decoder();
    begin(&mut decoder);
    pass(&mut decoder, &table_map("t"));
    let rows = insert(&[1], 1);
    let mut steps = decoder.feed(&rows).expect("rows");
    assert!(steps.next().is_err());
    steps.describe(Answer::Unknown).expect("it was asked");
    assert!(matches!(steps.next(), Ok(Some(Step::Rows(_)))));
    assert!(matches!(steps.next(), Ok(None)));
    pass(&mut decoder, &event(kind::XID, 0, &[0; 8]));
}

#[test]
fn a_table_that_nobody_wants_keeps_its_numbers_for_names() {
    let (_, agreement, row) = rows(&mut decoder(), Answer::NotNeeded);
    assert_eq!((agreement, row.as_str()), (Some(Agreement::Unasked), "@1 Int(-56)"));
}

#[test]
fn an_answer_that_is_younger_than_the_rows_is_doubtful() {
    for (changed_at, expected) in [
        (Some(1_699_999_999), Agreement::Yes),
        (Some(1_700_000_000), Agreement::ButChangedSince),
        (None, Agreement::ButChangedSince),
    ] {
        let answer = Description { changed_at, ..description("a", "tinyint") };
        let (_, agreement, _) = rows(&mut decoder(), Answer::Described(&answer));
        assert_eq!(agreement, Some(expected), "{changed_at:?}");
    }
}

#[test]
fn where_names_decide_an_answer_that_may_be_younger_than_the_rows_is_refused() {
    for (changed_at, is_taken) in
        [(Some(1_699_999_999), true), (Some(1_700_000_000), false), (None, false)]
    {
        let mut decoder = decoder();
        let answer = Description { changed_at, ..description("a", "tinyint") };
        let (_, agreement, row) = rows(&mut decoder, Answer::MustBeOlder(&answer));
        assert_eq!(agreement == Some(Agreement::Yes), is_taken, "{changed_at:?}");
        assert_eq!(row.contains(&Misfit::ChangedSince.to_string()), !is_taken, "{row}");
    }
}
