//! What a hub tells, moment by moment. A task asks, so that keys work while a hub keeps silent.

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::view::Sort;
use crate::{
    client::{
        admin::Admin,
        channels::{Facts, Query},
        stats::Stats,
    },
    limits::TOP_INTERVAL,
    terminal,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Wish {
    /// The order of the channels.
    pub(super) sort: Sort,
    /// Nothing is.
    pub(super) is_paused: bool,
}

/// What was told, or in words why not.
#[derive(Debug)]
pub(super) struct Moment {
    /// The figures.
    pub(super) stats: Result<Stats, String>,
    /// The first channels.
    pub(super) channels: Result<Vec<Facts>, String>,
}

/// Asks once.
pub(super) async fn look(admin: &Admin, sort: Sort, channels: u64) -> Moment {
    let stats = admin.get("/api/stats").await.map_err(|error| terminal::chain(&error));
    let query = Query { sort: Some(sort.as_str().to_owned()), ..Query::default() };
    let page = match &stats {
        Ok(_) => query.page(admin, channels, None).await,
        // One silence is enough.
        Err(failure) => return Moment { channels: Err(failure.clone()), stats },
    };
    let channels = page.map(|page| page.facts()).map_err(|error| terminal::chain(&error));
    Moment { stats, channels }
}

/// Asks each second, and at once when another wish is made; ends when nobody takes the answers.
pub(super) async fn follow(
    admin: Admin,
    channels: u64,
    mut wishes: watch::Receiver<Wish>,
    moments: mpsc::Sender<Moment>,
) {
    let mut ticks = interval(TOP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wishes.changed() => match changed {
                Ok(()) => ticks.reset(),
                Err(_) => return,
            }
        }
        let wish = *wishes.borrow_and_update();
        if wish.is_paused {
            continue;
        }
        if moments.send(look(&admin, wish.sort, channels).await).await.is_err() {
            return;
        }
    }
}
