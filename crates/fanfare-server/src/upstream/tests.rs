//! Fetches from a scripted upstream, on a hub without listeners.

use std::{
    future::ready,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use fanfare_core::{Broker, Change, CloseReason, MemoryBroker, Publication, Published};
use hyper::{HeaderMap, header, header::HeaderName};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{connect::connect, lookups::Lookups, *};
use crate::{
    config::Config,
    limits::UPSTREAM_LOOKUPS_MAX,
    metrics::{Metrics, Reached},
    problem::{Kind, Problem},
    query::Query,
    state::State,
    testing,
    upload::Upload,
};

/// Patience that no test uses up unless it means to.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(20),
    first_byte: Duration::from_secs(20),
    idle: Duration::from_secs(20),
    total: Duration::from_secs(20),
};

fn upstream(url: &str) -> Upstream {
    let authorization = HeaderName::from_static("authorization");
    Upstream {
        name: "u".to_owned(),
        url: UpstreamUrl::parse(url).unwrap(),
        headers: vec![UpstreamHeader::new(authorization, "Bearer ", "hunter22").unwrap()],
        paths: vec![PathRule::parse("v1/*").unwrap()],
        allow_private: true,
        tls: None,
        patience: PATIENT,
    }
}

fn state(upstream: Upstream) -> Arc<State> {
    testing::state_with(Config { upstreams: vec![Arc::new(upstream)], ..testing::config() })
}

async fn ask(
    state: &Arc<State>,
    path: &str,
    query: &str,
    body: testing::TestBody,
) -> Result<Value, Problem> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    let upload = Upload::new(body, &headers);
    let (target, query) = (("u".to_owned(), path.to_owned()), Query::parse(query).unwrap());
    let response = answer(state, testing::peer(), target, &query, &headers, upload).await?;
    assert_eq!(response.status(), 202);
    Ok(testing::json(response).await)
}

async fn begin(state: &Arc<State>, channel: &str) {
    let body = testing::chunks(["{\"stream\":true}"]);
    ask(state, "v1/chat", &format!("channel={channel}"), body).await.unwrap();
}

/// A listener, and the URL of it.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Takes a request, head and body; the latter is `{"stream":true}`.
async fn request(listener: &TcpListener) -> (TcpStream, String) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"{\"stream\":true}") {
        assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0);
    }
    (socket, String::from_utf8(read).unwrap())
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// Waits until all fetches have ended.
async fn over(state: &State) {
    while state.upstreams.taken() > 0 {
        tokio::task::yield_now().await;
    }
}

/// The last event of a channel, as the error that it tells.
fn told(state: &State, channel: &str) -> Value {
    assert_eq!(testing::closed(state, channel), Some(CloseReason::Error));
    let (event_type, data) = testing::events(state, channel).pop().unwrap();
    assert_eq!(event_type, None);
    serde_json::from_str::<Value>(&data).unwrap()["error"].take()
}

#[tokio::test]
async fn a_stream_becomes_events_and_its_end_the_end() {
    let (listener, url) = listen().await;
    let state = state(upstream(&format!("{url}/base?key=hunter23")));
    begin(&state, "a").await;
    let (mut socket, asked) = request(&listener).await;
    let head = asked.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase();
    assert!(head.starts_with("post /base/v1/chat?key=hunter23 http/1.1\r\n"), "{head}");
    for line in [
        "authorization: bearer hunter22",
        "content-type: application/json",
        "accept: text/event-stream",
        "accept-encoding: identity",
        "content-length: 15",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}\n{head}");
    }
    assert!(state.hub.channel(&"a".parse_name()).unwrap().publishing == 1);
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n";
    socket.write_all(answer.as_bytes()).await.unwrap();
    socket.write_all(&chunk("event: t\r\nid: 7\r\ndata: 1\r\n\r\n")).await.unwrap();
    while testing::events(&state, "a").is_empty() {
        tokio::task::yield_now().await;
    }
    socket.write_all(&chunk("data: my hunter22 key\n\n")).await.unwrap();
    socket.write_all(&chunk("")).await.unwrap();
    over(&state).await;
    let expected = [(Some("t".to_owned()), "1".to_owned()), (None, "my *** key".to_owned())];
    assert_eq!(testing::events(&state, "a"), expected);
    assert_eq!(testing::closed(&state, "a"), Some(CloseReason::Done));
    assert_eq!(state.hub.channel(&"a".parse_name()).unwrap().publishing, 0);
    assert_eq!((state.requests.held_bytes(), state.sockets.held_bytes()), (0, 0));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_however_it_is_found() {
    fn rebound(_host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = ["10.0.0.1", "::ffff:192.168.0.1", "fd00::1"];
        let found = found.map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        Ok(found.into())
    }
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0177.0.0.1", "0"] {
        let strict = Upstream { allow_private: false, ..upstream(&format!("http://{host}:9")) };
        let state = state(strict);
        begin(&state, "a").await;
        over(&state).await;
        assert_eq!(told(&state, "a")["type"], "upstream_address", "{host}");
    }
    let strict = Upstream { allow_private: false, ..upstream("http://api.example") };
    let mut state = state(strict);
    Arc::get_mut(&mut state).unwrap().upstreams.lookups = Lookups::new(Arc::new(rebound));
    begin(&state, "a").await;
    over(&state).await;
    assert_eq!(told(&state, "a")["type"], "upstream_address");
}

#[test]
fn what_a_query_says_is_secret_as_it_is_read_too() {
    let masks = Masks::of(&upstream("http://api.example/?key=ab%2Fcd&v=1"));
    assert_eq!(masks.cover("ab%2Fcd ab/cd ab\\/cd hunter22 1"), "*** *** *** *** 1");
}

#[tokio::test]
async fn the_public_one_of_several_addresses_is_taken() {
    fn mixed(_host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = ["10.0.0.1", "0.0.0.0"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        Ok(found.into())
    }
    // Of those none is; so that none of the test's own network is connected to.
    let mut state = state(Upstream { allow_private: false, ..upstream("http://api.example") });
    Arc::get_mut(&mut state).unwrap().upstreams.lookups = Lookups::new(Arc::new(mixed));
    begin(&state, "a").await;
    over(&state).await;
    assert_eq!(told(&state, "a")["type"], "upstream_address");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_keeps_its_place_whoever_leaves() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let lookups = Lookups::new(Arc::new(move |_: &str, port| {
        gate.lock().unwrap().recv().unwrap_err();
        Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
    }));
    let metrics = Metrics::default();
    for taken in 1..=UPSTREAM_LOOKUPS_MAX {
        tokio::select! {
            biased;
            _ = lookups.find("api.example", 9, &metrics) => panic!("it hangs"),
            () = ready(()) => {}
        }
        assert_eq!(lookups.taken(), taken);
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.reached_total(Reached::UpstreamLookups), 0);
    // Who comes now waits, but not for ever.
    let upstream = upstream("http://api.example:9");
    let (late, _) = tokio::join!(
        biased;
        connect(&upstream, &lookups, &metrics),
        tokio::time::advance(PATIENT.connect),
    );
    assert_eq!(late.err(), Some(Ended::Timeout("connecting", PATIENT.connect)));
    assert_eq!(metrics.reached_total(Reached::UpstreamLookups), 1);
    // An address has nothing to wait for.
    assert_eq!(lookups.find("::1", 9, &metrics).await.unwrap(), ["[::1]:9".parse().unwrap()]);
    let mut next = pin!(lookups.find("api.example", 9, &metrics));
    tokio::select! {
        biased;
        _ = &mut next => panic!("there is no place"),
        () = ready(()) => {}
    }
    drop(open);
    assert_eq!(next.await.unwrap(), ["127.0.0.1:9".parse().unwrap()]);
    while lookups.taken() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_hub_refuses_what_it_can_by_itself() {
    let (_listener, url) = listen().await;
    let state = state(upstream(&url));
    let kind = async |path: &str, query: &str, body| {
        ask(&state, path, query, body).await.unwrap_err().kind()
    };
    let body = || testing::chunks(["{\"stream\":true}"]);
    assert_eq!(kind("v2/chat", "", body()).await, Kind::UpstreamPath);
    assert_eq!(kind("v1/chat", "channel=$x", body()).await, Kind::ChannelName);
    assert_eq!(kind("v1/chat", "must_be_new=2", body()).await, Kind::Query);
    let long = testing::raw(vec![vec![b'x'; 600]; 2]);
    assert_eq!(kind("v1/chat", "", long).await, Kind::UpstreamBodyTooLarge);
    testing::publish(&state, "old", "1").await;
    assert_eq!(kind("v1/chat", "channel=old&must_be_new", body()).await, Kind::ChannelExists);
    begin(&state, "a").await;
    assert_eq!(kind("v1/chat", "channel=a", body()).await, Kind::ChannelBusy);
    let _open = state.hub.begin_publishing(&"b".parse_name(), 0).unwrap().unwrap();
    assert_eq!(kind("v1/chat", "channel=b", body()).await, Kind::ChannelBusy);
    let channel = ask(&state, "v1/chat", "must_be_new=1", body()).await.unwrap();
    let channel = channel["channel"].as_str().unwrap().to_owned();
    assert!(channel.starts_with("upstreams/u/") && channel.len() == 12 + 32, "{channel}");
    begin(&state, "c").await;
    assert_eq!(kind("v1/chat", "channel=d", body()).await, Kind::UpstreamsFull);
    assert_eq!(state.upstreams.taken(), 3);
    assert!(state.requests.held_bytes() > 0);
    state.drain.refuse(20_000);
    assert_eq!(kind("v1/chat", "channel=e", body()).await, Kind::Draining);
}

#[tokio::test]
async fn one_that_there_is_no_memory_for_is_refused_and_leaves_nothing() {
    let (_listener, url) = listen().await;
    let state = state(upstream(&url));
    let mut others = state.sockets.charge();
    others.resize(state.shares().sockets - 1).unwrap();
    let body = || testing::chunks(["{\"stream\":true}"]);
    let refused = ask(&state, "v1/chat", "channel=a", body()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::UpstreamsFull);
    assert!(refused.detail().contains("bytes of connections and streams"), "{refused:?}");
    assert_eq!(state.upstreams.taken(), 0);
    assert!(state.hub.channel(&"a".parse_name()).is_none());
    drop(others);
    begin(&state, "a").await;
}

#[tokio::test]
async fn a_closed_channel_takes_no_fetch() {
    let (_listener, url) = listen().await;
    let state = state(upstream(&url));
    let change = Change::Close(CloseReason::Done);
    crate::publish::place_now(&state, "a".parse_name(), change, None).await.unwrap();
    let body = testing::chunks(["{}"]);
    let refused = ask(&state, "v1/chat", "channel=a", body).await.unwrap_err();
    assert_eq!((refused.kind(), state.upstreams.taken()), (Kind::ChannelClosed, 0));
}

#[tokio::test]
async fn a_drain_and_a_delete_end_it() {
    let (listener, url) = listen().await;
    let state = state(upstream(&url));
    begin(&state, "a").await;
    let (_a, _) = request(&listener).await;
    begin(&state, "b").await;
    let (mut socket, _) = request(&listener).await;
    crate::delete::answer(&state, "b".parse_name()).await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap_or_default(), 0, "the connection is closed");
    assert_eq!(state.publishes.len(), 1);
    state.drain.publishes_end.turn_on();
    over(&state).await;
    assert_eq!(told(&state, "a")["type"], "upstream_drain");
    assert!(state.hub.channel(&"b".parse_name()).is_none());
    assert!(state.publishes.is_empty());
    let ended = state.metrics.fetched_totals();
    let total = |name| ended[Ended::NAMES.iter().position(|found| *found == name).unwrap()];
    assert_eq!((total("closed"), total("drain"), total("done")), (1, 1, 0));
}

/// A broker that deletes the channel just before something of so many is placed.
struct Deleting {
    inner: MemoryBroker,
    before: AtomicUsize,
}

impl Broker for Deleting {
    fn publish(&self, publication: Publication) -> Published {
        if self.before.fetch_sub(1, Ordering::Relaxed) == 0 {
            let channel = publication.channel.clone();
            let (change, now_us) = (Change::Delete, publication.now_us);
            let (instance, producer, key) = (None, None, None);
            let delete = Publication { channel, change, instance, producer, key, now_us };
            self.inner.place(delete).unwrap();
        }
        Published::Now(self.inner.place(publication))
    }
}

#[tokio::test]
async fn a_channel_that_is_deleted_before_an_event_or_the_end_is_not_made_anew() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  content-length: 18\r\n\r\ndata: 1\n\ndata: 2\n\n";
    let wrong = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";
    for (answer, before) in [(stream, 1), (stream, 2), (wrong, 0)] {
        let (listener, url) = listen().await;
        let mut state = state(upstream(&url));
        let inner = MemoryBroker::new(Arc::clone(&state.hub));
        let broker = Deleting { inner, before: AtomicUsize::new(before) };
        Arc::get_mut(&mut state).unwrap().broker = Arc::new(broker);
        begin(&state, "a").await;
        let (mut socket, _) = request(&listener).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
        over(&state).await;
        assert!(state.hub.channel(&"a".parse_name()).is_none(), "{answer} {before}");
        assert_eq!(state.hub.published_total(), before as u64);
        let closed = Ended::NAMES.iter().position(|name| *name == "closed").unwrap();
        assert_eq!(state.metrics.fetched_totals()[closed], 1, "{answer} {before}");
    }
}

trait ParseName {
    fn parse_name(&self) -> fanfare_core::ChannelName;
}

impl ParseName for str {
    fn parse_name(&self) -> fanfare_core::ChannelName {
        fanfare_core::ChannelName::parse(self).unwrap()
    }
}
