//! Two servers, of which one is a replica of the other: how transactions get there, and what administrators
//! do with the two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::log::Group;
use crate::oracle::Oracle;
use crate::server::Server;
use crate::world::World;

/// Between two looks for what has changed.
const POLL: Duration = Duration::from_millis(100);
/// How long administrators wait for a server before they give up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server that takes the users' writes, or is to.
pub(crate) fn primary(servers: &[Arc<Server>]) -> &Arc<Server> {
    let primary = servers.iter().find(|server| server.state().follows.is_none());
    primary.expect("one of the servers is no replica")
}

/// What a replica does next.
enum Next {
    /// Nothing, for now.
    Wait,
    Apply(Arc<Group>),
    /// The source has purged what it needs: it has to be set up anew.
    SetUp,
}

/// How far a replica has read the log of its source: which log, by server and life, and what of it.
#[derive(Default, PartialEq, Eq)]
struct Place {
    log: (u32, u64, u64),
    ordinal: u64,
}

fn next(me: &Server, source: &Server, place: &mut Place) -> Next {
    let (life, logged) = {
        let state = me.state();
        if state.ailments.down || state.ailments.hung || state.follows != Some(source.id) {
            return Next::Wait;
        }
        (state.life, state.logged.clone())
    };
    let mut state = source.state();
    if state.ailments.down || state.ailments.hung {
        return Next::Wait;
    }
    if place.log != (source.id, state.life, life) {
        if !state.purged.is_subset_of(&logged) {
            return Next::SetUp;
        }
        *place = Place { log: (source.id, state.life, life), ordinal: 0 };
    }
    while let Some((file, group)) = state.durable_behind(place.ordinal) {
        // It is not purged before it was sent.
        state.readers.insert(me.id, file);
        place.ordinal = group.ordinal;
        if !logged.contains(&group.gtid) {
            return Next::Apply(group);
        }
        state.acknowledged = state.acknowledged.max(group.ordinal);
    }
    Next::Wait
}

/// Lets a server replicate whichever it follows, for as long as the run lasts. A transaction takes so many
/// milliseconds to get there, at most.
pub(crate) async fn replicate(
    me: Arc<Server>,
    servers: Vec<Arc<Server>>,
    oracle: Arc<Oracle>,
    (way_ms, mut dice): (u64, Dice),
) {
    let mut place = Place::default();
    loop {
        let followed = me.state().follows;
        let source = servers.iter().find(|server| Some(server.id) == followed);
        let Some(source) = source else {
            me.wait(POLL).await;
            continue;
        };
        match next(&me, source, &mut place) {
            Next::Wait => source.wait(POLL).await,
            Next::SetUp => set_up(&me, source, &oracle),
            Next::Apply(group) => {
                let most = if dice.one_in(300) { 2_000 } else { way_ms };
                sleep(Duration::from_millis(dice.between(1, most))).await;
                if me.state().follows != Some(source.id) {
                    continue;
                }
                {
                    let mut state = source.state();
                    state.acknowledged = state.acknowledged.max(group.ordinal);
                    // Only one that has caught up is waited for again.
                    state.has_given_up &= state.acknowledged < state.synced;
                }
                source.changed.notify_waiters();
                if me.apply_from_source(&group).await.is_err() {
                    // It ended in the middle, and finds its place again by what it has.
                    place = Place::default();
                }
            }
        }
    }
}

/// Makes a server a copy of another.
fn set_up(me: &Server, of: &Server, oracle: &Oracle) {
    oracle.count("servers set up anew");
    oracle.tell(|| format!("{} is set up anew, as a copy of {}", me.name, of.name));
    // What is not committed yet comes by replication.
    let under_way: Vec<_> = {
        let state = of.state();
        let groups = state.log.files.iter().flat_map(|file| &file.groups);
        groups.filter(|group| group.ordinal > state.committed).cloned().collect()
    };
    oracle.copied(me.id, of.id, &under_way);
    me.copy(of);
}

/// A server comes up. A replica that has what its source lacks is set up anew.
pub(crate) fn come_up(server: &Arc<Server>, servers: &[Arc<Server>], oracle: &Oracle) {
    let followed = server.state().follows;
    let source = servers.iter().find(|other| Some(other.id) == followed);
    match source {
        Some(source) if !lacking(server, source).is_empty() => set_up(server, source, oracle),
        _ => server.start(),
    }
}

/// Transactions in the log of a server that another lacks.
fn lacking(of: &Server, other: &Server) -> Vec<Arc<Group>> {
    let there = other.state().logged.clone();
    let state = of.state();
    let groups = state.log.files.iter().flat_map(|file| &file.groups);
    groups.filter(|group| !there.contains(&group.gtid)).cloned().collect()
}

/// Waits until this holds, and no longer than patience lasts.
async fn until(server: &Server, mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        server.wait(POLL).await;
    }
    true
}

/// The replica becomes the primary, at once.
fn promote(old: &Server, new: &Server, oracle: &Oracle) {
    let is_semisync = {
        let mut state = old.state();
        state.follows = Some(new.id);
        state.ailments.read_only = false;
        std::mem::take(&mut state.is_semisync)
    };
    {
        let mut state = new.state();
        state.follows = None;
        (state.is_semisync, state.acknowledged, state.has_given_up) = (is_semisync, 0, false);
        state.readers.remove(&old.id);
    }
    old.state().readers.remove(&new.id);
    oracle.tell(|| format!("{} is the primary", new.name));
    old.changed.notify_waiters();
    new.changed.notify_waiters();
}

/// A planned change: the primary takes no more writes, and its replica has all before it becomes the primary.
async fn switch_over(servers: Vec<Arc<Server>>, oracle: Arc<Oracle>) {
    let old = Arc::clone(primary(&servers));
    let Some(new) = servers.iter().find(|server| server.id != old.id) else { return };
    old.ail(|it| it.read_only = true);
    let has_all = || {
        let (logged, is_at_rest) = {
            let state = old.state();
            (state.logged.clone(), state.is_at_rest() && state.is_read_only())
        };
        let state = new.state();
        is_at_rest && logged.is_subset_of(&state.executed) && state.is_at_rest()
    };
    let is_ready = until(&old, has_all).await;
    let are_up = [&old, new].iter().all(|server| !server.state().ailments.down);
    let are_theirs = old.state().follows.is_none() && new.state().follows == Some(old.id);
    if is_ready && are_up && are_theirs {
        oracle.count("planned failovers");
        promote(&old, new, &oracle);
    } else {
        oracle.tell(|| "the replica does not get there: the primary stays".to_owned());
        old.ail(|it| it.read_only = false);
    }
}

/// The primary ends, its replica takes its place, and it comes back as a replica.
async fn fail_over(
    servers: Vec<Arc<Server>>,
    oracle: Arc<Oracle>,
    is_lossless: bool,
    mut dice: Dice,
) {
    let old = Arc::clone(primary(&servers));
    let Some(new) = servers.iter().find(|server| server.id != old.id).cloned() else { return };
    let has_what_was_sent = || {
        let sent = old.state().sent.clone();
        sent.is_subset_of(&new.state().logged)
    };
    if is_lossless && !until(&new, has_what_was_sent).await {
        return;
    }
    if !is_lossless && dice.one_in(2) {
        // At the worst moment.
        until(&old, || !lacking(&old, &new).is_empty()).await;
    }
    if old.state().ailments.down || old.state().follows.is_some() {
        return;
    }
    oracle.tell(|| format!("{} ends, and is to be replaced", old.name));
    old.crash();
    sleep(Duration::from_millis(dice.between(100, 8_000))).await;
    // What it has received it applies.
    let is_ready = until(&new, || new.state().is_at_rest()).await;
    let is_still_down = old.state().ailments.down && old.state().follows.is_none();
    if is_ready
        && is_still_down
        && !new.state().ailments.down
        && new.state().follows == Some(old.id)
    {
        oracle.count("failovers");
        oracle.failed_over(&lacking(&old, &new), &old, &new);
        promote(&old, &new, &oracle);
    }
    sleep(Duration::from_millis(dice.between(100, 20_000))).await;
    if old.state().ailments.down {
        come_up(&old, &servers, &oracle);
    }
}

impl World {
    /// The two servers change their places, in one way or the other.
    pub(crate) fn change_places(&mut self) {
        let (servers, oracle) = (self.servers.clone(), Arc::clone(&self.oracle));
        if self.setting.operated || self.dice.one_in(2) {
            self.oracle.tell(|| "a planned failover begins".to_owned());
            tokio::spawn(switch_over(servers, oracle));
        } else {
            // A checkpoint in the source goes back with it: who begins from it can't know what was sent since.
            let is_lossless = self.setting.table_store;
            tokio::spawn(fail_over(servers, oracle, is_lossless, self.dice.fork()));
        }
    }
}

/// Statuses name servers by their addresses.
pub(crate) fn by_address(servers: &[Arc<Server>]) -> BTreeMap<String, u32> {
    servers.iter().map(|server| (format!("{}:3306", server.name), server.id)).collect()
}
