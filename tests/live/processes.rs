//! Nothing outlives the one who started it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use binpulse_demo::Options;
use tokio::time::{Instant, sleep};

use crate::bed::Bed;
use crate::suite::{Outcome, tests};

tests! {
    a_server_and_its_data_are_gone_when_its_owner_is on [Mysql97, Mariadb1011];
    a_frozen_server_ends_too on [Mysql97];
}

async fn a_server_and_its_data_are_gone_when_its_owner_is(bed: Bed) -> Outcome {
    let mysqld = bed.mysqld(Options::default()).await?;
    let data = mysqld.data();
    assert!(is_used(&data).await?, "the server works in its folder");
    drop(mysqld);
    assert!(!data.exists());
    assert!(!is_used(&data).await?);
    Ok(())
}

async fn a_frozen_server_ends_too(bed: Bed) -> Outcome {
    let mut mysqld = bed.mysqld(Options::default()).await?;
    let data = mysqld.data();
    mysqld.freeze()?;
    drop(mysqld);
    until_unused(&data).await
}

/// Whether a running program has this path among its arguments.
pub(crate) async fn is_used(path: &Path) -> Result<bool, std::io::Error> {
    let text = path.to_string_lossy().into_owned();
    tokio::task::spawn_blocking(move || {
        let output =
            Command::new("ps").args(["axww", "-o", "args="]).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains(&text))
    })
    .await?
}

async fn until_unused(path: &Path) -> Outcome {
    let give_up = Instant::now() + Duration::from_secs(10);
    while is_used(path).await? || path.exists() {
        if Instant::now() > give_up {
            return Err(format!("{} is still in use", path.display()).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
