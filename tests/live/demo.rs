//! The demo keeps its promises: the last line, the exit code, and nothing left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use binpulse_demo::{Folder, Process, Program, Signal};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, SOON, binary};
use crate::processes::is_used;
use crate::suite::{Outcome, tests};

tests! {
    the_demo_receives_all_that_it_wrote_and_leaves_nothing on [Mysql97];
    ctrl_c_ends_the_demo_in_order on [Mysql97];
    a_killed_demo_leaves_nothing on [Mysql97];
    the_demo_on_a_terminal_goes_on_until_ctrl_c on [Mysql97];
    the_demo_on_a_terminal_stages_an_outage_and_its_recovery on [Mysql97];
    each_charge_of_the_billing_demo_is_charged_once on [Mysql97];
}

/// What makes the program of these tests be the demo: Cargo builds no binary of another package for
/// a test.
pub(crate) const AS_DEMO: &str = "--as-binpulse-demo";

/// The demo of the program under test.
fn demo() -> Result<Vec<String>, std::io::Error> {
    let this = std::env::current_exe()?.display().to_string();
    let binary = binary().display().to_string();
    Ok(vec![this, AS_DEMO.to_owned(), "--binpulse".to_owned(), binary])
}

/// A demo whose temporary files lie in a folder of its own.
struct Demo {
    process: Process,
    folder: Folder,
}

impl Demo {
    fn start(command: &[String], seconds: u64) -> Result<Self, binpulse_demo::Error> {
        let folder = Folder::create()?;
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary).expect("a new folder");
        let program = Program {
            name: "binpulse-demo".to_owned(),
            command: command.iter().map(Into::into).collect(),
            environment: vec![
                ("TMPDIR".into(), temporary.into()),
                ("DEMO_SECONDS".into(), seconds.to_string().into()),
            ],
            without: vec!["BINPULSE_SOURCE", "AWS_"],
            log: folder.path().join("log"),
        };
        let process = Process::start(&program, &folder)?;
        Ok(Self { process, folder })
    }

    fn output(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn last_line(&self) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let output = self.output();
        let line = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        serde_json::from_str(line).map_err(|error| format!("{error} in:\n{output}").into())
    }

    /// Waits until rows have been shown.
    async fn until_rows(&mut self) -> Outcome {
        let give_up = Instant::now() + SOON;
        while !self.output().contains(r#"{"kind":"change""#) {
            self.process.must_run()?;
            if Instant::now() > give_up {
                return Err(format!("no rows; the output so far:\n{}", self.output()).into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until no program uses its folder, and nothing lies in it.
    async fn until_nothing_is_left(&self) -> Outcome {
        let temporary = self.folder.path().join("tmp");
        let give_up = Instant::now() + Duration::from_secs(10);
        while is_used(&temporary).await? || !is_empty(&temporary) {
            if Instant::now() > give_up {
                return Err(format!("something is left in {}", temporary.display()).into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn assert_complete(summary: &Value) {
    let number = |key: &str| summary[key].as_u64().unwrap_or_default();
    assert!(number("rows_written") > 20_000, "{summary}");
    assert_eq!(number("rows_written"), number("changes_received"), "{summary}");
    assert!(number("canaries_received") > 0, "{summary}");
    assert!(number("canaries_sent") > 0, "{summary}");
    assert!(summary["canary_roundtrip_ms_p50"].as_f64().is_some_and(|ms| ms > 0.0), "{summary}");
    assert!(summary["state"].is_string(), "{summary}");
    assert_eq!(summary.as_object().map(serde_json::Map::len), Some(6), "{summary}");
}

async fn the_demo_receives_all_that_it_wrote_and_leaves_nothing(_: Bed) -> Outcome {
    let mut demo = Demo::start(&demo()?, 6)?;
    let status = demo.process.wait(SOON * 2).await?;
    assert_eq!(status.code(), Some(0), "{}", demo.output());
    assert_complete(&demo.last_line()?);
    for kind in ["change", "canary", "schema"] {
        assert!(demo.output().contains(&format!(r#"{{"kind":"{kind}""#)), "no {kind} was shown");
    }
    demo.until_nothing_is_left().await
}

async fn ctrl_c_ends_the_demo_in_order(_: Bed) -> Outcome {
    let mut demo = Demo::start(&demo()?, 600)?;
    demo.until_rows().await?;
    demo.process.signal(Signal::Int)?;
    let status = demo.process.wait(SOON).await?;
    assert_eq!(status.code(), Some(0), "{}", demo.output());
    let summary = demo.last_line()?;
    assert_eq!(summary["rows_written"], summary["changes_received"]);
    demo.until_nothing_is_left().await
}

async fn a_killed_demo_leaves_nothing(_: Bed) -> Outcome {
    let mut demo = Demo::start(&demo()?, 600)?;
    demo.until_rows().await?;
    demo.process.kill().await?;
    demo.until_nothing_is_left().await
}

/// Makes a terminal with Python's standard library, and types Ctrl-C into it once `sys.argv[1]` is
/// shown.
const TERMINAL: &str = r#"
import os, pty, sys
mark, program = sys.argv[1].encode(), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(program[0], program)
typed = False
seen = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    piece = piece.replace(b"\r\n", b"\n")
    os.write(1, piece)
    seen = (seen + piece)[-100000:]
    if not typed and mark in seen:
        os.write(terminal, b"\x03")
        typed = True
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// Watches the demo on a terminal until a text is shown, and types Ctrl-C then.
async fn on_a_terminal_until(
    bed: &Bed,
    text: &str,
) -> Result<Demo, Box<dyn std::error::Error + Send + Sync>> {
    let python = bed.python()?.display().to_string();
    let terminal = [&python, "-c", TERMINAL, text].map(str::to_owned).to_vec();
    let mut demo = Demo::start(&[terminal, demo()?].concat(), 0)?;
    let status = demo.process.wait(SOON * 3).await?;
    assert_eq!(status.code(), Some(0), "{}", demo.output());
    let output = demo.output();
    assert!(output.contains("/metrics") && output.contains("in a browser"), "{output}");
    assert!(output.contains("received: each row was received once."), "{output}");
    demo.until_nothing_is_left().await?;
    Ok(demo)
}

async fn the_demo_on_a_terminal_goes_on_until_ctrl_c(bed: Bed) -> Outcome {
    on_a_terminal_until(&bed, r#"{"kind":"canary""#).await.map(drop)
}

async fn the_demo_on_a_terminal_stages_an_outage_and_its_recovery(bed: Bed) -> Outcome {
    let demo = on_a_terminal_until(&bed, "Press Ctrl-C to end the demo").await?;
    let output = demo.output();
    let at = |text: &str| output.find(text).unwrap_or_else(|| panic!("`{text}` in:\n{output}"));
    assert!(at("MySQL process is frozen") < at("binpulse says `source_hung`"), "{output}");
    assert!(at("binpulse says `source_hung`") < at("MySQL continues"), "{output}");
    assert!(at("MySQL continues") < at("binpulse says `live`"), "{output}");
    Ok(())
}

async fn each_charge_of_the_billing_demo_is_charged_once(_: Bed) -> Outcome {
    let this = std::env::current_exe()?.display().to_string();
    let binary = binary().display().to_string();
    let arguments = ["billing", "--binpulse", &binary, "--charges", "500", "--seed", "1"];
    let command = [this.as_str(), AS_DEMO].into_iter().chain(arguments).map(str::to_owned);
    let command: Vec<_> = command.collect();
    let mut demo = Demo::start(&command, 0)?;
    let status = demo.process.wait(SOON * 4).await?;
    let output = demo.output();
    assert_eq!(status.code(), Some(0), "{output}");
    let number = |name: &str| -> u64 {
        let line = output.lines().find(|line| line.trim_start().starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        number.unwrap_or_else(|| panic!("a number behind `{name}` in:\n{output}"))
    };
    assert_eq!((number("charges in the source"), number("charged")), (500, 500), "{output}");
    assert!(number("requests") > 500 && number("seen more than once") > 0, "{output}");
    assert!(number("copies added by the queue") > 0, "{output}");
    for killed in [" relay, ", " streamer"] {
        assert!(output.contains(killed), "{output}");
    }
    demo.until_nothing_is_left().await
}
