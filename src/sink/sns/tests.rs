use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use proptest::prelude::*;
use tokio::time::Instant;

use super::client::EntryResult;
use super::fixture::{message, pending};
use super::policy::CALL_TOO_LARGE;
use super::stand_in::{Answer, StandIn};
use super::*;
use crate::encode::{Attribute, DataType, Message};
use crate::sink::intake;

const FIFO: &str = "arn:aws:sns:eu-west-1:000000000000:changes.fifo";
const STANDARD: &str = "arn:aws:sns:eu-west-1:000000000000:changes";
const HALF: Duration = Duration::from_millis(500);

fn arns(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

/// Quick to try again.
fn config() -> Config {
    Config { retry_first: Duration::from_millis(1), ..Config::default() }
}

async fn open(service: &StandIn, config: Config, topics: &[&str]) -> Result<Sns, Error> {
    let shared = aws::Shared::stand_in_over("eu-west-1", service.clone()).await;
    Sns::open(config, &shared, &arns(topics)).await
}

#[test]
fn the_region_comes_from_the_arn_unless_it_is_configured() {
    let topics = arns(&["arn:aws:sns:eu-west-1:000000000000:a"]);
    let region = region_of(&topics, None).expect("one region");
    assert_eq!(region.as_deref(), Some("eu-west-1"));
    let error = region_of(&topics, Some("us-east-1")).expect_err("another region");
    assert!(error.to_string().contains("us-east-1 is configured"), "{error}");
}

#[test]
fn topics_of_two_regions_are_refused() {
    let topics =
        arns(&["arn:aws:sns:eu-west-1:000000000000:a", "arn:aws:sns:eu-west-2:000000000000:b"]);
    assert!(matches!(region_of(&topics, None), Err(Error::OtherRegion { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_a_topic_says_of_itself_is_read_and_what_it_does_not_say_is_the_default() {
    let said = [
        vec![],
        vec![("MaximumMessageSize", "1048576"), ("FifoTopic", "true")],
        vec![("MaximumMessageSize", "0"), ("ContentBasedDeduplication", "true")],
        vec![("FifoTopic", "false"), ("FifoThroughputScope", "MessageGroup")],
        vec![("MaximumMessageSize", "many"), ("FifoThroughputScope", "Topic")],
    ];
    let topic = |number| format!("arn:aws:sns:eu-west-1:000000000000:t{number}");
    let topics: Vec<_> = (0..said.len()).map(topic).collect();
    let service = StandIn::new(move |number, _| Answer::Says(said[number].clone()));
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let sns = open(&service, config(), &topics).await.expect("all answer");
    let facts = sns.topics().iter().map(|(_, facts)| {
        let TopicFacts {
            message_bytes_max,
            fifo,
            content_based_deduplication,
            throughput_per_group,
        } = facts;
        (*message_bytes_max, *fifo, *content_based_deduplication, *throughput_per_group)
    });
    let expected = [
        (MESSAGE_BYTES_DEFAULT, false, false, false),
        (1_048_576, true, false, false),
        (MESSAGE_BYTES_DEFAULT, false, true, false),
        (MESSAGE_BYTES_DEFAULT, false, false, true),
        (MESSAGE_BYTES_DEFAULT, false, false, false),
    ];
    assert_eq!(facts.collect::<Vec<_>>(), expected);
    let asked: Vec<_> = service.calls().into_iter().map(|call| call.topic).collect();
    assert_eq!(asked, topics);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_can_not_be_read_is_asked_again_only_where_that_may_help() {
    for (failures, answer, is_read, calls) in [
        (2, Answer::Error(500, "InternalError"), true, 3),
        (3, Answer::Error(500, "InternalError"), false, 3),
        (1, Answer::Error(404, "NotFound"), false, 1),
        (1, Answer::Error(403, "AuthorizationError"), false, 1),
    ] {
        let told = answer.clone();
        let script =
            move |number, _: &_| if number < failures { told.clone() } else { Answer::Takes };
        let service = StandIn::new(script);
        let shared = aws::Shared::stand_in_over("eu-west-1", service.clone()).await;
        let health = Health::new();
        let topics = arns(&[STANDARD]);
        let opened = Sns::open_with(config(), &shared, &topics, Arc::clone(&health)).await;
        assert_eq!(service.calls().len(), calls, "{answer:?}");
        let now = Instant::now().into_std();
        match opened {
            Ok(sns) => assert!(is_read && Arc::ptr_eq(&sns.health(), &health)),
            Err(error) => {
                assert!(!is_read, "{error}");
                let passes = matches!(answer, Answer::Error(500, _));
                assert_eq!(error.passes(), passes, "{error}");
                let told = health.snapshot(now).impediment;
                assert_eq!(told.map(FailureClass::passes), Some(passes), "it is shown meanwhile");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_without_a_permission() {
    let service = StandIn::new(|_, _| Answer::Takes);
    let permit = Permit::withheld();
    let sns =
        open(&service, config(), &[]).await.expect("nothing is asked").permitted(permit.clone());
    let (feed, intake) = intake(1 << 20);
    let (settled, mut settlements) = mpsc::channel(8);
    let running = tokio::spawn(sns.run(intake, settled, CancellationToken::new()));
    let second = Duration::from_secs(1);
    let now = || Instant::now().into_std();
    feed.send(message(1, 1, 10)).await.expect("it is taken");
    tokio::time::sleep(second).await;
    assert_eq!(service.calls().len(), 0, "not granted");
    permit.grant(now() + second, now() + 2 * second);
    tokio::time::sleep(second / 2).await;
    assert_eq!(service.calls().len(), 0, "not yet");
    settlements.recv().await.expect("it is published");
    let published = service.calls().len();
    tokio::time::sleep(2 * second).await;
    feed.send(message(2, 1, 10)).await.expect("it is taken");
    tokio::time::sleep(second).await;
    assert_eq!(service.calls().len(), published, "no longer");
    permit.grant(now(), now() + second);
    settlements.recv().await.expect("it is published");
    permit.withdraw();
    let published = service.calls().len();
    feed.send(message(3, 1, 10)).await.expect("it is taken");
    tokio::time::sleep(second).await;
    assert_eq!(service.calls().len(), published, "taken back");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_has_its_class_and_says_the_status() {
    let unreadable = "UnreadableAnswer";
    let cases = [
        (Answer::Error(400, "Throttled"), FailureClass::Throttled, "Throttled", "(HTTP 400)"),
        (
            Answer::Error(403, "AuthorizationError"),
            FailureClass::Denied,
            "AuthorizationError",
            "(HTTP 403)",
        ),
        (Answer::Error(413, "Throttled"), FailureClass::Throttled, "Throttled", "(HTTP 413)"),
        (
            Answer::Text(413, "<html>too large</html>"),
            FailureClass::Unknown,
            CALL_TOO_LARGE,
            "(HTTP 413)",
        ),
        (Answer::Text(400, "<html></html>"), FailureClass::Unknown, unreadable, "(HTTP 400)"),
        (Answer::Text(403, "no"), FailureClass::Denied, unreadable, "(HTTP 403)"),
        (Answer::Text(503, "later"), FailureClass::ServerError, unreadable, "(HTTP 503)"),
        (Answer::Text(200, "no XML"), FailureClass::ServerError, unreadable, "(HTTP 200)"),
        (Answer::Breaks("broken pipe"), FailureClass::Unreachable, "Unreachable", "broken pipe"),
        (Answer::Breaks("no Identity"), FailureClass::Credentials, "NoCredentials", "no Identity"),
        (Answer::Hangs, FailureClass::Timeout, "Timeout", ""),
    ];
    for (answer, class, code, text) in cases {
        let told = answer.clone();
        let service = StandIn::new(move |_, _| told.clone());
        let sns = open(&service, config(), &[]).await.expect("nothing is asked");
        let failure = sns.client.facts(STANDARD).await.expect_err("it fails");
        assert_eq!((failure.class, &*failure.code), (class, code), "{answer:?}: {}", failure.text);
        assert!(failure.text.contains(text), "{answer:?}: {}", failure.text);
    }
    let nobody = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .http_client(StandIn::new(|_, _| Answer::Takes))
        .build();
    let failure = SnsClient::new(&nobody).facts(STANDARD).await.expect_err("no credentials");
    assert_eq!((failure.class, &*failure.code), (FailureClass::Credentials, "NoCredentials"));
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_a_word_is_not_taken_for_delivered() {
    // The answer is of one entry more, and of one entry less, than was sent.
    let each = |entries| Answer::Each(vec![None; entries]);
    let service = StandIn::new(move |number, _| if number == 0 { each(3) } else { each(1) });
    let sns = open(&service, config(), &[]).await.expect("nothing is asked");
    let batch = [pending(0, 1, 5), pending(1, 2, 5)];
    let results = sns.client.publish(STANDARD, &batch).await.expect("answered");
    assert_eq!(results, [EntryResult::Accepted, EntryResult::Accepted]);
    let results = sns.client.publish(STANDARD, &batch).await.expect("answered");
    assert_eq!(results[0], EntryResult::Accepted);
    let EntryResult::Failed(failure) = &results[1] else { panic!("nobody said so") };
    assert_eq!((failure.class, &*failure.code), (FailureClass::ServerError, "MissingEntry"));
}

#[test]
fn where_opening_may_work_later_it_is_tried_again_and_nowhere_else() {
    for class in FailureClass::ALL {
        let topic = Error::Topic {
            arn: STANDARD.to_owned(),
            class,
            code: String::new(),
            text: String::new(),
            remedy: remedy(class),
        };
        assert_eq!(topic.passes(), class.passes());
    }
    assert!(!Error::Abandoned.passes() && !Error::Unfinished { messages: 1, bytes: 1 }.passes());
}

/// A message of a lane, with an attribute or without.
#[derive(Debug, Clone)]
struct Sent {
    lane: u32,
    bytes: usize,
    is_fifo: bool,
    has_attribute: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..3_u32, 1..400_usize, any::<bool>(), any::<bool>()).prop_map(
        |(lane, bytes, is_fifo, has_attribute)| Sent { lane, bytes, is_fifo, has_attribute },
    )
}

fn made(id: u64, sent: &Sent) -> Message {
    let lane = sent.lane + 10 * u32::from(sent.is_fifo);
    let mut message = message(id, lane, 1);
    message.body = format!("{id}, & = + % \u{e9} {}", "x".repeat(sent.bytes));
    message.destination = Arc::from(if sent.is_fifo { FIFO } else { STANDARD });
    message.attributes.extend(sent.has_attribute.then(|| Attribute {
        name: "kind".into(),
        data_type: DataType::String,
        value: "change".to_owned(),
    }));
    message
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Takes),
        1 => Just(Answer::Each(vec![None, Some(("InternalError", false))])),
        1 => Just(Answer::Error(400, "Throttled")),
        1 => Just(Answer::Error(403, "AuthorizationError")),
        1 => Just(Answer::Error(500, "InternalError")),
        1 => Just(Answer::Breaks("reset")),
        1 => Just(Answer::Hangs),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The whole sink, over a service that fails as it likes, for a time.
    #[test]
    fn each_message_arrives_as_it_was_and_is_settled_once(
        sent in proptest::collection::vec(sent(), 1..60),
        answers in proptest::collection::vec(answer(), 1..12),
        room in 1..4_usize,
        in_flight_max in 0..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let script = answers.clone();
        let service = StandIn::new(move |number, call| match script.get(number) {
            Some(answer) if !call.entries.is_empty() => answer.clone(),
            _ => Answer::Takes,
        });
        let (ids, health) = runtime.block_on(async {
            let config = Config { in_flight_max, ..config() };
            // The other topic is met with its first message.
            let sns = open(&service, config, &[FIFO]).await.expect("it answers");
            let health = sns.health();
            let (feed, intake) = intake(1 << 20);
            let (sender, mut settlements) = mpsc::channel(room);
            let sink = tokio::spawn(sns.run(intake, sender, CancellationToken::new()));
            for (id, sent) in (0..).zip(&sent) {
                assert!(feed.try_send(made(id, sent)).is_ok(), "there is room");
            }
            drop(feed);
            let mut ids = Vec::new();
            while let Some(settlement) = settlements.recv().await {
                let Settlement::Settled { id, .. } = settlement else { panic!("refused") };
                ids.push(id);
            }
            sink.await.expect("no panic").expect("all was delivered");
            (ids, health)
        });
        let mut once = ids.clone();
        once.sort_unstable();
        prop_assert_eq!(once, (0..sent.len() as u64).collect::<Vec<_>>());
        let snapshot = health.snapshot(std::time::Instant::now());
        prop_assert_eq!((snapshot.in_flight_requests, snapshot.in_flight_bytes), (0, 0));
        prop_assert_eq!((snapshot.held_messages, snapshot.oldest_unsettled), (0, None));

        let mut lanes: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for id in ids {
            let sent = &sent[usize::try_from(id).expect("small")];
            if sent.is_fifo {
                lanes.entry(sent.lane).or_default().push(id);
            }
        }
        prop_assert!(lanes.values().all(|ids| ids.is_sorted()), "FIFO: {lanes:?}");
        for call in service.calls() {
            for (number, entry) in call.entries.iter().enumerate() {
                let id: u64 = entry["Message"].split(',').next().expect("an id").parse().expect("one");
                let message = made(id, &sent[usize::try_from(id).expect("small")]);
                let mut expected = BTreeMap::from([
                    ("Id".to_owned(), number.to_string()),
                    ("Message".to_owned(), message.body),
                ]);
                expected.extend(message.group_id.map(|group| ("MessageGroupId".to_owned(), group)));
                // A standard topic refuses it.
                let deduplication = message.deduplication_id.filter(|_| call.topic == FIFO);
                expected.extend(deduplication.map(|id| ("MessageDeduplicationId".to_owned(), id)));
                for (place, attribute) in (1..).zip(message.attributes) {
                    let name = |name: &str| format!("MessageAttributes.entry.{place}.{name}");
                    expected.extend([
                        (name("Name"), attribute.name.to_string()),
                        (name("Value.DataType"), attribute.data_type.as_str().to_owned()),
                        (name("Value.StringValue"), attribute.value),
                    ]);
                }
                prop_assert_eq!(entry, &expected);
                prop_assert_eq!(&*message.destination, &*call.topic);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_its_grace_and_says_what_is_left() {
    let service =
        StandIn::new(|_, call| if call.entries.is_empty() { Answer::Takes } else { Answer::Hangs });
    let sns = open(&service, config(), &[STANDARD]).await.expect("it answers");
    let health = sns.health();
    let (feed, intake) = intake(1 << 20);
    let (sender, mut settlements) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let sink = tokio::spawn(sns.run(intake, sender, stop.clone()));
    let sent = Sent { lane: 0, bytes: 100, is_fifo: false, has_attribute: true };
    let bytes: usize = (0..3).map(|id| made(id, &sent).billed_bytes()).sum();
    for id in 0..3 {
        assert!(feed.try_send(made(id, &sent)).is_ok(), "there is room");
    }
    tokio::time::sleep(HALF).await;
    let snapshot = health.snapshot(Instant::now().into_std());
    assert_eq!((snapshot.in_flight_requests, snapshot.in_flight_bytes), (1, bytes));
    assert_eq!(snapshot.held_messages, 3);
    let asked = Instant::now();
    stop.cancel();
    let ended = sink.await.expect("no panic");
    let Err(Error::Unfinished { messages, bytes: left }) = ended else { panic!("{ended:?}") };
    assert_eq!((messages, left), (3, bytes));
    assert_eq!(asked.elapsed(), Config::default().grace);
    assert!(feed.try_send(made(4, &sent)).is_err(), "it takes no more");
    assert!(settlements.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_in_before_a_stop_is_delivered_and_the_end_is_a_good_one() {
    let service = StandIn::new(|_, _| Answer::Takes);
    let sns = open(&service, config(), &[STANDARD]).await.expect("it answers");
    let (feed, intake) = intake(1 << 20);
    let (sender, mut settlements) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let sent = Sent { lane: 0, bytes: 100, is_fifo: false, has_attribute: false };
    for id in 0..2 {
        assert!(feed.try_send(made(id, &sent)).is_ok(), "there is room");
    }
    stop.cancel();
    let ended = sns.run(intake, sender, stop).await;
    assert!(ended.is_ok(), "{ended:?}");
    let mut settled = 0;
    while settlements.recv().await.is_some() {
        settled += 1;
    }
    assert_eq!(settled, 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_takes_the_settlements_ends_the_sink_and_so_does_a_refusal_that_halts() {
    let sent = Sent { lane: 0, bytes: 10, is_fifo: false, has_attribute: false };
    let run = |on_refusal, answer: Answer, has_receiver: bool| {
        let service =
            StandIn::new(
                move |_, call| if call.entries.is_empty() { Answer::Takes } else { answer.clone() },
            );
        let sent = sent.clone();
        async move {
            let config = Config { on_refusal, ..config() };
            let sns = open(&service, config, &[STANDARD]).await.expect("it answers");
            let (feed, intake) = intake(1 << 20);
            let (sender, settlements) = mpsc::channel(8);
            let settlements = has_receiver.then_some(settlements);
            assert!(feed.try_send(made(0, &sent)).is_ok(), "there is room");
            let ended = sns.run(intake, sender, CancellationToken::new()).await;
            drop((feed, settlements));
            ended
        }
    };
    let ended = run(OnRefusal::GoOn, Answer::Takes, false).await;
    assert!(matches!(ended, Err(Error::Abandoned)), "{ended:?}");
    let refused = Answer::Error(400, "InvalidParameter");
    let ended = run(OnRefusal::Halt, refused, true).await;
    assert!(matches!(ended, Err(Error::Halted(_))), "{ended:?}");
}
