//! The history of a channel as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    beside, problem, publish, publish_many,
    support::{
        http::{Answer, call, post},
        hub::Hub,
        sse::Stream,
    },
};

#[test]
fn a_page_is_exactly_what_is_promised() {
    let hub = Hub::start(&[]);
    let before = now_ms();
    let first = publish(&hub, "gr%C3%B6%C3%9Fe/a%20b", "line 1\r\nline 2\n");
    let second = post(hub.public(), "/channels/gr%C3%B6%C3%9Fe/a%20b?event=t", "");
    let after = now_ms();
    let answer = ask(&hub, "/channels/gr%C3%B6%C3%9Fe/a%20b");
    assert_eq!((answer.status(), answer.get("content-type")), (200, Some("application/json")));
    let mut page = answer.json();
    for event in page["events"].as_array_mut().unwrap() {
        let published_at = event["published_at"].take().as_u64().unwrap();
        assert!((before..=after).contains(&published_at), "{published_at}");
    }
    let second = second.json()["id"].clone();
    let expected = json!({
        "channel": "größe/a b",
        "events": [
            {"id": first, "event": null, "data": "line 1\nline 2\n", "published_at": null},
            {"id": second, "event": "t", "data": "", "published_at": null},
        ],
        "next": second,
        "gap": null,
        "closed": null,
    });
    assert_eq!(page, expected);
}

#[test]
fn pages_follow_each_other() {
    let hub = Hub::start(&[]);
    let last = publish_many(&hub, "a", 250);
    publish_many(&hub, "b", 5);
    let (mut seen, mut next, mut pages) = (Vec::new(), String::from("start"), 0);
    loop {
        let page = ask(&hub, &format!("/channels/a?from={next}")).json();
        assert_eq!(page["gap"], Value::Null);
        let data = data(&page);
        if data.is_empty() {
            break;
        }
        pages += 1;
        seen.extend(data);
        next = page["next"].as_str().unwrap().to_owned();
    }
    let expected: Vec<_> = (1..=250).map(|n: usize| n.to_string()).collect();
    assert_eq!((pages, seen), (3, expected));
    // A subscriber goes on where the pages end.
    let mut stream = Stream::open(hub.public(), &format!("/channels/a?open=0&from={next}"));
    publish(&hub, "a", "live");
    assert_eq!(stream.event().data, "live");
    assert!(crate::seq(&next) >= crate::seq(&last));
}

#[test]
fn from_last_and_limit_choose_events() {
    let hub = Hub::start(&[]);
    let last = publish_many(&hub, "a", 150);
    let third_last = format!("from={}", beside(&last, -3));
    for (query, first, count) in [
        ("", 1, 100),
        ("limit=1", 1, 1),
        ("limit=1000", 1, 150),
        ("from=start&limit=2", 1, 2),
        ("last=3", 148, 3),
        ("last=1000&limit=1000", 1, 150),
        ("last=0", 0, 0),
        ("from=now", 0, 0),
        (&third_last, 148, 3),
    ] {
        let data = data(&ask(&hub, &format!("/channels/a?{query}")).json());
        assert_eq!(data.len(), count, "{query}");
        assert!(count == 0 || data[0] == first.to_string(), "{query}");
    }
}

#[test]
fn a_page_of_large_events_is_cut_and_goes_on() {
    let hub = Hub::start(&[]);
    let big = "x".repeat(100_000);
    (0..30).for_each(|_| drop(publish(&hub, "a", &big)));
    let (mut seen, mut next, mut pages) = (0, String::from("start"), 0);
    while seen < 30 {
        let answer = ask(&hub, &format!("/channels/a?from={next}&limit=1000"));
        assert!(answer.body.len() < 4 << 20, "{}", answer.body.len());
        let page = answer.json();
        let events = data(&page);
        assert!(!events.is_empty() && page["gap"].is_null(), "a page has an event at least");
        assert!(events.iter().all(|data| *data == big));
        seen += events.len();
        pages += 1;
        next = page["next"].as_str().unwrap().to_owned();
    }
    assert!(seen == 30 && pages < 30, "{seen} events in {pages} pages");
}

#[test]
fn wrong_questions_are_400() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    for query in
        ["limit=0", "limit=1001", "limit=", "limit=x", "from=x", "from=", "last=-1", "last=x"]
    {
        problem(&ask(&hub, &format!("/channels/a?{query}")), 400, "query");
    }
    problem(&ask(&hub, "/channels/none"), 404, "channel-not-found");
    problem(&ask(&hub, "/channels/a/"), 400, "channel-name");
}

#[test]
fn a_gap_is_told() {
    let hub = Hub::configured("ring_events = 3\n", &[]);
    let first = publish(&hub, "a", "0");
    publish_many(&hub, "a", 6);
    let page = ask(&hub, &format!("/channels/a?from={first}")).json();
    let gap = json!({
        "requested": first, "resumed_after": beside(&first, 3), "reason": "evicted",
    });
    assert_eq!((&page["gap"], data(&page)), (&gap, vec!["4".into(), "5".into(), "6".into()]));
    let page = ask(&hub, "/channels/a?from=zzzzzzzz-1").json();
    assert_eq!((&page["gap"]["reason"], data(&page).len()), (&"epoch".into(), 3));
    let page = ask(&hub, &format!("/channels/a?from={}", beside(&first, 3))).json();
    assert_eq!((&page["gap"], data(&page).len()), (&Value::Null, 3));
    assert_eq!(ask(&hub, "/channels/a?from=start").json()["gap"], Value::Null);
}

#[test]
fn a_closed_channel_says_so() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close=error", "");
    let page = ask(&hub, "/channels/a").json();
    assert_eq!((&page["closed"], data(&page)), (&"error".into(), vec!["1".into()]));
    let after = page["next"].as_str().unwrap();
    let page = ask(&hub, &format!("/channels/a?from={after}"));
    assert_eq!((page.status(), &page.json()["closed"]), (200, &"error".into()));
}

#[test]
fn looking_makes_no_channel() {
    let hub = Hub::start(&[]);
    for n in 0..5 {
        assert_eq!(ask(&hub, &format!("/channels/none/{n}")).status(), 404);
    }
    assert_eq!(crate::metric(&hub, "fanfare_channels"), 0.0);
    let stream = Stream::open(hub.public(), "/channels/a");
    let page = ask(&hub, "/channels/a").json();
    assert_eq!(data(&page), [""; 0]);
    drop(stream);
    crate::metric_becomes(&hub, "fanfare_channels", 0.0);
}

fn ask(hub: &Hub, target: &str) -> Answer {
    call(hub.public(), "GET", target, &[("Accept", "application/json")], b"")
}

fn data(page: &Value) -> Vec<String> {
    let data = |event: &Value| event["data"].as_str().unwrap().to_owned();
    page["events"].as_array().unwrap().iter().map(data).collect()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
