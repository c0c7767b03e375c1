//! The transaction state machine: what each event means where it stands.

use super::bytes::Bytes;
use super::event::Event;
use super::format_description::Format;
use super::gtid::Announcement;
use super::heartbeat::Offset;
use super::query::{Meaning, Query};
use super::rows::Front;
use super::steps::{Emit, More};
use super::transaction::Phase;
use super::xa::Xid;
use super::{Decoder, Fault, gtid, heartbeat, payload, query};
use crate::binlog::kind;
use crate::sql;

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// It was fed.
    Fed,
    /// A compressed transaction.
    Payload,
    /// The rows that were held for an XA transaction.
    Held,
}

impl Decoder {
    /// Takes one event into account: queues the steps that it makes. Tells whether further events
    /// come with it.
    pub(super) fn observe(&mut self, event: &Event<'_>, from: From) -> Result<More, Fault> {
        let event_type = event.header.event_type;
        match event_type {
            kind::TABLE_MAP => self.table_map(event)?,
            kind::WRITE_ROWS
            | kind::UPDATE_ROWS
            | kind::DELETE_ROWS
            | kind::WRITE_ROWS_V1
            | kind::UPDATE_ROWS_V1
            | kind::DELETE_ROWS_V1
            | kind::PARTIAL_UPDATE_ROWS => self.rows_event(event)?,
            kind::QUERY => return self.query(event),
            kind::XID => return self.commit_event(),
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED | kind::MARIA_GTID => {
                self.announce(event)?;
            }
            kind::XA_PREPARE => {
                let (one_phase, xid) = Xid::parse_event(event.body())?;
                return self.xa_prepare(&xid, one_phase, event_type);
            }
            kind::TRANSACTION_PAYLOAD => {
                if from != From::Fed {
                    return Err(Fault::Order {
                        found: "a compressed payload inside another",
                        expected: "it on its own",
                    });
                }
                let payload = payload::parse(event.body())?;
                self.inflater.start(&payload)?;
                return Ok(More::Payload(payload.range));
            }
            kind::INCIDENT => {
                let code = Bytes::new(event.body()).u16("incident's number")?;
                return Err(Fault::Incident { code });
            }
            // A dump sends it along with events that it decrypted.
            kind::START_ENCRYPTION if event.header.is_artificial() => {
                self.emits.push_back(Emit::Passed(event_type));
            }
            kind::START_ENCRYPTION => {
                let scheme = Bytes::new(event.body()).u8("encryption scheme")?;
                return Err(Fault::Encrypted { scheme });
            }
            kind::LOAD | kind::CREATE_FILE | kind::EXEC_LOAD | kind::NEW_LOAD => {
                return Err(Fault::LoadData);
            }
            kind::EXECUTE_LOAD_QUERY => {
                let parts = query::parse_load(event.body(), self.format()?)?;
                self.changed(event, parts, "LOAD DATA")?;
            }
            kind::STOP | kind::PREVIOUS_GTIDS | kind::GTID_LIST => {
                self.outside()?;
                self.emits.push_back(Emit::Passed(event_type));
            }
            // Beside rows, or in front of a statement that says itself what it is.
            // Beside them, the data of a LOAD DATA, of which its EXECUTE_LOAD_QUERY tells the table.
            kind::BEGIN_LOAD_QUERY
            | kind::APPEND_BLOCK
            | kind::DELETE_FILE
            | kind::INTVAR
            | kind::RAND
            | kind::USER_VAR
            | kind::ROWS_QUERY
            | kind::ANNOTATE_ROWS
            | kind::IGNORABLE
            | kind::TRANSACTION_CONTEXT
            | kind::VIEW_CHANGE
            | kind::BINLOG_CHECKPOINT => self.emits.push_back(Emit::Passed(event_type)),
            _ if event.header.is_ignorable() => self.emits.push_back(Emit::Passed(event_type)),
            other => return Err(Fault::UnknownEvent(other)),
        }
        Ok(More::No)
    }

    fn commit_event(&mut self) -> Result<More, Fault> {
        if self.current.phase == Phase::Open {
            return Ok(self.end());
        }
        Err(Fault::Order {
            found: "a commit without a transaction",
            expected: "a transaction's start before it",
        })
    }

    /// An error inside a transaction.
    pub(super) fn outside(&self) -> Result<(), Fault> {
        if self.in_transaction() {
            return Err(Fault::Order {
                found: "it inside a transaction",
                expected: "the transaction's end before it",
            });
        }
        Ok(())
    }

    pub(super) fn rotate(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        self.outside()?;
        let mut bytes = Bytes::new(event.body());
        let offset = bytes.u64("position in the next file")?;
        let file = bytes.text(bytes.left(), "next file's name")?;
        if file.is_empty() {
            return Err(Fault::Unexpected {
                what: "length of the next file's name",
                found: 0,
                expected: "a name",
            });
        }
        let moved = self.place.move_to(file, offset);
        self.emits.push_back(if moved { Emit::Rotate } else { Emit::Passed(kind::ROTATE) });
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        let heartbeat = heartbeat::parse(event)?;
        if !self.in_transaction() {
            let same_file = heartbeat.file.is_empty() || heartbeat.file == &*self.place.end.file;
            let offset = match heartbeat.offset {
                Offset::Whole(offset) => offset,
                Offset::Lower(lower) if same_file => self.place.heartbeat(lower),
                Offset::Lower(lower) => u64::from(lower),
            };
            if !same_file {
                self.place.move_to(heartbeat.file, offset);
            } else if offset > self.place.end.offset {
                self.place.end.offset = offset;
            }
        }
        self.emits.push_back(Emit::Idle);
        Ok(())
    }

    fn announce(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        self.outside()?;
        let announcement: Announcement = gtid::parse(event)?;
        self.current.start(&event.header, &self.place.start, Some(&announcement));
        if let Some(xid) = announcement.starts_xa {
            self.xa_start(xid)?;
        } else if announcement.opens {
            self.open();
        }
        Ok(())
    }

    /// Makes sure that a transaction is announced: without GTID events, its first event does that.
    pub(super) fn announced(&mut self, event: &Event<'_>) {
        if self.current.phase == Phase::Outside {
            self.current.start(&event.header, &self.place.start, None);
        }
    }

    fn table_map(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        match self.current.phase {
            Phase::Open if self.buffered.is_some() => self.buffer(event),
            Phase::Open => {
                let format = self.format.as_ref().ok_or(Fault::NoFormat)?;
                self.tables.map(event.body(), format)
            }
            Phase::Holding => self.hold(event),
            Phase::Outside | Phase::Announced => Err(ROWS_OUTSIDE),
        }
    }

    fn rows_event(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        match self.current.phase {
            Phase::Open if self.buffered.is_some() => return self.buffer(event),
            Phase::Open => {}
            Phase::Holding => return self.hold(event),
            Phase::Outside | Phase::Announced => return Err(ROWS_OUTSIDE),
        }
        let front = Front::parse(event, self.format()?)?;
        match self.tables.find(front.table_id) {
            Some(mapped) => {
                self.rows_of = Some(mapped.clone());
                self.current.rows_events += 1;
                self.emits.push_back(Emit::Rows(front.shape));
            }
            None if front.is_dummy() => {
                self.emits.push_back(Emit::Passed(event.header.event_type));
            }
            None => return Err(Fault::NotMapped { table_id: front.table_id }),
        }
        if front.ends_statement {
            self.tables.end_statement();
        }
        Ok(())
    }

    fn hold(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        self.held.hold(event.bytes, &self.place.start, &mut self.limits)
    }

    fn query(&mut self, event: &Event<'_>) -> Result<More, Fault> {
        let body = event.body();
        let parts = query::parse(body, self.format()?)?;
        let statement = body.get(parts.statement.clone()).unwrap_or_default();
        let phase = self.current.phase;
        match (query::meaning(statement, || query::session(body, &parts))?, phase) {
            (Meaning::Begin, Phase::Outside | Phase::Announced) => {
                self.announced(event);
                self.open();
            }
            (Meaning::Savepoint(name), _) => {
                self.set_savepoint(name, self.format()?.identifiers);
                self.emits.push_back(Emit::Passed(kind::QUERY));
            }
            (Meaning::XaEnd(_) | Meaning::Release, _)
            | (Meaning::Commit | Meaning::Rollback, Phase::Outside) => {
                self.emits.push_back(Emit::Passed(kind::QUERY));
            }
            (Meaning::Commit | Meaning::Rollback, Phase::Announced) => {
                self.begin();
                self.commit();
            }
            (Meaning::Commit, Phase::Open) => return Ok(self.end()),
            (Meaning::Rollback, Phase::Open) => self.undo()?,
            (Meaning::RollbackTo(name), _) => {
                self.roll_back_to(name, self.format()?.identifiers)?;
                self.emits.push_back(Emit::Passed(kind::QUERY));
            }
            (Meaning::Commit | Meaning::Rollback, Phase::Holding) => {
                return Err(Fault::Order {
                    found: "the end of a plain transaction in an XA transaction",
                    expected: "XA PREPARE or XA COMMIT ONE PHASE",
                });
            }
            (Meaning::XaStart(xid), Phase::Outside | Phase::Announced) => {
                self.announced(event);
                self.xa_start(xid)?;
                self.emits.push_back(Emit::Passed(kind::QUERY));
            }
            (Meaning::Begin | Meaning::XaStart(_), _) => self.outside()?,
            (Meaning::XaPrepare(xid), _) => return self.xa_prepare(&xid, false, kind::QUERY),
            (Meaning::XaCommit(xid), _) => return self.xa_decide(event, &xid, true),
            (Meaning::XaRollback(xid), _) => return self.xa_decide(event, &xid, false),
            (Meaning::Change(words), _) => self.changed(event, parts, words)?,
            (Meaning::Schema, _) => self.schema(event, &parts)?,
        }
        Ok(More::No)
    }

    /// DDL commits itself, unless it stands in a transaction: CREATE TABLE ... SELECT as one
    /// transaction (MySQL 8.0.21 and newer), temporary tables.
    fn schema(&mut self, event: &Event<'_>, parts: &Query) -> Result<(), Fault> {
        let statement = event.body().get(parts.statement.clone()).unwrap_or_default();
        if statement.trim_ascii_end().ends_with(b"START TRANSACTION") {
            // Such a transaction is logged once it has committed, however long it is.
            self.stop_buffering();
        }
        match self.current.phase {
            Phase::Holding => self.hold(event),
            Phase::Open if self.buffered.is_some() => self.buffer(event),
            Phase::Open => {
                self.may_be_altered();
                self.tell_statement(event.body(), parts);
                Ok(())
            }
            Phase::Outside | Phase::Announced => {
                self.may_be_altered();
                self.announced(event);
                self.begin();
                self.tell_statement(event.body(), parts);
                self.commit();
                Ok(())
            }
        }
    }

    /// A statement that changed rows. Whether that matters is for those to say who know which tables
    /// are wanted.
    fn changed(
        &mut self,
        event: &Event<'_>,
        parts: Query,
        words: &'static str,
    ) -> Result<(), Fault> {
        match self.current.phase {
            Phase::Holding => self.hold(event),
            Phase::Open if self.buffered.is_some() => self.buffer(event),
            Phase::Open => {
                self.may_be_altered();
                self.emits.push_back(Emit::Changed(parts, words));
                Ok(())
            }
            Phase::Outside | Phase::Announced => {
                self.may_be_altered();
                self.announced(event);
                self.begin();
                self.emits.push_back(Emit::Changed(parts, words));
                self.commit();
                Ok(())
            }
        }
    }

    fn tell_statement(&mut self, body: &[u8], parts: &Query) {
        let is_secret = || {
            let statement = body.get(parts.statement.clone()).unwrap_or_default();
            let session = query::session(body, parts);
            sql::may_carry_passwords(&session.words(statement), session.mode())
        };
        if !self.current.statement_is_void && !is_secret() {
            self.emits.push_back(Emit::Schema(parts.clone()));
        }
    }

    /// A statement may have altered any table: which one it names is not ours to parse.
    fn may_be_altered(&mut self) {
        if self.config.asks_for_schemas {
            self.tables.forget();
        }
    }

    fn format(&self) -> Result<&Format, Fault> {
        self.format.as_ref().ok_or(Fault::NoFormat)
    }
}

const ROWS_OUTSIDE: Fault = Fault::Order {
    found: "rows outside a transaction",
    expected: "a transaction's start before them (reading must start at one)",
};
