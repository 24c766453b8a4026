//! Who waits for a channel to be cancelled or to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use fanfare_core::{
    ChannelName, CloseReason, HubLimits, Limit, Standing, Start, WaitersFull,
    limits::CANCEL_WAITERS_PER_CHANNEL_MAX,
};

use crate::bench::Bench;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn bench() -> (Bench, ChannelName) {
    (Bench::new(HubLimits::default()), ChannelName::parse("a").unwrap())
}

#[test]
fn a_wish_and_an_end_are_told_once_each() {
    let (bench, a) = bench();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let context = Context::from_waker(&waker);
    let (watch, standing) = bench.hub.watch(&a, true).unwrap();
    assert_eq!((standing, watch.poll(&context)), (Standing::Open, Poll::Pending));
    assert_eq!(bench.hub.held().channels, 0, "waiting makes no channel");
    bench.publish("a", ["no end"]);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    for _again in 0..2 {
        bench.hub.cancel(&a, bench.now_ms).unwrap();
    }
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(watch.poll(&context), Poll::Ready(Standing::Cancelling));
    assert_eq!(watch.poll(&context), Poll::Pending);
    bench.close("a");
    let end = Standing::Closed(CloseReason::Done);
    assert_eq!((woken.0.load(Ordering::SeqCst), watch.poll(&context)), (2, Poll::Ready(end)));
    assert_eq!(bench.hub.watch(&a, true).unwrap().1, end);
    // Another life is waited for, too.
    assert_eq!(watch.poll(&context), Poll::Pending);
    bench.delete("a");
    let end = Standing::Closed(CloseReason::Deleted);
    assert_eq!(watch.poll(&context), Poll::Ready(end));
    assert_eq!(watch.poll(&context), Poll::Pending);
    bench.hub.cancel(&a, bench.now_ms).unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 4);
    assert_eq!(watch.poll(&context), Poll::Ready(Standing::Cancelling));
}

#[test]
fn those_who_wait_are_bounded_but_not_those_who_publish() {
    let (bench, a) = bench();
    let mut watches: Vec<_> =
        (0..CANCEL_WAITERS_PER_CHANNEL_MAX).map(|_| bench.hub.watch(&a, true).unwrap()).collect();
    let full = bench.hub.watch(&a, true).unwrap_err();
    assert_eq!(full, WaitersFull(CANCEL_WAITERS_PER_CHANNEL_MAX));
    assert_eq!(bench.hub.limit_total(Limit::CancelWaiters), 1);
    watches.push(bench.hub.watch(&a, false).unwrap());
    watches.pop();
    watches.pop();
    watches.push(bench.hub.watch(&a, true).unwrap());
    assert_eq!(bench.hub.cancel_waiters(), CANCEL_WAITERS_PER_CHANNEL_MAX);
    drop(watches);
    assert_eq!(bench.hub.cancel_waiters(), 0);
    let _one = bench.live(&["a"], Start::Now);
    assert!(bench.hub.watch(&a, true).is_ok());
}
