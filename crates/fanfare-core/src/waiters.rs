//! Who waits for a channel to be cancelled or to end, whether it exists or not.
//!
//! A wish, or an end, is in place before those who wait are told, and they look for one after they
//! are among those who wait: nobody misses it.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    control::CloseReason,
    hub::{Hub, Limit},
    limits::CANCEL_WAITERS_PER_CHANNEL_MAX,
    name::ChannelName,
    sync::{AtomicU32, AtomicUsize, Mutex, Ordering, lock},
};

/// How far a channel is in its life. One that does not exist is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Somebody wishes that it be cancelled.
    Cancelling,
    /// It was closed, or deleted.
    Closed(CloseReason),
    /// It takes events.
    Open,
}

impl Standing {
    /// The state as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelling => "cancelling",
            Self::Closed(_) => "closed",
            Self::Open => "open",
        }
    }

    /// Why it was closed.
    pub fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Closed(reason) => Some(reason),
            Self::Cancelling | Self::Open => None,
        }
    }

    /// A number for what is told, never 0.
    fn to_code(self) -> u32 {
        match self {
            Self::Open => 1,
            Self::Cancelling => 2,
            Self::Closed(reason) => 3 + reason as u32,
        }
    }

    fn of_code(code: u32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::Open),
            2 => Some(Self::Cancelling),
            code => CloseReason::ALL.get(code as usize - 3).map(|reason| Self::Closed(*reason)),
        }
    }
}

/// As many wait for a channel already as may; holds how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WaitersFull(pub usize);

/// All who wait, by the names of their channels.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// How many there are: most channels end without anybody waiting for it.
    count: AtomicUsize,
    /// Never a name without a waiter.
    by_name: Mutex<HashMap<ChannelName, Vec<Arc<Waiter>>>>,
}

/// One of them.
#[derive(Debug)]
struct Waiter {
    /// What it is yet to be told, as a code; 0 for nothing.
    told: AtomicU32,
    /// Wakes it, once.
    waker: Mutex<Option<Waker>>,
    /// Whether the bound counts it.
    is_counted: bool,
}

impl Waiters {
    /// Tells all who wait for a channel. Nothing may be locked: it wakes them.
    pub(crate) fn tell(&self, name: &ChannelName, standing: Standing) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let waiters = lock(&self.by_name).get(name).cloned().unwrap_or_default();
        for waiter in waiters {
            waiter.told.store(standing.to_code(), Ordering::SeqCst);
            let waker = lock(&waiter.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn add(&self, name: &ChannelName, is_counted: bool) -> Result<Arc<Waiter>, WaitersFull> {
        let (told, waker) = (AtomicU32::new(0), Mutex::new(None));
        let waiter = Arc::new(Waiter { told, waker, is_counted });
        let mut by_name = lock(&self.by_name);
        if is_counted && let Some(waiters) = by_name.get(name) {
            let counted = waiters.iter().filter(|waiter| waiter.is_counted).count();
            if counted >= CANCEL_WAITERS_PER_CHANNEL_MAX {
                return Err(WaitersFull(CANCEL_WAITERS_PER_CHANNEL_MAX));
            }
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        by_name.entry(name.clone()).or_default().push(Arc::clone(&waiter));
        Ok(waiter)
    }

    fn remove(&self, name: &ChannelName, waiter: &Arc<Waiter>) {
        let mut by_name = lock(&self.by_name);
        let Some(waiters) = by_name.get_mut(name) else { return };
        if let Some(at) = waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            waiters.swap_remove(at);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        if waiters.is_empty() {
            by_name.remove(name);
        }
    }
}

/// Waits for a wish or an end of one channel, over all its lives. Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    name: ChannelName,
    waiter: Arc<Waiter>,
}

impl Watch {
    /// What has become of the channel since the last time that this was ready: the newest of it.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Standing> {
        if let Some(standing) = self.take() {
            return Poll::Ready(standing);
        }
        {
            let mut waker = lock(&self.waiter.waker);
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        // Who told before the waker was there did not wake.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self) -> Option<Standing> {
        let told = &self.waiter.told;
        if told.load(Ordering::SeqCst) == 0 {
            return None;
        }
        Standing::of_code(told.swap(0, Ordering::SeqCst))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.waiters.remove(&self.name, &self.waiter);
    }
}

impl Hub {
    /// Waits for a wish or an end of a channel, and how far it is already. The bound counts those
    /// who do nothing else, not streaming publishes.
    pub fn watch(
        self: &Arc<Self>,
        name: &ChannelName,
        is_counted: bool,
    ) -> Result<(Watch, Standing), WaitersFull> {
        let added = self.waiters.add(name, is_counted);
        let waiter = added.inspect_err(|_| self.count_limit(Limit::CancelWaiters))?;
        let watch = Watch { hub: Arc::clone(self), name: name.clone(), waiter };
        Ok((watch, self.standing(name)))
    }

    /// How many wait for wishes and ends.
    pub fn cancel_waiters(&self) -> usize {
        self.waiters.count.load(Ordering::Relaxed)
    }
}
