//! What a server needs before it can be streamed, and the settings that fit it.

use std::path::Path;
use std::time::Duration;

use super::standin::ACCESS_KEY;
use super::{Command, Error, Mysqld, Standin};

/// Account that the streamer uses.
pub const USER: &str = "binpulse";
/// Its password.
pub const PASSWORD: &str = "pulse-of-the-demo";

/// Deadline of `binpulse init`.
const INIT_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the streamer's account, then its schema by `binpulse init`, as the README says.
pub async fn prepare(mysqld: &Mysqld, binary: &Path) -> Result<(), Error> {
    create_account(mysqld).await?;
    let mut settings = settings_for(mysqld);
    settings.retain(|(key, _)| !matches!(*key, "source.user" | "source.password"));
    settings.push(("source.user", "root".to_owned()));
    let init = Command {
        binary: binary.to_owned(),
        command: "init".to_owned(),
        settings,
        arguments: Vec::new(),
        environment: Vec::new(),
    };
    match init.run_to_end(INIT_DEADLINE).await? {
        (Some(0), _) => Ok(()),
        (code, log) => Err(Error::Ended { program: "binpulse init".to_owned(), code, log }),
    }
}

/// The streamer's account with the least it needs.
pub(super) async fn create_account(mysqld: &Mysqld) -> Result<(), Error> {
    let account = format!("'{USER}'@'%'");
    let maria = if mysqld.server().is_mariadb(10, 6) { ", SLAVE MONITOR" } else { "" };
    mysqld
        .execute(&[
            format!("CREATE USER {account} IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT{maria} ON *.* TO {account}"),
            format!("GRANT ALL ON binpulse.* TO {account}"),
        ])
        .await
}

/// Settings of the source section for a private server.
pub fn settings_for(mysqld: &Mysqld) -> Vec<(&'static str, String)> {
    // Older ones have no certificate of their own, or speak no version of TLS that is still in use.
    let server = mysqld.server();
    let tls = if server.is_mysql(8, 0) || server.is_mariadb(11, 4) { "required" } else { "off" };
    vec![
        ("source.hosts", mysqld.address()),
        ("source.user", USER.to_owned()),
        ("source.password", PASSWORD.to_owned()),
        ("source.tls", tls.to_owned()),
    ]
}

/// Environment in which the AWS clients of a program talk to the stand-in.
pub fn standin_environment() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.to_owned()),
        ("AWS_REGION", Standin::REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
}
