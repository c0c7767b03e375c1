//! What a process has used.

use std::fs;
use std::time::Duration;

/// Ticks of a process's clock in a second: `USER_HZ`, 100 on all that Linux runs on.
const TICKS: u64 = 100;

/// A running process, known by an argument that no other has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pid(u32);

impl Pid {
    /// The process with this argument. Shells that keep it are not meant.
    pub(crate) fn with_argument(argument: &str) -> Option<Self> {
        let pids = fs::read_dir("/proc").ok()?.flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Self).find(|pid| {
            let line = fs::read_to_string(pid.file("cmdline")).unwrap_or_default();
            let name = fs::read_to_string(pid.file("comm")).unwrap_or_default();
            name.trim() != "sh" && line.split('\0').any(|word| word == argument)
        })
    }

    /// A child that was started here.
    pub(crate) fn of(id: u32) -> Self {
        Self(id)
    }

    fn file(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }

    /// CPU time so far, user and system.
    pub(crate) fn cpu(self) -> Duration {
        let stat = fs::read_to_string(self.file("stat")).unwrap_or_default();
        // The name in parentheses may hold spaces.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let ticks = ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    /// Most memory it has had resident, and what it has now, KiB.
    pub(crate) fn resident_kib(self) -> (u64, u64) {
        let status = fs::read_to_string(self.file("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        (field("VmHWM:").unwrap_or_default(), field("VmRSS:").unwrap_or_default())
    }
}

/// CPU time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    Pid(std::process::id()).cpu()
}

/// Time that this thread has had a core, to the nanosecond: on a machine that others use too, it
/// tells what work costs better than a clock on the wall does.
pub(crate) fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran_ns = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(ran_ns.unwrap_or_default())
}
