//! What takeovers are measured on: three processes of one stream, each with proxies before the source and
//! SNS, and with a clock of its own; a source with a clock of its own; a shop, and a consumer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binpulse_demo::{Error, Mysqld, Options, Streamer, Workload};
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep, timeout_at};

use crate::bed::{Bed, Rig, SOON, Topic};
use crate::dice::Dice;
use crate::rebuild::rebuild;
use crate::replay::Failure;
use crate::shim::{Control, Shim};
use crate::standby::{has_role, in_table, text};
use crate::suite::Outcome;
use crate::support::oracle;
use crate::support::proxy::{Fault, Proxy, Way, Which};

/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Renewals in one lifetime of a lease.
const RENEWALS: u64 = 4;
/// Most by which a clock is stepped, seconds.
const STEP_MAX: u64 = 3_600;

/// What stands between a process and the world.
pub(super) struct Surroundings {
    /// Before each of two hosts, of which one is the primary.
    pub(super) hosts: [Proxy; 2],
    pub(super) sns: Proxy,
    clock: Shim,
}

impl Surroundings {
    /// The first of the hosts is this one.
    async fn of(mysqld: &Mysqld, sns: &str) -> Result<Self, Failure> {
        let hosts =
            [Proxy::start(mysqld.address().parse()?).await?, Proxy::start(nowhere()).await?];
        hosts[1].refuse();
        let sns = sns.trim_start_matches("http://").trim_end_matches('/').parse()?;
        Ok(Self { hosts, sns: Proxy::start(sns).await?, clock: Shim::build()? })
    }

    fn settings(&self) -> [(&'static str, String); 2] {
        let [one, two] = &self.hosts;
        [
            ("source.hosts", format!("{},{}", one.address(), two.address())),
            ("sns.endpoint_url", format!("http://{}", self.sns.address())),
        ]
    }
}

/// Nobody is asked there: the proxy before it refuses.
fn nowhere() -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, 9).into()
}

/// Takes a connection away, in one of three ways.
pub(super) fn cut(proxy: &Proxy, round: usize) {
    match round % 3 {
        // A black hole.
        0 => {
            proxy.put(Way::ToServer, Which::All, Fault::Hold);
            proxy.put(Way::ToClient, Which::All, Fault::Hold);
        }
        1 => {
            proxy.refuse();
            proxy.reset(Which::All);
        }
        // What is asked arrives, and the answer does not.
        _ => proxy.put(Way::ToClient, Which::All, Fault::Hold),
    }
}

/// A server with a clock of its own.
pub(super) async fn server(bed: &Bed) -> Result<(Mysqld, Shim), Error> {
    let clock = Shim::build()?;
    let environment = clock.environment().into();
    Ok((bed.mysqld(Options { environment, ..Options::default() }).await?, clock))
}

/// A process that waits, or whose end was caused and that is to wait.
pub(super) struct Standby {
    pub(super) streamer: Streamer,
    pub(super) around: Surroundings,
}

/// Three processes of one stream to a FIFO topic.
pub(super) struct Trio {
    /// With the process that runs the stream.
    pub(super) rig: Rig,
    pub(super) around: Surroundings,
    pub(super) standbys: Vec<Standby>,
    /// Which of the hosts is the source.
    pub(super) primary: usize,
    /// The source's clock.
    pub(super) clock: Shim,
    pub(super) shop: Workload,
    dice: Dice,
    /// A second queue, of which a copy of the tables is made in the end.
    copied: String,
}

impl Trio {
    pub(super) async fn start(bed: &Bed) -> Result<Self, Failure> {
        let (mysqld, clock) = server(bed).await?;
        binpulse_demo::prepare(&mysqld, crate::bed::binary()).await?;
        let sns = bed.standin().await?.url();
        let around = Surroundings::of(&mysqld, &sns).await?;
        let mut settings = vec![in_table(), ("ha.enabled", "true".to_owned())];
        settings.extend(around.settings());
        let (name, environment) = (bed.topic_name(), around.clock.environment().into());
        let rig = Rig::start_with(&sns, &name, mysqld, Topic::Fifo, &settings, environment);
        let mut rig = rig.await?;
        rig.streamer.until("the lease", SOON, has_role("active")).await?;
        let copied = format!("{name}-copy.fifo");
        let copied = rig.aws.subscribe_queue(&rig.topic_arn, &copied, &[]).await?;
        let mut standbys = Vec::new();
        for _ in 0..2 {
            let around = Surroundings::of(&rig.mysqld, &sns).await?;
            let mut another = rig.another(false);
            let own = around.settings();
            another.settings.retain(|(key, _)| own.iter().all(|(other, _)| other != key));
            another.settings.extend(own);
            another.environment.extend(around.clock.environment());
            standbys.push(Standby { streamer: Streamer::start(another)?, around });
        }
        let mut shop = Workload::open(rig.mysqld.connect().await?, 41).await?;
        shop.stock().await?;
        // A row of each table.
        shop.take_stock(20).await?;
        let dice = Dice::new(41);
        let mut trio = Self { rig, around, standbys, primary: 0, clock, shop, dice, copied };
        trio.all_stand_by().await?;
        Ok(trio)
    }

    pub(super) async fn trade(&mut self) -> Result<(), Error> {
        for _ in 0..8 {
            self.shop.step().await?;
        }
        Ok(())
    }

    /// Rows come; in every second round some are still under way.
    pub(super) async fn trade_before(&mut self, round: usize) -> Outcome {
        self.trade().await?;
        if round.is_multiple_of(2) {
            self.all_came().await?;
        }
        Ok(())
    }

    /// Every row has come, and no number is missing.
    pub(super) async fn all_came(&mut self) -> Outcome {
        let give_up = Instant::now() + SOON;
        while self.rig.consumer.received() != self.shop.written() {
            let received = timeout_at(give_up, self.rig.consumer.receive(&mut |_, _| {})).await;
            let Ok(received) = received else {
                let missing = self.rig.consumer.received().differences(self.shop.written());
                return Err(format!("{}\n{}", missing.join("\n"), self.logs()).into());
            };
            received?;
        }
        assert!(self.rig.consumer.gaps().is_empty(), "{:?}", self.rig.consumer.gaps());
        Ok(())
    }

    pub(super) fn logs(&self) -> String {
        let others = self.standbys.iter().map(|it| &it.streamer);
        let all = std::iter::once(&self.rig.streamer).chain(others);
        let texts: Vec<_> = all.map(|it| format!("{}:\n{}", it.address(), it.log_tail())).collect();
        texts.join("\n")
    }

    pub(super) async fn all_stand_by(&mut self) -> Outcome {
        for standby in &mut self.standbys {
            standby.streamer.until("a standby", SOON, has_role("standby")).await?;
        }
        Ok(())
    }

    /// Fence and renewals of the lease.
    pub(super) async fn lease(&self) -> Result<(u64, u64), Failure> {
        let query = "SELECT CONCAT(fence, ' ', renewals) FROM binpulse.lease";
        let row = text(&self.rig.mysqld, query).await?.unwrap_or_default();
        let (fence, renewals) = row.split_once(' ').ok_or("no lease")?;
        Ok((fence.parse()?, renewals.parse()?))
    }

    /// Times that the stream was taken, and rows that came again.
    pub(super) async fn counts(&self) -> Result<(u64, u64), Failure> {
        Ok((self.lease().await?.0, self.rig.consumer.duplicates()))
    }

    /// Who may save.
    pub(super) async fn owner(&self) -> Result<Option<String>, mysql_async::Error> {
        let owner = "SELECT CONCAT(owner, ' ', owner_name) FROM binpulse.checkpoint";
        text(&self.rig.mysqld, owner).await
    }

    /// The same process may save.
    pub(super) async fn still_owns(&self, owner: Option<String>) -> Outcome {
        let now = self.owner().await?;
        assert_eq!(now, owner, "{}", self.logs());
        Ok(())
    }

    /// Waits until the source answers so.
    pub(super) async fn until(&self, query: &str, answer: &str) -> Outcome {
        let give_up = Instant::now() + SOON;
        let mut session = self.rig.mysqld.connect().await?;
        loop {
            let found: Option<String> = session.query_first(query).await?;
            if found.as_deref() == Some(answer) {
                return Ok(session.disconnect().await?);
            }
            if Instant::now() > give_up {
                return Err(format!("{query}: {found:?}\n{}", self.logs()).into());
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// The process that runs the stream goes on renewing its lease for so many lifetimes.
    pub(super) async fn nothing_moves(&self, fence: u64, lifetimes: u64) -> Outcome {
        let until = self.lease().await?.1 + RENEWALS * lifetimes;
        let query = format!("SELECT CONCAT(fence, ' ', renewals >= {until}) FROM binpulse.lease");
        self.until(&query, &format!("{fence} 1")).await
    }

    /// A standby runs the stream, and the former process takes its place; which that is.
    pub(super) async fn succeeded(&mut self) -> Result<usize, Failure> {
        let give_up = Instant::now() + SOON;
        loop {
            let holder = text(&self.rig.mysqld, "SELECT address FROM binpulse.lease").await?;
            let is_it = |it: &Standby| holder.as_deref() == Some(it.streamer.address());
            if let Some(index) = self.standbys.iter().position(is_it) {
                let standby = &mut self.standbys[index];
                standby.streamer.until("the stream", SOON, has_role("active")).await?;
                std::mem::swap(&mut standby.streamer, &mut self.rig.streamer);
                std::mem::swap(&mut standby.around, &mut self.around);
                return Ok(index);
            }
            if Instant::now() > give_up {
                return Err(format!("still run by {holder:?}\n{}", self.logs()).into());
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Sets each clock to another time: the processes', and the source's.
    pub(super) async fn set_clocks(&mut self) -> Outcome {
        let mut step = |clock: &Shim| {
            let seconds = self.dice.below(2 * STEP_MAX + 1).cast_signed() - STEP_MAX.cast_signed();
            let control = Control { clock_ns: seconds * 1_000_000_000, ..Control::default() };
            clock.set(control).map(|()| seconds)
        };
        step(&self.around.clock)?;
        let own = step(&self.clock)?;
        let steps: Result<Vec<_>, _> =
            self.standbys.iter().map(|it| step(&it.around.clock)).collect();

        // They are where they were set to
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
        let query = format!("SELECT CONCAT(ABS({now} + {own} - UNIX_TIMESTAMP(SYSDATE())) <= 30)");
        assert_eq!(text(&self.rig.mysqld, &query).await?.as_deref(), Some("1"), "{own}");
        for (standby, step) in self.standbys.iter().zip(steps?) {
            let name = "binpulse_clock_timestamp_seconds";
            let shown = standby.streamer.metric(name, &[]).await?.unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            let expected = (now + step) as f64;
            assert!((shown - expected).abs() <= 30.0, "{shown}, not {expected}");
        }
        Ok(())
    }

    pub(super) fn all_around(&self) -> impl Iterator<Item = &Surroundings> {
        std::iter::once(&self.around).chain(self.standbys.iter().map(|it| &it.around))
    }

    /// A copy that is made of all messages equals the source.
    pub(super) async fn is_copied(&self, bed: &Bed) -> Outcome {
        let copy = bed.mysqld(Options { binlog: false, ..Options::default() }).await?;
        let rows = self.shop.written().total();
        let report = rebuild(bed, &self.rig, &self.copied, &copy, rows).await?;
        assert_eq!(
            (&report["rows"], &report["complete"]),
            (&rows.into(), &true.into()),
            "{report}"
        );
        let differences = oracle::differences(&self.rig.mysqld, &copy, "shop").await?;
        assert!(differences.is_empty(), "{}\n{report}", differences.join("\n"));
        Ok(())
    }
}
