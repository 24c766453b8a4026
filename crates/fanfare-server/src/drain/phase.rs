//! What is asked of the drain, and how far it is.
//!
//! Operators and signals ask, one task drains. An operator's drain can be taken back, and then
//! asked for anew; that of a signal cannot, because the process ends with it.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use crate::{config::Config, switch::Switch};

/// How far a drain is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There is none.
    None,
    /// Load balancers have time to look elsewhere; everybody is served as ever.
    Delay,
    /// Publishes in flight finish; new ones, and subscribes, are refused from here on.
    Publishes,
    /// Subscribers are sent away.
    Subscribers,
    /// All are gone, or their time is over.
    Done,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Delay, Self::Publishes, Self::Subscribers, Self::Done];

    /// The phase as the admin API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Delay => "delay",
            Self::Publishes => "publishes",
            Self::Subscribers => "subscribers",
            Self::Done => "done",
        }
    }
}

/// What is asked of the task that drains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Nothing,
    /// Operators want the hub empty.
    Drain,
    /// They want it back.
    TakeBack,
    /// The process is to end.
    Stop,
}

/// The drain: what is asked of it, and how far it is.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Its lock orders the transitions.
    asked: watch::Sender<Asked>,
    /// Index into [`Phase::ALL`].
    phase: AtomicU8,
    /// Times count from here, in milliseconds.
    started: Instant,
    /// When its delay is over.
    delay_ends_ms: AtomicU64,
    /// When it is over.
    ends_ms: AtomicU64,
    /// On when open streaming publishes are to end.
    pub(crate) publishes_end: Switch,
}

/// The process is about to end, so its drain cannot be taken back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stopping;

impl Drain {
    /// None yet.
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            asked: watch::Sender::new(Asked::Nothing),
            phase: AtomicU8::new(Phase::None as u8),
            started,
            delay_ends_ms: AtomicU64::new(0),
            ends_ms: AtomicU64::new(0),
            publishes_end: Switch::default(),
        }
    }

    /// Begins a drain, unless one is under way. Returns whether this one is new.
    pub(crate) async fn begin(&self, config: &Config) -> bool {
        loop {
            let begun = self.asked.send_if_modified(|asked| {
                let is_new = *asked == Asked::Nothing;
                if is_new {
                    self.enter(config);
                    *asked = Asked::Drain;
                }
                is_new
            });
            if begun || self.asked() != Asked::TakeBack {
                return begun;
            }
            self.until(&[Asked::Nothing, Asked::Drain, Asked::Stop]).await;
        }
    }

    /// Begins the drain that ends the process, or makes the one that is under way it.
    pub(crate) fn stop(&self, config: &Config) {
        self.asked.send_modify(|asked| {
            if *asked == Asked::Nothing {
                self.enter(config);
            }
            *asked = Asked::Stop;
        });
    }

    /// Takes the drain back, if there is one: the hub is as before when this resolves.
    pub(crate) async fn take_back(&self) -> Result<(), Stopping> {
        self.asked.send_if_modified(|asked| {
            let is_on = *asked == Asked::Drain;
            if is_on {
                *asked = Asked::TakeBack;
            }
            is_on
        });
        match self.until(&[Asked::Nothing, Asked::Drain, Asked::Stop]).await {
            Asked::Stop => Err(Stopping),
            _ => Ok(()),
        }
    }

    /// The hub is as before; unless the process is to end by now.
    pub(super) fn taken_back(&self) {
        self.asked.send_if_modified(|asked| {
            let is_over = *asked == Asked::TakeBack;
            if is_over {
                self.set(Phase::None);
                *asked = Asked::Nothing;
            }
            is_over
        });
    }

    /// Waits until one of these is asked, and says which.
    pub(super) async fn until(&self, any: &[Asked]) -> Asked {
        let mut changes = self.asked.subscribe();
        let found = changes.wait_for(|asked| any.contains(asked)).await.map(|asked| *asked);
        found.expect("the sender is held by self")
    }

    fn asked(&self) -> Asked {
        *self.asked.borrow()
    }

    fn enter(&self, config: &Config) {
        let delay_ends_ms = self.now_ms() + u64::from(config.drain_delay_ms);
        self.delay_ends_ms.store(delay_ends_ms, Ordering::Relaxed);
        self.ends_ms.store(delay_ends_ms + u64::from(config.drain_period_ms), Ordering::Relaxed);
        let is_delayed = config.drain_delay_ms > 0;
        self.set(if is_delayed { Phase::Delay } else { Phase::Publishes });
    }

    pub(super) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::SeqCst))]
    }

    /// Whether there is one: load balancers are to look elsewhere.
    pub(crate) fn is_on(&self) -> bool {
        self.phase() != Phase::None
    }

    /// Whether it is over and the hub stays, for nobody knows how long.
    pub(crate) fn stays(&self) -> bool {
        self.phase() == Phase::Done && self.asked() != Asked::Stop
    }

    /// Whether new publishes and subscribes are refused.
    pub(crate) fn refuses(&self) -> bool {
        !matches!(self.phase(), Phase::None | Phase::Delay)
    }

    /// What is left of the delay.
    pub(super) fn delay_left(&self) -> Duration {
        self.left(&self.delay_ends_ms)
    }

    /// What is left of all of it.
    pub(crate) fn time_left(&self) -> Duration {
        self.left(&self.ends_ms)
    }

    fn left(&self, ends_ms: &AtomicU64) -> Duration {
        Duration::from_millis(ends_ms.load(Ordering::Relaxed).saturating_sub(self.now_ms()))
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// As if it had come to sending subscribers away.
    #[cfg(test)]
    pub(crate) fn refuse(&self, period_ms: u32) {
        self.enter(&Config { drain_period_ms: period_ms, ..Config::default() });
    }

    /// As if all subscribers were gone.
    #[cfg(test)]
    pub(crate) fn done(&self) {
        self.set(Phase::Done);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll};

    use super::*;

    fn config(drain_delay_ms: u32) -> Config {
        Config { drain_delay_ms, drain_period_ms: 60_000, ..Config::default() }
    }

    /// Whether a future is not ready when it is first polled.
    async fn waits(future: impl Future) -> bool {
        let mut future = pin!(future);
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn a_drain_begins_once_and_refuses_after_its_delay() {
        let drain = Drain::new(Instant::now());
        assert!(!drain.is_on() && !drain.refuses());
        assert!(drain.begin(&config(1_000)).await);
        assert!(!drain.begin(&config(0)).await);
        assert_eq!((drain.phase(), drain.is_on(), drain.refuses()), (Phase::Delay, true, false));
        assert!(drain.time_left() > Duration::from_secs(60), "the period comes after the delay");
        drain.set(Phase::Publishes);
        assert!(drain.refuses());
    }

    #[tokio::test]
    async fn without_a_delay_it_refuses_at_once() {
        let drain = Drain::new(Instant::now());
        drain.begin(&config(0)).await;
        assert_eq!((drain.phase(), drain.refuses()), (Phase::Publishes, true));
    }

    #[tokio::test]
    async fn a_hub_that_was_drained_stays_unless_the_process_ends() {
        let drain = Drain::new(Instant::now());
        drain.begin(&config(0)).await;
        assert!(!drain.stays());
        drain.set(Phase::Done);
        assert!(drain.stays());
        drain.stop(&config(0));
        assert!(!drain.stays());
    }

    #[tokio::test]
    async fn it_is_taken_back_when_the_hub_is_as_before() {
        let drain = Drain::new(Instant::now());
        assert_eq!(drain.take_back().await, Ok(()), "there is none");
        drain.begin(&config(0)).await;
        let mut taken_back = pin!(drain.take_back());
        assert!(waits(taken_back.as_mut()).await);
        assert!(waits(drain.begin(&config(0))).await, "that of before is not over");
        assert!(drain.refuses());
        drain.taken_back();
        assert_eq!(taken_back.await, Ok(()));
        assert!(!drain.is_on());
        assert!(drain.begin(&config(0)).await, "again");
    }

    #[tokio::test]
    async fn a_process_that_ends_takes_nothing_back() {
        let drain = Drain::new(Instant::now());
        drain.begin(&config(0)).await;
        let mut taken_back = pin!(drain.take_back());
        assert!(waits(taken_back.as_mut()).await);
        drain.stop(&config(0));
        drain.taken_back();
        assert_eq!(taken_back.await, Err(Stopping));
        assert_eq!(drain.take_back().await, Err(Stopping));
        assert!(drain.refuses());
    }
}
