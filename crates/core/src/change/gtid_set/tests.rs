use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{GtidSet, MariaGtidSet};
use crate::change::{Gtid, MariaGtid, Tag, Uuid};

const A: &str = "00bbe985-e52d-11f1-91a9-02fc00000001";
const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().expect("the test's text is a set")
}

#[test]
fn every_form_that_mysql_prints_or_accepts_is_read_and_printed_canonically() {
    let cases = [
        ("", String::new()),
        (" \n ", String::new()),
        (&format!("{A}:1-9:tag:1-2"), format!("{A}:1-9:tag:1-2")),
        (&format!("\n{}:1-9:TAG:1-2", A.to_uppercase()), format!("{A}:1-9:tag:1-2")),
        (&format!("{A}:tag:1-2:other:7"), format!("{A}:other:7:tag:1-2")),
        (&format!("{B}:5 , \n{A} : 1 - 3 : 4,,"), format!("{A}:1-4,{B}:5")),
        (&format!("{A}:7:1-3:2-6"), format!("{A}:1-7")),
        (&format!("{A}:1,{A}:_t:1,{A}:3"), format!("{A}:1:3:_t:1")),
        (&format!("{}:1", A.replace('-', "")), format!("{A}:1")),
        (&format!("{A}:9223372036854775806"), format!("{A}:9223372036854775806")),
    ];
    for (text, canonical) in cases {
        assert_eq!(set(text).to_string(), canonical, "{text:?}");
    }
}

#[test]
fn the_long_form_breaks_lines_as_the_server_does() {
    let both = set(&format!("{B}:5,{A}:1-3"));
    assert_eq!(format!("{both:#}"), format!("{A}:1-3,\n{B}:5"));
}

#[test]
fn text_that_is_no_set_is_refused_with_its_place() {
    let cases = [
        (A.to_owned(), 36),
        (format!("{A}:"), 37),
        (format!("{A}:0"), 37),
        (format!("{A}:5-3"), 37),
        (format!("{A}:1--3"), 37),
        (format!("{A}:9223372036854775807"), 37),
        (format!("{A}:99999999999999999999999"), 37),
        (format!("{A}:tag"), 40),
        (format!("{A}:tag:tug:1"), 41),
        (format!("{A}:t-g:1"), 37),
        (format!("{A}:1,nonsense:1"), 39),
        (format!("{A}:1:{}:1", "x".repeat(33)), 39),
    ];
    for (text, at) in cases {
        let error = text.parse::<GtidSet>().expect_err(&text);
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn the_tagged_encoding_is_the_servers() {
    let bytes = set(&format!("{A}:1-9:tag:1-2")).encode();
    let uuid = 0x00bb_e985_e52d_11f1_91a9_02fc_0000_0001_u128.to_be_bytes();
    let one_to = |end: u64| [1_u64.to_le_bytes(), 1_u64.to_le_bytes(), end.to_le_bytes()].concat();
    let expected = [
        &[1, 2, 0, 0, 0, 0, 0, 1][..],
        &uuid,
        &[0],
        &one_to(10),
        &uuid,
        &[6, b't', b'a', b'g'],
        &one_to(3),
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn the_untagged_encoding_is_that_of_old_servers() {
    let bytes = set(&format!("{A}:5")).encode();
    assert_eq!(bytes.len(), 8 + 16 + 8 + 16);
    assert_eq!(bytes.first_chunk(), Some(&1_u64.to_le_bytes()));
}

#[test]
fn counts_larger_than_the_bytes_end_in_an_error() {
    for bytes in [
        vec![],
        vec![0xff; 7],
        vec![0xff; 8],
        u64::MAX.to_le_bytes().to_vec(),
        [&1_u64.to_le_bytes()[..], &[7; 16], &u64::MAX.to_le_bytes()].concat(),
        [&[1, 1, 0, 0, 0, 0, 0, 1][..], &[7; 16], &[255]].concat(),
        [&[2, 1, 0, 0, 0, 0, 0, 1][..], &[7; 16], &[0]].concat(),
        [&0_u64.to_le_bytes()[..], &[0]].concat(),
    ] {
        assert!(GtidSet::decode(&bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_mariadb_position_keeps_the_highest_number_of_each_domain() {
    let text = "1-2-50, 0-1-100,0-2-95\n";
    let mut position: MariaGtidSet = text.parse().expect("a position");
    assert_eq!(position.to_string(), "0-1-100,1-2-50");
    position.advance(MariaGtid { domain: 0, server: 2, sequence: 101 });
    assert_eq!(position.to_string(), "0-2-101,1-2-50");
    assert!(
        text.parse::<MariaGtidSet>()
            .is_ok_and(|before| before.iter().all(|gtid| position.contains(gtid)))
    );
    for wrong in ["0-1", "0-1-2-3", "a-1-2", "0-+1-2", "-1-1-1", "4294967296-1-1"] {
        assert!(wrong.parse::<MariaGtidSet>().is_err(), "{wrong}");
    }
}

/// A naive set to compare with: few sources, tags and numbers, so that ranges often meet.
type Model = BTreeSet<(u8, u8, u64)>;

fn gtid(&(source, tag, sequence): &(u8, u8, u64)) -> Gtid {
    let tag = Tag::new([&b""[..], b"a", b"tag_2"][usize::from(tag)]).expect("a tag");
    Gtid { source: Uuid([source; 16]), tag, sequence }
}

fn real(model: &Model) -> GtidSet {
    model.iter().map(gtid).collect()
}

fn model() -> impl Strategy<Value = Model> {
    let runs = (0_u8..2, 0_u8..3, 1_u64..40, 1_u64..6);
    proptest::collection::vec(runs, 0..12).prop_map(|runs| {
        let expand = |(source, tag, start, length): (u8, u8, u64, u64)| {
            (start..start + length).map(move |sequence| (source, tag, sequence))
        };
        runs.into_iter().flat_map(expand).collect()
    })
}

proptest! {
    #[test]
    fn the_algebra_agrees_with_a_naive_set(a in model(), b in model()) {
        let (left, right) = (real(&a), real(&b));
        let mut union = left.clone();
        union.union(&right);
        prop_assert_eq!(&union, &real(&a.union(&b).copied().collect()));
        prop_assert_eq!(left.subtract(&right), real(&a.difference(&b).copied().collect()));
        prop_assert_eq!(left.intersection(&right), real(&a.intersection(&b).copied().collect()));
        prop_assert_eq!(left.is_subset_of(&right), a.is_subset(&b));
        prop_assert_eq!(left.is_disjoint_from(&right), a.is_disjoint(&b));
        prop_assert!(left.is_subset_of(&union) && right.is_subset_of(&union));
        prop_assert_eq!(left.count(), a.len() as u128);
        for member in &b {
            prop_assert_eq!(left.contains(&gtid(member)), a.contains(member));
            prop_assert_eq!(left.clone().insert(gtid(member)), !a.contains(member));
        }
    }

    #[test]
    fn the_order_of_insertion_does_not_matter(
        members in proptest::collection::vec((0_u8..2, 0_u8..3, 1_u64..60), 0..60),
    ) {
        let sorted: Model = members.iter().copied().collect();
        prop_assert_eq!(members.iter().map(gtid).collect::<GtidSet>(), real(&sorted));
    }

    #[test]
    fn text_and_bytes_come_back_as_the_same_set(a in model()) {
        let whole = real(&a);
        prop_assert_eq!(&set(&whole.to_string()), &whole);
        prop_assert_eq!(&set(&format!("{whole:#}")), &whole);
        prop_assert_eq!(&GtidSet::decode(&whole.encode()).expect("own encoding"), &whole);
    }

    #[test]
    fn a_truncated_encoding_is_an_error(a in model(), cut in 1_usize..200) {
        let bytes = real(&a).encode();
        let short = bytes.len().saturating_sub(cut);
        prop_assert!(GtidSet::decode(&bytes[..short]).is_err());
    }

    #[test]
    fn arbitrary_bytes_and_text_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        text in "[0-9a-f:,\\- \n_t]{0,60}",
    ) {
        let _ignored = (GtidSet::decode(&bytes), text.parse::<GtidSet>());
    }
}
