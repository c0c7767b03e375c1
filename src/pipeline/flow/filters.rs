//! Filters that change while the stream runs, at a place that is saved before they hold: whoever reads the
//! same part of the log again filters it in the same way, and each row gets the number that it had.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Flow;
use crate::change::Transaction;
use crate::control::FilterChange;
use crate::encode::Lane;
use crate::filter::{self, Since, Version, Versions};
use crate::pipeline::Error;

/// Most lanes whose numbers are kept with a change of the filters.
const LANES_MAX: usize = 256;

/// The filters of this part of the log, and those that follow.
#[derive(Debug, Default)]
pub(super) struct Filters {
    versions: Versions,
    /// What the settings say besides the patterns.
    settings: filter::Config,
    /// Up to here another process may have read, and sent rows that the checkpoint does not know of; `None`: it
    /// lies behind.
    sent_until: Option<Since>,
    /// Of the part of the log that lies ahead, the next first.
    ahead: VecDeque<(Since, filter::Config)>,
    /// Those that hold as soon as their place is saved.
    awaited: Option<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    /// Of their entry in the checkpoint.
    name: Arc<str>,
    version: Version,
    /// Who asked for them; `None`: they are those of the start.
    reply: Option<oneshot::Sender<Version>>,
}

impl Flow {
    /// Continues with the filters of a checkpoint; from here on those of the settings hold, if they are
    /// others. `end`: where the log ends now, before which rows may have been sent that the checkpoint does not
    /// know of.
    pub(crate) fn restore_filters(
        &mut self,
        versions: Versions,
        settings: &filter::Config,
        (at_us, end): (i64, Since),
    ) -> Result<(), Error> {
        let version = match versions.newest() {
            Some(newest) if newest.is_of(settings) => None,
            Some(newest) => Some(Version::new(newest.number + 1, settings, self.place(), at_us)),
            None => Some(Version::new(0, settings, Since::default(), 0)),
        };
        self.filter_as(versions, settings)?;
        self.filters.sent_until = Some(end);
        if let Some(version) = version {
            self.await_save(version, settings, None);
        }
        Ok(())
    }

    /// Filters each part of the log as it was filtered when these were in force, with everything else as in
    /// `settings`.
    pub(crate) fn filter_as(
        &mut self,
        versions: Versions,
        settings: &filter::Config,
    ) -> Result<(), Error> {
        self.filters.ahead = versions.configs(settings);
        self.filters.versions = versions;
        self.filters.settings.clone_from(settings);
        let reached = self.place();
        self.switch_while(|since| since.is_at_or_before(&reached))
    }

    /// From the next transaction on these filters hold, once that place is saved: nothing more is read until
    /// then.
    pub(super) fn change_filters(&mut self, change: FilterChange) {
        let FilterChange { config, at_us, reply } = change;
        self.flush_all();
        let number = self.filters.versions.newest().map_or(0, |newest| newest.number + 1);
        let version = Version::new(number, &config, self.place(), at_us);
        self.await_save(version, &config, Some(reply));
        self.filters.settings = config;
    }

    fn await_save(
        &mut self,
        mut version: Version,
        settings: &filter::Config,
        reply: Option<oneshot::Sender<Version>>,
    ) {
        let is_read = |until: &Since| until.is_at_or_before(&version.since);
        version.numbered_until = self.filters.sent_until.clone().filter(|until| !is_read(until));
        version.lanes = self.lanes_changed(settings);
        if let Some(forgotten) = self.filters.versions.push(version.clone()) {
            self.tracker.annotate(forgotten, "".into());
        }
        let (name, text) = version.entry();
        self.tracker.annotate(Arc::clone(&name), text);
        self.filters.awaited = Some(Awaited { name, version, reply });
    }

    /// Whether filters wait until their place is saved.
    pub(in crate::pipeline) fn awaits_filters(&self) -> bool {
        self.filters.awaited.is_some()
    }

    /// These entries are in the saved checkpoint now.
    pub(in crate::pipeline) fn saved(
        &mut self,
        texts: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Result<(), Error> {
        let is_saved = |awaited: &mut Awaited| texts.contains_key(&awaited.name);
        let Some(Awaited { version, reply, .. }) = self.filters.awaited.take_if(is_saved) else {
            return Ok(());
        };
        let filters = &mut self.filters;
        let (versions, settings) =
            (std::mem::take(&mut filters.versions), filters.settings.clone());
        self.filter_as(versions, &settings)?;
        if version.number > 0 {
            tracing::warn!(
                number = version.number,
                gtid_set = %version.since.gtids,
                gtid_position = %version.since.maria,
                position = %version.since.position,
                lanes = ?version.lanes,
                "the filters changed: they hold from the next transaction on"
            );
        }
        if let Some(reply) = reply {
            // Who asked may have stopped waiting.
            let _nobody = reply.send(version);
        }
        Ok(())
    }

    /// The filters of the part of the log that a transaction lies in.
    #[inline]
    pub(super) fn filter_as_of(&mut self, transaction: &Transaction) -> Result<(), Error> {
        if self.filters.ahead.is_empty() && self.filters.sent_until.is_none() {
            return Ok(());
        }
        let reached = (self.tracker.server(), &self.tracker.committed_place().position);
        let is_ahead = |since: &Since| since.is_after(transaction, reached);
        self.filters.sent_until.take_if(|until| !is_ahead(until));
        if self.filters.ahead.front().is_none_or(|(since, _)| is_ahead(since)) {
            return Ok(());
        }
        let (server, position) = (reached.0.to_owned(), reached.1.clone());
        self.switch_while(|since| !since.is_after(transaction, (&server, &position)))
    }

    fn switch_while(&mut self, holds: impl Fn(&Since) -> bool) -> Result<(), Error> {
        let mut numbers = self.filter.numbers_only().is_some();
        while let Some((_, config)) = self.filters.ahead.pop_front_if(|(since, _)| holds(since)) {
            self.filter.replace(config);
            numbers |= self.filter.numbers_only().is_some();
        }
        if numbers { self.hold_as_filtered() } else { Ok(()) }
    }

    /// Everything that went by lies before it.
    pub(in crate::pipeline) fn place(&self) -> Since {
        let place = self.tracker.committed_place();
        Since {
            server: self.tracker.server().to_owned(),
            gtids: self.tracker.committed_gtids(),
            maria: place.maria.clone(),
            position: place.position.clone(),
        }
    }

    /// The next row number of lanes of tables that these filters treat otherwise.
    fn lanes_changed(&mut self, config: &filter::Config) -> BTreeMap<Arc<str>, u64> {
        let filter = &self.filter;
        let lanes = self.packer.sequences().all().filter(|(key, _)| {
            let table = Lane::table_of(key);
            table.is_some_and(|(database, table, _)| filter.differs(config, &database, &table))
        });
        lanes.take(LANES_MAX).map(|(key, next)| (Arc::clone(key), next)).collect()
    }
}
