//! What comes out: steps, and the cursor that yields them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::query::{self, Query, Session};
use super::rows::{RowsContext, Shape};
use super::{Decoder, Error, Fault, Rows};
use crate::binlog::{Header, kind};
use crate::change::{Description, Position, Table, Transaction, TransactionId};
use crate::sql::{self, Unread, Written};

/// One thing that an event says.
///
/// A transaction is `Begin`, any number of `Rows`, `Schema` and `Changed`, `Commit`; the other steps may stand
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
    /// Rows were changed by a statement, which is all that the log has of them.
    Changed(Statement<'a>),
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
        #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "tests tell them apart"))]
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
    /// It is the XA COMMIT of this transaction, whose rows are not at hand (`Unseen::Pass`).
    pub unseen_xa: Option<&'a str>,
}

/// A statement that is replicated as text.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// The transaction that it is in.
    pub transaction: &'a Transaction,
    /// Where its event starts.
    pub position: &'a Position,
    /// Database that was selected; may be empty.
    pub database: &'a str,
    /// The statement, in its client's character set.
    pub bytes: &'a [u8],
    /// The event itself, header included, checksum not.
    pub event: &'a [u8],
    /// Its first words, where it changes rows.
    words: &'static str,
    session: Session,
    event_type: u8,
}

impl<'a> Statement<'a> {
    /// The statement as text. Bytes that are not valid in its client's character set are replaced.
    pub fn text(&self) -> Cow<'a, str> {
        self.valid_text().unwrap_or_else(|| String::from_utf8_lossy(self.bytes))
    }

    /// The statement as text; `None` if it is not valid in its client's character set.
    fn valid_text(&self) -> Option<Cow<'a, str>> {
        self.session.text(self.bytes)
    }

    /// The tables whose rows it changes by itself, as far as its text tells.
    pub fn written(&self) -> Result<Written, Unread> {
        let text = self.valid_text();
        let text = text.ok_or(Unread::Text("characters that its character set does not have"))?;
        sql::written(&text, self.session.mode())
    }

    /// Databases of all tables that were changed, also by triggers and functions; `None` if the log
    /// does not tell.
    pub fn changed_databases(&self) -> Option<&[String]> {
        self.session.changed.as_deref()
    }

    /// The error that the rows it changed are not in the log; `about` says of which tables they are, or
    /// why that is not known.
    #[cold]
    pub fn refused(&self, about: String) -> Error {
        let fault = Fault::StatementBased {
            statement: self.words,
            database: self.database.to_owned(),
            about,
        };
        Error { position: self.position.clone(), event_type: self.event_type, fault }
    }
}

/// What the server's dictionary says of a table.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// This.
    Described(&'a Description),
    /// This, and the names decide what may leave: it is refused unless it is known to be that of the
    /// rows.
    MustBeOlder(&'a Description),
    /// It has no such table.
    Unknown,
    /// It was not asked: nobody wants the columns' names.
    NotNeeded,
    /// Nor was it, but somebody knows which integers are unsigned: those at these ordinals (from 0),
    /// where the log does not tell.
    Unsigned(&'a [usize]),
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
    /// With its first words.
    Changed(Query, &'static str),
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
        let written_at = decoder.current.transaction.committed_at_us.div_euclid(1_000_000);
        let is_older =
            |table: &Description| table.changed_at.is_some_and(|changed| changed < written_at);
        let is_refused = matches!(answer, Answer::MustBeOlder(table) if !is_older(table));
        let settled = match decoder.tables.settle(mapped, answer, is_refused, format) {
            Ok(settled) => settled,
            Err(fault) => return Err(decoder.error(fault)),
        };
        let agreement = match answer {
            _ if settled.mapped.unreadable.is_some() => Agreement::No,
            Answer::NotNeeded | Answer::Unknown | Answer::Unsigned(_) => Agreement::Unasked,
            Answer::Described(table) | Answer::MustBeOlder(table) if !is_older(table) => {
                Agreement::ButChangedSince
            }
            Answer::Described(_) | Answer::MustBeOlder(_) if settled.is_lossy => {
                Agreement::ButLossy
            }
            Answer::Described(_) | Answer::MustBeOlder(_) => Agreement::Yes,
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
                let context = RowsContext {
                    mapped,
                    transaction: &decoder.current.transaction,
                    position: &decoder.rows_at,
                    buffer: &mut decoder.rows,
                    count: &mut decoder.current.rows,
                };
                Step::Rows(Rows::new(shape, event, context)?)
            }
            Emit::Schema(parts) => Step::Schema(statement(decoder, event, &parts, "")?),
            Emit::Changed(parts, words) => Step::Changed(statement(decoder, event, &parts, words)?),
            Emit::Commit => Step::Commit(Commit {
                transaction: &decoder.current.transaction,
                end: &decoder.place.end,
                resolves: &decoder.current.resolves,
                open_xa: decoder.held.oldest(),
                unseen_xa: decoder.current.unseen_xa.as_deref(),
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
    words: &'static str,
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
        event,
        words,
        session: query::session(body, parts),
        event_type: event.get(4).copied().unwrap_or(kind::UNKNOWN),
    })
}
