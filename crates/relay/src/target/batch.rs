//! Requests as messages of SQS and SNS: what they have to look like, and how many go in one call.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::aws::{Cause, Failure};
use super::receiver::Receive;
use super::{Outcome, Request};
use crate::outbox::OUTBOX;

/// Entries of a call, by both services.
const ENTRIES_MAX: usize = 10;
/// Longest group and deduplication id, by both services.
const NAME_BYTES_MAX: usize = 128;
/// Attributes of a message, by SQS; SNS drops a message with more on its way to a queue with raw delivery.
const ATTRIBUTES_MAX: usize = 10;

/// The attributes of a message as an SDK has them: `value` makes one of type and value.
pub(super) fn attributes<V, E: Error + 'static>(
    request: &Request,
    value: impl Fn(&str, &str) -> Result<V, E>,
) -> Result<HashMap<String, V>, Failure> {
    let made = attribute_texts(request).into_iter().map(|(name, data_type, text)| {
        let value = value(data_type, text).map_err(|error| Failure::of_contents(&error))?;
        Ok((name.to_owned(), value))
    });
    made.collect()
}

/// The attributes of a message: name, type and value. One of an outbox has its own.
fn attribute_texts(request: &Request) -> Vec<(&str, &str, &str)> {
    if request.kind == OUTBOX {
        let own = request.attributes.iter();
        return own.map(|own| (&*own.name, &*own.data_type, &*own.value)).collect();
    }
    [("kind", request.kind), ("lane", &*request.lane.lane), ("id", &*request.id)]
        .map(|(name, value)| (name, "String", value))
        .to_vec()
}

/// The body as text. Checked before by [`unfit`].
pub(super) fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap_or_default()
}

/// The message group. Keys can be anything, groups can not: what is none is named by its digest.
pub(super) fn group(request: &Request) -> String {
    if is_name(&request.group) {
        return request.group.clone();
    }
    format!("{:x}", Sha256::digest(request.group.as_bytes()))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why a request can't be a message, if so.
fn unfit(request: &Request, bytes_max: usize) -> Option<String> {
    let Ok(body) = std::str::from_utf8(&request.body) else {
        return Some("the body is no text".to_owned());
    };
    if body.is_empty() {
        return Some("the body is empty".to_owned());
    }
    if let Some(character) = body.chars().find(|character| !is_accepted(*character)) {
        return Some(format!("the body has a character that no message may have: {character:?}"));
    }
    if !is_name(&request.id) {
        return Some("the id is none for a message".to_owned());
    }
    let is_value = |value: &str| !value.is_empty() && value.chars().all(is_accepted);
    let attributes = attribute_texts(request);
    if attributes.len() > ATTRIBUTES_MAX {
        return Some(format!("{} attributes, allowed {ATTRIBUTES_MAX}", attributes.len()));
    }
    if let Some((name, ..)) = attributes.iter().find(|(_, _, value)| !is_value(value)) {
        return Some(format!("the attribute {name} is none for a message"));
    }
    let bytes = bytes(request);
    (bytes > bytes_max).then(|| format!("found {bytes} bytes, allowed {bytes_max}"))
}

/// The characters of XML 1.0, which both services have kept as their rule.
fn is_accepted(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What counts towards the limits of size: body and attributes.
fn bytes(request: &Request) -> usize {
    let attributes = attribute_texts(request);
    let of_attributes =
        attributes.iter().map(|(name, kind, value)| name.len() + kind.len() + value.len());
    request.body.len() + of_attributes.sum::<usize>()
}

/// The result of each of `count` entries, by their ids, which are their places.
pub(super) fn results<'a>(
    count: usize,
    named: impl Iterator<Item = (&'a str, Option<Failure>)>,
) -> Vec<Option<Failure>> {
    let mut results = vec![Some(Failure::of_silence()); count];
    for (id, result) in named {
        let place = id.parse().ok().and_then(|index: usize| results.get_mut(index));
        if let Some(place) = place {
            *place = result;
        }
    }
    results
}

/// What the client of SQS or SNS does.
pub(super) trait Api: Send + Sync + 'static {
    /// An entry of a call.
    type Entry: Send;

    /// The entry with this number.
    fn entry(index: usize, request: &Request, is_fifo: bool) -> Result<Self::Entry, Failure>;

    /// Sends them in one call. `Ok` has a result for each: `None` if it was accepted.
    fn send(
        &self,
        to: &str,
        entries: Vec<Self::Entry>,
    ) -> impl Future<Output = Result<Vec<Option<Failure>>, Failure>> + Send;
}

/// A queue or a topic. Its messages have the attributes `kind`, `lane` and `id`, those of an outbox the
/// attributes that they came with; with FIFO the group is the request's, and the deduplication id is the
/// request's id.
#[derive(Debug, Clone)]
pub struct Batched<C> {
    client: C,
    /// URL or ARN.
    place: String,
    message_bytes_max: usize,
    timeout: Duration,
}

impl<C> Batched<C> {
    /// The one at `place`. The client's own retries should be off: attempts are counted elsewhere.
    /// `message_bytes_max` is its `MaximumMessageSize`; `timeout` is the deadline of a call.
    pub fn new(client: C, place: String, message_bytes_max: usize, timeout: Duration) -> Self {
        Self { client, place, message_bytes_max, timeout }
    }

    /// Whether messages of one group are kept in order.
    fn is_fifo(&self) -> bool {
        self.place.strip_suffix(".fifo").is_some()
    }
}

impl<C: Api> Receive for Batched<C> {
    fn batch_max(&self) -> usize {
        ENTRIES_MAX
    }

    async fn deliver(&self, requests: &[Request]) -> Vec<Outcome> {
        deliver(self, requests).await
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// Sends requests in one call. `Ok` has a result for each: `None` if it was accepted.
async fn call<C: Api>(
    service: &Batched<C>,
    requests: &[&Request],
) -> Result<Vec<Option<Failure>>, Failure> {
    let is_fifo = service.is_fifo();
    let entry = |(index, request): (usize, &&Request)| C::entry(index, request, is_fifo);
    let entries = requests.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    let sent = service.client.send(&service.place, entries);
    match tokio::time::timeout(service.timeout, sent).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::of_time(service.timeout)),
    }
}

/// Sends requests in as few calls as the limits allow, one call after the other. With FIFO, a call
/// has one request of each group, and nothing of a group follows a request that failed: an entry of
/// a call can fail while the ones after it are accepted.
async fn deliver(service: &Batched<impl Api>, requests: &[Request]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = requests
        .iter()
        .map(|request| {
            unfit(request, service.message_bytes_max).map(|answer| Outcome::Refused { answer })
        })
        .collect();
    loop {
        if service.is_fifo() {
            hold_back(requests, &mut outcomes);
        }
        let call = next_call(service, requests, &outcomes);
        if call.is_empty() {
            break;
        }
        let sent: Vec<&Request> = call.iter().map(|(_, request)| *request).collect();
        let results = send(service, &sent).await;
        for ((index, _), outcome) in call.iter().zip(results) {
            if let Some(place) = outcomes.get_mut(*index) {
                *place = Some(outcome);
            }
        }
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(|| Failure::of_silence().outcome()))
        .collect()
}

/// Decides what comes behind a request that failed.
fn hold_back(requests: &[Request], outcomes: &mut [Option<Outcome>]) {
    let mut failed = HashMap::new();
    for (request, outcome) in requests.iter().zip(outcomes) {
        match outcome {
            None => {
                *outcome = failed.get(request.group.as_str()).map(|is_outage| Outcome::Failed {
                    answer: "not sent: an earlier message of its group was not accepted".to_owned(),
                    retry_after: None,
                    is_outage: *is_outage,
                });
            }
            Some(Outcome::Delivered) => {}
            Some(Outcome::Failed { is_outage, .. }) => {
                failed.insert(request.group.as_str(), *is_outage);
            }
            Some(Outcome::Gone { .. } | Outcome::Refused { .. }) => {
                failed.insert(request.group.as_str(), false);
            }
        }
    }
}

/// The requests of the next call, with their places: a beginning of what is left, or with FIFO the
/// first of each group.
fn next_call<'a>(
    service: &Batched<impl Api>,
    requests: &'a [Request],
    outcomes: &[Option<Outcome>],
) -> Vec<(usize, &'a Request)> {
    let mut call = Vec::new();
    let mut groups = HashSet::new();
    let mut total = 0_usize;
    for (index, request) in requests.iter().enumerate() {
        let is_left = outcomes.get(index).is_some_and(Option::is_none);
        if !is_left || service.is_fifo() && !groups.insert(request.group.as_str()) {
            continue;
        }
        total = total.saturating_add(bytes(request));
        if call.len() == ENTRIES_MAX || total > service.message_bytes_max {
            break;
        }
        call.push((index, request));
    }
    call
}

/// Sends one call. One that is refused as a whole is sent again request by request, since one of
/// them is at fault and the others are not.
async fn send(service: &Batched<impl Api>, requests: &[&Request]) -> Vec<Outcome> {
    match call(service, requests).await {
        Ok(results) => results
            .into_iter()
            .map(|result| result.map_or(Outcome::Delivered, |failure| failure.outcome()))
            .collect(),
        Err(failure) if requests.len() > 1 && failure.cause != Cause::Service => {
            let mut outcomes = Vec::with_capacity(requests.len());
            for request in requests {
                let outcome = match call(service, std::slice::from_ref(request)).await {
                    Ok(results) => match results.into_iter().next().flatten() {
                        None => Outcome::Delivered,
                        Some(failure) => failure.outcome(),
                    },
                    Err(failure) => failure.outcome(),
                };
                outcomes.push(outcome);
            }
            outcomes
        }
        Err(failure) => vec![failure.outcome(); requests.len()],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::lane::LaneKey;

    const BYTES_MAX: usize = 2_000;

    /// A service that keeps what it accepts, and fails as it is told by a request's number.
    #[derive(Default)]
    struct Fake {
        /// Entries that fail, and calls that are refused for what one of their entries holds.
        failing: HashMap<u64, Cause>,
        at_fault: HashSet<u64>,
        calls: Mutex<Vec<Vec<u64>>>,
        accepted: Mutex<Vec<u64>>,
    }

    impl Api for Fake {
        type Entry = u64;

        fn entry(_: usize, request: &Request, _: bool) -> Result<u64, Failure> {
            Ok(request.first)
        }

        async fn send(&self, _: &str, numbers: Vec<u64>) -> Result<Vec<Option<Failure>>, Failure> {
            self.calls.lock().expect("no panic").push(numbers.clone());
            let failure = |cause| Failure { cause, text: String::new() };
            if numbers.iter().any(|number| self.at_fault.contains(number)) {
                return Err(failure(Cause::TooLarge));
            }
            let result = |number: &u64| {
                let result = self.failing.get(number).map(|cause| failure(*cause));
                if result.is_none() {
                    self.accepted.lock().expect("no panic").push(*number);
                }
                result
            };
            Ok(numbers.iter().map(result).collect())
        }
    }

    fn service(client: Fake, is_fifo: bool) -> Batched<Fake> {
        let place = if is_fifo { "a.fifo" } else { "a" };
        Batched::new(client, place.to_owned(), BYTES_MAX, Duration::from_mins(1))
    }

    fn request(number: u64, group: &str, body: usize) -> Request {
        Request {
            id: format!("bp_{number}"),
            lane: LaneKey { stream: "shop".into(), epoch: 1, lane: "shop.orders#0".into() },
            first: number,
            last: number,
            group: group.to_owned(),
            body: vec![b'x'; body].into(),
            content_type: "application/json",
            then: None,
            kind: "change",
            attributes: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_no_message_may_be_is_refused_and_never_sent() {
        let fake = service(Fake::default(), false);
        let with = |body: &[u8]| Request { body: body.to_vec().into(), ..request(1, "a", 0) };
        let unfit = [
            with(b""),
            with(b"\xff\xfe"),
            with(b"{\"a\":\"\x01\"}"),
            with("\u{ffff}".as_bytes()),
            request(1, "a", BYTES_MAX + 1),
            Request { id: "x".repeat(129), ..request(1, "a", 1) },
            Request { id: "a b".to_owned(), ..request(1, "a", 1) },
            Request { kind: "", ..request(1, "a", 1) },
        ];
        for outcome in deliver(&fake, &unfit).await {
            assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
        }
        assert!(fake.client.calls.lock().expect("no panic").is_empty());
        let text =
            Request { body: "{\"city\":\"K\u{f6}ln \u{10ffff}\"}".into(), ..request(1, "a", 0) };
        assert_eq!(deliver(&fake, &[text]).await, [Outcome::Delivered]);
        assert_eq!(deliver(&fake, &[]).await, []);
    }

    #[test]
    fn a_group_that_is_none_is_named_by_its_digest() {
        assert_eq!(group(&request(1, "shop.orders#0", 1)), "shop.orders#0");
        for odd in ["", "a b", "K\u{f6}ln", &"x".repeat(129)] {
            let name = group(&request(1, odd, 1));
            assert!(name.len() == 64 && is_name(&name), "{odd}: {name}");
        }
    }

    fn causes() -> impl Strategy<Value = HashMap<u64, Cause>> {
        let cause = prop_oneof![Just(Cause::Service), Just(Cause::Request), Just(Cause::Contents)];
        proptest::collection::hash_map(0_u64..40, cause, 0..6)
    }

    proptest! {
        /// Calls keep to the limits; with FIFO each group is accepted from its beginning without a
        /// gap; without, everything that can be accepted is; and each outcome is that of its request.
        #[test]
        fn calls_keep_to_the_limits_and_groups_to_their_order(
            shape in proptest::collection::vec((0_u64..5, 1_usize..2_100), 0..40),
            is_fifo: bool,
            failing in causes(),
            at_fault in proptest::collection::hash_set(0_u64..40, 0..3),
        ) {
            let requests: Vec<_> = (0..).zip(&shape)
                .map(|(number, (group, body))| request(number, &group.to_string(), *body))
                .collect();
            let fake = Fake { failing, at_fault, ..Fake::default() };
            let service = service(fake, is_fifo);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let outcomes = runtime.block_on(deliver(&service, &requests));
            let fake = service.client;
            let accepted = fake.accepted.into_inner().expect("no panic");
            prop_assert_eq!(outcomes.len(), requests.len());
            for call in fake.calls.into_inner().expect("no panic") {
                let sent: Vec<_> = requests.iter().filter(|request| call.contains(&request.first)).collect();
                prop_assert!(call.len() <= ENTRIES_MAX);
                prop_assert!(sent.iter().map(|request| bytes(request)).sum::<usize>() <= BYTES_MAX);
                let groups: HashSet<_> = sent.iter().map(|request| &request.group).collect();
                prop_assert!(!is_fifo || groups.len() == call.len());
            }
            let mut broken = HashSet::new();
            for (request, outcome) in requests.iter().zip(&outcomes) {
                let count = accepted.iter().filter(|number| **number == request.first).count();
                prop_assert_eq!(count, usize::from(*outcome == Outcome::Delivered));
                let is_good = bytes(request) <= BYTES_MAX
                    && !fake.failing.contains_key(&request.first)
                    && !fake.at_fault.contains(&request.first);
                if is_fifo {
                    prop_assert_eq!(count == 1, is_good && !broken.contains(&request.group));
                    if !is_good {
                        broken.insert(&request.group);
                    }
                } else {
                    prop_assert_eq!(count == 1, is_good);
                }
            }
        }
    }
}
