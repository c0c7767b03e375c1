//! How long a stream stands still when the process that runs it is lost, in each way in which that
//! happens, and that nothing is lost or numbered anew.

mod trio;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use self::trio::{Standby, Surroundings, Trio, cut, server};
use crate::bed::{Bed, SOON};
use crate::failover::PROMOTE;
use crate::replay::Failure;
use crate::resume::{BY_GTID, follow, until_equal};
use crate::standby::has_role;
use crate::suite::{Outcome, tests};
use crate::support::proxy::Which;

tests! {
    takeovers_take_as_long_as_documented on [Mysql97];
}

/// What befalls the process that runs the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Kill,
    Stop,
    Freeze,
    Source,
    Sns,
    Both,
    Clocks,
    Failover,
}

impl Loss {
    const ALL: [Self; 8] = [
        Self::Kill,
        Self::Stop,
        Self::Freeze,
        Self::Source,
        Self::Sns,
        Self::Both,
        Self::Clocks,
        Self::Failover,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGTERM",
            Self::Freeze => "SIGSTOP, then SIGCONT",
            Self::Source => "partition from the source",
            Self::Sns => "partition from SNS, from its end on",
            Self::Both => "partition from both",
            Self::Clocks => "SIGKILL, and all clocks step by up to 1 h",
            Self::Failover => "SIGKILL, and a failover of the source",
        }
    }

    /// Documented time, seconds.
    fn limit(self) -> f64 {
        match self {
            Self::Stop => 2.0,
            Self::Kill | Self::Freeze | Self::Source | Self::Sns | Self::Both | Self::Clocks => 5.0,
            Self::Failover => 8.0,
        }
    }
}

/// Times from the loss of one process to the first new row at the consumer. `TAKEOVERS` says how many of
/// each kind; they are printed.
async fn takeovers_take_as_long_as_documented(bed: Bed) -> Outcome {
    let times = std::env::var("TAKEOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut trio = Trio::start(&bed).await?;
    let mut table = format!(
        "{:42} {:>4} {:>7} {:>7} {:>7} {:>7} {:>10}\n",
        "time without a message after", "n", "taken", "p50", "p99", "worst", "rows twice"
    );
    let (mut all, first) = (Vec::new(), trio.counts().await?);
    for loss in Loss::ALL {
        let before = trio.counts().await?;
        let mut seconds = Vec::new();
        for round in 0..times {
            let took = lose(&mut trio, loss, &bed, round).await;
            let took = took.map_err(|error| format!("{loss:?}, round {round}: {error}"))?;
            seconds.push(took.as_secs_f64());
        }
        let now = trio.counts().await?;
        table.push_str(&line(loss.name(), &seconds, now.0 - before.0, now.1 - before.1));
        // On a machine that does much else.
        let late = seconds.iter().filter(|it| **it >= loss.limit() * 2.0).count();
        assert!(late * 2 < times.max(2), "{loss:?}: {seconds:?}");
        if loss != Loss::Sns {
            all.append(&mut seconds);
        }
    }
    let now = trio.counts().await?;
    table.push_str(&line("each takeover", &all, now.0 - first.0, now.1 - first.1));
    println!("{table}");
    trio.is_copied(&bed).await
}

/// One round; how long no message came.
async fn lose(trio: &mut Trio, loss: Loss, bed: &Bed, round: usize) -> Result<Duration, Failure> {
    let fence = trio.lease().await?.0;
    let took = match loss {
        Loss::Kill => kill(trio, round).await?,
        Loss::Stop => stop(trio, round).await?,
        Loss::Freeze => freeze(trio, round).await?,
        Loss::Source => part(trio, false, round).await?,
        Loss::Both => part(trio, true, round).await?,
        Loss::Sns => part_from_sns(trio, round).await?,
        Loss::Clocks => step_clocks(trio, round).await?,
        Loss::Failover => fail_over(trio, bed, round).await?,
    };
    trio.all_stand_by().await?;
    // Of two standbys one takes the stream, once.
    let taken = trio.lease().await?.0 - fence;
    let is_once = taken == u64::from(loss != Loss::Sns) || loss == Loss::Failover;
    assert!(is_once, "{loss:?}, round {round}: taken {taken} times\n{}", trio.logs());
    Ok(took)
}

async fn kill(trio: &mut Trio, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let began = Instant::now();
    trio.rig.streamer.kill().await?;
    goes_on(trio, began).await
}

/// A new row comes; the process that ended is started again.
async fn goes_on(trio: &mut Trio, began: Instant) -> Result<Duration, Failure> {
    trio.shop.step().await?;
    trio.all_came().await?;
    let took = began.elapsed();
    let former = trio.succeeded().await?;
    trio.standbys[former].streamer.start_again().await?;
    Ok(took)
}

async fn stop(trio: &mut Trio, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let began = Instant::now();
    assert_eq!(trio.rig.streamer.stop().await?, Some(0), "{}", trio.logs());
    goes_on(trio, began).await
}

async fn freeze(trio: &mut Trio, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let is_cut = round.is_multiple_of(2);
    let calls = trio.around.sns.publishes();
    let began = Instant::now();
    trio.rig.streamer.freeze()?;
    if is_cut {
        give_rows_and_cut(trio).await?;
    } else {
        trio.shop.step().await?;
    }
    trio.all_came().await?;
    let took = began.elapsed();
    let former = trio.succeeded().await?;

    // When it wakes up, and nobody can tell it, then it does not publish what it had been given: its own
    // clock says that the lease is over
    let owner = trio.owner().await?;
    let Standby { streamer, around } = &mut trio.standbys[former];
    streamer.thaw()?;
    if is_cut {
        let has_rows = |status: &Value| {
            let waits = &status["sink"]["oldest_pending_age_seconds"];
            waits.is_number() || around.sns.publishes() > calls
        };
        streamer.until("rows that wait", SOON, has_rows).await?;
        assert_eq!(around.sns.publishes(), calls, "{}", streamer.log_tail());
        around.hosts[trio.primary].heal();
    }

    // And it saves nothing
    trio.all_stand_by().await?;
    trio.trade().await?;
    trio.all_came().await?;
    trio.still_owns(owner).await?;
    // What it was about to send when it was frozen is sent.
    let after = trio.standbys[former].around.sns.publishes();
    assert!(!is_cut || after == calls, "{}", trio.logs());
    Ok(took)
}

/// The frozen process is given rows, and then hears no more of the source.
async fn give_rows_and_cut(trio: &mut Trio) -> Outcome {
    // More than the heartbeats of the server have in a minute.
    const ROWS_BYTES: u64 = 4_096;
    let source = &trio.around.hosts[trio.primary];
    let given = source.bytes_to_client() + ROWS_BYTES;
    let give_up = Instant::now() + SOON;
    while source.bytes_to_client() < given {
        assert!(Instant::now() < give_up, "{} bytes", source.bytes_to_client());
        trio.shop.step().await?;
    }
    cut(source, 0);
    Ok(())
}

async fn part(trio: &mut Trio, also_sns: bool, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let began = Instant::now();
    cut(&trio.around.hosts[trio.primary], round);
    if also_sns {
        cut(&trio.around.sns, round + 1);
    }
    trio.shop.step().await?;
    trio.all_came().await?;
    let took = began.elapsed();
    let former = trio.succeeded().await?;

    // What the former process had begun has ended, and it begins nothing, neither now nor when it is back
    let (owner, calls) = (trio.owner().await?, trio.standbys[former].around.sns.publishes());
    trio.trade().await?;
    trio.all_came().await?;
    let Surroundings { hosts, sns, .. } = &trio.standbys[former].around;
    hosts[trio.primary].heal();
    sns.heal();
    trio.all_stand_by().await?;
    trio.trade().await?;
    trio.all_came().await?;
    trio.still_owns(owner).await?;
    // What was held arrives.
    let is_held = also_sns && (round + 1).is_multiple_of(3);
    assert!(is_held || trio.standbys[former].around.sns.publishes() == calls, "{}", trio.logs());
    Ok(took)
}

/// From the end of the partition on.
async fn part_from_sns(trio: &mut Trio, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let fence = trio.lease().await?.0;
    cut(&trio.around.sns, round);
    trio.trade().await?;
    trio.nothing_moves(fence, 3).await?;
    let began = Instant::now();
    trio.around.sns.heal();
    trio.all_came().await?;
    let took = began.elapsed();
    trio.rig.streamer.until("the stream", SOON, has_role("active")).await?;
    Ok(took)
}

async fn step_clocks(trio: &mut Trio, round: usize) -> Result<Duration, Failure> {
    trio.trade_before(round).await?;
    let fence = trio.lease().await?.0;
    for _ in 0..2 {
        trio.set_clocks().await?;
        trio.nothing_moves(fence, 1).await?;
    }
    trio.trade_before(round).await?;
    let began = Instant::now();
    trio.rig.streamer.kill().await?;
    trio.set_clocks().await?;
    goes_on(trio, began).await
}

/// The source's replica has all rows, but perhaps not what the processes wrote last.
async fn fail_over(trio: &mut Trio, bed: &Bed, round: usize) -> Result<Duration, Failure> {
    let (mut replica, mut clock) = server(bed).await?;
    follow(&replica, &trio.rig.mysqld, BY_GTID).await?;
    replica.execute(&["SET GLOBAL super_read_only = 1"]).await?;
    let (address, next) = (replica.address().parse()?, 1 - trio.primary);
    for around in trio.all_around() {
        around.hosts[next].move_to(address);
        around.hosts[next].heal();
    }
    until_equal(&trio.rig.mysqld, &replica).await?;
    trio.trade_before(round).await?;
    until_equal(&trio.rig.mysqld, &replica).await?;
    let fence = trio.lease().await?.0;

    let began = Instant::now();
    trio.rig.streamer.kill().await?;
    match round % 3 {
        // When a standby has just taken the stream
        0 => trio.until("SELECT fence FROM binpulse.lease", &(fence + 1).to_string()).await?,
        // Together with the process
        1 => {}
        // In between
        _ => {
            let age = "SELECT CONCAT(renewed_at < UTC_TIMESTAMP(6) - INTERVAL 1 SECOND) \
                       FROM binpulse.lease";
            trio.until(age, "1").await?;
        }
    }
    trio.rig.mysqld.kill().await?;
    for around in trio.all_around() {
        around.hosts[trio.primary].refuse();
        around.hosts[trio.primary].reset(Which::All);
    }
    replica.execute(&PROMOTE).await?;
    std::mem::swap(&mut trio.rig.mysqld, &mut replica);
    std::mem::swap(&mut trio.clock, &mut clock);
    trio.primary = next;
    trio.shop.move_to(trio.rig.mysqld.connect().await?).await?;
    goes_on(trio, began).await
}

/// A line of the table: 50th and 99th percentile, and the longest.
fn line(name: &str, seconds: &[f64], taken: u64, twice: u64) -> String {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    let at = |share: usize| seconds[(seconds.len() * share / 100).min(seconds.len() - 1)];
    let [p50, p99, worst] = [50, 99, 100].map(at);
    let n = seconds.len();
    format!("{name:42} {n:>4} {taken:>7} {p50:>5.1} s {p99:>5.1} s {worst:>5.1} s {twice:>10}\n")
}
