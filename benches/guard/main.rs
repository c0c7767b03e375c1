//! Instructions that a row costs on its way from event to message, counted by callgrind and compared
//! with what was counted before: a count does not depend on how fast or how busy the machine is.
//!
//! ```text
//! cargo bench --bench guard                       compare with counts.txt; fails beyond the tolerance
//! BINPULSE_REGENERATE=1 cargo bench --bench guard write counts.txt
//! ```
//!
//! Counts are those of one compiler and one kind of processor: with another nothing is compared, and
//! that is said.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

#[path = "../bench/stages.rs"]
mod stages;

use binpulse::source::FileReader;
use stages::{Line, Stage};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Counts may grow by this part before that is a failure: hash seeds, and how the compiler cuts the
/// crate into units, which goes by its path too, make some of it.
const TOLERANCE: f64 = 0.10;
/// Rows that are taken before counting begins, and at least how many are counted.
const WARM_UP_ROWS: u64 = 2_000;
const COUNTED_ROWS: u64 = 4_000;
/// Largest captured log, bytes.
const LOG_BYTES_MAX: usize = 1 << 20;

const SHAPES: [&str; 5] = ["S", "M", "U", "W", "J"];
const STAGES: [(Stage, &str); 6] = [
    (Stage::Check, "check"),
    (Stage::Walk, "decode"),
    (Stage::Pack, "pack"),
    (Stage::Loop, "loop"),
    (Stage::Plain, "plain"),
    (Stage::Seal, "seal"),
];

fn main() -> Outcome<ExitCode> {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", stage, shape] => run(stage, shape),
        _ => compare(),
    }
}

/// What callgrind watches: takes events until enough rows came out; prints how many.
fn run(stage: &str, shape: &str) -> Outcome<ExitCode> {
    let stage = STAGES.into_iter().find(|(_, name)| *name == stage).ok_or("no such stage")?.0;
    let (first, rest) = events(shape)?;
    let rows_of_all = rows_of(&first, &rest)?;
    let mut line = Line::new(stage)?;
    line.take(&first)?;
    for _ in 0..WARM_UP_ROWS.div_ceil(rows_of_all) {
        rest.iter().try_for_each(|event| line.take(event))?;
    }
    let times = COUNTED_ROWS.div_ceil(rows_of_all);
    measured(&mut line, &rest, times)?;
    println!("{}", times * rows_of_all);
    Ok(ExitCode::SUCCESS)
}

/// Callgrind counts while this runs, by its name.
#[inline(never)]
fn measured(line: &mut Line, events: &[Vec<u8>], times: u64) -> Outcome {
    for _ in 0..times {
        for event in events {
            line.take(event)?;
        }
    }
    Ok(())
}

/// The format description, and the events behind it.
fn events(shape: &str) -> Outcome<(Vec<u8>, Vec<Vec<u8>>)> {
    let path = folder().join(format!("{shape}.binlog.zst"));
    let log = zstd::bulk::decompress(&std::fs::read(&path)?, LOG_BYTES_MAX)?;
    let mut captured = FileReader::open(log.as_slice(), shape)?;
    let mut events = Vec::new();
    while let Some(event) = captured.next()? {
        events.push(event.to_vec());
    }
    let first = events.remove(0);
    Ok((first, events))
}

fn rows_of(first: &[u8], rest: &[Vec<u8>]) -> Outcome<u64> {
    let events = std::iter::once(first).chain(rest.iter().map(Vec::as_slice));
    Ok(stages::pass(Stage::Walk, events)?.max(1))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard")
}

/// Counts by stage and shape: instructions a row.
type Counts = BTreeMap<(String, String), f64>;

fn compare() -> Outcome<ExitCode> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("NOT COMPARED: valgrind is not here, so no instruction was counted");
        return Ok(ExitCode::SUCCESS);
    }
    let path = folder().join("counts.txt");
    let compiler = compiler()?;
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let is_new = std::env::var_os("BINPULSE_REGENERATE").is_some();
    let kept_compiler = kept.lines().find_map(|line| line.strip_prefix("# compiler: "));
    if !is_new && kept_compiler != Some(compiler.as_str()) {
        println!(
            "NOT COMPARED: counted with {}, and this is {compiler}; take the counts of the last \
             commit that is known to be good with BINPULSE_REGENERATE=1 make guard",
            kept_compiler.unwrap_or("nothing")
        );
        return Ok(ExitCode::SUCCESS);
    }
    let before = parse(&kept);
    let now = count()?;
    if is_new {
        std::fs::write(&path, print(&compiler, &now))?;
        println!("wrote {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(judge(&before, &now))
}

fn count() -> Outcome<Counts> {
    let mut counts = Counts::new();
    for (_, stage) in STAGES {
        for shape in SHAPES {
            counts.insert((stage.to_owned(), shape.to_owned()), count_one(stage, shape)?);
        }
    }
    Ok(counts)
}

/// Has callgrind watch a run of this program.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn count_one(stage: &str, shape: &str) -> Outcome<f64> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*guard::measured*")
        .arg(std::env::current_exe()?)
        .args(["run", stage, shape])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    let counted = said.lines().find_map(|line| line.split("Collected :").nth(1));
    let counted: u64 = counted.ok_or_else(|| format!("valgrind says {said}"))?.trim().parse()?;
    let rows: u64 = String::from_utf8(out.stdout)?.trim().parse()?;
    Ok(counted as f64 / rows as f64)
}

/// Who made the instructions, and what libraries choose theirs by at run time.
fn compiler() -> Outcome<String> {
    let out = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-V")
        .output()?;
    let version = String::from_utf8(out.stdout)?;
    Ok(format!("{}, {}{}", version.trim(), std::env::consts::ARCH, features()))
}

/// Of the processor's features those that base64, zstd and CRC-32 look at.
#[cfg(target_arch = "x86_64")]
fn features() -> String {
    let found = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ];
    let mut text = String::new();
    for (name, _) in found.into_iter().filter(|(_, has)| *has) {
        text.push(' ');
        text.push_str(name);
    }
    text
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> String {
    String::new()
}

fn parse(kept: &str) -> Counts {
    let lines = kept.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (stage, shape) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(((stage, shape), words.next()?.parse().ok()?))
        })
        .collect()
}

fn print(compiler: &str, counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions a row, by callgrind: see main.rs. Made by BINPULSE_REGENERATE=1 make guard.\n\
         # compiler: {compiler}\n"
    );
    for ((stage, shape), count) in counts {
        writeln!(text, "{stage:<8} {shape} {count:>10.1}").expect("writing to a String");
    }
    text
}

fn judge(before: &Counts, now: &Counts) -> ExitCode {
    let mut is_worse = false;
    println!("{:<8} shape {:>10} {:>10} {:>8}", "stage", "before", "now", "change");
    for ((stage, shape), now) in now {
        let known = before.get(&(stage.clone(), shape.clone())).copied();
        let change = known.map_or(f64::INFINITY, |known| now / known - 1.0);
        let word = if change > TOLERANCE {
            is_worse = true;
            "MORE"
        } else if change < -TOLERANCE {
            "less: keep it with BINPULSE_REGENERATE=1"
        } else {
            ""
        };
        println!(
            "{stage:<8} {shape:<5} {:>10.1} {now:>10.1} {:>+7.1}% {word}",
            known.unwrap_or_default(),
            change * 100.0
        );
    }
    if is_worse {
        println!(
            "\nRows cost more than {:.0} % more instructions than they did.",
            TOLERANCE * 100.0
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
