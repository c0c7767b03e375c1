//! The diagnostics bundle: one archive with all that somebody needs who is to find out what was wrong.
//! The service makes one of what it knows, `binpulse bundle` one that has what is local too. Bounded.

use std::fmt::Write as _;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::hidden::Hidden;

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Characters of a stream's name in the name of the archive.
const NAME_MAX: usize = 40;
/// Size of a block of the archive, a header among them.
const BLOCK: usize = 512;

/// A file of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `/status`.
    Status,
    /// `/history`.
    History,
    /// `/metrics`.
    Metrics,
    /// `/log`.
    Log,
    /// The settings of the service.
    ServiceSettings,
    /// The settings of the command.
    CommandSettings,
    /// The result of `check`.
    Check,
    /// Of the program, the server, and the operating system.
    Versions,
}

impl Part {
    /// Those that the service tells, with where it is asked for each.
    pub const ASKED: [(Self, &str); 4] = [
        (Self::Status, "/status"),
        (Self::History, "/history"),
        (Self::Metrics, "/metrics"),
        (Self::Log, "/log"),
    ];

    fn name_and_meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::Status => ("status.json", "verdict, evidence, progress, consumers, findings"),
            Self::History => ("history.json", "changes of the verdict, and an hour of figures"),
            Self::Metrics => ("metrics.txt", "all metrics, as Prometheus reads them"),
            Self::Log => ("log.txt", "the last lines of the log, from the level info up"),
            Self::ServiceSettings => ("settings.json", "the settings that the service runs with"),
            Self::CommandSettings => {
                ("settings.txt", "the settings of the command, and where each comes from")
            }
            Self::Check => (
                "check.jsonl",
                "what `binpulse check` finds; in an archive of the service: what it found at the source",
            ),
            Self::Versions => ("versions.json", "program, source, operating system"),
        }
    }
}

/// What is gathered.
#[derive(Debug)]
pub struct Bundle {
    /// Of the archive, and of the folder in it.
    name: String,
    made: DateTime<Utc>,
    files: Vec<(Part, String)>,
    missing: Vec<(Part, String)>,
    hidden: Hidden,
}

impl Bundle {
    /// Of this stream, as of `now_us`. The secrets are taken out of all that is added.
    pub fn new(stream: &str, now_us: i64, hidden: Hidden) -> Self {
        let made = DateTime::from_timestamp_micros(now_us).unwrap_or_default();
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
        let stream: String = stream.chars().filter(is_plain).take(NAME_MAX).collect();
        let name = format!("binpulse-{stream}-{}", made.format("%Y%m%dT%H%M%SZ"));
        Self { name, made, files: Vec::new(), missing: Vec::new(), hidden }
    }

    /// Adds a file, or why it is missing.
    pub fn add(&mut self, part: Part, text: Result<String, String>) {
        match text {
            Ok(text) => self.files.push((part, clipped(self.hidden.hide(text)))),
            Err(why) => self.missing.push((part, self.hidden.hide(why))),
        }
    }

    /// Adds the versions of this program, and of the source as `source` names it.
    pub fn add_versions(&mut self, source: &str) {
        let versions = serde_json::json!({
            "binpulse": env!("CARGO_PKG_VERSION"),
            "source": source,
            "system": system(),
            "architecture": std::env::consts::ARCH,
            "processors": std::thread::available_parallelism().map_or(0, usize::from),
        });
        self.add(Part::Versions, Ok(format!("{versions:#}\n")));
    }

    /// What is missing, with the reason of each.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.missing.iter().map(|(part, why)| format!("{}: {why}", part.name_and_meaning().0))
    }

    /// What to call the archive.
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.name)
    }

    /// The archive: gzip of tar.
    pub fn archive(&self) -> io::Result<Vec<u8>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let files = self.files.iter().map(|(part, text)| (part.name_and_meaning().0, text));
        for (name, text) in [("README.txt", &self.contents())].into_iter().chain(files) {
            let path = format!("{}/{name}", self.name);
            packed.write_all(&header(&path, text.len(), self.made.timestamp()))?;
            packed.write_all(text.as_bytes())?;
            let rest = text.len().next_multiple_of(BLOCK) - text.len();
            packed.write_all(&vec![0; rest])?;
        }
        packed.write_all(&[0; 2 * BLOCK])?;
        packed.finish()
    }

    fn contents(&self) -> String {
        let mut text = format!(
            "binpulse {}: diagnostics bundle, made {}.\n\nPasswords, tokens and keys are not in it. \
             Names of hosts, accounts, topics and tables are.\n\n",
            env!("CARGO_PKG_VERSION"),
            self.made.format("%Y-%m-%dT%H:%M:%SZ"),
        );
        for (part, _) in &self.files {
            let (name, meaning) = part.name_and_meaning();
            writeln!(text, "{name}: {meaning}").expect(FITS);
        }
        if !self.missing.is_empty() {
            text += "\nMissing:\n";
        }
        for line in self.missing() {
            writeln!(text, "{line}").expect(FITS);
        }
        text
    }
}

/// Why writing to a string can't fail.
const FITS: &str = "a String takes any text";

fn clipped(mut text: String) -> String {
    if text.len() > FILE_BYTES_MAX {
        let all = text.len();
        text.truncate(text.floor_char_boundary(FILE_BYTES_MAX));
        write!(text, "\n(cut here: {all} bytes in all)\n").expect(FITS);
    }
    text
}

/// Distribution and kernel, as far as they are told.
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let named = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let named = named.unwrap_or(std::env::consts::OS).trim_matches('"');
    format!("{named}, kernel {}", kernel.trim())
}

/// A header of a regular file, as `ustar` has it.
fn header(path: &str, size: usize, seconds: i64) -> Vec<u8> {
    let (size, seconds) = (format!("{size:011o}"), format!("{:011o}", seconds.max(0)));
    let before =
        [(path, 100), ("0000600", 8), ("0000000", 8), ("0000000", 8), (&size, 12), (&seconds, 12)];
    let after = [("0", 1), ("", 100), ("ustar", 6), ("00", 2), ("", 247)];
    let (mut head, rest) = (fields(&before), fields(&after));
    // The sum is made with spaces where it will stand.
    let sum: u32 = head.iter().chain(&rest).map(|byte| u32::from(*byte)).sum();
    head.extend(fields(&[(&format!("{:06o}", sum + 8 * u32::from(b' ')), 7), (" ", 1)]));
    head.extend(rest);
    head
}

/// Texts, each in a field of this many bytes.
fn fields(all: &[(&str, usize)]) -> Vec<u8> {
    let field = |(text, width): &(&str, usize)| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(*width, 0);
        bytes
    };
    all.iter().flat_map(field).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// 2026-11-30, 09:15 UTC.
    const NOW: i64 = 1_796_030_100_000_000;

    /// What `tar` makes of an archive: names with texts.
    fn unpacked(archive: &[u8]) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tar = Command::new("tar")
            .args(["-xzvf", "-", "-C"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar");
        tar.stdin.take().expect("a pipe").write_all(archive).expect("written");
        let listed = tar.wait_with_output().expect("it ends");
        assert!(listed.status.success());
        let names = String::from_utf8(listed.stdout).expect("names");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        names.lines().map(|name| (name.to_owned(), read(name))).collect()
    }

    #[test]
    fn the_archive_is_one_that_tar_unpacks_and_says_what_is_missing() {
        let mut bundle = Bundle::new("shop/../orders", NOW, Hidden::new(["hunter2-hunter2"]));
        bundle.add(Part::Status, Ok("a password: hunter2-hunter2\n".to_owned()));
        bundle.add(Part::Metrics, Ok("m".repeat(2 * BLOCK)));
        bundle.add(Part::Log, Err("connection refused for hunter2-hunter2".to_owned()));
        bundle.add_versions("mysql 8.4.3");
        assert_eq!(bundle.file_name(), "binpulse-shop..orders-20261130T091500Z.tar.gz");
        let files = unpacked(&bundle.archive().expect("an archive"));
        let names: Vec<_> = files.iter().map(|(name, _)| name.rsplit('/').next()).collect();
        let all = ["README.txt", "status.json", "metrics.txt", "versions.json"];
        assert_eq!(names, all.map(Some));
        assert!(files[0].1.contains("Missing:\nlog.txt: connection refused for ***"), "{files:?}");
        assert_eq!(files[1].1, "a password: ***\n");
        assert_eq!(files[2].1.len(), 2 * BLOCK);
        assert!(files[3].1.contains("mysql 8.4.3") && files[3].1.contains("kernel"), "{files:?}");
    }

    #[test]
    fn a_file_that_is_too_large_is_cut_and_says_so() {
        let mut bundle = Bundle::new("orders", NOW, Hidden::default());
        bundle.add(Part::Metrics, Ok("\u{e4}".repeat(FILE_BYTES_MAX)));
        let files = unpacked(&bundle.archive().expect("an archive"));
        let text = &files[1].1;
        assert!(text.len() < FILE_BYTES_MAX + 100, "{}", text.len());
        assert!(text.ends_with("(cut here: 8388608 bytes in all)\n"));
    }
}
