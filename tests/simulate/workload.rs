//! The users' work: transactions of a few rows, at times of many, with pauses, and long silences.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::log::Change;
use crate::server::Server;
use crate::value::{Row, Value};

/// Rows of a table, at most.
const ROWS: u64 = 12;

/// Work that is under way.
pub(crate) struct Work {
    stop: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Work {
    /// Pauses last so many times as long as usual.
    pub(crate) fn start(servers: &[Arc<Server>], pauses: u32, dice: Dice) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(work(servers.to_vec(), pauses, dice, stopped));
        Self { stop: Some(stop).into(), task: Some(task).into() }
    }

    /// Ends it, behind the transaction that is under way.
    pub(crate) async fn stop(&self) {
        let stop = self.stop.lock().expect("no panic").take();
        drop(stop);
        let task = self.task.lock().expect("no panic").take();
        if let Some(task) = task {
            drop(task.await);
        }
    }
}

async fn work(
    servers: Vec<Arc<Server>>,
    pauses: u32,
    mut dice: Dice,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut stamp = 0;
    loop {
        let pause = match dice.below(20) {
            0 => dice.between(10_000, 30_000),
            1..=9 => dice.between(200, 1_500),
            _ => dice.below(50),
        };
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            () = sleep(Duration::from_millis(pause) * pauses) => {}
        }
        let primary = servers.iter().find(|server| server.state().takes_writes());
        let Some(server) = primary else { continue };
        // The server ends what it has begun, also when nobody waits for it any more.
        let changes = changes(server, &mut dice, &mut stamp);
        let committing = tokio::spawn(server.commit(changes, None));
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            _ = committing => {}
        }
    }
}

fn changes(server: &Server, dice: &mut Dice, stamp: &mut u64) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let state = server.state();
    // At times a mass update, that exceeds whatever rate an operator allows.
    let most = if dice.one_in(15) { 400 } else { 4 };
    for _ in 0..=dice.below(most) {
        let name: &&str = dice.pick(&["orders", "items"]);
        let table = server.table("shop", name).expect("a table");
        let id = Value::Int(i128::from(dice.below(ROWS)));
        let key = (table.id, vec![id.clone()]);
        let of_key = |change: &&Change| {
            let row = change.after.as_ref().or(change.before.as_ref()).expect("a row");
            change.table.id == table.id && row[0] == id
        };
        let before: Option<Row> = match changes.iter().rev().find(of_key) {
            Some(change) => change.after.clone(),
            None => state.rows.get(&key).cloned(),
        };
        *stamp += 1;
        let note = "n".repeat(usize::try_from(dice.below(80)).expect("small"));
        let row = vec![id.clone(), Value::Int(i128::from(*stamp)), Value::text(&note)];
        let after = if before.is_some() && dice.one_in(3) { None } else { Some(row) };
        changes.push(Change { table, before, after });
    }
    changes
}
