//! Lists of channels, however many there are.

use serde_json::{Value, json};

use crate::{
    NDJSON, publish,
    support::{
        DEADLINE,
        http::{Client, get},
        hub::Hub,
        sse::Stream,
    },
};

/// As many as the console and the command line are to bear.
const CHANNELS: usize = 100_000;

#[test]
fn a_hundred_thousand_channels_are_listed_searched_and_sorted() {
    let hub = Hub::start(&["--channels-max", "100000", "--journal-events-max", "200000"]);
    let line = |n| format!("{{\"channel\":\"room/{n:06}\",\"data\":\"x\"}}\n");
    let body: String = (0..CHANNELS).map(line).collect();
    let mut client = Client::connect(hub.public());
    client.set_patience(4 * DEADLINE);
    client.request("POST", "/events", &[("Content-Type", NDJSON)], body.as_bytes());
    assert_eq!(client.answer().json()["accepted"], CHANNELS);
    let _stream = Stream::open(hub.public(), "/channels/room/070000");
    publish(&hub, "room/050000", "x".repeat(1_000));
    let list = |query: &str| get(hub.admin(), &format!("/api/channels?{query}")).json();
    for (sort, first) in [
        ("name", "room/000000"),
        ("subscribers", "room/070000"),
        ("events", "room/050000"),
        ("bytes", "room/050000"),
    ] {
        let page = list(&format!("sort={sort}&limit=2"));
        assert_eq!(
            (&page["channels"][0]["channel"], &page["total"]),
            (&json!(first), &json!(CHANNELS))
        );
        let next = page["next"].as_str().unwrap();
        let following = list(&format!("sort={sort}&limit=1000&after={next}"));
        let names = |page: &Value| -> Vec<String> {
            let channels = page["channels"].as_array().unwrap().iter();
            channels.map(|c| c["channel"].as_str().unwrap().to_owned()).collect()
        };
        let (page, following) = (names(&page), names(&following));
        assert_eq!(following.len(), 1_000, "{sort}");
        assert!(following.iter().all(|name| !page.contains(name)), "{sort}");
    }
    let found = list("contains=4242&sort=name&limit=1000");
    let expected = (0..CHANNELS).filter(|n| format!("{n:06}").contains("4242")).count();
    assert_eq!(
        (found["channels"].as_array().unwrap().len(), &found["total"]),
        (expected, &json!(expected))
    );
    assert_eq!(list("prefix=room/0999&limit=1")["total"], 100);
    assert_eq!(list("prefix=room/0999&contains=9990&limit=5")["total"], 11);
    assert_eq!(list("contains=none")["channels"], json!([]));
    // Who publishes meanwhile is answered.
    let mut lists = Client::connect(hub.admin());
    for _ in 0..10 {
        lists.request("GET", "/api/channels?sort=bytes&limit=1000", &[], b"");
        publish(&hub, "room/000001", "x");
        assert_eq!(lists.answer().status(), 200);
    }
}
