//! What the hub tells about its channels, and what it counts.

use fanfare_core::{
    ChannelInfo, ChannelName, ChannelQuery, ChannelSort, Channels, HubLimits, Removal, Start,
    limits::{LIST_CHANNELS_MAX, RATE_WINDOW_MS},
};

use super::bench::{Bench, event};

/// A page of the names that begin with `b/`, and where the next one begins.
fn page(
    bench: &Bench,
    sort: ChannelSort,
    limit: usize,
    after: Option<(u64, &str)>,
) -> (String, Option<(u64, String)>) {
    let (prefix, contains, now_ms) = ("b/", "", bench.now_ms);
    let list = bench.hub.list(&ChannelQuery { prefix, contains, sort, limit, after, now_ms });
    assert_eq!(list.total, 3, "pages do not change the total");
    let names: Vec<_> = list.channels.iter().map(|info| info.name.to_string()).collect();
    (names.join(" "), list.next.map(|(rank, name)| (rank, name.to_string())))
}

fn info(bench: &Bench, name: &str) -> ChannelInfo {
    bench.hub.channel(&ChannelName::parse(name).unwrap()).unwrap()
}

#[test]
fn channels_are_listed_in_pages() {
    let bench = Bench::with_rings(9);
    for name in ["b/2", "a", "b/1", "b/3"] {
        bench.publish(name, ["x"]);
    }
    let _one = bench.live(&["b/2", "b/3"], Start::Now);
    let _two = bench.live(&["b/3"], Start::Now);
    let all = |sort, after| page(&bench, sort, 9, after).0;
    let next = |rank, name: &str| Some((rank, name.to_owned()));
    assert_eq!(page(&bench, ChannelSort::Name, 2, None), ("b/1 b/2".into(), next(0, "b/2")));
    assert_eq!(page(&bench, ChannelSort::Name, 2, Some((0, "b/2"))), ("b/3".into(), None));
    assert_eq!(page(&bench, ChannelSort::Name, 3, None).1, None, "there is no empty page");
    assert_eq!(all(ChannelSort::Subscribers, None), "b/3 b/2 b/1");
    assert_eq!(all(ChannelSort::Subscribers, Some((2, "b/3"))), "b/2 b/1");
    let found = info(&bench, "b/3");
    assert_eq!((found.subscribers, found.ring_events, found.last_seq), (2, 1, Some(4)));

    let _by_pattern = [0; 3].map(|_| bench.live(&["*/1", "b/1", "c"], Start::Now));
    assert_eq!(all(ChannelSort::Subscribers, None), "b/1 b/3 b/2");
    assert_eq!(info(&bench, "b/1").subscribers, 3, "as a publish counts them");
}

#[test]
fn channels_are_listed_by_what_they_had_and_hold_and_get() {
    let mut bench = Bench::with_rings(2);
    bench.now_ms = 10 * RATE_WINDOW_MS;
    bench.publish("b/1", ["x", "x", "x", "x"]);
    bench.now_ms += RATE_WINDOW_MS;
    bench.publish("b/2", ["long", "longer"]);
    bench.publish("b/3", ["x", "x", "x"]);
    let all = |bench: &Bench, sort| page(bench, sort, 9, None).0;
    assert_eq!(all(&bench, ChannelSort::Events), "b/1 b/3 b/2");
    assert_eq!(all(&bench, ChannelSort::Bytes), "b/2 b/1 b/3");
    assert_eq!(all(&bench, ChannelSort::Rate), "b/1 b/2 b/3", "of the window that is over");
    bench.now_ms += RATE_WINDOW_MS;
    assert_eq!(all(&bench, ChannelSort::Rate), "b/3 b/2 b/1");
    let info = info(&bench, "b/3");
    assert_eq!((info.events_total, info.ring_events), (3, 2));
    assert_eq!(info.last_published_at_ms, Some(11 * RATE_WINDOW_MS));
    assert_eq!(info.rate.per_s(bench.now_ms), 0.3);
}

#[test]
fn a_list_is_filtered_by_what_names_contain() {
    let bench = Bench::with_rings(2);
    for name in ["b/1", "b/12", "a/1", "b/21"] {
        bench.publish(name, ["x"]);
    }
    let query = |prefix, contains| ChannelQuery {
        prefix,
        contains,
        sort: ChannelSort::Name,
        limit: 2,
        after: None,
        now_ms: 0,
    };
    for (prefix, contains, names, total) in [
        ("", "1", "a/1 b/1", 4),
        ("b", "2", "b/12 b/21", 2),
        ("", "/2", "b/21", 1),
        ("", "z", "", 0),
    ] {
        let list = bench.hub.list(&query(prefix, contains));
        let found: Vec<_> = list.channels.iter().map(|info| info.name.as_str()).collect();
        assert_eq!((found.join(" "), list.total), (names.to_owned(), total), "{prefix} {contains}");
    }
}

#[test]
fn a_hundred_thousand_channels_are_listed() {
    let bench = Bench::with_rings(2);
    for number in 0..100_000 {
        bench.place(&format!("many/{number}"), event("x"), None).unwrap();
    }
    let found = (0..100_000).filter(|number: &u32| number.to_string().contains("99")).count();
    for sort in ChannelSort::ALL {
        let (prefix, contains, limit, now_ms) = ("", "99", LIST_CHANNELS_MAX, 0);
        let query = ChannelQuery { prefix, contains, sort, limit, after: None, now_ms };
        let list = bench.hub.list(&query);
        assert_eq!((list.channels.len(), list.total), (LIST_CHANNELS_MAX, found));
    }
}

#[test]
fn channels_are_counted_and_so_is_why_they_went() {
    let mut bench = Bench::with_rings(9);
    let counts =
        |bench: &Bench| (bench.hub.channels(), Removal::ALL.map(|r| bench.hub.removed_total(r)));
    bench.publish("idle", ["x"]);
    bench.publish("closed", ["x"]);
    bench.close("closed");
    bench.close("closed");
    bench.publish("deleted", ["x"]);
    bench.close("both");
    let unused = bench.live(&["unused"], Start::Now);
    assert_eq!(counts(&bench), (Channels { live: 3, closed: 2 }, [0, 0, 0, 0]));
    bench.delete("deleted");
    bench.delete("both");
    drop(unused);
    assert_eq!(counts(&bench), (Channels { live: 1, closed: 1 }, [0, 2, 0, 1]));
    bench.pass(600_000);
    assert_eq!(counts(&bench), (Channels { live: 1, closed: 0 }, [1, 2, 0, 1]));
    bench.pass(3_000_001);
    bench.pass(30_000);
    assert_eq!(counts(&bench), (Channels::default(), [1, 2, 1, 1]));
    let full = HubLimits { channels_max: 0, ..HubLimits::default() };
    bench.hub.set_limits(&full);
    assert!(bench.place("a", event("x"), None).is_err());
    assert_eq!(counts(&bench).0, Channels::default(), "a refusal counts nothing");
}
