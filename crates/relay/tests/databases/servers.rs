//! Servers of these tests. Each is private, and ends with its owner.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use binpulse_demo::{Folder, Installed, Process, Program, Server};

/// Until a server takes connections.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// Says, past the harness, what does not run here.
pub(crate) fn skipped(what: &str) {
    let line = format!("skipped: {what}: not here, `make deps` fetches it\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
}

/// The servers with these names that are here; the others are named.
pub(crate) fn mysqls(names: &[&str]) -> Vec<Server> {
    let installed = Installed::find().expect("a readable list of servers");
    let find = |name: &&str| {
        let found = installed.servers.iter().find(|server| server.name == *name).cloned();
        if found.is_none() {
            skipped(name);
        }
        found
    };
    names.iter().filter_map(find).collect()
}

/// A fetched program, or one of this machine.
fn program(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = std::env::var_os("BINPULSE_TEST_DEPS").map(PathBuf::from).into_iter();
    let folders = folders.chain(own.ancestors().map(|folder| folder.join(".deps")));
    let manifests = folders.map(|folder| folder.join("manifest.json"));
    let fetched = manifests.filter_map(|path| std::fs::read(path).ok()).find_map(|text| {
        let manifest: serde_json::Value = serde_json::from_slice(&text).expect("a manifest");
        manifest["tools"][name].as_str().map(PathBuf::from)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    fetched.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A server that is neither MySQL nor MariaDB.
pub(crate) struct Private {
    // Dropped in this order.
    process: Process,
    folder: Folder,
    command: Vec<OsString>,
    pub(crate) port: u16,
}

impl Private {
    fn start(folder: Folder, command: Vec<OsString>, port: u16) -> Self {
        let process = spawn(&folder, &command, port);
        Self { process, folder, command, port }
    }

    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("killed");
    }

    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.folder, &self.command, self.port);
    }
}

fn spawn(folder: &Folder, command: &[OsString], port: u16) -> Process {
    let program = Program {
        name: command.first().expect("a program").to_string_lossy().into_owned(),
        command: command.to_vec(),
        environment: Vec::new(),
        without: vec!["PG", "LC_", "LANG"],
        log: folder.path().join("log"),
    };
    let mut process = Process::start(&program, folder).expect("starts");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        process.must_run().expect("runs");
        assert!(begun.elapsed() < START_DEADLINE, "{}", process.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// A Redis without a password; `None` if there is none here.
pub(crate) fn redis(options: &[&str]) -> Option<Private> {
    let Some(path) = program("redis-server") else {
        skipped("redis");
        return None;
    };
    let (folder, port) = (Folder::create().expect("a folder"), free_port());
    let mut command: Vec<OsString> = vec![path.into(), "--port".into(), port.to_string().into()];
    command.extend(["--bind", "127.0.0.1", "--save", "", "--dir"].map(OsString::from));
    command.push(folder.path().into());
    command.extend(options.iter().map(OsString::from));
    Some(Private::start(folder, command, port))
}

/// A PostgreSQL with the user and database `postgres`; `None` if there is none here.
pub(crate) fn postgres() -> Option<Private> {
    postgres_with(|_| Vec::new())
}

/// The same with options, which may name files that are put into its folder.
pub(crate) fn postgres_with(options: impl FnOnce(&Path) -> Vec<String>) -> Option<Private> {
    let (Some(initdb), Some(postgres)) = (program("initdb"), program("postgres")) else {
        skipped("postgresql");
        return None;
    };
    let (folder, port) = (Folder::create().expect("a folder"), free_port());
    let data = folder.path().join("data");
    // It refuses to run as root; as root in a namespace of its own it is somebody else.
    let prefix: &[&str] =
        if folder.is_of_root() { &["unshare", "--user", "--map-user=1000"] } else { &[] };
    let words = |program: &Path| -> Vec<OsString> {
        let prefix = prefix.iter().map(OsString::from);
        prefix.chain([program.into(), "-D".into(), data.clone().into()]).collect()
    };
    let mut make = words(&initdb);
    make.extend(
        ["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"].map(Into::into),
    );
    let (first, rest) = make.split_first().expect("a program");
    let output = Command::new(first).args(rest).output().expect("initdb runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = words(&postgres);
    for option in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"] {
        command.extend(["-c".into(), option.into()]);
    }
    command.extend(["-c".into(), format!("port={port}").into()]);
    for option in options(folder.path()) {
        command.extend(["-c".into(), option.into()]);
    }
    Some(Private::start(folder, command, port))
}
