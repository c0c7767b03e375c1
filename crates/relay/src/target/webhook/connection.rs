//! A connection that carries one request at a time, and those that wait for their next one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::fault::{Fault, Step, within};
use super::meter::{Budget, Metered, Stream};

/// Longest head of an answer, and most headers in it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// Most that is read of the body of an answer. It is of no use but to free the connection.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Most that is read for one answer at all, with interim answers (1xx) and the frames of a body.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for the rest of a body whose status is known.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// A connection is not used for longer, so that a changed name or certificate takes effect.
const AGE_MAX: Duration = Duration::from_mins(5);
/// A connection that was idle for longer is not used again: many servers close it after a minute.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// A connection. Dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
    budget: Budget,
    opened: Instant,
    used: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Over a stream that stands.
    pub(super) async fn new(stream: Box<dyn Stream>) -> Result<Self, Fault> {
        let budget = Budget::new(ANSWER_BYTES_MAX);
        let stream = TokioIo::new(Metered::new(stream, budget.clone()));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(stream)
            .await
            .map_err(|error| Fault::of(Step::Send, &error))?;
        // How it ends is told by the answer that it carries.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let now = Instant::now();
        Ok(Self { sender, task, budget, opened: now, used: now })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Fault> {
        self.budget.refill(ANSWER_BYTES_MAX);
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        within(deadline, Step::Send, exchange).await
    }

    /// Whether not one byte of an answer has come.
    pub(super) fn is_unanswered(&self) -> bool {
        self.budget.left() == ANSWER_BYTES_MAX
    }

    fn is_fit(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.opened + AGE_MAX && now < self.used + IDLE_MAX
    }
}

/// Reads the rest of a body; whether the connection is free then.
pub(super) async fn is_drained(body: Incoming, deadline: Instant) -> bool {
    let patience = deadline.min(Instant::now() + BODY_PATIENCE);
    timeout_at(patience, is_short(body)).await.unwrap_or(false)
}

async fn is_short(mut body: Incoming) -> bool {
    let mut read = 0_usize;
    while !body.is_end_stream() {
        match body.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if read > BODY_BYTES_MAX {
                    return false;
                }
            }
        }
    }
    true
}

/// Connections without a request.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// The one that was used last, if it is fit.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The unfit ones are closed here; there are never more than requests at a time.
        idle.retain(|connection| connection.is_fit(now));
        idle.pop()
    }

    /// Keeps it for the next request.
    pub(super) fn put(&self, mut connection: Connection) {
        connection.used = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
