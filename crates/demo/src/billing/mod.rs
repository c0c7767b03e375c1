//! The billing demo: each charge of a source is to be charged once, whatever is killed, repeated or
//! put into another order on its way.
//!
//! A receiver that keeps webhook ids is what a customer has to write; whether its sums are right then
//! depends on the sender alone. Beside `binpulse relay` stands Debezium Server, if it is there, with the
//! same receiver.

mod debezium;
mod receiver;
mod relayed;
mod source;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::debezium::Debezium;
use self::receiver::{Receiver, Seen};
use self::relayed::Relayed;
use self::source::Source;
use super::guide::tell;
use super::story::say;
use super::workload::Random;
use super::{Error, Installed};

/// Pause between two looks at the receiver.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// It ends when nothing more has been charged for so long.
const STANDSTILL: Duration = Duration::from_mins(3);
/// After the last charge everything that is still under way is waited for: what comes twice comes late.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_DEADLINE: Duration = Duration::from_mins(2);
/// Charges that are written and not charged, at most: the source is at work until the end.
const AHEAD_MAX: u64 = 5_000;
/// Charges for each kill.
const CHARGES_A_KILL: u64 = 4_000;
const KILLS_MIN: u64 = 4;
/// Most time between a kill and the next start.
const DOWN_MS_MAX: u64 = 500;

/// What is to be shown.
#[derive(Debug, Clone)]
pub struct Billing {
    /// The program `binpulse`.
    pub binary: PathBuf,
    /// Charges that the source makes.
    pub charges: u64,
    /// Seed of everything that looks like chance.
    pub seed: u64,
    /// Folder of a Debezium Server to show beside it.
    pub debezium: Option<PathBuf>,
}

/// What came of it, for one sender.
struct Outcome {
    sender: String,
    /// Charges in the source, and their sum.
    charges: u64,
    cents: u64,
    seen: Seen,
    kills: Vec<(&'static str, u64)>,
    /// Copies that the queue sent beyond the first; a sender without a queue has none.
    copies: Option<u64>,
    took: Duration,
}

impl Outcome {
    /// Whether each charge was made once.
    fn is_right(&self) -> bool {
        let seen = &self.seen;
        (seen.charges, seen.charged, seen.twice, seen.cents)
            == (self.charges, self.charges, 0, self.cents)
    }
}

/// What stands between the source and the receiver.
trait Sender {
    /// Its name and version.
    fn name(&self) -> String;

    /// An error if it has ended for good.
    async fn must_run(&mut self) -> Result<(), Error>;

    /// Kills a part of it, and starts it again after a moment.
    async fn kill(&mut self, random: &mut Random) -> Result<(), Error>;

    /// Tells it that the source writes nothing more.
    async fn drain(&mut self) -> Result<(), Error>;

    /// Whether something is still under way in it.
    async fn is_busy(&self) -> Result<bool, Error>;

    /// How often which part was killed, and what its queue sent again.
    fn faults(&self) -> (Vec<(&'static str, u64)>, Option<u64>);

    /// The ends of its logs.
    fn logs(&self) -> String;
}

/// Shows it and prints the table; whether each charge was made once by way of the relay.
pub async fn bill(billing: &Billing) -> Result<bool, Error> {
    let installed = Installed::find()?;
    let mut outcomes = Vec::new();
    {
        let mut source = Source::start(&installed, billing).await?;
        let receiver = Receiver::start(&installed, billing.seed).await?;
        let mut sender = Relayed::start(&installed, billing, &source, &receiver).await?;
        outcomes.push(show(billing, &mut source, &receiver, &mut sender).await?);
    }
    if let Some(folder) = &billing.debezium {
        let mut source = Source::start(&installed, billing).await?;
        let receiver = Receiver::start(&installed, billing.seed).await?;
        let mut sender = Debezium::start(folder, &source, &receiver).await?;
        outcomes.push(show(billing, &mut source, &receiver, &mut sender).await?);
    }
    say(table::table(&outcomes).trim_end())?;
    let is_right = outcomes.first().is_some_and(Outcome::is_right);
    say(&if is_right {
        format!("Each of the {} charges was charged once.", billing.charges)
    } else {
        format!("WRONG: run it again with BILLING_SEED={}.", billing.seed)
    })?;
    Ok(is_right)
}

/// Writes charges and kills parts of the sender until all are charged, or nothing goes on.
async fn show(
    billing: &Billing,
    source: &mut Source,
    receiver: &Receiver,
    sender: &mut impl Sender,
) -> Result<Outcome, Error> {
    let charges = billing.charges;
    let mut random = Random::new(billing.seed);
    let mut kills = kills(charges, &mut random);
    let ahead = AHEAD_MAX.min(charges / 10 + 1);
    let (began, mut moved, mut told) = (Instant::now(), Instant::now(), Instant::now());
    let mut before = 0;
    tell(&format!("{}: {charges} charges, seed {}", sender.name(), billing.seed));
    loop {
        sender.must_run().await?;
        let seen = receiver.seen().await?;
        if seen.charges > before {
            (before, moved) = (seen.charges, Instant::now());
        }
        if seen.charges >= charges || moved.elapsed() > STANDSTILL {
            break;
        }
        source.write_up_to(charges.min(seen.charges + ahead)).await?;
        if kills.last().is_some_and(|at| seen.charges >= *at) {
            kills.pop();
            sender.kill(&mut random).await?;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(&format!("{} charges, {} requests", seen.charges, seen.requests));
        }
        sleep(LOOK_EVERY).await;
    }
    let took = began.elapsed();
    let seen = until_quiet(receiver, sender).await?;
    let (kills, copies) = sender.faults();
    let (charges, cents) = source.sums().await?;
    let outcome = Outcome { sender: sender.name(), charges, cents, seen, kills, copies, took };
    if seen.charges < charges {
        tell(&format!("nothing more came for {STANDSTILL:?}; the logs end:\n{}", sender.logs()));
    }
    Ok(outcome)
}

/// The numbers of charges at which something is killed, the first one last.
fn kills(charges: u64, random: &mut Random) -> Vec<u64> {
    let count = KILLS_MIN.max(charges / CHARGES_A_KILL);
    let mut all: Vec<_> = (0..count).map(|_| 1 + random.below(charges * 19 / 20)).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all
}

/// Waits until nothing comes any more.
async fn until_quiet(receiver: &Receiver, sender: &mut impl Sender) -> Result<Seen, Error> {
    sender.drain().await?;
    let give_up = Instant::now() + QUIET_DEADLINE;
    let (mut seen, mut since) = (receiver.seen().await?, Instant::now());
    while since.elapsed() < QUIET && Instant::now() < give_up {
        sleep(LOOK_EVERY).await;
        let now = receiver.seen().await?;
        if now != seen || sender.is_busy().await? {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(seen)
}

/// A moment without the program that was killed.
async fn stay_down(random: &mut Random) {
    sleep(Duration::from_millis(random.below(DOWN_MS_MAX))).await;
}
