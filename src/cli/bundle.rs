//! `bundle`: one archive with all that somebody needs who is to find out what was wrong.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, ValueHint};
use serde_json::Value;

use super::service::Service;
use super::style::say;
use super::{Exit, flags, generate, runtime};
use crate::app::check;
use crate::app::plan::{Plan, hidden};
use crate::config::{self, Values};
use crate::telemetry::Hidden;
use crate::telemetry::bundle::{Bundle, Part};

const LONG_ABOUT: &str = "\
Writes one archive (tar.gz) for whoever is to find out what was wrong: /status, /history,
/metrics and the last log lines of the running service, the settings without secrets, the
result of `check`, and versions. Passwords, tokens and keys are not in it; names of hosts,
accounts, topics and tables are.

Examples:
  binpulse bundle --config binpulse.toml
  kubectl exec deploy/binpulse -- binpulse bundle --out - > bundle.tar.gz

What can't be had is named in README.txt of the archive with the reason: also if the service
does not answer, or the settings are wrong, there is a bundle. It takes a minute at most.";

/// Longest time for `check`.
const CHECK_MAX: Duration = Duration::from_secs(30);

/// The command.
pub(super) fn command() -> Command {
    let command = Command::new("bundle")
        .about("Write an archive for whoever is to find out what was wrong")
        .long_about(LONG_ABOUT)
        .arg(Arg::new("out").long("out").value_name("FILE").value_hint(ValueHint::FilePath).help(
            "The archive, - for standard output [default: a name with stream and time, here]",
        ));
    flags::with_settings(command, flags::Reads::All)
}

/// Gathers, and writes.
pub(super) fn run(matches: &ArgMatches) -> Exit {
    let loaded = flags::try_load(matches);
    let stream = loaded.as_ref().ok().and_then(|values| values.text_opt("stream.name"));
    let hidden = loaded.as_ref().map_or_else(|_| Hidden::default(), hidden);
    let mut bundle = Bundle::new(stream.unwrap_or("unnamed"), crate::platform::wall_us(), hidden);
    let source = match &loaded {
        Ok(values) => {
            let source = ask(&mut bundle, values);
            bundle.add(Part::CommandSettings, Ok(generate::settings_text(values)));
            bundle.add(Part::Check, checked(values));
            source
        }
        Err(errors) => {
            let why = format!("the settings are wrong: {}", told(errors));
            for (part, _) in Part::ASKED {
                bundle.add(part, Err(why.clone()));
            }
            bundle.add(Part::CommandSettings, Err(why.clone()));
            bundle.add(Part::Check, Err(why));
            "not known".to_owned()
        }
    };
    bundle.add_versions(&source);
    let out = matches.get_one::<String>("out").cloned().unwrap_or_else(|| bundle.file_name());
    let written = bundle.archive().and_then(|archive| write(&out, &archive));
    for missing in bundle.missing() {
        say!("binpulse: note: not in the bundle: {missing}");
    }
    match written {
        Ok(()) => Exit::Done,
        Err(error) => {
            say!("binpulse: {out}: {error}");
            Exit::Unavailable
        }
    }
}

/// Adds what the service tells; the source as it names it.
fn ask(bundle: &mut Bundle, values: &Values) -> String {
    let service = Service::of(values);
    let (mut silent, mut source) = (None, "not known".to_owned());
    for (part, path) in Part::ASKED {
        let answer = match (&service, &silent) {
            (Err(why), _) => Err(why.clone()),
            // Whoever does not answer once is not waited for again.
            (_, Some(why)) => Err(format!("not asked for after {why}")),
            (Ok(service), None) => service.ask(path).inspect_err(|why| silent = Some(why.clone())),
        };
        let text = answer.and_then(|answer| match answer.code {
            200 => Ok(answer.body),
            code => Err(format!("{path}: HTTP {code}")),
        });
        if let (Part::Status, Ok(text)) = (part, &text) {
            let status: Value = serde_json::from_str(text).unwrap_or_default();
            let of = |key: &str| status["source"][key].as_str().unwrap_or_default().to_owned();
            source = [of("flavor"), of("version")].join(" ");
            bundle.add(Part::ServiceSettings, Ok(format!("{:#}\n", status["config"])));
        }
        bundle.add(part, text);
    }
    source
}

/// What `check` finds, as far as it comes in its time.
fn checked(values: &Values) -> Result<String, String> {
    let plan = Plan::new(values).map_err(|errors| told(&errors))?;
    let runtime = runtime().map_err(|_| "can't start the runtime".to_owned())?;
    let mut reports = Vec::new();
    let look = check::look(&plan, &mut reports);
    let is_over = runtime.block_on(async { tokio::time::timeout(CHECK_MAX, look).await }).is_ok();
    // A name that is being looked up keeps nobody waiting.
    runtime.shutdown_background();
    let mut lines: Vec<_> = reports.iter().map(check::Report::json).collect();
    if !is_over {
        let seconds = CHECK_MAX.as_secs();
        lines.push(serde_json::json!({"given_up_after_seconds": seconds}).to_string());
    }
    Ok(lines.iter().flat_map(|line| [line, "\n"]).collect())
}

fn told(errors: &[config::Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Writes the archive to a new file that only its owner may read.
fn write(out: &str, archive: &[u8]) -> io::Result<()> {
    if out != "-" {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)?;
        file.write_all(archive)?;
        println!("{out}");
        return Ok(());
    }
    let mut output = io::stdout();
    if output.is_terminal() {
        return Err(io::Error::other("an archive is nothing for a terminal: send it to a file"));
    }
    output.write_all(archive)?;
    output.flush()
}
