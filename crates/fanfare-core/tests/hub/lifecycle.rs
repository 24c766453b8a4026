//! What ends a channel though no publisher does, and what keeps one that has no event.

use fanfare_core::{
    Change, ChannelName, CloseReason, Draft, HubLimits, IdempotencyKey, Overdue, Producer,
    ProducerId, Publication, Publishing, Refusal, Removal, Retention, Standing, Start, Subscribed,
    WishedBy,
};

use crate::bench::{Bench, event, live, request};

fn bench(retention: Retention) -> Bench {
    Bench::new(HubLimits { retention, ..HubLimits::default() })
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

fn begin(bench: &Bench, channel: &str) -> Publishing {
    bench.hub.begin_publishing(&name(channel), bench.now_ms).unwrap().unwrap()
}

fn closed(bench: &Bench, channel: &str) -> Option<CloseReason> {
    bench.hub.channel(&name(channel)).and_then(|info| info.closed)
}

#[test]
fn a_producer_that_stays_away_ends_its_channel() {
    let mut bench = bench(Retention { producer_grace_ms: 5_000, ..Retention::default() });
    let publishing = begin(&bench, "a");
    bench.publish("a", ["1"]);
    let mut subscription = bench.live(&["a"], Start::Beginning);
    assert!(!publishing.end(true, bench.now_ms), "it is waited for");
    bench.pass(4_999);
    assert_eq!(bench.read(&mut subscription).what, ["1 1"]);
    bench.pass(1);
    let seen = bench.read(&mut subscription);
    assert_eq!((seen.what, seen.over), (vec!["end a 2 error".to_owned()], true));
    assert_eq!(bench.hub.watermark(), 2, "its end has a place of its own");
    assert_eq!(bench.hub.overdue_total(Overdue::Grace), 1);
    assert_eq!(bench.hub.closed_total(CloseReason::Error), 1);
}

#[test]
fn a_producer_that_came_back_a_moment_before_goes_on() {
    let mut bench = bench(Retention { producer_grace_ms: 5_000, ..Retention::default() });
    begin(&bench, "a").end(true, bench.now_ms);
    bench.now_ms += 5_000;
    while bench.hub.maintain(bench.now_ms, 1) {}
    assert_eq!(bench.hub.take_due(), [name("a")]);
    let back = begin(&bench, "a");
    let refused = bench.place("a", Change::CloseIfDue, None).unwrap_err();
    assert_eq!((refused, closed(&bench, "a")), (Refusal::NotDue, None));
    bench.pass(60_000);
    assert_eq!(closed(&bench, "a"), None);
    // It ends well, and nothing is waited for any more.
    bench.place("a", Change::Finish, None).unwrap();
    assert!(!back.end(false, bench.now_ms));
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Done));
    let none = bench.place("none", Change::CloseIfDue, None).unwrap_err();
    assert_eq!((none, bench.hub.channel(&name("none"))), (Refusal::NotDue, None));
}

#[test]
fn an_event_begins_the_grace_anew_and_another_publish_ends_it() {
    let mut bench = bench(Retention { producer_grace_ms: 5_000, ..Retention::default() });
    begin(&bench, "a").end(true, bench.now_ms);
    bench.pass(4_000);
    bench.publish("a", ["1"]);
    bench.pass(4_999);
    assert_eq!(closed(&bench, "a"), None);
    begin(&bench, "a").end(false, bench.now_ms);
    bench.pass(60_000);
    assert_eq!(closed(&bench, "a"), None, "who took it up did not ask for an end");
    // The last of several decides.
    let (one, two) = (begin(&bench, "a"), begin(&bench, "a"));
    one.end(true, bench.now_ms);
    bench.pass(60_000);
    assert_eq!(closed(&bench, "a"), None);
    two.end(true, bench.now_ms);
    bench.pass(5_000);
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Error));
}

#[test]
fn who_streams_to_many_channels_holds_up_the_end_of_this_one() {
    let mut bench = bench(Retention { producer_grace_ms: 5_000, ..Retention::default() });
    begin(&bench, "a").end(true, bench.now_ms);
    let channel = bench.place("a", event("1"), None).unwrap().channel.unwrap();
    let publishing = bench.hub.publishing_on(&channel).unwrap();
    bench.pass(60_000);
    assert_eq!(closed(&bench, "a"), None);
    assert!(publishing.end(false, bench.now_ms), "its producer did not come back meanwhile");
}

#[test]
fn whoever_breaks_off_before_its_first_event_is_waited_for_too() {
    let retention =
        Retention { producer_grace_ms: 5_000, ring_age_ms: 1_000, ..Retention::default() };
    let mut bench = bench(retention);
    begin(&bench, "a").end(true, bench.now_ms);
    bench.pass(4_999);
    assert!(bench.hub.exists(&name("a")), "though nothing else keeps it");
    bench.pass(1);
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Error));
}

#[test]
fn a_wish_ends_the_waiting() {
    let bench = bench(Retention::default());
    let publishing = begin(&bench, "a");
    assert_eq!(bench.hub.cancel(&name("a"), bench.now_ms), Ok((Standing::Cancelling, false)));
    assert!(publishing.end(true, bench.now_ms), "nobody is waited for");
    bench.place("a", Change::CloseIfDue, None).unwrap();
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Cancelled));
    begin(&bench, "b").end(true, bench.now_ms);
    assert_eq!(bench.hub.cancel(&name("b"), bench.now_ms), Ok((Standing::Cancelling, true)));
    bench.place("b", Change::CloseIfDue, None).unwrap();
    let standing = Standing::Closed(CloseReason::Cancelled);
    assert_eq!(bench.hub.standing(&name("b")), standing);
    assert_eq!(bench.hub.cancel(&name("b"), bench.now_ms), Ok((standing, false)));
    assert_eq!(bench.hub.wishes_total(WishedBy::Request), 2);
    // It ends with the life of the channel.
    bench.hub.cancel(&name("c"), bench.now_ms).unwrap();
    bench.delete("c");
    assert_eq!(bench.hub.standing(&name("c")), Standing::Open);
    bench.hub.cancel(&name("c"), bench.now_ms).unwrap();
    bench.place("c", Change::Finish, None).unwrap();
    assert_eq!(closed(&bench, "c"), Some(CloseReason::Cancelled));
}

#[test]
fn silence_and_age_end_channels() {
    let idle = Retention { channel_idle_ms_max: 10_000, ..Retention::default() };
    let old = Retention { channel_age_ms_max: 40_000, ..Retention::default() };
    let cases = [(idle, 30_000, 39_000, Overdue::Idle), (old, 39_000, 40_000, Overdue::Age)];
    for (retention, busy_until_ms, ends_ms, why) in cases {
        let mut bench = bench(retention);
        let began_ms = bench.now_ms;
        while bench.now_ms - began_ms < busy_until_ms {
            bench.publish("a", ["x"]);
            bench.pass(1_000);
        }
        bench.pass(ends_ms - 1 - busy_until_ms);
        assert_eq!(closed(&bench, "a"), None, "{why:?}");
        bench.pass(1);
        assert_eq!(closed(&bench, "a"), Some(CloseReason::Error), "{why:?}");
        assert_eq!(bench.hub.overdue_total(why), 1);
    }
}

#[test]
fn silence_and_age_end_what_is_wished_with_cancelled() {
    let idle = Retention { channel_idle_ms_max: 10_000, ..Retention::default() };
    let old = Retention { channel_age_ms_max: 10_000, ..Retention::default() };
    for (retention, why) in [(idle, Overdue::Idle), (old, Overdue::Age)] {
        let mut bench = bench(retention);
        bench.publish("a", ["1"]);
        assert_eq!(bench.hub.cancel(&name("a"), bench.now_ms), Ok((Standing::Cancelling, false)));
        bench.pass(9_999);
        assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling, "{why:?}");
        bench.pass(1);
        assert_eq!(closed(&bench, "a"), Some(CloseReason::Cancelled), "{why:?}");
        assert_eq!(bench.hub.overdue_total(why), 1);
    }
}

#[test]
fn who_streams_is_not_silent() {
    let mut bench = bench(Retention { channel_idle_ms_max: 10_000, ..Retention::default() });
    let publishing = begin(&bench, "a");
    bench.publish("a", ["1"]);
    bench.pass(60_000);
    publishing.end(false, bench.now_ms);
    bench.pass(9_999);
    assert_eq!(closed(&bench, "a"), None);
    bench.pass(1);
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Error));
}

#[test]
fn what_ends_channels_may_change_while_they_live() {
    let mut bench = bench(Retention::default());
    bench.publish("a", ["1"]);
    let _streamed = begin(&bench, "streamed");
    bench.pass(10_000);
    let retention = Retention { channel_age_ms_max: 10_000, ..Retention::default() };
    bench.hub.set_limits(&HubLimits { retention, ..HubLimits::default() });
    bench.pass(0);
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Error));
    assert_eq!(closed(&bench, "streamed"), Some(CloseReason::Error));
}

#[test]
fn a_stream_without_events_keeps_its_channel_and_leaves_nothing_behind() {
    let mut bench = bench(Retention { ring_age_ms: 1_000, ..Retention::default() });
    let publishing = begin(&bench, "a");
    drop(bench.live(&["a"], Start::Now));
    bench.pass(60_000);
    assert!(bench.hub.exists(&name("a")));
    publishing.end(false, bench.now_ms);
    assert_eq!((bench.hub.held().channels, bench.hub.held().scheduled), (0, 0));
    assert_eq!(bench.hub.removed_total(Removal::Unused), 1);
    // With a subscriber it goes with that one.
    let publishing = begin(&bench, "a");
    let subscription = bench.live(&["a"], Start::Now);
    drop(publishing);
    bench.pass(60_000);
    assert!(!bench.hub.exists(&name("a")));
    assert_eq!((bench.hub.held().channels, bench.hub.held().scheduled), (1, 0));
    drop(subscription);
    assert_eq!(bench.hub.held().channels, 0);
    // One that is closed takes none, and one that is gone either.
    bench.publish("b", ["1"]);
    let gone = bench.live(&["b"], Start::Now).feed().channels()[0].clone();
    assert!(bench.hub.publishing_on(&gone).is_some());
    bench.delete("b");
    assert!(bench.hub.publishing_on(&gone).is_none());
    bench.close("c");
    assert!(bench.hub.begin_publishing(&name("c"), bench.now_ms).unwrap().is_none());
}

#[test]
fn a_wish_keeps_a_channel_like_an_event() {
    let mut bench = bench(Retention { ring_age_ms: 1_000, ..Retention::default() });
    bench.hub.cancel(&name("a"), bench.now_ms).unwrap();
    drop(bench.live(&["a"], Start::Now));
    bench.pass(999);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling);
    bench.pass(251);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Open);
    assert_eq!((bench.hub.held().channels, bench.hub.held().scheduled), (0, 0));
    // It is not forgotten while somebody streams, and no longer than that.
    let publishing = begin(&bench, "a");
    bench.hub.cancel(&name("a"), bench.now_ms).unwrap();
    bench.pass(60_000);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling);
    publishing.end(false, bench.now_ms);
    bench.pass(60_000);
    assert_eq!(bench.hub.held().channels, 0);
}

#[test]
fn a_wish_leaves_what_is_remembered_of_an_earlier_life() {
    let bench = bench(Retention::default());
    let seen = bench.publish("a", ["1"]);
    bench.delete("a");
    let id = bench.hub.id(seen).to_string();
    bench.hub.cancel(&name("a"), bench.now_ms).unwrap();
    assert!(bench.is_finished(&["a"], Start::After(id.clone())), "nothing new was published");
    bench.publish("a", ["2"]);
    assert!(!bench.is_finished(&["a"], Start::After(id)));
    assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling);
}

#[test]
fn what_nobody_watches_any_more_is_cancelled() {
    let mut bench = bench(Retention { unwatched_ms_max: 8_000, ..Retention::default() });
    let publishing = begin(&bench, "a");
    bench.publish("a", ["1"]);
    bench.pass(60_000);
    let standing = |bench: &Bench| bench.hub.standing(&name("a"));
    assert_eq!(standing(&bench), Standing::Open, "nobody ever watched");
    // Somebody who came and went.
    drop(bench.live(&["a"], Start::Now));
    bench.pass(1_000);
    bench.pass(7_000);
    assert_eq!(standing(&bench), Standing::Open);
    let Subscribed::Live(back) = bench.subscribe(&request(&["*"], Start::Now)) else { panic!() };
    bench.pass(60_000);
    assert_eq!(standing(&bench), Standing::Open, "a pattern watches, too");
    drop(back);
    bench.pass(1_000);
    bench.pass(7_999);
    assert_eq!(standing(&bench), Standing::Open);
    bench.pass(1_000);
    assert_eq!(standing(&bench), Standing::Cancelling);
    assert_eq!(bench.hub.wishes_total(WishedBy::Unwatched), 1);
    drop(publishing);
    // Only what is streamed to is cancelled.
    bench.publish("b", ["1"]);
    drop(bench.live(&["b"], Start::Now));
    bench.pass(60_000);
    assert_eq!(bench.hub.standing(&name("b")), Standing::Open);
}

#[test]
fn who_came_and_went_between_two_looks_has_watched() {
    let mut bench = bench(Retention { unwatched_ms_max: 8_000, ..Retention::default() });
    let _publishing = begin(&bench, "a");
    drop(bench.live(&["a"], Start::Now));
    bench.pass(1_000);
    bench.pass(8_000);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling);
}

#[test]
fn who_watched_an_earlier_stream_does_not_count_for_the_next() {
    let grace = Retention { producer_grace_ms: 60_000, ..Retention::default() };
    let mut bench = bench(Retention { unwatched_ms_max: 8_000, ..grace });
    let publishing = begin(&bench, "a");
    bench.publish("a", ["1"]);
    drop(bench.live(&["a"], Start::Now));
    publishing.end(false, bench.now_ms);
    let next = begin(&bench, "a");
    bench.pass(1_000);
    bench.pass(60_000);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Open, "nobody watched this one");
    // One that goes on with what broke off is the same stream.
    drop(bench.live(&["a"], Start::Now));
    next.end(true, bench.now_ms);
    let _same = begin(&bench, "a");
    bench.pass(1_000);
    bench.pass(8_000);
    assert_eq!(bench.hub.standing(&name("a")), Standing::Cancelling);
}

#[test]
fn a_stream_that_ends_does_not_make_a_deleted_channel_anew() {
    let bench = bench(Retention::default());
    let publishing = begin(&bench, "a");
    bench.publish("a", ["1"]);
    bench.delete("a");
    let refused = bench.place("a", Change::Finish, None).unwrap_err();
    assert_eq!((refused, bench.hub.held().channels), (Refusal::NoChannel, 0));
    // Nor does it end what others wait for under that name.
    let _waiting = bench.live(&["a"], Start::Now);
    assert_eq!(bench.place("a", Change::Finish, None).unwrap_err(), Refusal::NoChannel);
    assert_eq!(closed(&bench, "a"), None);
    // What it published since is its own again.
    bench.publish("a", ["2"]);
    bench.place("a", Change::Finish, None).unwrap();
    assert_eq!(closed(&bench, "a"), Some(CloseReason::Done));
    publishing.end(false, bench.now_ms);
}

#[test]
fn what_is_for_one_life_of_a_channel_does_nothing_in_another() {
    let bench = bench(Retention::default());
    let publishing = begin(&bench, "a");
    let instance = Some(publishing.channel().instance());
    let place = |change: Change, key: Option<&str>, producer: Option<&str>| {
        let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
        let of = |id| Producer { id: ProducerId::parse(id).unwrap(), epoch: 0, seq: 0 };
        let (channel, producer, now_us) = (name("a"), producer.map(of), bench.now_ms * 1_000);
        bench.broker.place(Publication { channel, change, instance, producer, key, now_us })
    };
    let refuses = |change, key, producer| {
        assert_eq!(place(change, key, producer).unwrap_err(), Refusal::NoChannel);
    };
    let refuses_all = || {
        let done = CloseReason::Done;
        let last = Change::Event(Draft::new(None, "x"), Some(done));
        for change in [event("x"), last, Change::Close(done), Change::CloseIfDue] {
            refuses(change, None, None);
        }
        refuses(Change::Finish, None, None);
        refuses(Change::Delete, None, None);
        refuses(Change::Claim, None, Some("q"));
        refuses(event("x"), Some("l"), None);
        // What was done before is not answered either.
        refuses(event("1"), Some("k"), None);
        refuses(event("2"), None, Some("p"));
    };
    place(event("1"), Some("k"), None).unwrap();
    place(event("2"), None, Some("p")).unwrap();
    let deleted = bench.delete("a");
    refuses_all();
    assert_eq!((bench.hub.watermark(), bench.hub.held().channels), (deleted, 0));
    // Nor does it end or change what others began under that name.
    let seq = bench.publish("a", ["3"]);
    refuses_all();
    assert_eq!((bench.hub.watermark(), closed(&bench, "a")), (seq, None));
    assert!(bench.hub.producer(&name("a"), "q").is_none());
    assert_eq!(bench.seen(&["a"], Start::Beginning), live(["4 3"]));
    assert!(!bench.place("a", event("x"), Some("l")).unwrap().duplicate, "the key is not taken");
    publishing.end(false, bench.now_ms);
}

#[test]
fn a_status_says_since_when() {
    let mut bench = bench(Retention::default());
    let info = |bench: &Bench| bench.hub.channel(&name("a")).unwrap();
    let _subscription = bench.live(&["a"], Start::Now);
    assert_eq!((info(&bench).created_at_ms, info(&bench).updated_at_ms), (None, None));
    bench.now_ms = 2_000;
    let publishing = begin(&bench, "a");
    bench.now_ms = 3_000;
    bench.publish("a", ["1"]);
    assert_eq!(
        (info(&bench).created_at_ms, info(&bench).updated_at_ms),
        (Some(2_000), Some(3_000))
    );
    bench.now_ms = 4_000;
    bench.hub.cancel(&name("a"), bench.now_ms).unwrap();
    assert_eq!(info(&bench).updated_at_ms, Some(4_000));
    bench.now_ms = 5_000;
    bench.place("a", event("2"), None).unwrap();
    bench.place("a", Change::Finish, None).unwrap();
    publishing.end(false, bench.now_ms);
    let info = info(&bench);
    assert_eq!((info.closed_at_ms, info.updated_at_ms), (Some(5_000), Some(5_000)));
    assert_eq!((info.created_at_ms, info.events_total), (Some(2_000), 2));
    assert_eq!(info.bytes_total, bench.hub.published_bytes_total());
}
