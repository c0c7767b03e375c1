//! Faults between a program and its system, see `shim.c`.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use binpulse_demo::{Error, Folder};

/// Bytes of the longest name.
const NAME_BYTES: usize = 32;

/// What goes wrong in one program. The same as in `shim.c`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Control {
    /// Added to the real-time clock.
    pub(crate) clock_ns: i64,
    /// Each sync lasts this much longer.
    pub(crate) sync_ms: i64,
    /// Part of the names of files of which the volume is full.
    pub(crate) full: Option<&'static str>,
    /// No name resolves.
    pub(crate) nameless: bool,
    /// The thread of that name does not wake up.
    pub(crate) asleep: Option<&'static str>,
}

impl Control {
    fn bytes(self) -> Vec<u8> {
        let flags = [
            self.clock_ns,
            self.sync_ms,
            i64::from(self.full.is_some()),
            i64::from(self.nameless),
            i64::from(self.asleep.is_some()),
        ];
        let mut bytes: Vec<u8> = flags.iter().flat_map(|flag| flag.to_ne_bytes()).collect();
        for name in [self.full, self.asleep] {
            let end = bytes.len() + NAME_BYTES;
            bytes.extend(name.unwrap_or_default().bytes());
            bytes.resize(end, 0);
        }
        bytes
    }
}

/// The shim of one program.
#[derive(Debug)]
pub(crate) struct Shim {
    library: PathBuf,
    control: PathBuf,
    file: std::fs::File,
    /// Dropped last.
    _folder: Folder,
}

fn failed(program: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Program { program: program.to_owned(), source }
}

impl Shim {
    /// Compiles it, all well.
    pub(crate) fn build() -> Result<Self, Error> {
        let folder = Folder::create()?;
        let library = folder.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output()
            .map_err(failed("cc"))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Ended { program: "cc".to_owned(), code: output.status.code(), log });
        }
        let control = folder.path().join("control");
        std::fs::write(&control, Control::default().bytes()).map_err(failed("the shim"))?;
        let file = std::fs::File::options().write(true).open(&control);
        let file = file.map_err(failed("the shim"))?;
        Ok(Self { library, control, file, _folder: folder })
    }

    /// What the program is started with.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAULTS_CONTROL", self.control.display().to_string()),
        ]
    }

    /// From now on this goes wrong, and nothing else.
    pub(crate) fn set(&self, control: Control) -> Result<(), Error> {
        self.file.write_all_at(&control.bytes(), 0).map_err(failed("the shim"))
    }
}
