//! The suite: which test runs on which server versions, and what is said about it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use binpulse_demo::{Installed, Server};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use crate::bed::Bed;
use crate::longest::{self, timed};

/// A test that hangs fails, and the suite continues. Far above what any takes on a slow machine.
const TEST_DEADLINE: Duration = Duration::from_mins(5);

/// The same where a test is told how long to go on, beyond that time.
fn deadline() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    TEST_DEADLINE + Duration::from_secs(seconds.unwrap_or_default())
}

/// How many tests ran on each version.
static RAN: Mutex<BTreeMap<Version, u32>> = Mutex::new(BTreeMap::new());

/// How a test ends: an error fails it, as a panic does.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A server version that tests name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Mysql97,
    Mysql80,
    Mysql57,
    Mysql56,
    Mariadb1011,
    Mariadb118,
}

impl Version {
    pub(crate) const ALL: [Self; 6] = [
        Self::Mysql97,
        Self::Mysql80,
        Self::Mysql57,
        Self::Mysql56,
        Self::Mariadb1011,
        Self::Mariadb118,
    ];

    /// Name in the list of fetched servers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mysql97 => "mysql-9.7",
            Self::Mysql80 => "mysql-8.0",
            Self::Mysql57 => "mysql-5.7",
            Self::Mysql56 => "mysql-5.6",
            Self::Mariadb1011 => "mariadb-10.11",
            Self::Mariadb118 => "mariadb-11.8",
        }
    }

    /// Whether it is a failure when there is no such server. The others come from registries that
    /// may not be at hand.
    fn always(self) -> bool {
        matches!(self, Self::Mysql97 | Self::Mariadb1011)
    }

    /// The server to use: one that the environment names stands in for the default version.
    fn server(self, installed: &Installed) -> Option<&Server> {
        let named = |name: &str| installed.servers.iter().find(|server| server.name == name);
        let own = if self == Self::Mysql97 { named("own") } else { None };
        own.or_else(|| named(self.name()))
    }
}

/// A test and the versions that it runs on; on none: it needs no server.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) on: &'static [Version],
    pub(crate) body: fn(Bed) -> Pin<Box<dyn Future<Output = Outcome>>>,
}

/// Lists the tests of a module: `name on [Version, ..];`
macro_rules! tests {
    ($($name:ident on [$($version:ident),*];)*) => {
        pub(crate) fn tests() -> Vec<crate::suite::Test> {
            vec![$(crate::suite::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                on: &[$(crate::suite::Version::$version),*],
                body: |bed| Box::pin($name(bed)),
            }),*]
        }
    };
}
pub(crate) use tests;

/// Tests at a time, unless the command line says so.
const THREADS: usize = 4;

/// Runs the tests that the command line asks for.
pub(crate) fn run(tests: &[Test]) -> Conclusion {
    let arguments = Arguments::from_args();
    // They wait more than they work.
    let threads = Some(arguments.test_threads.unwrap_or(THREADS));
    let arguments = Arguments { test_threads: threads, ..arguments };
    // There is no list of servers to look into when nothing has been fetched.
    let installed: &'static Installed = Box::leak(Box::new(match Installed::find() {
        Ok(installed) => installed,
        Err(error) => {
            eprintln!("{error}");
            Installed::default()
        }
    }));
    let trials = tests.iter().flat_map(|test| trials(test, installed)).collect();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials);
    }
    report(installed, "servers for the live tests", &named(tests));
    let conclusion = longest::run(&arguments, trials);
    report(installed, "live tests ran on", &RAN.lock().expect("not poisoned"));
    conclusion
}

fn trials(test: &Test, installed: &'static Installed) -> Vec<Trial> {
    let name = test.name.trim_start_matches("live::");
    if test.on.is_empty() {
        let bed = Bed::new(name, "", None, installed);
        return vec![trial(name, "", test, None, bed)];
    }
    let on = test.on.iter().map(|version| {
        let full = format!("{name}::{}", version.name().replace(['-', '.'], "_"));
        match version.server(installed) {
            Some(server) => {
                let bed = Bed::new(&full, version.name(), Some(server.clone()), installed);
                let kind = format!("{} {}", server.name, server.version);
                trial(&full, &kind, test, Some(*version), bed)
            }
            None if version.always() => missing(&full, *version),
            None => missing(&full, *version).with_ignored_flag(true),
        }
    });
    on.collect()
}

fn trial(name: &str, kind: &str, test: &Test, version: Option<Version>, bed: Bed) -> Trial {
    let body = test.body;
    let trial = timed(name, move || {
        if let Some(version) = version {
            *RAN.lock().expect("not poisoned").entry(version).or_insert(0) += 1;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failed::from(error.to_string()))?;
        let deadline = deadline();
        let limited = async { tokio::time::timeout(deadline, body(bed)).await };
        match runtime.block_on(limited) {
            Ok(outcome) => outcome.map_err(|error| Failed::from(error.to_string())),
            Err(_) => Err(Failed::from(format!("not done within {deadline:?}"))),
        }
    });
    trial.with_kind(kind)
}

fn missing(name: &str, version: Version) -> Trial {
    let how = how_to_get(version);
    Trial::test(name, move || Err(Failed::from(how))).with_kind("no server")
}

fn how_to_get(version: Version) -> String {
    format!("no server: python3 tests/support/deps.py {}", version.name())
}

/// How many tests name each version.
fn named(tests: &[Test]) -> BTreeMap<Version, u32> {
    let mut counts = BTreeMap::new();
    for version in tests.iter().flat_map(|test| test.on) {
        *counts.entry(*version).or_insert(0) += 1;
    }
    counts
}

/// Says which versions there are, and loudly which are not.
fn report(installed: &Installed, title: &str, counts: &BTreeMap<Version, u32>) {
    println!("\n{title}:");
    for version in Version::ALL {
        let count = counts.get(&version).copied().unwrap_or_default();
        match version.server(installed) {
            Some(server) => {
                println!("  {:<14} {:<10} {count} tests", server.name, server.version);
            }
            None => {
                println!("  {:<14} NOT RUN: {}", version.name(), how_to_get(version));
            }
        }
    }
}
