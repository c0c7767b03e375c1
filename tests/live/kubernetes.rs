//! The configuration of the Kubernetes example, as it is but for its addresses and folders.

use std::fs;
use std::path::Path;

use binpulse_demo::{Options, PASSWORD, prepare};

use crate::aws::{Endpoint, REGION};
use crate::bed::{Bed, SOON, binary};
use crate::start::{start_with, until_it_answers};
use crate::suite::{Outcome, tests};

tests! {
    the_example_starts_while_its_database_is_down_and_goes_on_when_its_pod_is_replaced on [Mysql97];
}

async fn the_example_starts_while_its_database_is_down_and_goes_on_when_its_pod_is_replaced(
    bed: Bed,
) -> Outcome {
    // Given what the manifests bring: secrets, authority, volume; and a database that is down
    let mut mysqld = bed.mysqld(Options::default()).await?;
    prepare(&mysqld, binary()).await?;
    let authority = mysqld.data().join("ca.pem");
    mysqld.stop().await?;
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name).display().to_string();
    fs::write(place("source-password"), PASSWORD)?;
    fs::write(place("http-token"), "a-token-of-some-length\n")?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/kubernetes/binpulse.toml");
    let mut text = fs::read_to_string(example)?;
    for (of_cluster, here) in [
        ("mysql-0.mysql:3306", mysqld.address()),
        ("mysql-1.mysql:3306", "127.0.0.1:1".to_owned()),
        ("/run/secrets/binpulse", folder.path().display().to_string()),
        ("/etc/mysql-ca/ca.crt", authority.display().to_string()),
        ("/var/lib/binpulse", folder.path().display().to_string()),
        // The server's own certificate names no host.
        ("verify-identity", "verify-ca".to_owned()),
    ] {
        assert!(text.contains(of_cluster), "{of_cluster}");
        text = text.replace(of_cluster, &here);
    }
    let configuration = place("binpulse.toml");
    fs::write(&configuration, text)?;
    let endpoint = Endpoint::start().await;
    let topic = endpoint.topic("shop-changes", &[]).to_string();
    let echo = format!("billing={}/000000000000/billing-canary", endpoint.url());
    // Only what differs; what is set here wins over the file.
    let settings = [
        ("sns.topic", topic),
        ("sns.region", REGION.to_owned()),
        ("sns.endpoint_url", endpoint.url()),
        ("canary.echo", echo),
    ];
    let arguments = vec!["--config".to_owned(), configuration];
    let mut streamer = start_with(None, &settings, arguments)?;

    // Then it lives and waits, and is ready once the database is back
    assert_eq!(until_it_answers(&mut streamer).await?, 200);
    let (code, _) = streamer.ask("/status").await?;
    assert_eq!(code, 401, "a token is needed");
    mysqld.start_again().await?;
    streamer.until_ready(SOON).await?;
    assert!(Path::new(&place("quarantine")).exists(), "what is refused has a place");

    // And a pod that is replaced continues: checkpoint and quarantine are not in it
    assert_eq!(streamer.stop().await?, Some(0));
    streamer.start_again().await?;
    streamer.until_ready(SOON).await?;
    Ok(())
}
