//! What workers count.

use fanfare_core::{HubLimits, Retention};
use fanfare_fanout::{BACKLOG_BOUNDS, FanoutConfig, Totals};

use crate::rig::{Asked, DEADLINE, Rig, eventually};

/// The totals once so many events were delivered.
fn after(rig: &Rig, events: u64) -> Totals {
    eventually("all is counted", || rig.fanout.totals().events_delivered == events);
    rig.fanout.totals()
}

#[test]
fn deliveries_of_an_idle_hub_are_all_measured_and_replayed_ones_are_not() {
    let rig = Rig::new(1);
    let mut live = rig.subscribe(&["a"], &Asked::default());
    live.read_first();
    for _ in 0..10 {
        let seq = rig.publish("a", "x");
        live.read_to(seq);
    }
    let totals = after(&rig, 10);
    assert_eq!((totals.delivery.count(), totals.events_replayed), (10, 0));
    assert!((1..DEADLINE.as_micros() as u64).contains(&totals.delivery.sum), "{totals:?}");
    assert_eq!((totals.events_per_write.counts[0], totals.events_per_write.sum), (10, 10));
    let mut replaying = rig.subscribe(&["a"], &Asked::from_start());
    replaying.read_to(10);
    let totals = after(&rig, 20);
    assert_eq!((totals.delivery.count(), totals.events_replayed), (10, 10));
    assert_eq!((totals.events_per_write.counts[4], totals.events_per_write.sum), (1, 20));
    let seq = rig.publish("a", "y");
    replaying.read_to(seq);
    let totals = after(&rig, 22);
    assert_eq!((totals.delivery.count(), totals.events_replayed), (12, 10));
    assert!(totals.turns.count() > 0 && totals.turns.sum > 0);
    eventually("busy", || rig.fanout.loads()[0].busy_ns >= totals.turns.sum);
}

#[test]
fn of_many_deliveries_some_are_measured() {
    let rig = Rig::new(1);
    let mut peers: Vec<_> = (0..200).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    peers.iter_mut().for_each(crate::peer::Peer::read_first);
    let last = (0..200).map(|_| rig.publish("a", "x")).last().unwrap();
    peers.iter_mut().for_each(|peer| peer.read_to(last));
    let totals = after(&rig, 200 * 200);
    let (writes, measured) = (totals.events_per_write.count(), totals.delivery.count());
    assert!(measured >= writes / 8 && measured <= writes, "{measured} of {writes}");
    assert_eq!(totals.events_per_write.sum, 200 * 200);
}

#[test]
fn a_blocked_subscriber_is_counted_and_so_is_its_backlog() {
    let retention = Retention { ring_events_max: 10_000, ..Retention::default() };
    let limits = HubLimits { retention, ..HubLimits::default() };
    let rig = Rig::with(2, limits, FanoutConfig::default());
    let mut slow = rig.subscribe(&["a"], &Asked::tiny());
    let mut fast = rig.subscribe(&["b"], &Asked::default());
    slow.read_first();
    fast.read_first();
    rig.publish("a", &"x".repeat(1_000_000));
    let blocked = |count| {
        let loads = rig.fanout.loads();
        loads.iter().map(|load| load.blocked).sum::<u64>() == count
            && loads.iter().all(|load| load.subscribers == 1)
    };
    eventually("one is blocked", || blocked(1));
    let last = (0..1_000).map(|_| rig.publish("a", "x")).last().unwrap();
    slow.read_to(last);
    rig.check_exact(&slow, last);
    eventually("nobody is blocked", || blocked(0));
    let backlog = rig.fanout.totals().backlog;
    let of_a_thousand = BACKLOG_BOUNDS.partition_point(|bound| *bound < 1_000);
    assert!(backlog.counts[of_a_thousand] > 0, "{backlog:?}");
    assert_eq!(backlog.counts[of_a_thousand + 1..].iter().sum::<u64>(), 0, "{backlog:?}");
}
