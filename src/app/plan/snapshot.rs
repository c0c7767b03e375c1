//! Settings of snapshots.

use std::time::Duration;

use super::Errors;
use super::source::host_port;
use crate::config::{Error, Values};
use crate::mysql::HostPort;

/// How the rows that are already in the tables are read.
#[derive(Debug, Clone)]
pub struct SnapshotPlan {
    /// A stream without a checkpoint begins with a snapshot of all tables that it publishes.
    pub on_start: bool,
    /// Bytes of a chunk that is aimed at.
    pub chunk_bytes: usize,
    /// Longest time that reading a chunk may take.
    pub chunk_time: Duration,
    /// Tables without a key are read under a short lock.
    pub locks_keyless: bool,
    /// Most rows of such a table.
    pub keyless_rows: u64,
    /// Most rows a second, unless a snapshot is asked for with a number of its own.
    pub rows_per_second: Option<u64>,
    /// `Threads_running` above which chunks wait.
    pub max_threads_running: u64,
    /// Replicas whose lag is looked at.
    pub lag_hosts: Vec<HostPort>,
    /// Lag above which chunks wait.
    pub max_replica_lag: Duration,
    /// Where chunks are read; `None`: on the server that is streamed from.
    pub host: Option<HostPort>,
    /// Keys that may be noted while a chunk is read.
    pub touched_keys: usize,
}

/// How snapshots are read.
pub(super) fn plan(values: &Values, errors: &mut Errors) -> Option<SnapshotPlan> {
    const HOST: &str = "snapshot.host";
    const LAG_HOSTS: &str = "snapshot.lag_hosts";
    let host = values.text_opt(HOST).map(|text| errors.take(host_port(values, HOST, text)));
    let lag_hosts = values.list(LAG_HOSTS).iter();
    let lag_hosts: Vec<_> =
        lag_hosts.map(|text| errors.take(host_port(values, LAG_HOSTS, text))).collect();
    let limits = errors.take(limits(values))?;
    Some(SnapshotPlan {
        host: host.map_or(Some(None), |host| host.map(Some))?,
        lag_hosts: lag_hosts.into_iter().collect::<Option<_>>()?,
        ..limits
    })
}

/// Everything but the hosts.
fn limits(values: &Values) -> Result<SnapshotPlan, Error> {
    Ok(SnapshotPlan {
        on_start: values.text("snapshot.on_start")? == "all",
        chunk_bytes: values.size("snapshot.chunk_bytes")?,
        chunk_time: values.duration("snapshot.chunk_time")?,
        locks_keyless: values.text("snapshot.keyless")? == "lock",
        keyless_rows: values.integer("snapshot.keyless_rows")?,
        rows_per_second: values.integer("snapshot.rows_per_second").ok(),
        max_threads_running: values.integer("snapshot.max_threads_running")?,
        lag_hosts: Vec::new(),
        max_replica_lag: values.duration("snapshot.max_replica_lag")?,
        host: None,
        touched_keys: values.size("snapshot.touched_keys")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::plan::Plan;
    use crate::config::{Environment, load};

    fn plan(settings: &[(&'static str, &str)]) -> Result<SnapshotPlan, String> {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let values = load(None, &Environment::new(), &settings, &|_| Ok(String::new()));
        let values = values.map_err(|errors| format!("{errors:?}"))?;
        Plan::new(&values).map(|plan| plan.snapshot).map_err(|errors| format!("{errors:?}"))
    }

    #[test]
    fn hosts_and_limits_are_read_and_every_wrong_host_is_told() {
        let sink = ("sink.kind", "null");
        let defaults = plan(&[sink]).expect("defaults");
        assert!(!defaults.on_start && defaults.host.is_none() && defaults.lag_hosts.is_empty());
        assert_eq!((defaults.rows_per_second, defaults.max_threads_running), (None, 25));
        assert_eq!(defaults.chunk_bytes, 4 << 20);
        assert_eq!((defaults.locks_keyless, defaults.keyless_rows), (false, 100_000));

        let given = plan(&[
            sink,
            ("snapshot.on_start", "all"),
            ("snapshot.host", "replica:3307"),
            ("snapshot.lag_hosts", "a:1,b:2"),
            ("snapshot.rows_per_second", "1000"),
            ("snapshot.keyless", "lock"),
        ]);
        let given = given.expect("a plan");
        assert!(given.locks_keyless);
        assert!(given.on_start && given.rows_per_second == Some(1_000));
        assert_eq!(given.host.expect("a host").to_string(), "replica:3307");
        assert_eq!(given.lag_hosts.len(), 2);

        let wrong = [sink, ("snapshot.host", "a:port"), ("snapshot.lag_hosts", "a:1,b:no,c:x")];
        let told = plan(&wrong).expect_err("no hosts");
        for host in ["a:port", "b:no", "c:x"] {
            assert!(told.contains(host), "{host}: {told}");
        }
        for (key, value) in [("snapshot.chunk_time", "1s"), ("snapshot.chunk_bytes", "1KiB")] {
            assert!(plan(&[sink, (key, value)]).is_err(), "{key} {value}");
        }
    }
}
