//! Messages of a queue, as the relay opens them.

use std::collections::BTreeMap;

use binpulse_relay::open::{Failure, FetchError, Found, Limits, Opened, Pointer, open};

/// A message's body. A body that points to an object gets the input's second line as the object.
/// Whatever opens is of a kind, and its rows have numbers, images and transactions.
pub fn message(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let (body, object) = text.split_once('\n').unwrap_or((text, ""));
    // Small limits, so that memory which does not keep to them shows.
    let limits = Limits { content_bytes_max: 1 << 20, object_bytes_max: 1 << 20 };
    let fetch = async |_: &Pointer, _: u64| match object {
        "" => Err(FetchError::Gone(String::new())),
        object => Ok(object.to_owned()),
    };
    let attributes = BTreeMap::from([("replay".to_owned(), "you".to_owned())]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    match runtime.block_on(open(body, attributes, &limits, fetch)) {
        // Also where SNS's envelope says that it is an application's.
        Ok(Found::Outbox(..)) => 1,
        Ok(Found::Ours(message)) => {
            let (batch, is_numbered) = match &message.opened {
                Opened::Rows(batch) => (Some(batch), true),
                Opened::Canary(canary) => (canary.batch.as_ref(), true),
                Opened::Part(part) => (part.batch.as_ref(), false),
                Opened::Mark(_)
                | Opened::Heartbeat(_)
                | Opened::Schema(_)
                | Opened::Suppressed(_)
                | Opened::TransactionEnd(_)
                | Opened::Unknown { .. } => (None, false),
            };
            for row in batch.into_iter().flat_map(binpulse_client::proto::ChangeBatch::rows) {
                let images = row.before().into_iter().chain(row.after());
                let _cells = images.map(|image| image.iter().count()).sum::<usize>();
                assert!(!is_numbered || row.number() > 0 && row.transaction().is_some());
            }
            1
        }
        Err(Failure::Unreadable(unreadable)) => {
            assert!(!unreadable.reason().is_empty());
            0
        }
        Err(Failure::Away(why)) => panic!("nothing is away: {why}"),
    }
}
