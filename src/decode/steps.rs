//! What comes out: steps, and the cursor that yields them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::charset::{self, Decoded};
use super::event::{Header, kind};
use super::query::{self, Query};
use super::rows::{Around, Shape};
use super::{Decoder, Error, Fault, Rows};
use crate::change::{Description, Position, Table, Transaction, TransactionId};

/// One thing that an event says.
///
/// A transaction is `Begin`, any number of `Rows` and `Schema`, `Commit`; the other steps may stand
/// anywhere. The rows of an XA transaction come between the `Begin` and the `Commit` of its
/// XA COMMIT; its XA PREPARE is `Passed`.
#[derive(Debug)]
pub enum Step<'a> {
    /// A transaction starts.
    Begin(&'a Transaction),
    /// One rows event.
    Rows(Rows<'a>),
    /// DDL, or another statement that is replicated as text.
    Schema(Statement<'a>),
    /// The transaction is complete.
    Commit(Commit<'a>),
    /// The server's heartbeat.
    Idle {
        /// Where the server reads.
        position: &'a Position,
        /// See [`Decoder::resume`].
        resume: &'a Position,
    },
    /// Now in a new file, or at another place of it.
    Rotate {
        /// Where the next event starts.
        position: &'a Position,
        /// See [`Decoder::resume`].
        resume: &'a Position,
    },
    /// An event that carries nothing for us.
    Passed {
        /// Behind the event.
        position: &'a Position,
        /// See [`Decoder::resume`].
        resume: &'a Position,
        /// One of [`kind`](super::kind).
        event_type: u8,
        /// Identity of the XA transaction that was prepared, if that is what the event says: the
        /// server counts it as executed from here on.
        prepared: Option<TransactionId>,
    },
}

/// A transaction's end.
///
/// Whoever keeps a checkpoint adds the transaction's id and all of `resolves` to the set of executed
/// GTIDs together, or none of them. The identity of a prepared XA transaction is in no such set until
/// its decision has come out here: resuming by GTID set then brings exactly the undecided ones again.
/// Where the checkpoint is a file and offset, or a MariaDB GTID position (which cannot leave one
/// out), it must not pass [`open_xa`](Self::open_xa).
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Where the next transaction starts.
    pub end: &'a Position,
    /// Identities of further transactions that are settled with it: that of the XA PREPARE which this
    /// one decides.
    pub resolves: &'a [TransactionId],
    /// Where the oldest prepared, undecided XA transaction starts.
    pub open_xa: Option<&'a Position>,
    /// It is the XA COMMIT of rows that are not at hand (`Unseen::Pass`).
    pub unseen_xa: bool,
}

/// A statement that is replicated as text.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The transaction that it is in.
    pub transaction: &'a Transaction,
    /// Where its event starts.
    pub position: &'a Position,
    /// Database that was selected; may be empty.
    pub database: &'a str,
    /// The statement, in its client's character set.
    pub bytes: &'a [u8],
    collation: u16,
}

impl<'a> Statement<'a> {
    /// The statement as text. Bytes that are not valid in its client's character set are replaced.
    pub fn text(&self) -> Cow<'a, str> {
        let mut scratch = Vec::new();
        let decoded = charset::by_collation(self.collation)
            .map(|charset| charset.decode(self.bytes, &mut scratch));
        match decoded {
            Some(Decoded::Scratch) => match String::from_utf8(scratch) {
                Ok(text) => Cow::Owned(text),
                Err(_) => String::from_utf8_lossy(self.bytes),
            },
            Some(Decoded::Borrowed | Decoded::Malformed) | None => {
                String::from_utf8_lossy(self.bytes)
            }
        }
    }
}

/// What the server's dictionary says of a table.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// This.
    Described(&'a Description),
    /// It has no such table.
    Unknown,
    /// It was not asked: nobody wants the columns' names.
    NotNeeded,
}

/// How far the description of a table agrees with the log, and can be known to be that of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agreement {
    /// Everything that the log tells is so in the description too, and it is older than the rows by
    /// the server's own account.
    Yes,
    /// It agrees, but the table was created or rebuilt in the second in which the rows were committed
    /// or later, or nobody knows when: names, keys and labels may be those of after the rows.
    ButChangedSince,
    /// It agrees, but a label has a question mark, which is also what the dictionary shows in place of
    /// characters that it can't show.
    ButLossy,
    /// It does not agree, or there is none.
    No,
    /// Nobody was asked; columns are called `@1`, `@2`, and so on.
    Unasked,
}

/// A step that is due.
#[derive(Debug)]
pub(super) enum Emit {
    Begin,
    Rows(Shape),
    Schema(Query),
    Commit,
    Idle,
    Rotate,
    Passed(u8),
}

/// Whether events come with an event.
#[derive(Debug)]
pub(super) enum More {
    No,
    /// Those of a compressed transaction: a range of the body.
    Payload(Range<usize>),
    /// Those that were held for an XA transaction.
    Held,
}

/// The steps of one event. Lends each; pull until `None`.
#[derive(Debug)]
pub struct Steps<'d, 'e> {
    pub(super) decoder: &'d mut Decoder,
    /// The event that was fed, without its checksum.
    pub(super) event: &'e [u8],
    pub(super) more: More,
    /// What is wrong, once the steps that are due have come out.
    failed: Option<Fault>,
}

impl<'d, 'e> Steps<'d, 'e> {
    pub(super) fn new(decoder: &'d mut Decoder, event: &'e [u8], more: More) -> Self {
        Self { decoder, event, more, failed: None }
    }

    /// Of an event that can't be taken, but passed over.
    pub(super) fn failed(decoder: &'d mut Decoder, event: &'e [u8], fault: Fault) -> Self {
        decoder.begin_lost();
        Self { decoder, event, more: More::No, failed: Some(fault) }
    }

    /// The next step; `None` behind the last.
    ///
    /// Not an `Iterator`: each step borrows the decoder's space.
    #[allow(clippy::should_implement_trait, reason = "lends its items, and can fail")]
    pub fn next(&mut self) -> Result<Option<Step<'_>>, Error> {
        loop {
            if let Some(emit) = self.decoder.emits.pop_front() {
                return self.lend(emit).map(Some);
            }
            if let Some(fault) = self.failed.take() {
                return Err(self.decoder.error(fault));
            }
            match &self.more {
                More::No => {
                    self.decoder.busy = false;
                    return Ok(None);
                }
                More::Payload(range) => {
                    let body = self.event.get(Header::LENGTH..).unwrap_or_default();
                    let payload = body.get(range.clone()).unwrap_or_default();
                    match self.decoder.inflate_next(payload) {
                        // Its own payload has ended if rows come from the spool now.
                        Ok(Some(More::Held)) => self.more = More::Held,
                        Ok(Some(_)) => {}
                        Ok(None) => self.more = More::No,
                        Err(fault) => {
                            if !self.decoder.begin_lost() {
                                return Err(self.decoder.error(fault));
                            }
                            self.failed = Some(fault);
                        }
                    }
                }
                More::Held => match self.decoder.replay_next() {
                    Ok(true) => {}
                    Ok(false) => self.more = More::No,
                    Err(fault) => return Err(self.decoder.error(fault)),
                },
            }
        }
    }

    /// Answers [`Fault::SchemaNeeded`]. The next step is then that of the rows. A table that is not
    /// described, or not as the log has it, is an error as soon as a row of it is asked for.
    ///
    /// The answer is kept for as long as the table has the same table map; not beyond a statement or
    /// a file's end, behind which it is asked for again.
    pub fn describe(&mut self, answer: Answer<'_>) -> Result<Agreement, Error> {
        let decoder = &mut *self.decoder;
        let is_asked = matches!(decoder.emits.front(), Some(Emit::Rows(_)));
        if !is_asked || decoder.unnamed().is_none() {
            return Err(decoder.error(Fault::Misuse));
        }
        let (Some(mapped), Some(format)) = (&decoder.rows_of, &decoder.format) else {
            return Err(decoder.error(Fault::Misuse));
        };
        let settled = match decoder.tables.settle(mapped, answer, format) {
            Ok(settled) => settled,
            Err(fault) => return Err(decoder.error(fault)),
        };
        let written_at = decoder.current.transaction.committed_at_us.div_euclid(1_000_000);
        let agreement = if settled.mapped.unreadable.is_some() {
            Agreement::No
        } else {
            let is_older = |at: i64| at < written_at;
            match answer {
                Answer::NotNeeded | Answer::Unknown => Agreement::Unasked,
                Answer::Described(table) if !table.changed_at.is_some_and(is_older) => {
                    Agreement::ButChangedSince
                }
                Answer::Described(_) if settled.is_lossy => Agreement::ButLossy,
                Answer::Described(_) => Agreement::Yes,
            }
        };
        decoder.rows_of = Some(settled.mapped);
        Ok(agreement)
    }

    fn lend(&mut self, emit: Emit) -> Result<Step<'_>, Error> {
        let decoder = &mut *self.decoder;
        let event = if decoder.from_inner { decoder.inner.as_slice() } else { self.event };
        Ok(match emit {
            Emit::Begin => Step::Begin(&decoder.current.transaction),
            Emit::Rows(shape) => {
                if let Some(table) = decoder.unnamed() {
                    let Table { database, name, .. } = &**table;
                    let fault = Fault::SchemaNeeded {
                        database: Arc::clone(database),
                        table: Arc::clone(name),
                    };
                    decoder.emits.push_front(Emit::Rows(shape));
                    return Err(decoder.error(fault));
                }
                let Some(mapped) = decoder.rows_of.as_deref() else {
                    return Err(decoder.error(Fault::Misuse));
                };
                let around = Around {
                    mapped,
                    transaction: &decoder.current.transaction,
                    position: &decoder.rows_at,
                    buffer: &mut decoder.rows,
                    count: &mut decoder.current.rows,
                };
                Step::Rows(Rows::new(shape, event, around)?)
            }
            Emit::Schema(parts) => Step::Schema(statement(decoder, event, &parts)?),
            Emit::Commit => Step::Commit(Commit {
                transaction: &decoder.current.transaction,
                end: &decoder.place.end,
                resolves: &decoder.current.resolves,
                open_xa: decoder.held.oldest(),
                unseen_xa: decoder.current.unseen_xa,
            }),
            Emit::Idle => Step::Idle { position: decoder.position(), resume: decoder.resume() },
            Emit::Rotate => Step::Rotate { position: decoder.position(), resume: decoder.resume() },
            Emit::Passed(event_type) => {
                let is_prepare = event_type == kind::XA_PREPARE;
                let prepared = is_prepare.then_some(decoder.current.transaction.id);
                let (position, resume) = (decoder.position(), decoder.resume());
                Step::Passed { position, resume, event_type, prepared }
            }
        })
    }
}

fn statement<'a>(
    decoder: &'a Decoder,
    event: &'a [u8],
    parts: &Query,
) -> Result<Statement<'a>, Error> {
    let body = event.get(Header::LENGTH..).unwrap_or_default();
    let database = body.get(parts.database.clone()).unwrap_or_default();
    Ok(Statement {
        transaction: &decoder.current.transaction,
        position: &decoder.rows_at,
        database: std::str::from_utf8(database).map_err(|_| {
            let at = parts.database.start;
            decoder.error(Fault::NotText { what: "database's name", at })
        })?,
        bytes: body.get(parts.statement.clone()).unwrap_or_default(),
        collation: query::client_collation(body, parts).unwrap_or(0),
    })
}
