//! The lease on a stream: who may run it, and who waits.

use std::time::Duration;

use binpulse_demo::{Mysqld, Options, Streamer};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::suite::{Outcome, tests};
use crate::takeover::is_healthy;

tests! {
    a_second_process_by_mistake_is_refused_and_the_first_goes_on on [Mysql97, Mariadb1011];
    a_stream_is_taken_from_another_process_when_that_is_said on [Mysql97, Mariadb1011];
    after_a_stop_or_with_the_same_file_a_restart_waits_for_nothing on [Mysql97];
    a_lease_that_cannot_be_kept_is_a_finding_and_stops_nothing on [Mysql97, Mariadb1011];
}

/// Exit code of what needs an operator.
const NEEDS_OPERATOR: Option<i32> = Some(75);

async fn text(mysqld: &Mysqld, query: &str) -> Result<Option<String>, mysql_async::Error> {
    let mut session = mysqld
        .connect()
        .await
        .map_err(|error| mysql_async::Error::Other(error.to_string().into()))?;
    let text = session.query_first(query).await?;
    session.disconnect().await?;
    Ok(text)
}

fn in_table() -> (&'static str, String) {
    ("checkpoint.store", "table".to_owned())
}

fn seen(status: &Value) -> Option<u64> {
    status["heartbeat"]["seen"].as_u64()
}

/// Waits for three more heartbeats of this process.
async fn goes_on(streamer: &mut Streamer) -> Outcome {
    let before = seen(&streamer.status().await?).unwrap_or_default();
    let rises = |status: &Value| seen(status) >= Some(before + 3) && is_healthy(status);
    streamer.until("three more heartbeats", SOON, rises).await?;
    Ok(())
}

async fn a_second_process_by_mistake_is_refused_and_the_first_goes_on(bed: Bed) -> Outcome {
    for store in ["file", "table"] {
        // Given a streamer
        let mysqld = bed.mysqld(Options::default()).await?;
        let settings = [("checkpoint.store", store.to_owned())];
        let mut first = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;
        first.streamer.until("a healthy verdict", SOON, is_healthy).await?;

        // When another process of its stream is started, then it is refused, and says who has it
        let mut second = first.again(false)?;
        assert_eq!(second.wait(SOON).await?, NEEDS_OPERATOR, "{}", second.log_tail());
        let log = second.log_tail();
        assert!(log.contains("run by another process"), "{log}");
        assert!(log.contains(first.streamer.address()), "{log}");

        // And the first has not noticed
        goes_on(&mut first.streamer).await?;
        let breaks = first.streamer.metric("binpulse_reconnects_total", &[]).await?;
        assert_eq!(breaks, Some(0.0));
    }
    Ok(())
}

async fn a_stream_is_taken_from_another_process_when_that_is_said(bed: Bed) -> Outcome {
    // Given a streamer
    let mysqld = bed.mysqld(Options::default()).await?;
    let mut first = Rig::start(&bed, mysqld, Topic::Standard, &[in_table()]).await?;
    first.streamer.until("a healthy verdict", SOON, is_healthy).await?;

    // When another is told to take its stream, then the first ends and says why
    let mut second = first.again(true)?;
    assert_eq!(first.streamer.wait(SOON).await?, NEEDS_OPERATOR);
    let log = first.streamer.log_tail();
    assert!(log.contains(r#""reason":"fenced""#), "{log}");

    // And the lease's fence is the number of the checkpoint's owner
    second.until("a healthy verdict", SOON, is_healthy).await?;
    let fences = "SELECT CONCAT(lease.fence, ' ', checkpoint.owner) FROM binpulse.lease \
                  JOIN binpulse.checkpoint USING (stream)";
    assert_eq!(text(&first.mysqld, fences).await?.as_deref(), Some("2 2"));
    Ok(())
}

async fn after_a_stop_or_with_the_same_file_a_restart_waits_for_nothing(bed: Bed) -> Outcome {
    const WAITS: &str = "looking whether it renews it";
    let given_up = "SELECT instance FROM binpulse.lease";
    for store in ["file", "table"] {
        let mysqld = bed.mysqld(Options::default()).await?;
        let settings = [("checkpoint.store", store.to_owned())];
        let mut rig = Rig::start(&bed, mysqld, Topic::Standard, &settings).await?;

        // A stop gives the lease up.
        assert_eq!(rig.streamer.stop().await?, Some(0));
        assert_eq!(text(&rig.mysqld, given_up).await?.as_deref(), Some(""));
        rig.streamer.start_again().await?;
        rig.streamer.until_ready(SOON).await?;
        assert!(!rig.streamer.log_tail().contains(WAITS), "{store}");

        // After a kill only the locked file proves that the process before has ended.
        rig.streamer.kill().await?;
        assert_ne!(text(&rig.mysqld, given_up).await?.as_deref(), Some(""));
        rig.streamer.start_again().await?;
        rig.streamer.until_ready(SOON).await?;
        assert_eq!(rig.streamer.log_tail().contains(WAITS), store == "table", "{store}");
    }
    Ok(())
}

async fn a_lease_that_cannot_be_kept_is_a_finding_and_stops_nothing(bed: Bed) -> Outcome {
    // Given a source that was prepared by a version without leases
    let mysqld = bed.mysqld(Options::default()).await?;
    binpulse_demo::prepare(&mysqld, crate::bed::binary()).await?;
    mysqld.execute(&["RENAME TABLE binpulse.lease TO binpulse.gone"]).await?;

    // Then the stream runs, and the finding names what is missing and what brings it
    let mut rig = Rig::start_prepared(&bed, mysqld, Topic::Standard, &[in_table()]).await?;
    let finding = |status: &Value| {
        let findings = status["findings"].as_array().cloned().unwrap_or_default();
        findings.into_iter().find(|finding| finding["what"] == "lease")
    };
    let status = rig.streamer.until("a healthy verdict", SOON, is_healthy).await?;
    let found = finding(&status).ok_or("no finding")?;
    assert!(found["remedy"].as_str().is_some_and(|it| it.contains("binpulse init")), "{found}");
    let shown = rig.streamer.metric("binpulse_source_finding", &["what=\"lease\""]).await?;
    assert_eq!(shown, Some(1.0));

    // And once it is there the lease is kept, without a restart
    rig.mysqld.execute(&["RENAME TABLE binpulse.gone TO binpulse.lease"]).await?;
    let kept = |status: &Value| finding(status).is_none();
    rig.streamer.until("the lease", Duration::from_secs(30), kept).await?;
    assert_ne!(text(&rig.mysqld, "SELECT instance FROM binpulse.lease").await?, None);
    Ok(())
}
