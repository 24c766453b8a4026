//! Counts follow those who come and go, and nothing of them stays.

use std::time::Instant;

use crate::{
    alone,
    crowd::{Crowd, size},
    publisher::Publisher,
    support::{eventually, hub::Hub},
};

const CLIENTS: &str = "fanfare_disconnects_total{reason=\"client\"}";

#[test]
fn counts_follow_and_nothing_stays() {
    let _alone = alone();
    let hub = Hub::start(&["--workers", "2"]);
    assert_eq!(hub.metric("fanfare_channels"), 0);
    let files = hub.files();
    let mut crowd = Crowd::new(hub.public());
    let size = size(2_000) / 20 * 20;
    for index in 0..20 {
        let target = if index % 4 == 3 {
            "/events?channel=a/*".to_owned()
        } else {
            format!("/events?channel=a/{}&channel=b/{index}", index % 4)
        };
        crowd.join(size / 20, &target);
    }
    assert_eq!(hub.metric("fanfare_subscribers"), size as u64);
    assert_eq!(hub.metric("fanfare_channels"), 18);
    assert_eq!(hub.metric("fanfare_events_published_total"), 0);
    let gone = size / 4;
    // One connection in twenty has a pattern for every three without, so each quarter does.
    crowd.leave(0..gone);
    let began = Instant::now();
    eventually("a quarter is gone", || {
        (hub.metric("fanfare_subscribers") == (size - gone) as u64).then_some(())
    });
    println!("{gone} leave: noticed after {:?}", began.elapsed());
    eventually("the counts", || (hub.metric(CLIENTS) == gone as u64).then_some(()));
    let mut publisher = Publisher::new(hub.public());
    let named: usize = (5..20).filter(|index| index % 4 == 1).count();
    let patterns: usize = (5..20).filter(|index| index % 4 == 3).count();
    let (_, subscribers) = publisher.publish("a/1", "x");
    assert_eq!(subscribers, ((named + patterns) * size / 20) as u64);
    let (_, subscribers) = publisher.publish("c", "x");
    assert_eq!(subscribers, 0);
    drop(publisher);
    crowd.leave(gone..size);
    eventually("all are gone", || (hub.metric("fanfare_subscribers") == 0).then_some(()));
    // The two that had an event stay as long as it is kept.
    assert_eq!(hub.metric("fanfare_channels"), 2);
    eventually("the counts", || (hub.metric(CLIENTS) == size as u64).then_some(()));
    eventually("files", || (hub.files() <= files).then_some(()));
}
