//! Which of several places a subscription begins at.

use crate::{
    publish,
    support::{hub::Hub, sse::Stream},
};

#[test]
fn header_then_forms_then_from_then_last() {
    let hub = Hub::start(&[]);
    let ids: Vec<_> = (0..6).map(|n| publish(&hub, "a", n.to_string())).collect();
    let id = |n: usize| ids[n].as_str();
    let (form, from) = (format!("last_event_id={}", id(2)), format!("from={}", id(3)));
    let all = format!("{form}&{from}&last=1");
    let rows = [
        // The header, the query, the first event.
        (Some(id(0)), all.clone(), "1"),
        (Some(id(0)), "last=1&from=start".to_owned(), "1"),
        (Some(""), all.clone(), "3"),
        (None, all, "3"),
        (None, format!("{from}&last=1"), "4"),
        (None, "from=start&last=1".to_owned(), "0"),
        (None, "last=1".to_owned(), "5"),
        (None, format!("last_event_id=&{from}"), "4"),
        (Some(""), format!("last_event_id=&{from}"), "4"),
        (Some(""), "from=start".to_owned(), "0"),
    ];
    for (header, query, first) in rows {
        let target = format!("/channels/a?open=0&{query}");
        let headers: Vec<_> = header.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        let mut stream = Stream::open_with(hub.public(), &target, &headers);
        assert_eq!(stream.event().data, first, "{header:?} {query}");
    }
}

#[test]
fn every_form_of_the_parameter_is_taken() {
    let hub = Hub::start(&[]);
    let id = publish(&hub, "a", "0");
    publish(&hub, "a", "1");
    for form in ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"] {
        let target = format!("/channels/a?open=0&from=start&{form}={id}");
        assert_eq!(Stream::open(hub.public(), &target).event().data, "1", "{form}");
        let mut garbage = Stream::open(hub.public(), &format!("/channels/a?open=0&{form}=x"));
        assert_eq!(garbage.event().kind(), "fanfare.gap", "{form}");
    }
}

#[test]
fn a_url_with_from_start_does_not_replay_on_each_reconnect() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "0");
    let mut stream = Stream::open(hub.public(), "/channels/a?from=start");
    let last = stream.events(2)[1].id().to_owned();
    drop(stream);
    publish(&hub, "a", "1");
    let header = [("Last-Event-ID", last.as_str())];
    let mut back = Stream::open_with(hub.public(), "/channels/a?from=start&open=0", &header);
    assert_eq!(back.event().data, "1");
}
