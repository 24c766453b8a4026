//! Events that nobody may publish: types with line breaks and the hub's own types.

use crate::{
    NDJSON, SSE, kept, problem, publish, send,
    support::{http::post, hub::Hub, sse::Stream},
};

#[test]
fn an_event_type_is_one_line() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for encoded in ["a%0Ab", "a%0Db", "a%0D%0Adata:%20x", "%0A", "a%00b", &"t".repeat(256)] {
        let answer = post(hub.public(), &format!("/channels/a?event={encoded}"), "x");
        problem(&answer, 400, "event-type");
    }
    for escaped in ["a\\nb", "a\\rb", "a\\r\\nid: 7", "\\n"] {
        let line = format!("{{\"data\":\"x\",\"event\":\"{escaped}\"}}\n");
        let told = problem(&send(&hub, "/channels/a", NDJSON, line), 400, "event-type");
        assert_eq!((&told["line"], &told["accepted"]), (&1.into(), &0.into()));
    }
    publish(&hub, "a", "fine");
    assert_eq!(stream.event().data, "fine");
}

#[test]
fn the_hubs_own_types_are_refused_in_every_form() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    for kind in ["fanfare.open", "fanfare.gap", "fanfare.end", "fanfare.reconnect", "fanfare."] {
        let answer = post(hub.public(), &format!("/channels/a?event={kind}"), "x");
        problem(&answer, 400, "event-type");
        let lines = format!("{{\"data\":\"before\"}}\n{{\"data\":\"x\",\"event\":\"{kind}\"}}\n");
        let told = problem(&send(&hub, "/channels/a", NDJSON, lines), 400, "event-type");
        assert_eq!((&told["line"], &told["accepted"]), (&2.into(), &1.into()));
        assert_eq!(stream.event().data, "before");
        let blocks = format!("data: before\n\nevent: {kind}\nretry: 1\ndata: {{}}\n\n");
        let told = problem(&send(&hub, "/channels/a", SSE, blocks), 400, "event-type");
        assert_eq!((&told["line"], &told["accepted"]), (&3.into(), &1.into()));
        assert_eq!(stream.event().data, "before");
        // As the default type of a body of many.
        let target = format!("/channels/a?event={kind}");
        problem(&send(&hub, &target, NDJSON, "{\"data\":1}\n"), 400, "event-type");
    }
    assert_eq!(kept(&hub, "a").len(), 10);
}

#[test]
fn data_cannot_smuggle_lines_in() {
    let hub = Hub::start(&[]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    let forged = "x\n\nid: 7\nevent: fanfare.end\ndata: {}\n\n";
    let id = publish(&hub, "a", forged);
    let event = stream.event();
    assert_eq!((event.id(), event.kind(), event.data.as_str()), (id.as_str(), "", forged));
    let line = "{\"data\":\"x\\r\\revent: fanfare.gap\\ndata: {}\"}\n";
    assert_eq!(send(&hub, "/channels/a", NDJSON, line).status(), 200);
    let event = stream.event();
    assert_eq!((event.kind(), event.data.as_str()), ("", "x\n\nevent: fanfare.gap\ndata: {}"));
}
