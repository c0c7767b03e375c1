//! The periods and deadlines of the freshness model, and the rules between them. Pure.

use std::time::Duration;

/// All periods and deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// P: the server's protocol heartbeat on an idle stream.
    pub protocol_heartbeat: Duration,
    /// H: between two heartbeat rows.
    pub heartbeat_interval: Duration,
    /// C: between two canaries.
    pub canary_interval: Duration,
    /// W: after it a write counts as stuck.
    pub write_deadline: Duration,
    /// T_hb: from a heartbeat's commit to its sight on the stream.
    pub heartbeat_deadline: Duration,
    /// T_sink: from a message's first attempt to its acceptance.
    pub publish_deadline: Duration,
    /// L: from a canary's acceptance to its echo.
    pub canary_deadline: Duration,
    /// B: for one question to the server.
    pub probe_timeout: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            protocol_heartbeat: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(5),
            canary_interval: Duration::from_secs(10),
            write_deadline: Duration::from_secs(2),
            heartbeat_deadline: Duration::from_secs(5),
            publish_deadline: Duration::from_secs(10),
            canary_deadline: Duration::from_secs(15),
            probe_timeout: Duration::from_secs(2),
        }
    }
}

/// Two settings that do not go together, or one that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A rule between two settings is broken.
    #[error("{left} = {left_value:?} and {right} = {right_value:?}: {rule}")]
    Pair {
        /// Key of the first setting.
        left: &'static str,
        /// Its value.
        left_value: Duration,
        /// Key of the second; two keys joined by ` + ` when the rule is about a sum.
        right: &'static str,
        /// Its value.
        right_value: Duration,
        /// The rule and its reason.
        rule: &'static str,
    },
    /// A setting that must be more than zero is not.
    #[error("{key} = 0s: it must be longer")]
    Zero {
        /// The setting's key.
        key: &'static str,
    },
}

impl Periods {
    /// T_rx: silence on the stream after which it counts as dead while a read is waiting.
    pub fn stream_silence(&self) -> Duration {
        self.protocol_heartbeat * 3 + Duration::from_secs(1)
    }

    /// The rules that are broken, of those without which the model's conclusions would be wrong.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let zero = self.named().into_iter().filter(|(_, value)| value.is_zero());
        let mut conflicts: Vec<_> = zero.map(|(key, _)| Conflict::Zero { key }).collect();
        let rules = [
            (
                self.protocol_heartbeat * 2 <= self.heartbeat_interval,
                ("protocol_heartbeat", self.protocol_heartbeat),
                ("heartbeat_interval", self.heartbeat_interval),
                "the protocol heartbeat must be at most half the heartbeat interval, or each row \
                 resets its timer and a dead stream cannot be told from blocked writes",
            ),
            (
                self.write_deadline < self.heartbeat_interval,
                ("write_deadline", self.write_deadline),
                ("heartbeat_interval", self.heartbeat_interval),
                "a write must time out before the next is due",
            ),
            (
                self.canary_deadline >= self.heartbeat_deadline + self.publish_deadline,
                ("canary_deadline", self.canary_deadline),
                (
                    "heartbeat_deadline + publish_deadline",
                    self.heartbeat_deadline + self.publish_deadline,
                ),
                "a canary needs the time that delivery may take, or a slow sink looks like a lost \
                 canary",
            ),
            (
                self.canary_interval <= self.canary_deadline * 2,
                ("canary_interval", self.canary_interval),
                ("canary_deadline", self.canary_deadline),
                "the interval must be at most twice the deadline, or a lost canary is noticed late",
            ),
        ];
        let broken = rules.into_iter().filter(|(holds, ..)| !holds);
        conflicts.extend(broken.map(|(_, (left, left_value), (right, right_value), rule)| {
            Conflict::Pair { left, left_value, right, right_value, rule }
        }));
        conflicts
    }

    fn named(&self) -> [(&'static str, Duration); 8] {
        [
            ("protocol_heartbeat", self.protocol_heartbeat),
            ("heartbeat_interval", self.heartbeat_interval),
            ("canary_interval", self.canary_interval),
            ("write_deadline", self.write_deadline),
            ("heartbeat_deadline", self.heartbeat_deadline),
            ("publish_deadline", self.publish_deadline),
            ("canary_deadline", self.canary_deadline),
            ("probe_timeout", self.probe_timeout),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Periods, Duration);

    #[test]
    fn the_defaults_hold_and_each_broken_rule_names_both_settings() {
        let defaults = Periods::default();
        assert_eq!(defaults.conflicts(), []);
        assert_eq!(defaults.stream_silence(), Duration::from_secs(4));

        let cases: [(Change, u64, u64, [&str; 2]); 5] = [
            (
                |p, to| p.protocol_heartbeat = to,
                2_500,
                2_501,
                ["protocol_heartbeat = 2.501s", "heartbeat_interval = 5s"],
            ),
            (
                |p, to| p.write_deadline = to,
                4_999,
                5_000,
                ["write_deadline = 5s", "heartbeat_interval = 5s"],
            ),
            (
                |p, to| p.publish_deadline = to,
                10_000,
                10_001,
                ["canary_deadline = 15s", "publish_deadline = 15.001s"],
            ),
            (
                |p, to| p.canary_interval = to,
                30_000,
                30_001,
                ["canary_interval = 30.001s", "canary_deadline = 15s"],
            ),
            (|p, to| p.probe_timeout = to, 1, 0, ["probe_timeout = 0s", "longer"]),
        ];
        for (change, good, bad, words) in cases {
            let mut periods = defaults;
            change(&mut periods, Duration::from_millis(good));
            assert_eq!(periods.conflicts(), [], "{words:?}");
            change(&mut periods, Duration::from_millis(bad));
            let errors = periods.conflicts();
            let is_named =
                |error: &Conflict| words.iter().all(|word| error.to_string().contains(word));
            assert!(errors.iter().any(is_named), "{errors:?}");
        }
    }

    #[test]
    fn every_broken_rule_is_told() {
        let periods = Periods {
            protocol_heartbeat: Duration::from_secs(4),
            write_deadline: Duration::from_secs(6),
            canary_deadline: Duration::from_secs(1),
            ..Periods::default()
        };
        let told = periods.conflicts();
        let first = |conflict: &Conflict| match conflict {
            Conflict::Pair { left, .. } | Conflict::Zero { key: left } => *left,
        };
        let keys: Vec<_> = told.iter().map(first).collect();
        let expected =
            ["protocol_heartbeat", "write_deadline", "canary_deadline", "canary_interval"];
        assert_eq!(keys, expected);
    }
}
