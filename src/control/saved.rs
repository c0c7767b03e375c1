//! Controls and ranges as the checkpoint keeps them: texts by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Control;
use crate::pack::HeldRange;

/// Begins the names of controls; the time when it was asked for follows.
const CONTROL: &str = "control:";
/// Begins the names of lanes' ranges; the lane's key follows.
const LANE: &str = "held:";

/// What a checkpoint has of controls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// The controls in force, the oldest first.
    pub controls: Vec<Control>,
    /// Of each lane the range that is held back, by the lane's key.
    pub lanes: BTreeMap<Arc<str>, HeldRange>,
}

/// A checkpoint's text that does not say what is held back. It must not be passed over: rows would be
/// sent that an operator holds back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the checkpoint's entry `{entry}` does not say what is held back: {what}; start the version of \
     binpulse that wrote it and release its controls (`binpulse controls`), or restore the checkpoint"
)]
pub struct Unreadable {
    /// Its name.
    pub entry: String,
    /// What is wrong.
    pub what: String,
}

impl Saved {
    /// Reads the entries of a checkpoint; those of others are passed over.
    pub fn read(entries: &BTreeMap<Arc<str>, Arc<str>>) -> Result<Self, Unreadable> {
        let mut saved = Self::default();
        for (name, text) in entries {
            let unreadable = |what: String| Unreadable { entry: name.to_string(), what };
            if name.starts_with(CONTROL) {
                let control: Control =
                    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
                if control.tables().is_none() {
                    return Err(unreadable("its pattern is none".to_owned()));
                }
                saved.controls.push(control);
            } else if let Some(lane) = name.strip_prefix(LANE) {
                let range: HeldRange =
                    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
                saved.lanes.insert(lane.into(), range);
            }
        }
        saved.controls.sort_by_key(|control| control.at_us);
        Ok(saved)
    }

    /// Whether a text of a checkpoint with this name is of a control.
    pub fn has(name: &str) -> bool {
        name.starts_with(CONTROL) || name.starts_with(LANE)
    }

    /// Takes out what does not concern another epoch: its lanes are numbered anew.
    pub fn forget_lanes(entries: &mut BTreeMap<Arc<str>, Arc<str>>) {
        entries.retain(|name, _| !name.starts_with(LANE));
    }
}

/// The name of a control's entry.
pub fn control_name(at_us: i64) -> Arc<str> {
    format!("{CONTROL}{at_us}").into()
}

/// The control of which this is the name.
pub(super) fn control_of(name: &str) -> Option<i64> {
    name.strip_prefix(CONTROL)?.parse().ok()
}

/// The name of a lane's entry.
pub fn lane_name(key: &str) -> Arc<str> {
    format!("{LANE}{key}").into()
}

/// A lane's entry.
pub fn lane_entry(key: &str, range: &HeldRange) -> (Arc<str>, Arc<str>) {
    (lane_name(key), serde_json::to_string(range).unwrap_or_default().into())
}

/// A control's entry.
pub fn control_entry(control: &Control) -> (Arc<str>, Arc<str>) {
    (control_name(control.at_us), serde_json::to_string(control).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::status::ControlKind;

    fn control() -> impl Strategy<Value = Control> {
        let kind = prop_oneof![
            Just((ControlKind::Suppress, false, false)),
            Just((ControlKind::Pause, true, false)),
            Just((ControlKind::Rate, false, true)),
        ];
        (any::<i64>(), "[a-z]{1,5}\\.[a-z*]{1,5}", "\\PC{1,20}", any::<bool>(), kind).prop_map(
            |(at_us, pattern, reason, is_sending, (kind, has_end, has_rate))| {
                let by = reason.clone();
                let (until_us, rows_per_second) =
                    (has_end.then_some(at_us), has_rate.then_some(at_us.unsigned_abs()));
                Control { at_us, kind, pattern, reason, by, is_sending, until_us, rows_per_second }
            },
        )
    }

    fn range() -> impl Strategy<Value = HeldRange> {
        ("\\PC{1,9}", "\\PC{1,9}", any::<u32>(), any::<u64>(), any::<i64>(), "[0-9a-f:-]{0,40}")
            .prop_map(|(database, table, number, first, since_us, gtid)| HeldRange {
                database: database.into(),
                table: table.into(),
                number,
                first,
                since_us,
                gtid,
            })
    }

    proptest! {
        #[test]
        fn what_is_saved_is_read_again_beside_what_others_save(
            controls in prop::collection::vec(control(), 0..6),
            lanes in prop::collection::btree_map("[a-z]{1,4}\\.[a-z]{1,4}#[0-9]", range(), 0..6),
        ) {
            let mut entries: BTreeMap<Arc<str>, Arc<str>> =
                [("snapshot".into(), "{}".into()), ("0".into(), "x".into())].into();
            entries.extend(controls.iter().map(control_entry));
            entries.extend(lanes.iter().map(|(key, range)| lane_entry(key, range)));
            let saved = Saved::read(&entries).expect("own texts");
            let by_name: BTreeMap<_, _> = controls.iter().map(|it| (it.at_us, it.clone())).collect();
            prop_assert_eq!(saved.controls, by_name.into_values().collect::<Vec<_>>());
            let lanes: BTreeMap<Arc<str>, _> =
                lanes.into_iter().map(|(key, range)| (key.into(), range)).collect();
            prop_assert_eq!(saved.lanes, lanes);
            // In another epoch the same controls hold, and no number does.
            Saved::forget_lanes(&mut entries);
            let saved = Saved::read(&entries).expect("own texts");
            prop_assert!(saved.lanes.is_empty() && entries.contains_key("snapshot"));
            prop_assert!(controls.iter().all(|it| control_of(&control_name(it.at_us)) == Some(it.at_us)));
        }

        #[test]
        fn texts_that_are_no_control_are_refused_and_never_passed_over(text in "\\PC{0,60}") {
            for name in ["control:5", "held:shop.orders#0"] {
                let entries = [(Arc::from(name), Arc::from(text.as_str()))].into();
                let refused = Saved::read(&entries).expect_err("no JSON of ours");
                prop_assert_eq!(refused.entry.as_str(), name);
            }
        }
    }
}
