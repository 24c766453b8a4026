//! A hub with running workers, and subscribers that are attached to them by hand.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fanfare_core::{
    Change, ChannelName, CloseReason, Coalesce, Coalescer, Delta, Draft, Epoch, Framing, Hub,
    HubLimits, MemoryBroker, Publication, Request, Selectors, Start, Subscribed,
};
use fanfare_fanout::{Attach, Bells, Disconnect, Fanout, FanoutConfig};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;

use crate::peer::Peer;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// What stands for a response head.
pub(crate) const HEAD: &str = "HEAD\r\n\r\n";

/// A hub and its workers.
pub(crate) struct Rig {
    pub(crate) hub: Arc<Hub>,
    pub(crate) fanout: Fanout,
    broker: MemoryBroker,
    runtime: Runtime,
    listener: TcpListener,
    /// All events by `seq`: channel and data.
    published: Mutex<BTreeMap<u64, (String, String)>>,
}

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) start: Start,
    pub(crate) framing: Framing,
    pub(crate) heartbeat_ms: u32,
    pub(crate) age_ms_max: u64,
    pub(crate) control: bool,
    /// Milliseconds for which deltas, which all data without a line end is, wait for others.
    pub(crate) window_ms: Option<u32>,
    /// Bytes of the socket buffers; the kernel's own choice if there is no number.
    pub(crate) buffers: Option<usize>,
}

/// Takes data without a line end for deltas.
#[derive(Debug)]
struct Lines;

impl Coalescer for Lines {
    fn name(&self) -> &str {
        "lines"
    }

    fn delta(&self, _event_type: Option<&str>, data: &str) -> Option<Delta> {
        (!data.contains('\n')).then(|| Delta::new(0..data.len(), [None, None]))
    }
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            start: Start::Now,
            framing: Framing::Chunked,
            heartbeat_ms: 60_000,
            age_ms_max: 0,
            control: true,
            window_ms: None,
            buffers: None,
        }
    }
}

impl Asked {
    /// Buffers that hold only a few events.
    pub(crate) fn tiny() -> Self {
        Self { buffers: Some(8 * 1024), ..Self::default() }
    }

    /// Everything that is kept.
    pub(crate) fn from_start() -> Self {
        Self { start: Start::Beginning, ..Self::default() }
    }
}

impl Rig {
    pub(crate) fn new(workers: usize) -> Self {
        Self::with(workers, HubLimits::default(), FanoutConfig::default())
    }

    pub(crate) fn with(workers: usize, limits: HubLimits, config: FanoutConfig) -> Self {
        let bells = Bells::new(workers).unwrap();
        let hub = Arc::new(Hub::new(Epoch::from_random(7), limits, bells.doorbells()));
        let fanout = Fanout::start(Arc::clone(&hub), bells, config).unwrap();
        let broker = MemoryBroker::new(Arc::clone(&hub));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self { hub, fanout, broker, runtime, listener, published: Mutex::default() }
    }

    /// A subscriber of channels and patterns.
    pub(crate) fn subscribe(&self, selectors: &[&str], asked: &Asked) -> Peer {
        let (attach, peer) = self.prepare(selectors, asked);
        self.attach(attach);
        peer
    }

    /// Hands one over that was prepared.
    pub(crate) fn attach(&self, attach: Attach) {
        self.runtime.block_on(self.fanout.attach(Box::new(attach))).unwrap();
    }

    /// A subscriber that its worker does not have yet.
    pub(crate) fn prepare(&self, selectors: &[&str], asked: &Asked) -> (Attach, Peer) {
        let request = Request {
            selectors: Selectors::parse(selectors.iter().copied()).unwrap(),
            start: asked.start.clone(),
            control: asked.control,
            open: false,
            envelope: false,
            coalesce: asked.window_ms.map(|ms| Coalesce::new(Arc::new(Lines), ms)),
            live: false,
        };
        let seat = self.fanout.seat();
        let subscribed = self.hub.subscribe(&request, seat.worker(), 5_000).unwrap();
        let Subscribed::Live(opening) = subscribed else { panic!("{subscribed:?}") };
        let position = opening.subscription.position().seq;
        let (socket, peer) = self.pair(asked.buffers);
        let attach = Attach {
            socket,
            opening,
            head: HEAD.into(),
            framing: asked.framing,
            heartbeat_ms: asked.heartbeat_ms,
            age_ms_max: asked.age_ms_max,
            seat,
            permit: None,
        };
        (attach, Peer::new(peer, asked.framing, position, selectors))
    }

    /// Publishes one event; returns its `seq`.
    pub(crate) fn publish(&self, channel: &str, data: &str) -> u64 {
        let seq = self.change(channel, Change::Event(Draft::new(None, data), None));
        let event = (channel.to_owned(), data.to_owned());
        self.published.lock().unwrap().insert(seq, event);
        seq
    }

    /// Closes a channel; returns the `seq` of its end.
    pub(crate) fn close(&self, channel: &str) -> u64 {
        self.change(channel, Change::Close(CloseReason::Done))
    }

    fn change(&self, channel: &str, change: Change) -> u64 {
        let channel = ChannelName::parse(channel).unwrap();
        let publication = Publication {
            channel,
            change,
            instance: None,
            producer: None,
            key: None,
            now_us: now_us(),
        };
        self.broker.place(publication).unwrap().id.seq
    }

    /// All events so far.
    pub(crate) fn published(&self) -> MutexGuard<'_, BTreeMap<u64, (String, String)>> {
        self.published.lock().unwrap()
    }

    /// Sends all away and waits until they are gone.
    pub(crate) fn drain(&self, period_ms: u64) -> u64 {
        self.runtime.block_on(self.fanout.drain(period_ms))
    }

    /// Takes a drain back.
    pub(crate) fn cancel_drain(&self) {
        self.runtime.block_on(self.fanout.drain_cancel());
    }

    /// Stops the workers.
    pub(crate) fn stop(&self) {
        self.runtime.block_on(self.fanout.stop()).unwrap();
    }

    /// Waits until so many connections have ended for a reason.
    pub(crate) fn disconnected(&self, reason: Disconnect, count: u64) {
        eventually(&format!("{count} ended as {reason:?}"), || {
            self.fanout.totals().disconnects[reason as usize] == count
        });
    }

    /// Two ends of a connection: the hub's, and the peer's.
    fn pair(&self, buffers: Option<usize>) -> (TcpStream, TcpStream) {
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = buffers {
            peer.set_recv_buffer_size(bytes).unwrap();
        }
        let SocketAddr::V4(address) = self.listener.local_addr().unwrap() else { unreachable!() };
        peer.connect(&address.into()).unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        let socket = Socket::from(socket);
        socket.set_nonblocking(true).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        if let Some(bytes) = buffers {
            socket.set_send_buffer_size(bytes).unwrap();
        }
        (socket.into(), peer.into())
    }
}

/// The time in Unix microseconds.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Looks again and again until it is so; fails the test after [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::park_timeout(Duration::from_millis(2));
    }
}
