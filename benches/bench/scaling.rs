//! What more tables, columns, lanes and cores do: each against the first of its kind, in one run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use binpulse_demo::{Folder, Mysqld};

use crate::data::Binlogs;
use crate::delivery::Standin;
use crate::live::{medians, rate};
use crate::replay::{Run, binary, serve, settings, stream_by};
use crate::{Outcome, aws, data, facts, workload};

const ROUNDS: usize = 3;
/// Lanes of the one table of M.
const LANES: [u32; 4] = [1, 4, 16, 64];

pub(crate) async fn run(names: &[String]) -> Outcome {
    facts::print("scaling", names)?;
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("tables") {
        heading("tables, 100-row inserts in turn, to nowhere, zstd");
        let mut base = None;
        for (count, workload) in workload::BY_TABLES {
            let binlogs = data::binlogs(&workload).await?;
            let mysqld = serve(&binlogs).await?;
            let run = measure(&Setup::new(&mysqld, &binlogs)).await?;
            print_line(&count.to_string(), &binlogs, run, &mut base);
        }
    }
    if wanted("columns") {
        heading("columns, single-row transactions, to nowhere, zstd");
        let mut base = None;
        for (count, workload) in workload::BY_COLUMNS {
            let binlogs = data::binlogs(&workload).await?;
            let mysqld = serve(&binlogs).await?;
            let run = measure(&Setup::new(&mysqld, &binlogs)).await?;
            print_line(&count.to_string(), &binlogs, run, &mut base);
        }
    }
    if wanted("lanes") || wanted("cores") {
        let workload = workload::named(&["M".to_owned()], &[]).remove(0);
        let binlogs = data::binlogs(&workload).await?;
        let mysqld = serve(&binlogs).await?;
        if wanted("lanes") {
            lanes(&mysqld, &binlogs).await?;
        }
        if wanted("cores") {
            cores(&mysqld, &binlogs).await?;
        }
    }
    println!();
    Ok(())
}

async fn lanes(mysqld: &Mysqld, binlogs: &Binlogs) -> Outcome {
    heading("lanes of one table (message.lanes), M to a FIFO topic on loopback, zstd");
    let mut base = None;
    for count in LANES {
        let mut setup = Setup::new(mysqld, binlogs);
        setup.topic = Some("bench.fifo");
        setup.settings.push(("message.lanes", count.to_string()));
        print_line(&count.to_string(), binlogs, measure(&setup).await?, &mut base);
    }
    Ok(())
}

/// binpulse's own cores: the server and the endpoint have all of them.
async fn cores(mysqld: &Mysqld, binlogs: &Binlogs) -> Outcome {
    let count = std::thread::available_parallelism()?.get();
    for (what, topic) in [("to nowhere", None), ("to a standard topic on loopback", Some("bench"))]
    {
        heading(&format!("cores of binpulse (taskset), M {what}, zstd"));
        let mut base = None;
        for cores in [1, 2, 4, 8].into_iter().filter(|cores| *cores <= count) {
            let folder = Folder::create()?;
            let mut setup = Setup::new(mysqld, binlogs);
            setup.topic = topic;
            setup.binary = bound(&folder, cores)?;
            print_line(&cores.to_string(), binlogs, measure(&setup).await?, &mut base);
        }
    }
    Ok(())
}

/// A script that becomes `binpulse` on the last so many cores.
fn bound(folder: &Folder, cores: usize) -> Outcome<PathBuf> {
    let path = folder.path().join("bound");
    let last = std::thread::available_parallelism()?.get() - 1;
    let first = (last + 1).saturating_sub(cores);
    let line = format!("exec taskset -c {first}-{last} '{}' \"$@\"", binary().display());
    fs::write(&path, ["#!/bin/sh\n", &line, "\n"].concat())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    Ok(path)
}

/// What is run.
#[derive(Debug)]
struct Setup<'a> {
    mysqld: &'a Mysqld,
    binary: PathBuf,
    settings: Vec<(&'static str, String)>,
    /// `None`: to nowhere.
    topic: Option<&'a str>,
    rows: u64,
}

impl<'a> Setup<'a> {
    fn new(mysqld: &'a Mysqld, binlogs: &Binlogs) -> Self {
        let mut settings = settings(mysqld);
        settings.push(("message.compression", "zstd".to_owned()));
        Self { mysqld, binary: binary(), settings, topic: None, rows: binlogs.rows }
    }
}

async fn measure(setup: &Setup<'_>) -> Outcome<Run> {
    let mut runs = Vec::new();
    for _ in 0..ROUNDS {
        let mut settings = setup.settings.clone();
        let standin = match setup.topic {
            Some(topic) => Some(Standin::start(topic).await?),
            None => None,
        };
        match &standin {
            Some(standin) => {
                settings.push(("sns.topic", standin.arn.clone()));
                settings.push(("sns.region", aws::REGION.to_owned()));
                settings.push(("sns.endpoint_url", standin.url.clone()));
            }
            None => settings.push(("sink.kind", "null".to_owned())),
        }
        runs.push(stream_by(setup.binary.clone(), setup.mysqld, settings, setup.rows).await?);
    }
    Ok(medians(&runs))
}

fn heading(what: &str) {
    println!("\n{what}; medians of {ROUNDS}");
    println!(
        "  {:>6} {:>9} {:>6} {:>8} {:>10} {:>7} {:>12} {:>7} {:>9}",
        "", "rows", "MB", "wall s", "rows/s", "ratio", "rows/CPU s", "ratio", "peak MiB"
    );
}

/// Prints a line; ratios are to the first.
fn print_line(what: &str, binlogs: &Binlogs, run: Run, base: &mut Option<(f64, f64)>) {
    let rates = (rate(binlogs.rows, run.wall), rate(binlogs.rows, run.cpu));
    let base = base.get_or_insert(rates);
    println!(
        "  {what:>6} {:>9} {:>6} {:>8.2} {:>10.0} {:>7.2} {:>12.0} {:>7.2} {:>9}",
        binlogs.rows,
        binlogs.bytes / 1_000_000,
        run.wall.as_secs_f64(),
        rates.0,
        rates.0 / base.0,
        rates.1,
        rates.1 / base.1,
        run.peak_kib >> 10,
    );
}
