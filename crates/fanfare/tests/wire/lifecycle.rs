//! What ends channels that their publishers forgot, and how a channel that is not there is told
//! from one that has nothing yet.

use serde_json::json;

use crate::{
    NDJSON,
    close::is_end,
    h2_client::Connection,
    history, metric, metric_becomes,
    ndjson::streaming,
    problem, publish, send,
    status::status,
    support::{
        eventually,
        http::{Chunk, call, get, post},
        hub::Hub,
        sse::{End, Stream},
    },
};

#[test]
fn a_channel_that_never_was_or_has_expired_is_404_if_it_must_exist() {
    let hub = Hub::start(&["--ring-age", "1s", "--closed-retention", "2m"]);
    let id = publish(&hub, "expired", "1");
    eventually("it expires", || status(&hub, "expired").is_null().then_some(()));
    let _waiting = Stream::open(hub.public(), "/channels/waited");
    for channel in ["never", "waited", "expired"] {
        for query in
            ["must_exist", "must_exist=1&from=start", &format!("must_exist&last_event_id={id}")]
        {
            for target in [
                format!("/channels/{channel}?{query}"),
                format!("/events?channel={channel}&channel=all/*&{query}"),
            ] {
                problem(&get(hub.public(), &target), 404, "channel-not-found");
            }
        }
        let json = [("Accept", "application/json")];
        let page = format!("/channels/{channel}?must_exist");
        problem(&call(hub.public(), "GET", &page, &json, b""), 404, "channel-not-found");
    }
    // Nothing was made by asking.
    assert_eq!(metric(&hub, "fanfare_channels"), 1.0, "the one that is waited for");
    assert_eq!(metric(&hub, "fanfare_subscribes_total{result=\"missing\"}"), 18.0);
    // It is as if it was not asked for.
    let mut stream = Stream::open(hub.public(), "/channels/never?must_exist=0&open=0");
    publish(&hub, "never", "1");
    assert_eq!(stream.event().data, "1");
    problem(&get(hub.public(), "/channels/a?must_exist=yes"), 400, "query");
}

#[test]
fn whatever_is_there_exists() {
    let hub = Hub::start(&[]);
    let last = publish(&hub, "event", "1");
    post(hub.public(), "/channels/ended?close", "");
    post(hub.public(), "/cancel/wished", "");
    let mut publisher = streaming(&hub, "/channels/streamed", NDJSON);
    eventually("the head is there", || (!status(&hub, "streamed").is_null()).then_some(()));
    for channel in ["event", "ended", "wished", "streamed"] {
        let target = format!("/channels/{channel}?must_exist&from=start");
        let mut stream = Stream::open(hub.public(), &target);
        assert_eq!(stream.event().kind(), "fanfare.open", "{channel}");
    }
    let all = "/events?must_exist&channel=event&channel=streamed&channel=no/*&open=0";
    let mut stream = Stream::open(hub.public(), all);
    publisher.send_chunk("{\"data\":\"2\"}\n");
    assert_eq!(stream.event().data, "2");
    let one_of_two = "/events?must_exist&channel=event&channel=none";
    problem(&get(hub.public(), one_of_two), 404, "channel-not-found");
    // Who has seen everything is told so.
    post(hub.public(), "/channels/event?close", "");
    let target = format!("/channels/event?must_exist&last_event_id={last}");
    assert_eq!(get(hub.public(), &target).status(), 204);
}

#[tokio::test]
async fn must_exist_is_the_same_over_http2() {
    let hub = Hub::start(&[]);
    let h2 = Connection::open(&hub).await;
    let (status, told) = h2.call("GET", "/channels/a?must_exist", &[], "").await;
    assert_eq!(status, 404);
    assert!(told.contains("channel-not-found"), "{told}");
    h2.publish("a", "1").await;
    let mut stream = h2.subscribe("/channels/a?must_exist&from=start&open=0", &[]).await;
    assert_eq!(stream.event().await.data, "1");
}

#[test]
fn silence_closes_a_channel() {
    let hub = Hub::start(&["--channel-idle-max", "1s"]);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    publish(&hub, "a", "1");
    assert_eq!(stream.event().data, "1");
    is_end(&stream.event(), &["a"], "error");
    assert_eq!(stream.end(), End::Clean);
    let told = status(&hub, "a");
    let lived = told["closed_at"].as_u64().unwrap() - told["created_at"].as_u64().unwrap();
    assert!(lived >= 1_000, "{told}");
    metric_becomes(&hub, "fanfare_channels_overdue_total{cause=\"idle\"}", 1.0);
    // One that is only waited for is not there yet, and so not silent.
    let mut waiting = Stream::open(hub.public(), "/channels/b?open=0");
    publish(&hub, "c", "1");
    eventually("the other is closed", || (history(&hub, "c")["closed"] == "error").then_some(()));
    publish(&hub, "b", "1");
    assert_eq!(waiting.event().data, "1");
}

#[test]
fn who_streams_is_not_silent() {
    let hub = Hub::start(&["--channel-idle-max", "1s"]);
    let mut publisher = streaming(&hub, "/channels/a", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    publish(&hub, "b", "1");
    eventually("another is closed", || (history(&hub, "b")["closed"] == "error").then_some(()));
    publish(&hub, "c", "1");
    eventually("and one more", || (history(&hub, "c")["closed"] == "error").then_some(()));
    assert_eq!(status(&hub, "a")["state"], "open");
    publisher.send_chunk("");
    publisher.answer();
    let ended_at = status(&hub, "a")["updated_at"].as_u64().unwrap();
    eventually("now it is silent", || (history(&hub, "a")["closed"] == "error").then_some(()));
    assert!(status(&hub, "a")["closed_at"].as_u64().unwrap() >= ended_at + 2_000);
}

#[test]
fn age_closes_a_channel_however_busy() {
    let hub = Hub::start(&["--channel-age-max", "1s"]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream&close=on-end", NDJSON);
    let mut stream = Stream::open(hub.public(), "/channels/a?open=0");
    publisher.send_chunk("{\"data\":1}\n");
    stream.event();
    is_end(&stream.event(), &["a"], "error");
    publisher.send_chunk("{\"data\":2}\n");
    publisher.head();
    let Chunk::Data(_ack) = publisher.chunk() else { panic!("no ack") };
    let Chunk::Data(refused) = publisher.chunk() else { panic!("no answer") };
    assert!(String::from_utf8_lossy(&refused).contains("channel-closed"));
    let told = status(&hub, "a");
    let lived = told["closed_at"].as_u64().unwrap() - told["created_at"].as_u64().unwrap();
    assert!((1_000..60_000).contains(&lived), "{told}");
    metric_becomes(&hub, "fanfare_channels_overdue_total{cause=\"age\"}", 1.0);
}

#[test]
fn a_stream_that_ends_does_not_bring_a_deleted_channel_back() {
    let hub = Hub::start(&[]);
    let mut publisher = streaming(&hub, "/channels/a?acks=stream&close=on-end", NDJSON);
    publisher.send_chunk("{\"data\":1}\n");
    publisher.head();
    let Chunk::Data(_ack) = publisher.chunk() else { panic!("no ack") };
    call(hub.public(), "DELETE", "/channels/a", &[], b"");
    publisher.send_chunk("");
    assert_eq!(publisher.chunk(), Chunk::Last, "its end is no failure");
    assert!(status(&hub, "a").is_null());
    problem(&get(hub.public(), "/channels/a?must_exist"), 404, "channel-not-found");
}

#[test]
fn what_nobody_watches_any_more_is_cancelled() {
    let hub = Hub::start(&["--unwatched-max", "400ms"]);
    // One that nobody ever watched goes on.
    let mut alone = streaming(&hub, "/channels/alone?acks=stream", NDJSON);
    alone.head();
    let mut publisher = streaming(&hub, "/channels/a?acks=stream&close=on-end", NDJSON);
    publisher.head();
    let stream = Stream::open(hub.public(), "/channels/a?open=0");
    drop(stream);
    assert_eq!(publisher.chunk(), Chunk::Data("{\"cancel\":true}\n".into()));
    assert_eq!(status(&hub, "a")["state"], "cancelling");
    publisher.send_chunk("");
    assert_eq!(publisher.chunk(), Chunk::Last);
    assert_eq!(status(&hub, "a")["reason"], "cancelled");
    assert_eq!(status(&hub, "alone")["state"], "open");
    assert_eq!(metric(&hub, "fanfare_cancels_total{cause=\"unwatched\"}"), 1.0);
}

#[test]
fn what_somebody_watches_goes_on() {
    let hub = Hub::start(&["--unwatched-max", "400ms"]);
    let forms = [("/channels/a?open=0", "a"), ("/events?channel=p/*&open=0", "p/1")];
    for (target, channel) in forms {
        let mut publisher = streaming(&hub, &format!("/channels/{channel}?acks=stream"), NDJSON);
        publisher.head();
        let stream = Stream::open(hub.public(), target);
        // For as long as another takes to be cancelled.
        let mut other = streaming(&hub, &format!("/channels/other/{channel}?acks=stream"), NDJSON);
        other.head();
        drop(Stream::open(hub.public(), &format!("/channels/other/{channel}")));
        assert_eq!(other.chunk(), Chunk::Data("{\"cancel\":true}\n".into()));
        assert_eq!(status(&hub, channel)["state"], "open", "{target}");
        drop(stream);
        let wish = publisher.chunk();
        assert_eq!(wish, Chunk::Data("{\"cancel\":true}\n".into()), "{target}");
    }
}

#[test]
fn what_ends_channels_may_be_said_for_some_and_changed() {
    let toml =
        |idle: &str| format!("[[channels]]\npattern = \"chat/*\"\nchannel_idle_max = \"{idle}\"\n");
    let hub = Hub::configured(&toml("1h"), &[]);
    publish(&hub, "chat/1", "1");
    publish(&hub, "other", "1");
    hub.reconfigure(&toml("1s"));
    eventually("it is closed", || (history(&hub, "chat/1")["closed"] == "error").then_some(()));
    assert_eq!(history(&hub, "other")["closed"], json!(null));
    send(&hub, "/channels/other", NDJSON, "{\"data\":1}\n");
}
