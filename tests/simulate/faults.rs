//! What can befall a run: each fault begins, and ends by itself or when all is healed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::dice::Dice;
use crate::failover::come_up;
use crate::machine::Route;
use crate::server::Ailments;
use crate::sns::Trouble;
use crate::sqs;
use crate::world::World;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Stand,
    ClockStep,
    BreakConnections,
    Partition,
    ServerCrash,
    ServerHangs,
    ServerSlow,
    DiskStuck,
    ReplicaMute,
    ReadOnly,
    DumpStuck,
    DumpRefused,
    DumpLoses,
    Rotate,
    Purge,
    SnsHangs,
    SnsThrottles,
    SnsFails,
    SnsLosesAnswers,
    SnsFailsEntries,
    SnsSlow,
    EchoLost,
    EchoRepeats,
    QueueHangs,
}

/// Those at random, the frequent ones more than once.
const ANY: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Stand,
    Fault::ClockStep,
    Fault::BreakConnections,
    Fault::BreakConnections,
    Fault::Partition,
    Fault::ServerCrash,
    Fault::ServerHangs,
    Fault::ServerSlow,
    Fault::DiskStuck,
    Fault::ReplicaMute,
    Fault::ReadOnly,
    Fault::DumpStuck,
    Fault::DumpRefused,
    Fault::Rotate,
    Fault::Purge,
    Fault::SnsHangs,
    Fault::SnsThrottles,
    Fault::SnsFails,
    Fault::SnsLosesAnswers,
    Fault::SnsLosesAnswers,
    Fault::SnsFailsEntries,
    Fault::SnsSlow,
    Fault::EchoLost,
    Fault::EchoRepeats,
    Fault::QueueHangs,
];

/// Those that the verdict has a name for.
pub(crate) const NAMED: &[Fault] = &[
    Fault::Partition,
    Fault::ServerCrash,
    Fault::ServerHangs,
    Fault::DiskStuck,
    Fault::ReplicaMute,
    Fault::ReadOnly,
    Fault::DumpStuck,
    Fault::DumpRefused,
    Fault::DumpLoses,
    Fault::SnsHangs,
    Fault::SnsThrottles,
    Fault::SnsFails,
    Fault::EchoLost,
    Fault::QueueHangs,
];

impl Fault {
    pub(crate) fn any(dice: &mut Dice, machines: usize) -> Self {
        let fault = *dice.pick(ANY);
        // A second process makes pauses and partitions more worth while.
        if machines > 1 && dice.one_in(3) {
            *dice.pick(&[Self::Kill, Self::Stand, Self::Partition])
        } else {
            fault
        }
    }

    /// What the verdict may call it, when nothing else is wrong.
    pub(crate) fn may_be_called(self) -> &'static [&'static str] {
        match self {
            Self::Partition | Self::ServerHangs => &["source_hung", "source_unreachable"],
            Self::ServerCrash => &["source_unreachable"],
            Self::DiskStuck | Self::ReplicaMute => &["writes_blocked"],
            Self::ReadOnly => &["source_read_only"],
            Self::DumpStuck => &["stream_silent", "stream_down"],
            Self::DumpRefused => &["stream_down"],
            Self::DumpLoses => &["heartbeat_lost"],
            Self::SnsHangs | Self::SnsThrottles | Self::SnsFails => &["sink_stalled"],
            Self::EchoLost => &["canary_lost"],
            Self::QueueHangs => &["indeterminate"],
            Self::Kill
            | Self::Stand
            | Self::ClockStep
            | Self::BreakConnections
            | Self::ServerSlow
            | Self::Rotate
            | Self::Purge
            | Self::SnsLosesAnswers
            | Self::SnsFailsEntries
            | Self::SnsSlow
            | Self::EchoRepeats => &[],
        }
    }

    /// As the counts of a run have it.
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::Stand => "stops and continues",
            Self::ClockStep => "clock steps",
            Self::BreakConnections | Self::Partition => "network faults",
            Self::ServerCrash => "server crashes",
            Self::Rotate => "rotations",
            Self::Purge => "purges",
            Self::ServerHangs
            | Self::ServerSlow
            | Self::DiskStuck
            | Self::ReplicaMute
            | Self::ReadOnly
            | Self::DumpStuck
            | Self::DumpRefused
            | Self::DumpLoses => "server faults",
            Self::SnsHangs
            | Self::SnsThrottles
            | Self::SnsFails
            | Self::SnsLosesAnswers
            | Self::SnsFailsEntries
            | Self::SnsSlow => "topic faults",
            Self::EchoLost | Self::EchoRepeats | Self::QueueHangs => "echo faults",
        }
    }

    /// It happens, and is over after a while.
    pub(crate) fn befall(self, world: &mut World) {
        let lasts = Duration::from_millis(match world.dice.below(3) {
            0 => world.dice.between(10, 800),
            1 => world.dice.between(500, 6_000),
            _ => world.dice.between(3_000, 25_000),
        });
        world.oracle.tell(|| format!("{self:?} for {:.3} s", lasts.as_secs_f64()));
        let machine = usize::try_from(world.dice.below(world.slots.len() as u64)).expect("few");
        world.oracle.count(self.name());
        match self {
            Self::Kill => return world.kill(machine, lasts / 4),
            Self::Rotate => return world.primary().rotate(),
            Self::Purge => return world.purge(),
            Self::BreakConnections => {
                let server = world.primary().id;
                return world.network.change(machine, server, |route| route.breaks += 1);
            }
            Self::ClockStep => {
                let by = i64::try_from(world.dice.below(7_200_000_000)).expect("hours");
                let process = world.slots[machine].process.as_ref();
                if let Some(running) = process {
                    running.process.step_clock(by - 3_600_000_000);
                }
                return;
            }
            Self::Stand => {
                let Some(running) = &world.slots[machine].process else { return };
                let process = Arc::clone(&running.process);
                process.stand(true);
                tokio::spawn(async move {
                    sleep(lasts).await;
                    process.stand(false);
                });
                return;
            }
            _ => {}
        }
        self.set_on(world, machine);
        let server = Arc::clone(world.primary());
        let (network, sns) = (Arc::clone(&world.network), Arc::clone(&world.sns));
        let (servers, oracle) = (world.servers.clone(), Arc::clone(&world.oracle));
        tokio::spawn(async move {
            sleep(lasts).await;
            match self {
                Self::Partition => network.change(machine, server.id, |route| route.hung = false),
                Self::ServerCrash => {
                    if server.state().ailments.down {
                        come_up(&server, &servers, &oracle);
                    }
                }
                Self::SnsHangs => sns.trouble(|it| it.hung = false),
                Self::SnsThrottles => sns.trouble(|it| it.throttles = false),
                Self::SnsFails => sns.trouble(|it| it.fails = false),
                Self::SnsLosesAnswers => sns.trouble(|it| it.loses_answers = 0),
                Self::SnsFailsEntries => sns.trouble(|it| it.fails_entries = 0),
                Self::SnsSlow => sns.trouble(|it| it.slow_ms = 0),
                Self::EchoLost => sns.queue.trouble(|it| it.loses = false),
                Self::EchoRepeats => sns.queue.trouble(|it| it.repeats = 0),
                Self::QueueHangs => sns.queue.trouble(|it| it.hung = false),
                _ => server.ail(|it| self.set(it, false)),
            }
        });
    }

    fn set(self, it: &mut Ailments, is_on: bool) {
        match self {
            Self::ServerHangs => it.hung = is_on,
            Self::ServerSlow => it.slow_ms = if is_on { 400 } else { 0 },
            Self::DiskStuck => it.disk_stuck = is_on,
            Self::ReplicaMute => it.replica_mute = is_on,
            Self::ReadOnly => it.read_only = is_on,
            Self::DumpStuck => it.dump_stuck = is_on,
            Self::DumpRefused => it.dump_refused = is_on,
            Self::DumpLoses => it.dump_loses = is_on,
            _ => {}
        }
    }

    /// It begins, until all is healed.
    pub(crate) fn begin(self, world: &mut World) {
        world.oracle.count(self.name());
        self.set_on(world, 0);
    }

    fn set_on(self, world: &mut World, machine: usize) {
        let server = Arc::clone(world.primary());
        let chance = world.dice.between(20, 90);
        match self {
            Self::Partition => world.network.change(machine, server.id, |route| route.hung = true),
            Self::ServerCrash => server.crash(),
            Self::SnsHangs => world.sns.trouble(|it| it.hung = true),
            Self::SnsThrottles => world.sns.trouble(|it| it.throttles = true),
            Self::SnsFails => world.sns.trouble(|it| it.fails = true),
            Self::SnsLosesAnswers => world.sns.trouble(|it| it.loses_answers = chance),
            Self::SnsFailsEntries => world.sns.trouble(|it| it.fails_entries = chance),
            Self::SnsSlow => world.sns.trouble(|it| it.slow_ms = 1_500),
            Self::EchoLost => world.sns.queue.trouble(|it| it.loses = true),
            Self::EchoRepeats => world.sns.queue.trouble(|it| it.repeats = chance),
            Self::QueueHangs => world.sns.queue.trouble(|it| it.hung = true),
            _ => server.ail(|it| self.set(it, true)),
        }
        if self == Self::DumpRefused {
            // Those that are there end too.
            world.network.change(machine, server.id, |route| route.breaks += 1);
        }
    }
}

/// Ends whatever is wrong.
pub(crate) fn heal(world: &mut World) {
    world.sns.trouble(|it| *it = Trouble::default());
    world.sns.queue.trouble(|it| *it = sqs::Trouble::default());
    for server in &world.servers {
        if server.state().ailments.down {
            come_up(server, &world.servers, &world.oracle);
        }
        server.ail(|it| *it = Ailments::default());
        for machine in 0..world.slots.len() {
            let breaks = |route: &mut Route| route.hung = false;
            world.network.change(machine, server.id, breaks);
        }
    }
    for slot in &world.slots {
        if let Some(running) = &slot.process {
            running.process.stand(false);
        }
    }
}
