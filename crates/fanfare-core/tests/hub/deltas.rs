//! Deltas that are put together: which, for whom, and when they go out.

use std::sync::Arc;

use fanfare_core::{
    Batch, Change, Coalesce, Coalescer, Delta, Draft, EventType, Framing, HistoryFrom, HubLimits,
    Request, Retention, Run, Start, Subscribed, Subscription, Window,
};

use super::bench::{Bench, live, request};

/// `key:text#number`: the text of a key, with a number that means nothing.
#[derive(Debug)]
struct Keyed;

impl Coalescer for Keyed {
    fn name(&self) -> &str {
        "keyed"
    }

    fn delta(&self, _event_type: Option<&str>, data: &str) -> Option<Delta> {
        let (start, end) = (data.find(':')? + 1, data.find('#')?);
        Some(Delta::new(start..end, [Some(end + 1..data.len()), None]))
    }
}

fn subscribe(bench: &Bench, start: Start, window_ms: u32) -> Subscription {
    let coalesce = Some(Coalesce::new(Arc::new(Keyed), window_ms));
    match bench.subscribe(&Request { coalesce, ..request(&["a"], start) }) {
        Subscribed::Live(opening) => opening.subscription,
        other => panic!("{other:?}"),
    }
}

/// What a batch has for a reader that begins, read as a worker reads it.
fn words(bench: &Bench, subscription: &Subscription) -> Vec<String> {
    let mut run = Run::default();
    subscription.feed().read(&bench.hub, subscription.cursor, 64 * 1024, &mut run);
    let word = |(seq, frame): &(u64, fanfare_core::Frame)| format!("{seq} {}", frame.data());
    run.frames.iter().map(word).collect()
}

#[test]
fn deltas_of_a_kind_that_follow_each_other_are_one_event() {
    let bench = Bench::with_rings(100);
    bench.publish("a", ["start", "x:one #1", "x:two#2", "x:#7", "y:other#3", "x:a#4", "x:b#5"]);
    bench.publish("b", ["x:not of a#1"]);
    bench.publish("a", ["x:c#6", "ping", "x:d#7"]);
    bench.close("a");
    let subscription = subscribe(&bench, Start::Beginning, 0);
    let told = ["1 start", "4 x:one two#7", "5 y:other#3", "9 x:abc#6", "10 ping", "11 x:d#7"];
    assert_eq!(words(&bench, &subscription), told);
    let mut subscription = subscribe(&bench, Start::After("aaaaaaaa-2".to_owned()), 0);
    assert_eq!(words(&bench, &subscription)[0], "4 x:two#7", "exactly the rest");
    // One event for each read is what the bench asks for, so nothing can be put together.
    let one_by_one = ["3 x:two#2", "4 x:#7", "5 y:other#3", "6 x:a#4", "7 x:b#5", "9 x:c#6"];
    let seen = bench.read(&mut subscription).what;
    assert_eq!(seen[..6], one_by_one);
    assert_eq!(seen[6..], ["10 ping", "11 x:d#7", "end a 12 done"]);
}

#[test]
fn events_of_other_types_and_enveloped_ones_keep_what_they_are() {
    let bench = Bench::with_rings(100);
    for (event_type, data) in [("t", "x:a#1"), ("t", "x:b\n#2"), ("", "x:c#3"), ("", "x:d#4")] {
        let event_type = EventType::parse(event_type).unwrap();
        bench.place("a", Change::Event(Draft::new(event_type.as_ref(), data), None), None).unwrap();
    }
    let coalesce = Some(Coalesce::new(Arc::new(Keyed), 0));
    let request = Request { coalesce, envelope: true, ..request(&["a"], Start::Beginning) };
    let Subscribed::Live(opening) = bench.subscribe(&request) else { panic!("it is live") };
    let mut run = Run::default();
    opening.subscription.feed().read(&bench.hub, 1, 64 * 1024, &mut run);
    let sse = |(_, frame): &(u64, fanfare_core::Frame)| {
        String::from_utf8(frame.bytes(Framing::Bare).into()).unwrap()
    };
    let expected = [
        "id: aaaaaaaa-2\nevent: t\ndata: {\"channel\":\"a\",\"data\":\"x:ab\\n#2\"}\n\n",
        "id: aaaaaaaa-4\ndata: {\"channel\":\"a\",\"data\":\"x:cd#4\"}\n\n",
    ];
    assert_eq!(run.frames.iter().map(sse).collect::<Vec<_>>(), expected);
    assert_eq!(run.merged, [(1, 2), (3, 4)]);
}

#[test]
fn who_has_a_part_of_an_event_does_not_get_the_event() {
    for framing in [Framing::Bare, Framing::Chunked] {
        let bench = Bench::with_rings(100);
        bench.publish("a", ["x:1#", "x:2#", "ping", "x:4#", "x:5#", "x:6#"]);
        bench.publish("b", ["x:7#"]);
        bench.publish("a", ["x:8#", "end"]);
        let subscription = subscribe(&bench, Start::Beginning, 0);
        let mut run = Run::default();
        subscription.feed().read(&bench.hub, 1, 64 * 1024, &mut run);
        let mut batch = Batch::new(framing);
        batch.reset(framing, 1);
        batch.append(&mut run);
        let covered: Vec<_> = (0..=10).filter(|cursor| batch.covers(*cursor)).collect();
        assert_eq!(covered, [1, 3, 4, 9], "{framing:?}");
        for cursor in covered {
            let whole = batch.bytes_from(cursor).to_vec();
            for sent in 0..whole.len() {
                let partial = batch.partial(cursor, sent);
                let stays = partial.cursor == 10 || batch.covers(partial.cursor);
                assert!(stays, "after {sent} of {cursor}");
                let rest = [&whole[..sent], &partial.rest, batch.bytes_from(partial.cursor)];
                assert_eq!(rest.concat(), whole, "after {sent} of {cursor}");
            }
        }
    }
}

#[test]
fn a_page_is_put_together_too() {
    let bench = Bench::with_rings(100);
    bench.publish("a", ["x:a#1", "x:b#2", "ping", "x:c#3", "x:d#4"]);
    let channel = fanfare_core::ChannelName::parse("a").unwrap();
    let mut page = bench.hub.history(&channel, &HistoryFrom::Beginning, 4).unwrap();
    Coalesce::new(Arc::new(Keyed), 0).merge_page(&mut page.events);
    let told: Vec<_> = page.events.iter().map(|event| (event.seq, event.data.as_str())).collect();
    assert_eq!((told, page.next), (vec![(2, "x:ab#2"), (3, "ping"), (4, "x:c#3")], 4));
}

/// A window of 50 ms and what has gone out of it.
struct Reader<'a> {
    bench: &'a Bench,
    subscription: Subscription,
    window: Window,
}

impl<'a> Reader<'a> {
    fn new(bench: &'a Bench) -> Self {
        let subscription = subscribe(bench, Start::Now, 50);
        let window = Window::of(subscription.feed(), subscription.cursor).unwrap();
        Self { bench, subscription, window }
    }

    /// What goes out at a time, or until when it waits.
    fn at(&mut self, now_ms: u64) -> Result<Vec<String>, u64> {
        let Self { bench, subscription, window } = self;
        let feed = Arc::clone(subscription.feed());
        match window.holds(&feed, &bench.hub, subscription.cursor, now_ms) {
            Some(until_ms) => Err(until_ms),
            None => {
                let told = words(bench, subscription);
                subscription.cursor = bench.hub.watermark() + 1;
                Ok(told)
            }
        }
    }
}

#[test]
fn the_first_delta_goes_at_once_and_then_one_for_each_window() {
    let bench = Bench::with_rings(100);
    let mut reader = Reader::new(&bench);
    assert_eq!(reader.at(1_000), Ok(vec![]));
    bench.publish("a", ["x:a#"]);
    assert_eq!(reader.at(1_010), Ok(vec!["1 x:a#".to_owned()]));
    bench.publish("a", ["x:b#"]);
    assert_eq!(reader.at(1_020), Err(1_060));
    bench.publish("a", ["x:c#", "x:d#"]);
    assert_eq!(reader.at(1_059), Err(1_060));
    assert_eq!(reader.at(1_060), Ok(vec!["4 x:bcd#".to_owned()]));
    assert_eq!(reader.at(1_061), Ok(vec![]), "nothing has come, and nothing waits");
    bench.publish("a", ["x:e#"]);
    assert_eq!(reader.at(1_109), Err(1_110));
    assert_eq!(reader.at(1_110), Ok(vec!["5 x:e#".to_owned()]));
    bench.publish("a", ["x:f#"]);
    assert_eq!(reader.at(1_160), Ok(vec!["6 x:f#".to_owned()]), "a burst begins");
}

#[test]
fn anything_else_takes_along_what_waits() {
    let bench = Bench::with_rings(100);
    let mut reader = Reader::new(&bench);
    bench.publish("a", ["x:a#"]);
    reader.at(1_000).unwrap();
    bench.publish("a", ["x:b#", "x:c#"]);
    assert_eq!(reader.at(1_001), Err(1_050));
    bench.publish("a", ["ping"]);
    assert_eq!(reader.at(1_002), Ok(vec!["3 x:bc#".to_owned(), "4 ping".to_owned()]));
    bench.publish("a", ["x:d#"]);
    assert_eq!(reader.at(1_003), Ok(vec!["5 x:d#".to_owned()]), "a burst begins");
    bench.publish("a", ["x:e#"]);
    assert_eq!(reader.at(1_004), Err(1_053));
    bench.publish("a", ["y:f#"]);
    let both = vec!["6 x:e#".to_owned(), "7 y:f#".to_owned()];
    assert_eq!(reader.at(1_005), Ok(both), "another kind is another burst");
    bench.publish("a", ["y:g#"]);
    assert_eq!(reader.at(1_006), Err(1_055));
    bench.close("a");
    assert_eq!(reader.at(1_007), Ok(vec!["8 y:g#".to_owned()]), "nor does the end wait");
}

#[test]
fn nothing_waits_that_its_ring_may_drop() {
    for (ring_events_max, ring_bytes_max) in [(8, usize::MAX), (1_000, 2_400)] {
        let retention = Retention { ring_events_max, ring_bytes_max, ..Retention::default() };
        let bench = Bench::new(HubLimits { retention, ..HubLimits::default() });
        let mut reader = Reader::new(&bench);
        bench.publish("a", ["x:a#"]);
        reader.at(1_000).unwrap();
        bench.publish("a", ["x:b#", "x:c#"]);
        assert_eq!(reader.at(1_001), Err(1_050));
        bench.publish("a", ["x:d#", "x:e#"]);
        assert_eq!(reader.at(1_002), Ok(vec!["5 x:bcde#".to_owned()]), "{ring_events_max}");
    }
    let bench = Bench::with_rings(100);
    assert!(Window::of(subscribe(&bench, Start::Now, 0).feed(), 1).is_none(), "no window");
    assert_eq!(bench.seen(&["a"], Start::Now), live([]));
}
