//! Data directories: made once for each server version, then copied, which takes a tenth of the time.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::folder::copy_all;
use super::launch::{SMALL, option, small, spawn};
use super::process::log_tail;
use super::{Error, Flavor, Folder, Options, Server};

/// Raise it when a change here makes kept directories unfit.
const LAYOUT: u32 = 1;
/// Deadline of the clean shutdown that ends the making.
const STOP_DEADLINE: Duration = Duration::from_mins(1);

/// Files that would make all servers the same one, or leftovers of the making.
const NOT_KEPT: &[&str] = &["auto.cnf", "error.log", "ib_buffer_pool"];

/// Directories that this process has begun to keep: two at once must not share a name.
static MADE: AtomicU32 = AtomicU32::new(0);

/// How names of tables are stored: a server takes it only as its data was made with.
const NAMES: &str = "--lower-case-table-names=";

/// Puts a fresh data directory for `server` to `target`, with an account `root` without password.
/// `options`: with what it will run there.
pub(super) async fn provide(
    server: &Server,
    options: &Options,
    target: &Path,
) -> Result<(), Error> {
    let names = options.extra.iter().find(|option| option.starts_with(NAMES));
    let names = names.map(String::as_str);
    let kept = cache().join(file_name(server, names));
    if !kept.is_dir() {
        make(server, names, &kept).await?;
    }
    copy_all(&kept, target)
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("binpulse/datadir")
}

fn file_name(server: &Server, names: Option<&str>) -> String {
    let mut hasher = DefaultHasher::new();
    (LAYOUT, &server.mysqld, SMALL).hash(&mut hasher);
    if let Some(names) = names {
        names.hash(&mut hasher);
    }
    format!("{}-{}-{:016x}", server.name, server.version, hasher.finish())
}

/// Initialises a directory, has a server start on it once (it makes its TLS keys then) and keeps
/// what a clean shutdown leaves. Several may do so at once: the first to finish wins.
async fn make(server: &Server, names: Option<&str>, kept: &Path) -> Result<(), Error> {
    let folder = Folder::create()?;
    let data = folder.path().join("data");
    initialize(server, names, &data, &folder)?;

    let extra = names.map(str::to_owned).into_iter().collect();
    let options = Options { binlog: false, extra, ..Options::default() };
    let (mut process, _) = spawn(server, &options, &folder, None).await?;
    process.stop(STOP_DEADLINE).await?;
    for name in NOT_KEPT {
        let path = data.join(name);
        if path.exists() {
            std::fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }

    let parent = kept.parent().unwrap_or(kept);
    std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
    let name = kept.file_name().unwrap_or_default().to_string_lossy();
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let staged = parent.join(format!(".{name}-{}-{number}", std::process::id()));
    copy_all(&data, &staged)?;
    match std::fs::rename(&staged, kept) {
        // Another process was first; its directory is as good.
        Err(_) if kept.is_dir() => std::fs::remove_dir_all(&staged).map_err(Error::file(&staged)),
        renamed => renamed.map_err(Error::file(kept)),
    }
}

fn initialize(
    server: &Server,
    names: Option<&str>,
    data: &Path,
    folder: &Folder,
) -> Result<(), Error> {
    let (program, mut arguments) = initializer(server);
    arguments.extend(names.map(OsString::from));
    arguments.push(option("--datadir=", data));
    if folder.is_of_root() {
        arguments.push("--user=root".into());
    }
    let log = folder.path().join("initialize.log");
    let file = std::fs::File::create(&log).map_err(Error::file(&log))?;
    let failed = |source| Error::Program { program: program.display().to_string(), source };
    let status = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(Error::file(&log))?)
        .stderr(file)
        .status()
        .map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Ended {
        program: program.display().to_string(),
        code: status.code(),
        log: log_tail(&log),
    })
}

/// The program that makes a data directory. Fetched servers all know `--initialize-insecure`; a
/// MariaDB of this machine has a script for it.
fn initializer(server: &Server) -> (PathBuf, Vec<OsString>) {
    let script = ["mariadb-install-db", "mysql_install_db"]
        .iter()
        .flat_map(|name| {
            let beside = server.mysqld.parent().map(|folder| folder.join(name));
            let above = server.mysqld.ancestors().nth(2).map(|base| base.join("bin").join(name));
            [beside, above]
        })
        .flatten()
        .find(|path| path.is_file());
    match script {
        Some(script) if server.flavor == Flavor::Mariadb => {
            let arguments = ["--no-defaults", "--auth-root-authentication-method=normal"];
            (script, arguments.map(OsString::from).to_vec())
        }
        _ => {
            let arguments = ["--no-defaults", "--initialize-insecure"].iter().copied();
            let small = small(server).iter().copied();
            (server.mysqld.clone(), arguments.chain(small).map(OsString::from).collect())
        }
    }
}
