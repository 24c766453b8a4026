//! What unit tests share: a hub without listeners, and bodies that come as a test wants.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use fanfare_core::{
    Change, ChannelName, CloseReason, Doorbell, Draft, Epoch, Hub, HubLimits, MemoryBroker,
    Publication, limits,
};
use http_body_util::BodyExt;
use hyper::{
    Response,
    body::{Frame, SizeHint},
};
use tokio::sync::mpsc;

use crate::{
    address::Peer,
    body::Body,
    budget::Budget,
    config::Config,
    memory::MemoryShares,
    publish, server,
    state::{Shared, State},
};

pub(crate) fn config() -> Config {
    Config {
        listen: "127.0.0.1:8080".parse().unwrap(),
        admin_listen: "127.0.0.1:8081".parse().unwrap(),
        workers: 1,
        memory_bytes_max: 4 << 30,
        connections_max: 100,
        listen_backlog: 16,
        channels_max: 100,
        tombstones_max: 100,
        journal_events_max: limits::JOURNAL_EVENTS_MAX,
        rings_bytes_max: limits::RINGS_BYTES_MAX,
        idempotency_keys_max: 10,
        event_data_bytes_max: 1_000,
        upstream_fetches_max: 3,
        upstream_body_bytes_max: 1_000,
        heartbeat_interval_ms: 15_000,
        write_stall_ms_max: 30_000,
        socket_unsent_bytes_max: 128 * 1024,
        drain_period_ms: 20_000,
        ..Config::default()
    }
}

fn hub() -> Arc<Hub> {
    let doorbell = Doorbell::new(Box::new(|| {}));
    Arc::new(Hub::new(Epoch::from_random(7), HubLimits::default(), vec![Arc::new(doorbell)]))
}

pub(crate) fn state() -> Arc<State> {
    state_with(config())
}

/// One with these settings.
pub(crate) fn state_with(config: Config) -> Arc<State> {
    let hub = hub();
    let broker = Arc::new(MemoryBroker::new(Arc::clone(&hub)));
    let shares = MemoryShares::of(&config).unwrap();
    Arc::new(State::new(config, shares, hub, broker))
}

/// A hub with workers. Their threads end with the process.
pub(crate) fn shared() -> Arc<Shared> {
    server::start(config(), Arc::default()).unwrap()
}

/// One whose requests may hold so many bytes together.
pub(crate) fn state_with_requests(bytes_max: usize) -> Arc<State> {
    let mut state = state();
    Arc::get_mut(&mut state).unwrap().requests = Budget::new(bytes_max);
    state
}

/// A client of its own.
pub(crate) fn peer() -> Peer {
    Peer::new([192, 0, 2, 1].into(), &[])
}

/// Publishes one event.
pub(crate) async fn publish(state: &State, channel: &str, data: &str) {
    let channel = ChannelName::parse(channel).unwrap();
    let change = Change::Event(Draft::new(None, data), None);
    publish::place_now(state, channel, change, None).await.unwrap();
}

/// The type and data of the events that a channel keeps.
pub(crate) fn events(state: &State, channel: &str) -> Vec<(Option<String>, String)> {
    let history = history(&state.hub, channel);
    history.events.into_iter().map(|event| (event.event_type, event.data)).collect()
}

/// How a channel was closed.
pub(crate) fn closed(state: &State, channel: &str) -> Option<CloseReason> {
    history(&state.hub, channel).closed
}

fn history(hub: &Hub, channel: &str) -> fanfare_core::History {
    let name = ChannelName::parse(channel).unwrap();
    hub.history(&name, &fanfare_core::HistoryFrom::Beginning, 1_000).unwrap()
}

/// The wire bytes of an event, but for its id.
pub(crate) fn sse(draft: Draft) -> String {
    let hub = hub();
    let channel = ChannelName::parse("a").unwrap();
    let change = Change::Event(draft, None);
    let publication =
        Publication { channel, change, instance: None, producer: None, key: None, now_us: 0 };
    MemoryBroker::new(Arc::clone(&hub)).place(publication).unwrap();
    let event = history(&hub, "a").events.pop().unwrap();
    let event_type = event.event_type.map(|text| format!("event: {text}\n"));
    let data = event.data.split('\n').map(|line| format!("data: {line}\n")).collect::<String>();
    format!("{}{data}\n", event_type.unwrap_or_default())
}

/// The JSON of an answer; null if it is none.
pub(crate) async fn json(response: Response<Body>) -> serde_json::Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A body that comes through a channel. Dropping the sender ends it well.
#[derive(Debug)]
pub(crate) struct TestBody(mpsc::Receiver<io::Result<Bytes>>);

pub(crate) fn body() -> (mpsc::Sender<io::Result<Bytes>>, TestBody) {
    let (sender, receiver) = mpsc::channel(64);
    (sender, TestBody(receiver))
}

/// A body of these chunks; `!cut` breaks it off.
pub(crate) fn chunks(chunks: impl IntoIterator<Item = &'static str>) -> TestBody {
    let (sender, body) = body();
    for chunk in chunks {
        let chunk = match chunk {
            "!cut" => Err(io::ErrorKind::UnexpectedEof.into()),
            text => Ok(Bytes::from(text)),
        };
        sender.try_send(chunk).unwrap();
    }
    body
}

/// A body of these bytes.
pub(crate) fn raw(chunks: Vec<Vec<u8>>) -> TestBody {
    let (sender, body) = body();
    for chunk in chunks {
        sender.try_send(Ok(chunk.into())).unwrap();
    }
    body
}

impl hyper::body::Body for TestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
