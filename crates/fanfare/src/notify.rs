//! What a service manager is told, by the protocol of sd_notify(3): ready, reloading, stopping,
//! how the hub is, and that it is alive.
//!
//! Policy: nobody waits for the manager, and a hub without one is as good. The watchdog is fed
//! only while every worker answers, so that a stuck one gets the process restarted.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    process,
    time::Duration,
};

use fanfare_server::{Handle, Phase, Status};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{NOTIFY_STATUS_INTERVAL, STOP_TIME_EXTRA};

/// The way to the service manager, if there is one.
pub(crate) struct Notify {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the process is alive, if it does.
    watchdog: Option<Duration>,
}

impl Notify {
    /// Finds it in the environment. One that cannot be reached is told of and done without.
    pub(crate) fn new(variables: &[(OsString, OsString)]) -> Self {
        let variable = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let socket = variable("NOTIFY_SOCKET").and_then(|path| {
            let failed = |error: &io::Error| {
                tracing::warn!(%error, "the service manager cannot be told: NOTIFY_SOCKET");
            };
            connect(path).inspect_err(failed).ok()
        });
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let period = number("WATCHDOG_USEC").filter(|period_us| is_ours && *period_us > 0);
        let watchdog = socket.as_ref().and(period).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Both listeners are open, or the settings were read again.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// The settings are being read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// The hub drains and then ends, which takes so long; so the manager should wait.
    pub(crate) fn stopping(&self, takes: Duration) {
        let takes_us = (takes + STOP_TIME_EXTRA).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={takes_us}"));
    }

    /// Tells how the hub is, and that it is alive, for ever.
    pub(crate) async fn run(&self, hub: Handle) {
        if self.socket.is_some() {
            let alive = self.feed_watchdog(|within| {
                let hub = hub.clone();
                async move { hub.answers_within(within).await }
            });
            tokio::join!(alive, self.tell_status(&hub));
        }
    }

    /// Feeds the watchdog while all answer in time: twice in its period.
    async fn feed_watchdog<F: Future<Output = bool>>(&self, answer_within: impl Fn(Duration) -> F) {
        let Some(period) = self.watchdog else { return };
        let mut ticks = interval(period / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if answer_within(period / 4).await {
                self.send("WATCHDOG=1");
            } else {
                tracing::error!("a worker does not answer, so the watchdog is not fed");
            }
        }
    }

    async fn tell_status(&self, hub: &Handle) {
        let mut ticks = interval(NOTIFY_STATUS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            ticks.tick().await;
            let words = words(&hub.status());
            if words != told {
                self.send(&format!("STATUS={words}"));
                told = words;
            }
        }
    }

    fn send(&self, lines: &str) {
        // A manager that is slow or gone changes nothing for the hub.
        drop(self.socket.as_ref().map(|socket| socket.send(lines.as_bytes())));
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.as_bytes() {
        [b'@', name @ ..] => connect_abstract(&socket, name)?,
        _ => socket.connect(path)?,
    }
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How the hub is, in words.
fn words(status: &Status) -> String {
    let Status { subscribers, phase, departed, left_ms } = *status;
    let left_s = left_ms.div_ceil(1_000);
    match phase {
        Phase::None => format!("{subscribers} subscribers"),
        Phase::Delay => format!("draining soon, {subscribers} subscribers, {left_s} s left"),
        Phase::Publishes | Phase::Subscribers => {
            format!("draining, {departed} gone, {subscribers} left, {left_s} s left")
        }
        Phase::Done => format!("drained, {departed} gone, {subscribers} left"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn pair(watchdog: Option<Duration>) -> (Notify, UnixDatagram) {
        let (socket, manager) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        (Notify { socket: Some(socket), watchdog }, manager)
    }

    /// How many messages there are, each of them this one.
    fn count(manager: &UnixDatagram, expected: &str) -> usize {
        let mut bytes = [0; 100];
        let next = || manager.recv(&mut bytes).ok().map(|read| bytes[..read].to_vec());
        let all: Vec<_> = std::iter::from_fn(next).collect();
        assert!(all.iter().all(|message| message == expected.as_bytes()), "{all:?}");
        all.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_starves_the_watchdog() {
        let (notify, manager) = pair(Some(Duration::from_secs(20)));
        let stuck = AtomicBool::new(false);
        let feed = notify.feed_watchdog(|_| async { !stuck.load(Ordering::Relaxed) });
        let test = async {
            tokio::time::advance(Duration::from_secs(1)).await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
                assert_eq!(count(&manager, "WATCHDOG=1"), 1);
                tokio::time::advance(Duration::from_secs(10)).await;
            }
            tokio::task::yield_now().await;
            count(&manager, "WATCHDOG=1");
            stuck.store(true, Ordering::Relaxed);
            for _ in 0..4 {
                tokio::time::advance(Duration::from_secs(10)).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(count(&manager, ""), 0);
        };
        tokio::select! {
            () = feed => panic!("it has no end"),
            () = test => {}
        }
    }

    #[test]
    fn the_status_is_a_line_for_people() {
        let status = |phase| Status { subscribers: 7, phase, departed: 3, left_ms: 1_500 };
        assert_eq!(words(&status(Phase::None)), "7 subscribers");
        assert_eq!(words(&status(Phase::Subscribers)), "draining, 3 gone, 7 left, 2 s left");
    }
}
