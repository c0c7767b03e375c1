//! Tables of which only so many rows a second are sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::rig::{Rig, Setup, each_row, flow_of, within};
use crate::change::{GtidSet, Position};
use crate::control::{Command, ControlRegistry, SendRate};
use crate::decode::Decoder;
use crate::encode::Kind;
use crate::filter::Config as FilterConfig;
use crate::freshness::Recogniser;
use crate::freshness::schema::SchemaName;
use crate::pack::{Config as PackConfig, RowRange};
use crate::pipeline::flow::FlowConfig;
use crate::pipeline::tests::log::decoder;
use crate::pipeline::tests::made::{Made, Pair};
use crate::source::Start;
use crate::telemetry::status::{ControlState, ControlStatus};

const LANE: &str = "d.t#0";
const OTHER: &str = "d.other#0";

/// A loop, and the registry of its controls.
struct Scene {
    rig: Rig,
    registry: Arc<ControlRegistry>,
    decoder: Decoder,
    made: Made,
    /// Events that the loop has taken.
    taken: usize,
    at: Instant,
}

impl Scene {
    /// With a rate of ten rows a second: a hundred may come at once.
    async fn set() -> Self {
        let registry = Arc::new(ControlRegistry::default());
        registry.open(&[]);
        let mut rig = Rig::new(Setup { controls: Some(Arc::clone(&registry)), ..Setup::default() });
        rig.pipeline.stream_began(&Start::Gtid(GtidSet::new()));
        let mut decoder = decoder();
        decoder.start_at(Position::default());
        let (made, at) = (Made::new(), Instant::now());
        let mut scene = Self { rig, registry, decoder, made, taken: 0, at };
        scene.command("d.t");
        scene.look().await;
        scene
    }

    fn command(&self, pattern: &str) {
        let (reason, by) = ("a test".to_owned(), "nobody".to_owned());
        let pattern = pattern.to_owned();
        let rate = Command::Rate { pattern, rows_per_second: 10, reason, by };
        self.registry.command(&rate, 1).expect("it makes sense");
    }

    /// What was asked is done, and what is held back is shown.
    async fn look(&mut self) {
        let watcher = Arc::clone(&self.rig.watcher);
        let idle = self.rig.pipeline.idle(watcher.0.notified());
        within("it turns", idle).await.expect("it goes on");
    }

    /// Takes a transaction, all of it at one time: of each event ten rows of the table, and one of another.
    async fn update(&mut self, events: usize) {
        self.made.begin();
        for _ in 0..events {
            self.made.inserts("t", &[("key", "row"); 10] as &[Pair<'_>]);
            self.made.inserts("other", &[("key", "row")]);
        }
        self.made.commit();
        let stop = CancellationToken::new();
        for event in &self.made.events[self.taken..] {
            let take = self.rig.pipeline.take(&mut self.decoder, event, self.at, &stop);
            within("taken", take).await.expect("there is room");
        }
        self.taken = self.made.events.len();
        self.look().await;
    }

    fn status(&self) -> ControlStatus {
        self.registry.status().pop().expect("it is in force")
    }

    /// Says that all was sent that is held back, and goes live; whether that is so.
    async fn go_live(&mut self) -> bool {
        let registry = Arc::clone(&self.registry);
        let mut is_live = None;
        let going = async {
            let stopped =
                registry.stop_reading(Duration::from_mins(1)).await.expect("there is a loop");
            let sent = stopped.lanes.iter().map(|it| (it.lane.key.clone(), it.next - 1));
            registry.sent(1, sent.collect(), 1, 0);
            is_live = Some(registry.go_live(1).await);
        };
        within("it is asked", self.rig.pipeline.idle(going)).await.expect("it goes on");
        is_live.expect("it was asked")
    }

    /// The numbers of the rows that came, by lane, up to the other table's row with this number.
    async fn rows(&mut self, last: u64) -> BTreeMap<String, Vec<u64>> {
        let Rig { pipeline, sink, .. } = &mut self.rig;
        let mut rows: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        while rows.get(OTHER).and_then(|it| it.last()) != Some(&last) {
            let message = within("a message", async {
                tokio::select! {
                    ticket = sink.recv() => ticket.expect("the thread runs").message,
                    ended = pipeline.idle(std::future::pending()) => panic!("{ended:?}"),
                }
            });
            let message = message.await;
            if message.kind == Kind::Change {
                let numbers = (message.sequence_first..).take(message.rows as usize);
                rows.entry(message.lane_key.to_string()).or_default().extend(numbers);
            }
        }
        rows
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beyond_a_rate_wait_from_their_event_on_and_are_live_again_behind_the_rest() {
    let mut scene = Box::pin(Scene::set()).await;
    // As many as may come at once.
    scene.update(10).await;
    assert_eq!((scene.status().state, scene.status().rows), (ControlState::Live, 0));
    // More, inside one transaction: the event that exceeds the rate is the last one that is sent.
    scene.update(20).await;
    assert_eq!((scene.status().state, scene.status().rows), (ControlState::Sending, 190));
    scene.update(5).await;
    assert_eq!(scene.status().rows, 240);
    let rows = scene.rows(35).await;
    assert_eq!(rows[LANE], (1..=110).collect::<Vec<_>>());
    assert_eq!(rows[OTHER], (1..=35).collect::<Vec<_>>(), "nobody else waits");

    // When they are sent, the table is live again, and the limit stays.
    assert!(scene.go_live().await);
    assert_eq!((scene.status().state, scene.status().rows), (ControlState::Live, 0));
    scene.update(10).await;
    assert_eq!(scene.status().state, ControlState::Live);
    scene.update(2).await;
    assert_eq!((scene.status().state, scene.status().rows), (ControlState::Sending, 10));
    assert_eq!(scene.rows(47).await[LANE], (351..=460).collect::<Vec<_>>());

    // Released while rows wait, it is over once these are sent, and no table has a limit.
    let (pattern, by) = ("d.t".to_owned(), "nobody".to_owned());
    let release = Command::Release { pattern, send: false, give_up: false, by };
    scene.registry.command(&release, 2).expect("it is in force");
    scene.look().await;
    assert_eq!(scene.status().state, ControlState::Sending);
    assert!(scene.go_live().await);
    scene.update(30).await;
    assert_eq!(scene.rows(77).await[LANE], (471..=770).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_not_exceeded_is_released_at_once() {
    let mut scene = Box::pin(Scene::set()).await;
    scene.update(5).await;
    let (pattern, by) = ("d.t".to_owned(), "nobody".to_owned());
    let release = Command::Release { pattern, send: false, give_up: false, by };
    let words = scene.registry.command(&release, 2).expect("it is in force");
    assert_eq!(words, "the rate of d.t is not limited any more");
    scene.look().await;
    scene.update(30).await;
    assert_eq!(scene.rows(35).await[LANE], (1..=350).collect::<Vec<_>>());
}

/// Rows that were held back are read no faster than the rate, whose change holds at once.
#[test]
fn rows_that_wait_are_sent_at_the_pace_that_is_set() {
    let pace = Arc::new(SendRate::default());
    pace.set(Some(10));
    let config = FlowConfig { pace: Some(Arc::clone(&pace)), ..FlowConfig::default() };
    // The first ten rows were sent before.
    let only = vec![RowRange { lane: LANE.into(), first: 11, last: 1000 }];
    let packing = PackConfig { only, ..each_row() };
    let schema = SchemaName::new("binpulse").expect("a name");
    let recogniser = Recogniser::new(schema, "s");
    let mut flow = flow_of(packing, config, FilterConfig::default(), recogniser);
    let mut made = Made::new();
    made.begin();
    for _ in 0..5 {
        made.inserts("t", &[("key", "row"); 10]);
    }
    made.commit();
    flow.stream_began(&Start::Gtid(GtidSet::new()));
    let mut decoder = decoder();
    decoder.start_at(Position::default());
    let mut now = Instant::now();
    let (began, mut waits) = (now, Vec::new());
    for event in &made.events {
        flow.event(event);
        let mut steps = decoder.feed(event).expect("whole");
        while let Some(step) = steps.next().expect("whole") {
            flow.step(step, now).expect("nothing is lost");
            let Some(until) = flow.reads_on_at() else { continue };
            assert!(flow.keeps_pace() && flow.reads_nothing());
            flow.held_due(now).expect("nothing is lost");
            assert!(flow.keeps_pace());
            now = until;
            flow.held_due(now).expect("nothing is lost");
            assert!(!flow.keeps_pace() && !flow.reads_nothing());
            waits.push(now.duration_since(began).as_secs());
            if waits.len() == 2 {
                // Faster from here on: ten rows in a tenth of a second.
                pace.set(Some(100));
            }
        }
    }
    // The first ten of these may go at once: a second's worth.
    assert_eq!(waits, [1, 2]);
}
