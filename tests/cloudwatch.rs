//! The CloudWatch alarms, as far as they can be checked without Terraform's AWS provider: their text
//! is well formed, they watch metrics that SNS and SQS have, and each row is complete. With
//! Terraform at hand, `terraform fmt -check` and `terraform validate` say the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Metrics that are watched, as AWS's developer guides of SNS and SQS name them.
const METRICS: [&str; 7] = [
    "ApproximateAgeOfOldestMessage",
    "ApproximateNumberOfMessagesVisible",
    "NumberOfMessagesPublished",
    "NumberOfNotificationsFailed",
    "NumberOfNotificationsFailedToRedriveToDlq",
    "NumberOfNotificationsFilteredOut-InvalidAttributes",
    "NumberOfNotificationsRedrivenToDlq",
];

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/cloudwatch").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text without comments and without what stands in quotes, but for `${...}`.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let parts: Vec<_> = line.split('"').collect();
        assert!(parts.len() % 2 == 1, "a quote that does not end: {line}");
        for (index, part) in parts.iter().enumerate() {
            bare.push_str(if index % 2 == 0 { part } else { "_" });
        }
        bare.push('\n');
    }
    bare
}

#[test]
fn brackets_and_quotes_are_closed_in_every_file() {
    for name in ["alarms.tf", "main.tf", "outputs.tf", "variables.tf", "versions.tf"] {
        let mut open = Vec::new();
        for character in bare(&text(name)).chars() {
            match character {
                '(' | '[' | '{' => open.push(character),
                ')' => assert_eq!(open.pop(), Some('('), "{name}"),
                ']' => assert_eq!(open.pop(), Some('['), "{name}"),
                '}' => assert_eq!(open.pop(), Some('{'), "{name}"),
                _ => {}
            }
        }
        assert_eq!(open, [], "{name}");
    }
}

/// Text behind `key =` on each line that begins so.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines =
        text.lines().filter_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix('='));
    lines.map(|value| value.trim().trim_matches('"')).collect()
}

#[test]
fn each_alarm_watches_a_metric_that_there_is_and_has_all_that_main_takes() {
    let alarms = text("alarms.tf");
    let watched: BTreeSet<_> = values(&alarms, "metric ").into_iter().collect();
    assert_eq!(watched, METRICS.into());
    let rows = values(&alarms, "metric ").len();
    for key in ["statistic", "comparison", "period", "of ", "missing", "description"] {
        assert_eq!(values(&alarms, key).len(), rows, "{key}");
    }
    for key in ["threshold", "namespace", "dimensions"] {
        assert!(values(&alarms, key).len() >= 4, "{key}");
    }
    for missing in values(&alarms, "missing") {
        assert!(["breaching", "notBreaching"].contains(&missing), "{missing}");
    }
    let main = text("main.tf");
    let taken = main.split("each.value.").skip(1);
    for name in taken.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next()) {
        let name = name.expect("a name");
        assert!(!values(&alarms, name).is_empty(), "no alarm has `{name}`");
    }
}

#[test]
fn every_variable_is_used_and_every_one_used_is_declared() {
    let declared: BTreeSet<String> = text("variables.tf")
        .lines()
        .filter_map(|line| line.strip_prefix("variable \"")?.split('"').next().map(str::to_owned))
        .collect();
    let all = ["alarms.tf", "main.tf", "outputs.tf"].map(text).concat();
    let used: BTreeSet<String> = all
        .split("var.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, used);
}
