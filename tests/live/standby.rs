//! The lease on a stream: who may run it, and who waits.

use std::time::Duration;

use binpulse_demo::{Command, Error, Mysqld, Options, Streamer, Workload};
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::resume::{BY_GTID, follow};
use crate::suite::{Outcome, tests};
use crate::support::proxy::{Proxy, Which};
use crate::takeover::is_healthy;

tests! {
    a_second_process_by_mistake_is_refused_and_the_first_goes_on on [Mysql97, Mariadb1011];
    a_stream_is_taken_from_another_process_when_that_is_said on [Mysql97, Mariadb1011];
    after_a_stop_or_with_the_same_file_a_restart_waits_for_nothing on [Mysql97];
    a_lease_that_cannot_be_kept_is_a_finding_and_stops_nothing on [Mysql97, Mariadb1011];
    a_standby_takes_over_from_a_killed_process_and_nothing_is_lost on [Mysql97, Mariadb1011];
    a_standby_takes_over_at_once_after_a_stop_and_a_yield on [Mysql97, Mariadb1011];
    a_process_that_slept_saves_nothing_and_stands_by on [Mysql97, Mariadb1011];
    an_outage_of_the_sink_moves_nothing on [Mysql97];
    a_process_that_the_source_drops_and_that_has_the_lease_connects_again on [Mysql97];
}

/// Exit code of what needs an operator.
const NEEDS_OPERATOR: Option<i32> = Some(75);

pub(crate) async fn text(
    mysqld: &Mysqld,
    query: &str,
) -> Result<Option<String>, mysql_async::Error> {
    let mut session = mysqld
        .connect()
        .await
        .map_err(|error| mysql_async::Error::Other(error.to_string().into()))?;
    let text = session.query_first(query).await?;
    session.disconnect().await?;
    Ok(text)
}

pub(crate) fn in_table() -> (&'static str, String) {
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

pub(crate) fn has_role(role: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["lease"]["role"] == role
}

/// A streamer on a FIFO topic, and its standby.
struct Pair {
    rig: Rig,
    standby: Streamer,
    shop: Workload,
}

impl Pair {
    async fn start(bed: &Bed) -> Result<Self, Error> {
        Self::start_at(bed, &bed.standin().await?.url()).await
    }

    async fn start_at(bed: &Bed, endpoint_url: &str) -> Result<Self, Error> {
        let mysqld = bed.mysqld(Options::default()).await?;
        binpulse_demo::prepare(&mysqld, crate::bed::binary()).await?;
        let settings = [in_table(), ("ha.enabled", "true".to_owned())];
        let name = bed.topic_name();
        let mut rig = Rig::start_at(endpoint_url, &name, mysqld, Topic::Fifo, &settings).await?;
        rig.streamer.until("the lease", SOON, has_role("active")).await?;
        let mut standby = rig.again(false)?;
        standby.until("a standby", SOON, has_role("standby")).await?;
        standby.until_ready(SOON).await?;
        let mut shop = Workload::open(rig.mysqld.connect().await?, 41).await?;
        shop.stock().await?;
        Ok(Self { rig, standby, shop })
    }

    async fn trade(&mut self) -> Result<(), Error> {
        for _ in 0..20 {
            self.shop.step().await?;
        }
        Ok(())
    }

    /// The two change places, as soon as they have.
    async fn swapped(&mut self) -> Result<(), Error> {
        std::mem::swap(&mut self.rig.streamer, &mut self.standby);
        self.rig.streamer.until("it runs the stream", SOON, has_role("active")).await?;
        Ok(())
    }

    /// Starts the process that ended again, as a standby.
    async fn restore(&mut self) -> Result<(), Error> {
        self.standby.start_again().await?;
        self.standby.until("a standby", SOON, has_role("standby")).await?;
        Ok(())
    }

    /// Every row has come, and no number is missing.
    async fn all_came(&mut self) -> Outcome {
        self.rig.receive_all(self.shop.written()).await?;
        assert!(self.rig.consumer.gaps().is_empty(), "{:?}", self.rig.consumer.gaps());
        Ok(())
    }
}

async fn a_standby_takes_over_from_a_killed_process_and_nothing_is_lost(bed: Bed) -> Outcome {
    let mut pair = Pair::start(&bed).await?;
    for _ in 0..2 {
        // Given rows under way
        pair.trade().await?;
        // When the process that runs the stream is killed
        pair.rig.streamer.kill().await?;
        // Then the other runs it, and what is written meanwhile comes as well
        pair.trade().await?;
        pair.swapped().await?;
        pair.trade().await?;
        pair.restore().await?;
    }
    pair.all_came().await?;
    let taken = pair.rig.streamer.metric("binpulse_takeovers_total", &[]).await?;
    assert_eq!(taken, Some(1.0));
    let role = pair.standby.metric("binpulse_ha_role", &["role=\"standby\""]).await?;
    assert_eq!(role, Some(1.0));
    Ok(())
}

async fn a_standby_takes_over_at_once_after_a_stop_and_a_yield(bed: Bed) -> Outcome {
    let mut pair = Pair::start(&bed).await?;
    pair.trade().await?;

    // A stop gives the lease up.
    assert_eq!(pair.rig.streamer.stop().await?, Some(0), "{}", pair.rig.streamer.log_tail());
    pair.trade().await?;
    pair.swapped().await?;
    pair.restore().await?;

    // So does a yield, and the process stays.
    let yields = Command {
        binary: crate::bed::binary().to_owned(),
        command: "ha".to_owned(),
        settings: Vec::new(),
        arguments: ["yield", "--http-listen", pair.rig.streamer.address()]
            .map(str::to_owned)
            .into(),
        environment: Vec::new(),
    };
    let (code, said) = yields.run_to_end(SOON).await?;
    assert_eq!(code, Some(0), "{said}");
    pair.trade().await?;
    pair.swapped().await?;
    pair.standby.until("a standby", SOON, has_role("standby")).await?;
    let (code, said) = yields.run_to_end(SOON).await?;
    assert_eq!(code, Some(1), "it does not run the stream: {said}");
    pair.all_came().await
}

async fn a_process_that_slept_saves_nothing_and_stands_by(bed: Bed) -> Outcome {
    let owner = "SELECT CONCAT(owner, ' ', owner_name) FROM binpulse.checkpoint";
    let mut pair = Pair::start(&bed).await?;
    pair.trade().await?;

    // When the process that runs the stream is frozen, then another takes the stream over
    pair.rig.streamer.freeze()?;
    pair.trade().await?;
    pair.swapped().await?;
    pair.trade().await?;
    let saver = text(&pair.rig.mysqld, owner).await?;

    // And when it wakes up it is the standby: it neither saves nor publishes what comes
    pair.standby.thaw()?;
    pair.standby.until("a standby", SOON, has_role("standby")).await?;
    pair.trade().await?;
    pair.all_came().await?;
    assert_eq!(text(&pair.rig.mysqld, owner).await?, saver);

    // From which it takes the stream over again.
    pair.rig.streamer.kill().await?;
    pair.trade().await?;
    pair.swapped().await?;
    pair.all_came().await
}

async fn an_outage_of_the_sink_moves_nothing(bed: Bed) -> Outcome {
    // Given SNS behind a proxy
    let target = bed.standin().await?.url();
    let target = target.trim_start_matches("http://").trim_end_matches('/').parse()?;
    let proxy = Proxy::start(target).await?;
    let mut pair = Pair::start_at(&bed, &format!("http://{}", proxy.address())).await?;
    let fence = |status: &Value| status["lease"]["fence"].as_u64();
    let before = fence(&pair.rig.streamer.status().await?);

    // When SNS can't be reached for much longer than a lease holds
    proxy.refuse();
    proxy.reset(Which::All);
    pair.trade().await?;
    let stalled = |status: &Value| status["verdict"]["state"] == "sink_stalled";
    pair.rig.streamer.until("the verdict", SOON, stalled).await?;

    // Then the same process runs the stream, and delivers when it is back
    for (streamer, role) in [(&pair.rig.streamer, "active"), (&pair.standby, "standby")] {
        let status = streamer.status().await?;
        assert!(has_role(role)(&status) && fence(&status) == before, "{}", status["lease"]);
    }
    proxy.heal();
    pair.all_came().await
}

/// A former owner that was cut off may connect to the source again before it hears that it lost the lease.
/// A replica of the same UUID does what it does to the source.
async fn a_process_that_the_source_drops_and_that_has_the_lease_connects_again(
    bed: Bed,
) -> Outcome {
    let mut pair = Pair::start(&bed).await?;
    pair.trade().await?;
    pair.all_came().await?;
    let fence = |status: &Value| status["lease"]["fence"].as_u64();
    let before = fence(&pair.rig.streamer.status().await?);
    let uuid = "SELECT VARIABLE_VALUE FROM performance_schema.user_variables_by_thread \
                WHERE VARIABLE_NAME = 'replica_uuid'";
    let uuid = text(&pair.rig.mysqld, uuid).await?.ok_or("no replica")?;
    let mut double = bed.mysqld(Options::default()).await?;
    double.stop().await?;
    std::fs::write(double.data().join("auto.cnf"), format!("[auto]\nserver-uuid={uuid}\n"))?;
    double.start_again().await?;

    // When another connects in the place of the process that runs the stream
    follow(&double, &pair.rig.mysqld, BY_GTID).await?;
    let give_up = tokio::time::Instant::now() + SOON;
    while pair.rig.streamer.metric("binpulse_reconnects_total", &[]).await? < Some(1.0) {
        assert!(tokio::time::Instant::now() < give_up, "{}", pair.rig.streamer.log_tail());
        pair.trade().await?;
    }

    // Then that process continues, and no other takes the stream
    pair.trade().await?;
    pair.all_came().await?;
    for (streamer, role) in [(&pair.rig.streamer, "active"), (&pair.standby, "standby")] {
        let status = streamer.status().await?;
        assert!(has_role(role)(&status) && fence(&status) == before, "{}", status["lease"]);
    }
    Ok(())
}
