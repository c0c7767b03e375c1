use proptest::prelude::*;

use super::*;

/// Every wire type there is, and every metadata.
fn any_plan() -> impl Strategy<Value = ColumnPlan> {
    let wire_type = prop_oneof![1u8..20, 140u8..142, 242u8..=255];
    let meta = prop_oneof![
        any::<[u8; 2]>(),
        (0u8..=10, 0u8..=10).prop_map(|(first, second)| [first, second]),
        (245u8..=254, 1u8..=8).prop_map(|(first, second)| [first, second]),
    ];
    let collation = prop_oneof![0u16..100, 248u16..256, 2_048u16..2_060];
    (wire_type, meta, any::<bool>(), collation, any::<bool>()).prop_filter_map(
        "no such column",
        |(wire_type, meta, unsigned, collation, told)| {
            let labels: &[&[u8]] = &[b"a", b"\xe9", b"c"];
            let members = told.then_some(labels);
            ColumnPlan::new(&WireColumn {
                wire_type,
                meta,
                unsigned,
                collation,
                members,
                members_in_utf8: false,
            })
            .ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_give_an_image_or_an_error(
        plans in proptest::collection::vec(any_plan(), 0..12),
        present in any::<[u8; 2]>(),
        event in proptest::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..300),
    ) {
        let present = Bitmap::take(&present, &mut 0, plans.len()).expect("enough bytes");
        let (mut at, mut slots, mut scratch) = (0, Vec::new(), Vec::new());
        let read = read_image(&plans, present, &event, &mut at, &mut slots, &mut scratch);
        prop_assert!(at <= event.len());
        if read.is_ok() {
            prop_assert_eq!(slots.len(), plans.len());
            // Every text and document is valid UTF-8, or this panics.
            own_all(&slots, &event, &scratch);
        }
        let before = Before { present, start: 0 };
        let (mut slots, mut scratch) = (Vec::new(), Vec::new());
        let read =
            read_partial_image(&plans, present, before, &event, &mut at, &mut slots, &mut scratch);
        prop_assert!(at <= event.len());
        if read.is_ok() {
            own_all(&slots, &event, &scratch);
        }
    }
}
