//! What a channel keeps and for how long, and when a channel goes.

use crate::{
    beside, kept, metric_becomes, publish, publish_many,
    support::{eventually, hub::Hub, sse::Stream},
};

#[test]
fn a_pattern_of_the_file_says_what_its_channels_keep() {
    let toml = "ring_events = 5\n\n[[channels]]\npattern = \"orders/**\"\nring_events = 2\n\n\
                [[channels]]\npattern = \"**\"\nring_events = 4\n";
    let hub = Hub::configured(toml, &[]);
    for (channel, count) in [("orders/1", 2), ("orders/1/items", 2), ("orders", 4), ("news", 4)] {
        publish_many(&hub, channel, 9);
        assert_eq!(kept(&hub, channel).len(), count, "{channel}");
    }
}

#[test]
fn bytes_bound_a_ring_too() {
    let hub = Hub::start(&["--ring-bytes", "64KiB", "--event-data-bytes-max", "20KiB"]);
    for _ in 0..20 {
        publish(&hub, "a", "x".repeat(20_000));
    }
    assert_eq!(kept(&hub, "a").len(), 3);
}

#[test]
fn old_events_go_and_their_channel_with_them() {
    let hub = Hub::start(&["--ring-age", "1s"]);
    let mut idle = Stream::open(hub.public(), "/channels/watched?open=0");
    let first = publish(&hub, "a", "1");
    let last = publish(&hub, "a", "2");
    publish(&hub, "watched", "x");
    assert_eq!(idle.event().data, "x");
    // The idle channel goes, the one with a subscriber stays.
    metric_becomes(&hub, "fanfare_channels", 1.0);
    eventually("an empty ring", || kept(&hub, "watched").is_empty().then_some(()));
    // It is remembered what it had: who has missed something is told, who has not is not.
    let mut back = Stream::open(hub.public(), &format!("/channels/a?open=0&from={first}"));
    let gap = back.event();
    assert_eq!((gap.kind(), gap.id()), ("fanfare.gap", last.as_str()));
    let mut exact = Stream::open(hub.public(), &format!("/channels/a?open=0&from={last}"));
    let next = publish(&hub, "a", "3");
    assert_eq!((back.event().id(), exact.event().id()), (next.as_str(), next.as_str()));
    assert_eq!(crate::seq(&next), crate::seq(&beside(&last, 2)));
}

#[test]
fn a_channel_that_never_had_an_event_goes_with_its_last_subscriber() {
    let hub = Hub::start(&["--workers", "2"]);
    let streams: Vec<_> = (0..4).map(|_| Stream::open(hub.public(), "/channels/a")).collect();
    metric_becomes(&hub, "fanfare_channels", 1.0);
    drop(streams);
    metric_becomes(&hub, "fanfare_channels", 0.0);
    let kept = Stream::open(hub.public(), "/channels/b");
    publish(&hub, "b", "1");
    drop(kept);
    metric_becomes(&hub, "fanfare_subscribers", 0.0);
    metric_becomes(&hub, "fanfare_channels", 1.0);
}
