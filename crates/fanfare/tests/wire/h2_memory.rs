//! What a peer makes the hub hold over HTTP/2 has a bound, and is counted.

use crate::{
    NDJSON,
    h2_client::{Connection, Sender, soon},
    metric, metric_becomes, publish,
    support::{http::Client, hub::Hub},
};

#[test]
fn the_hub_offers_the_windows_that_it_counts() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.public());
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    let mut bytes = client.bytes().unwrap();
    let (mut stream_window, mut connection_window) = (None, None);
    while stream_window.is_none() || connection_window.is_none() {
        let whole = bytes.len() >= 9 && bytes.len() >= 9 + usize::from(bytes[2]);
        if !whole {
            bytes.extend(client.bytes().unwrap());
            continue;
        }
        let rest = bytes.split_off(9 + usize::from(bytes[2]));
        let frame = std::mem::replace(&mut bytes, rest);
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match frame[3] {
            4 => {
                let settings: Vec<_> = frame[9..].chunks(6).collect();
                let window = settings.iter().find(|setting| setting[..2] == [0, 4]);
                if let Some(setting) = window {
                    stream_window = Some(number(&setting[2..]));
                }
            }
            8 => connection_window = Some(65_535 + number(&frame[9..])),
            _ => {}
        }
    }
    assert_eq!((stream_window, connection_window), (Some(64 << 10), Some(1 << 20)));
}

#[tokio::test]
async fn what_a_body_may_leave_unread_is_counted() {
    let hub = Hub::start(&["--publish-rate-max", "1"]);
    let h2 = Connection::open(&hub).await;
    let sockets = || metric(&hub, "fanfare_memory_used_bytes{share=\"sockets\"}");
    let mut stream = h2.subscribe("/channels/a?open=0", &[]).await;
    let before = sockets();
    assert!(before < 40_000.0, "a stream without a body holds none: {before}");
    let (sender, body) = Sender::new();
    let headers = [("content-type", NDJSON)];
    let publish = Box::pin(h2.ask("POST", "/channels/a", &headers, body));
    let looks = async {
        sender.send("{\"data\":\"1\"}\n").await;
        assert_eq!(stream.event().await.data, "1");
        let held = sockets() - before;
        assert!((65_536.0..80_000.0).contains(&held), "{held}");
        drop(sender);
    };
    let (answer, ()) = soon(Box::pin(async { tokio::join!(publish, looks) })).await;
    assert_eq!(answer.status(), 200);
    drop(answer);
    metric_becomes(&hub, "fanfare_memory_used_bytes{share=\"sockets\"}", before);
}

#[tokio::test]
async fn streams_that_take_nothing_hold_no_more_than_their_share() {
    let hub = Hub::start(&["--memory-max", "64MiB", "--write-stall-max", "2s"]);
    publish(&hub, "a", "x".repeat(250_000));
    let pinned = "fanfare_memory_used_bytes{share=\"pinned\"}";
    let bytes_max = metric(&hub, "fanfare_memory_max_bytes{share=\"pinned\"}");
    let resident = metric(&hub, "process_resident_memory_bytes");
    // Their heartbeats fit the window, and of the event a few bytes.
    let h2 = Connection::with_window(&hub, 64).await;
    let mut streams = Vec::new();
    for index in 0..120 {
        // No two read the same, so each has a copy of its own.
        let target = format!("/events?channel=a&channel=x{index}&from=start&open=0");
        streams.push(h2.subscribe(&target, &[]).await);
        let held = metric(&hub, pinned);
        assert!(held < bytes_max + 2.0 * 260_000.0, "{held}");
    }
    let grown = metric(&hub, "process_resident_memory_bytes") - resident;
    assert!(grown < 12e6, "120 copies are 30 MB, and it grew by {grown}");
    // One that takes what it gets comes through, on another connection.
    let other = Connection::open(&hub).await;
    let mut reads = other.subscribe("/events?channel=a&channel=b&from=start&open=0", &[]).await;
    assert_eq!(reads.event().await.data.len(), 250_000);
    metric_becomes(&hub, "fanfare_subscribers{protocol=\"http2\"}", 1.0);
    metric_becomes(&hub, pinned, 0.0);
    assert_eq!(metric(&hub, "fanfare_connections{protocol=\"http2\"}"), 2.0, "all stay");
    drop(streams);
}
