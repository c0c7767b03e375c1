//! Checkpoint and quarantine files, and the address of the pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use binpulse::sink::quarantine::Quarantine;
use binpulse_demo::{Options, prepare};

use super::{Bench, Case, OPERATOR, STARTS, UNAVAILABLE, case};
use crate::bed::{Bed, binary};
use crate::suite::{Outcome, tests};

tests! {
    check_and_run_agree_on_files_and_addresses on [Mysql97];
}

/// A small volume, if this user may mount one; gone when it is dropped.
struct Volume(String);

impl Volume {
    fn mount(path: String) -> Option<Self> {
        fs::create_dir(&path).ok()?;
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", "size=64k", "binpulse-test", &path]).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    fn make_read_only(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,ro", &self.0]).status().is_ok_and(|status| status.success())
    }

    fn fill(&self) {
        // Until there is no room any more.
        for size in [4096, 1] {
            let mut number = 0;
            while fs::write(format!("{}/{size}-{number}", self.0), vec![0; size]).is_ok() {
                number += 1;
                if number > 64 {
                    break;
                }
            }
        }
    }

    fn file(&self) -> String {
        format!("{}/checkpoint", self.0)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What is not mounted any more is no trouble.
        drop(Command::new("umount").arg(&self.0).status());
    }
}

/// A line as the checkpoint's file has them.
fn record(json: &str) -> String {
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
}

fn files(bench: &Bench) -> Vec<Case> {
    let at = |name, exit, path: &str| case(name, exit, &[("checkpoint.path", path)]);
    let path = |name: &str| bench.path(name);
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).expect("a file");
        path(name)
    };
    fs::create_dir_all(path("directory")).expect("a folder");
    fs::create_dir_all(path("locked.lock")).expect("a folder");
    let plain = write("plain", "");
    let pipe = path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    std::os::unix::fs::symlink(path("loop"), path("loop")).expect("a link");
    std::os::unix::fs::symlink(path("gone/file"), path("dangling")).expect("a link");
    vec![
        at("folder missing", UNAVAILABLE, &path("gone/checkpoint")),
        at("folder that is a file", UNAVAILABLE, &format!("{plain}/checkpoint")),
        at("directory", UNAVAILABLE, &path("directory")),
        at("pipe", UNAVAILABLE, &pipe),
        at("device", UNAVAILABLE, "/dev/null"),
        at("name too long", UNAVAILABLE, &path(&"x".repeat(300))),
        at("loop of links", UNAVAILABLE, &path("loop")),
        at("lock that is a directory", UNAVAILABLE, &path("locked")),
        at("empty file", OPERATOR, &write("empty", "")),
        at("no checkpoint at all", OPERATOR, &write("novel", "It was a dark and stormy night.\n")),
        at("newer format", OPERATOR, &write("newer", &record(r#"{"binpulse_checkpoint":99}"#))),
        at("other document", OPERATOR, &write("other", &record("{}"))),
    ]
}

async fn check_and_run_agree_on_files_and_addresses(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let bench = Bench::of(&mysqld)?;
    let mut cases = files(&bench);

    // What a run has left behind, whole and not
    let saved = bench.path("saved");
    let of_saved = |name, exit, path: &str| {
        case(name, exit, &[("checkpoint.path", path), ("stream.name", "saved")])
    };
    bench.begin(&of_saved("a run before", STARTS, &saved)).await?;
    let text = fs::read_to_string(&saved)?;
    let copy = |name: &str, text: &str| -> std::io::Result<String> {
        fs::write(bench.path(name), text)?;
        Ok(bench.path(name))
    };
    cases.push(case("of another stream", OPERATOR, &[("checkpoint.path", &saved)]));
    cases.push(of_saved("damaged", OPERATOR, &copy("damaged", &text.replacen('"', "'", 2))?));
    let half = text.get(..text.len() / 2).unwrap_or_default();
    cases.push(of_saved("cut in half", OPERATOR, &copy("half", half)?));
    let torn = format!("{text}0badc0de {{\"torn");
    cases.push(of_saved("torn", STARTS, &copy("torn", &torn)?));
    let held = copy("held", &text)?;
    let lock = fs::File::create(Path::new(&format!("{held}.lock")))?;
    lock.lock()?;
    cases.push(of_saved("held", OPERATOR, &held));

    // Volumes that take nothing
    let volumes =
        ["full", "readonly", "readonly-saved"].map(|name| Volume::mount(bench.path(name)));
    let [full, bare, kept] = &volumes;
    if let Some(volume) = full {
        volume.fill();
        cases.push(case("full", UNAVAILABLE, &[("checkpoint.path", &volume.file())]));
    }
    if let Some(volume) = bare.as_ref().filter(|volume| volume.make_read_only()) {
        cases.push(case("read-only", UNAVAILABLE, &[("checkpoint.path", &volume.file())]));
    }
    if let Some(volume) = kept {
        fs::write(volume.file(), &text)?;
        fs::write(format!("{}.lock", volume.file()), "")?;
        assert!(volume.make_read_only());
        cases.push(of_saved("read-only with a checkpoint", UNAVAILABLE, &volume.file()));
    }
    if volumes.iter().any(Option::is_none) {
        println!("NOT RUN: full and read-only volumes, which only root may mount");
    }

    // What is quarantined
    let aside = |name, exit, path: &str| {
        case(name, exit, &[("decode.on_error", "quarantine"), ("sink.quarantine", path)])
    };
    let in_use = Quarantine::open(Path::new(&bench.path("in-use")), 1 << 20)?;
    cases.push(aside("quarantine", STARTS, &bench.path("quarantine")));
    cases.push(aside("quarantine without folder", UNAVAILABLE, &bench.path("gone/quarantine")));
    cases.push(aside("quarantine directory", UNAVAILABLE, &bench.path("directory")));
    cases.push(aside("quarantine pipe", UNAVAILABLE, &bench.path("pipe")));
    cases.push(aside("quarantine in use", UNAVAILABLE, &bench.path("in-use")));
    cases.push(aside("quarantine damaged", OPERATOR, &copy("aside", "0badc0de {}\n")?));

    // The pages
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.to_string();
    cases.push(case("port in use", UNAVAILABLE, &[("http.listen", &port)]));
    let elsewhere = [("http.listen", "192.0.2.1:9187"), ("http.open", "true")];
    cases.push(case("address of another machine", UNAVAILABLE, &elsewhere));
    let outcome = bench.agree(cases).await;
    drop((in_use, lock, taken));
    outcome
}
