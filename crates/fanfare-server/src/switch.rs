//! A switch that tasks can wait for, and that can be turned off again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Off at first.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    on: AtomicBool,
    turned_on: Notify,
}

impl Switch {
    /// Turns it on, and wakes those who wait.
    pub(crate) fn turn_on(&self) {
        self.on.store(true, Ordering::SeqCst);
        self.turned_on.notify_waiters();
    }

    pub(crate) fn turn_off(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Resolves when it is on, or was since this was first polled.
    pub(crate) async fn until_on(&self) {
        // Made before the look, so that it is notified of whatever comes after it.
        let turned_on = self.turned_on.notified();
        if !self.is_on() {
            turned_on.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_and_later_ones_wait_again() {
        let switch = Switch::default();
        let mut waits = pin!(switch.until_on());
        assert_eq!(poll_once(&mut waits).await, Poll::Pending);
        switch.turn_on();
        switch.until_on().await;
        switch.turn_off();
        assert_eq!(poll_once(&mut waits).await, Poll::Ready(()));
        assert_eq!(poll_once(&mut pin!(switch.until_on())).await, Poll::Pending);
    }

    /// Polls once.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
    }
}
