//! The signals of a hub: the first SIGINT or SIGTERM drains, the second one ends the process, and
//! SIGHUP reads the settings again.

use std::{
    io, process,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{log::Log, notify::Notify, reload::Reload};

/// The signals that a hub obeys.
pub(crate) struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Does what they say; cancels `drain` at the first that says to stop.
    pub(crate) async fn obey(
        self,
        drain: CancellationToken,
        reload: Reload,
        log: Log,
        notify: Arc<Notify>,
    ) {
        let Self { hang_up, interrupt, terminate } = self;
        let hub = reload.hub.clone();
        // Beside the others: a file may be on a disk that hangs.
        tokio::spawn(reload_on(hang_up, reload, Arc::clone(&notify)));
        let mut stops = (interrupt, terminate);
        next(&mut stops).await;
        tracing::info!("draining; a second signal exits now");
        notify.stopping(hub.drain_takes());
        drain.cancel();
        let signal = next(&mut stops).await;
        tracing::warn!("a second signal: exiting now");
        log.flush();
        // As if it had not been caught.
        process::exit(SIGNAL_EXIT_CODE + signal.as_raw_value());
    }
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) -> SignalKind {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    }
}

async fn reload_on(mut hang_up: Signal, reload: Reload, notify: Arc<Notify>) {
    let reload = Arc::new(Mutex::new(reload));
    // Signals that come meanwhile are one.
    while hang_up.recv().await.is_some() {
        let reload = Arc::clone(&reload);
        let run = move || reload.lock().unwrap_or_else(PoisonError::into_inner).run();
        notify.reloading();
        // A panic is in the log, and the next reload may do better.
        drop(tokio::task::spawn_blocking(run).await);
        notify.ready();
    }
}

/// What a shell adds to the number of the signal that ended a process.
const SIGNAL_EXIT_CODE: i32 = 128;
