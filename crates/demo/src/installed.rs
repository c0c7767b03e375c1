//! What there is to run: the servers and the stand-in that `make deps` fetched, or this machine's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::Error;

/// Names a server to use before all others.
const OWN_SERVER: &str = "BINPULSE_TEST_MYSQLD";
/// Names the folder of fetched programs.
const DEPS: &str = "BINPULSE_TEST_DEPS";

/// Make of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// MySQL, and what is built from it.
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// A server that can be started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// `mysql-9.7`, `mariadb-10.11`; `own` for one that the environment names.
    pub name: String,
    /// Make.
    pub flavor: Flavor,
    /// Version, `9.7.4`.
    pub version: String,
    /// The server's program.
    pub mysqld: PathBuf,
    /// `mysqlbinlog` of the same version, if there is one.
    #[serde(default)]
    pub mysqlbinlog: Option<PathBuf>,
    /// Command-line client of the same version, if there is one.
    #[serde(default)]
    pub client: Option<PathBuf>,
}

impl Server {
    /// Major and minor version.
    pub fn release(&self) -> (u32, u32) {
        release_in(&self.version).unwrap_or_default()
    }

    /// Whether this is a MySQL of at least this release.
    pub fn is_mysql(&self, major: u32, minor: u32) -> bool {
        self.flavor == Flavor::Mysql && self.release() >= (major, minor)
    }

    /// Whether this is a MariaDB of at least this release.
    pub fn is_mariadb(&self, major: u32, minor: u32) -> bool {
        self.flavor == Flavor::Mariadb && self.release() >= (major, minor)
    }
}

/// How to start the stand-in of SNS and SQS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Standin {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables to set.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Path that answers 200 once it serves.
    pub ready_path: String,
}

#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    servers: Vec<Server>,
    ministack: Option<Standin>,
}

/// Everything that can be started here.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    /// Servers, the preferred one first.
    pub servers: Vec<Server>,
    /// The stand-in.
    pub standin: Option<Standin>,
    /// Python that has the packages of the tests, `boto3` and `protobuf` among them.
    pub python: Option<PathBuf>,
}

impl Installed {
    /// Looks around: the server that `BINPULSE_TEST_MYSQLD` names, then the fetched ones (their list
    /// lies in `BINPULSE_TEST_DEPS`, or in `.deps` of this folder or of one above it or above the
    /// program), then a `mysqld` or `mariadbd` on the PATH.
    pub fn find() -> Result<Self, Error> {
        let mut found = Self::default();
        if let Some(path) = std::env::var_os(OWN_SERVER).filter(|path| !path.is_empty()) {
            found.servers.push(describe("own", &PathBuf::from(path))?);
        }
        if let Some(path) = manifest_path() {
            let manifest = read_manifest(&path)?;
            let known = |server: &Server| found.servers.iter().any(|own| own.name == server.name);
            let fetched: Vec<_> = manifest.servers.into_iter().filter(|s| !known(s)).collect();
            found.servers.extend(fetched);
            let python = manifest.ministack.as_ref().and_then(|standin| standin.command.first());
            found.python = python.map(PathBuf::from);
            found.standin = manifest.ministack;
        }
        for name in ["mysqld", "mariadbd"] {
            // A server of this machine that does not even tell its version is none of ours.
            if let Some(server) = on_path(name).and_then(|path| describe("path", &path).ok()) {
                found.servers.push(server);
            }
        }
        Ok(found)
    }

    /// The preferred server.
    pub fn server(&self) -> Result<&Server, Error> {
        self.servers.first().ok_or_else(|| Error::Missing {
            what: "a MySQL server".to_owned(),
            remedy: "run `make deps`, or set BINPULSE_TEST_MYSQLD=/path/to/mysqld",
        })
    }

    /// The stand-in.
    pub fn standin(&self) -> Result<&Standin, Error> {
        self.standin.as_ref().ok_or_else(|| Error::Missing {
            what: "the stand-in of SNS and SQS".to_owned(),
            remedy: "run `make deps`",
        })
    }
}

fn manifest_path() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(DEPS) {
        return Some(PathBuf::from(folder).join("manifest.json"));
    }
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(".deps/manifest.json"))
        .find(|path| path.is_file())
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Manifest { path: path.to_owned(), reason: error.to_string() })
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Asks a server's program what it is.
fn describe(name: &str, mysqld: &Path) -> Result<Server, Error> {
    let failed = |source| Error::Program { program: mysqld.display().to_string(), source };
    let answer = Command::new(mysqld).arg("--version").output().map_err(failed)?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let version = version_in(&text).ok_or_else(|| {
        failed(std::io::Error::other(format!("`--version` names no version: {}", text.trim())))
    })?;
    let mariadb = text.to_ascii_lowercase().contains("mariadb");
    Ok(Server {
        name: name.to_owned(),
        flavor: if mariadb { Flavor::Mariadb } else { Flavor::Mysql },
        version: version.to_owned(),
        mysqld: mysqld.to_owned(),
        mysqlbinlog: on_path("mysqlbinlog"),
        client: on_path("mysql"),
    })
}

/// The first word with a version's form: `mysqld  Ver 8.0.36-0ubuntu0 for Linux` has 8.0.36.
fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| {
        release_in(word)?;
        word.split(|c: char| c != '.' && !c.is_ascii_digit()).next()
    })
}

fn release_in(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_print() {
        for (text, version, release) in [
            ("/usr/sbin/mysqld  Ver 8.0.36-0ubuntu0.22.04.1 for Linux", "8.0.36", (8, 0)),
            ("mysqld  Ver 9.7.4 for Linux on x86_64", "9.7.4", (9, 7)),
            ("mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian", "10.11.6", (10, 11)),
        ] {
            assert_eq!(version_in(text), Some(version));
            assert_eq!(release_in(version), Some(release));
        }
        assert_eq!(version_in("no version 12 here"), None);
    }

    #[test]
    fn a_manifest_may_lack_clients_and_hold_more_than_is_known() {
        let manifest: Manifest = serde_json::from_str(
            r#"{"servers": [{"name": "mysql-5.6", "flavor": "mysql", "version": "5.6.24",
                "mysqld": "/m", "basedir": "/b", "mysqlbinlog": null, "client": null}],
                "tools": {}, "ministack": null}"#,
        )
        .expect("readable");
        let server = &manifest.servers[0];
        assert_eq!((server.release(), server.mysqlbinlog.as_ref()), ((5, 6), None));
        assert!(!server.is_mysql(5, 7) && server.is_mysql(5, 5) && !server.is_mariadb(5, 5));
    }
}
