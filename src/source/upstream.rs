//! Whether the server is itself a replica, and whether it still replicates.

use crate::mysql::{Error, Session, Table};

use super::Flavor;

/// The server's own replication, the worst of its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// It replicates from nobody.
    None,
    /// Its threads run.
    Running,
    /// Both threads were stopped in order, and the server takes writes: it was promoted, and what it
    /// replicated from is still configured.
    Left,
    /// The receiver tries to connect and has failed before: the last error.
    Connecting(String),
    /// A thread does not run: which, and its last error.
    Stopped(String),
}

/// Channels that Group Replication starts and stops as it needs them.
const OWN_CHANNELS: [&str; 2] = ["group_replication_applier", "group_replication_recovery"];

/// Asks the server. Needs REPLICATION CLIENT; on MariaDB from 10.5 on SLAVE MONITOR.
pub async fn upstream(
    session: &mut Session,
    flavor: Flavor,
    version: (u16, u16, u16),
) -> Result<Upstream, Error> {
    let channels = channels(session, flavor, version).await?;
    if channels.rows.is_empty() {
        return Ok(Upstream::None);
    }
    let row = session.query_first("SELECT @@global.read_only").await?;
    let read_only = row.and_then(|row| row.text(0)).is_some_and(|text| text == "1" || text == "ON");
    Ok(classify(&channels, !read_only))
}

async fn channels(
    session: &mut Session,
    flavor: Flavor,
    version: (u16, u16, u16),
) -> Result<Table, Error> {
    let sql = match flavor {
        Flavor::Maria => "SHOW ALL SLAVES STATUS",
        Flavor::Mysql if version >= (8, 0, 22) => "SHOW REPLICA STATUS",
        Flavor::Mysql => "SHOW SLAVE STATUS",
    };
    session.query_named(sql).await
}

/// Options of a replica that leave out databases or tables, and the columns that show them.
const FILTERS: [(&str, &str); 6] = [
    ("replicate-do-db", "Replicate_Do_DB"),
    ("replicate-ignore-db", "Replicate_Ignore_DB"),
    ("replicate-do-table", "Replicate_Do_Table"),
    ("replicate-ignore-table", "Replicate_Ignore_Table"),
    ("replicate-wild-do-table", "Replicate_Wild_Do_Table"),
    ("replicate-wild-ignore-table", "Replicate_Wild_Ignore_Table"),
];

/// What a server replicates from another: all but what these options leave out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replicates {
    /// Options that are set, with their names of databases or tables; those of all channels.
    pub filters: Vec<(&'static str, Vec<String>)>,
}

/// Asks what the server replicates; `None`: nothing. Needs what [`upstream`] needs.
pub(super) async fn replicates(
    session: &mut Session,
    flavor: Flavor,
    version: (u16, u16, u16),
    takes_writes: bool,
) -> Result<Option<Replicates>, Error> {
    Ok(filtered(&channels(session, flavor, version).await?, takes_writes))
}

fn filtered(channels: &Table, takes_writes: bool) -> Option<Replicates> {
    match classify(channels, takes_writes) {
        Upstream::None | Upstream::Left => return None,
        Upstream::Running | Upstream::Connecting(_) | Upstream::Stopped(_) => {}
    }
    let filters = FILTERS.iter().filter_map(|(option, column)| {
        let of_channels = (0..channels.rows.len()).filter_map(|row| channels.text(row, column));
        let all: Vec<String> = of_channels.collect();
        let names = all.iter().flat_map(|text| text.split(',')).map(str::trim);
        let mut names: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then_some((*option, names))
    });
    Some(Replicates { filters: filters.collect() })
}

fn classify(channels: &Table, takes_writes: bool) -> Upstream {
    let all = (0..channels.rows.len()).filter_map(|row| channel(channels, row, takes_writes));
    all.max_by_key(severity).unwrap_or(Upstream::None)
}

/// One channel; `None` for those that say nothing about it.
fn channel(channels: &Table, row: usize, takes_writes: bool) -> Option<Upstream> {
    // The words changed with 8.0.22; MariaDB keeps the old ones.
    let text = |names: [&str; 2]| {
        let found = names.into_iter().find_map(|name| channels.text(row, name));
        found.unwrap_or_default()
    };
    let name = text(["Channel_Name", "Connection_name"]);
    if OWN_CHANNELS.contains(&name.as_str()) {
        return None;
    }
    let receiver = text(["Replica_IO_Running", "Slave_IO_Running"]);
    let applier = text(["Replica_SQL_Running", "Slave_SQL_Running"]);
    let (receiving, applying) =
        (channels.text(row, "Last_IO_Error"), channels.text(row, "Last_SQL_Error"));
    let (receiving, applying) = (receiving.unwrap_or_default(), applying.unwrap_or_default());
    let stopped = |thread: &str, error: &str| {
        let error = if error.is_empty() { "stopped, without an error" } else { error };
        Some(Upstream::Stopped(format!("the {thread} thread does not run: {error}")))
    };
    match (receiver.as_str(), applier.as_str()) {
        ("No", "No") if receiving.is_empty() && applying.is_empty() && takes_writes => {
            Some(Upstream::Left)
        }
        (_, "No") => stopped("applier", &applying),
        ("No", _) => stopped("receiver", &receiving),
        ("Yes", _) => Some(Upstream::Running),
        (_, _) if receiving.is_empty() => Some(Upstream::Running),
        (_, _) => Some(Upstream::Connecting(receiving)),
    }
}

fn severity(upstream: &Upstream) -> u8 {
    match upstream {
        Upstream::None => 0,
        Upstream::Left => 1,
        Upstream::Running => 2,
        Upstream::Connecting(_) => 3,
        Upstream::Stopped(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = [
        "Channel_Name",
        "Replica_IO_Running",
        "Replica_SQL_Running",
        "Last_IO_Error",
        "Last_SQL_Error",
    ];

    fn classified(rows: &[[&str; 5]], takes_writes: bool) -> Upstream {
        classify(&Table::of_texts(&NAMES, rows), takes_writes)
    }

    #[test]
    fn the_worst_channel_counts() {
        assert_eq!(classified(&[], true), Upstream::None);
        let running = ["a", "Yes", "Yes", "", ""];
        assert_eq!(classified(&[running], false), Upstream::Running);
        let failing = ["b", "Connecting", "Yes", "error connecting", ""];
        let connecting = Upstream::Connecting("error connecting".to_owned());
        assert_eq!(classified(&[failing, running], false), connecting);
        let broken = ["c", "Yes", "No", "", "duplicate entry"];
        let text = "the applier thread does not run: duplicate entry".to_owned();
        assert_eq!(classified(&[broken, failing, running], true), Upstream::Stopped(text));
        assert_eq!(classified(&[["", "Connecting", "Yes", "", ""]], false), Upstream::Running);
    }

    #[test]
    fn a_promoted_server_is_not_a_broken_replica() {
        let stopped = ["", "No", "No", "", ""];
        assert_eq!(classified(&[stopped], true), Upstream::Left);
        assert!(matches!(classified(&[stopped], false), Upstream::Stopped(_)));
        assert!(matches!(classified(&[["", "No", "Yes", "", ""]], true), Upstream::Stopped(_)));
        assert!(matches!(classified(&[["", "No", "No", "gone", ""]], true), Upstream::Stopped(_)));
        let own = ["group_replication_recovery", "No", "No", "gone", ""];
        assert_eq!(classified(&[own], false), Upstream::None);
    }

    #[test]
    fn what_is_left_out_of_replication_is_read_from_each_channel() {
        let names = [
            "Connection_name",
            "Slave_IO_Running",
            "Slave_SQL_Running",
            "Replicate_Ignore_DB",
            "Replicate_Wild_Do_Table",
        ];
        let a = ["a", "Yes", "Yes", "hr,audit", ""];
        let b = ["b", "Connecting", "Yes", "hr", "shop.o%, shop.c%"];
        let found = filtered(&Table::of_texts(&names, &[a, b]), false).expect("it replicates");
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = [
            ("replicate-ignore-db", owned(&["audit", "hr"])),
            ("replicate-wild-do-table", owned(&["shop.c%", "shop.o%"])),
        ];
        assert_eq!(found.filters, expected);
        let promoted = ["a", "No", "No", "hr", ""];
        assert_eq!(filtered(&Table::of_texts(&names, &[promoted]), true), None);
        assert_eq!(filtered(&Table::of_texts(&names, &[]), true), None);
    }
}
