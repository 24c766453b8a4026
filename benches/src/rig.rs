//! A hub with one running fan-out worker, and subscribers that come over loopback sockets.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use fanfare_core::{ChannelName, Draft, Framing, HubLimits, Start};
use fanfare_fanout::{Attach, Bells, Fanout, FanoutConfig, limits::HEARTBEAT_INTERVAL_MS_MAX};
use socket2::SockRef;
use tokio::runtime::Runtime;

use crate::{hub::Core, reading};

/// The hub, its worker, and where subscribers connect.
#[derive(Debug)]
pub struct Rig {
    core: Core,
    fanout: Fanout,
    /// Waits for the worker where its commands are `async`.
    runtime: Runtime,
    listener: TcpListener,
}

impl Rig {
    /// Starts the worker of a new hub.
    pub fn start(limits: HubLimits) -> Self {
        let bells = Bells::new(1).unwrap();
        let core = Core::new(limits, bells.doorbells());
        let fanout = Fanout::start(Arc::clone(&core.hub), bells, FanoutConfig::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // A wait for a connection that does not come fails instead of hanging.
        SockRef::from(&listener).set_read_timeout(Some(reading::DEADLINE)).unwrap();
        Self { core, fanout, runtime, listener }
    }

    /// Where subscribers connect.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Makes the next connection a subscriber of a channel. The first that its peer reads is
    /// [`reading::FIRST`].
    pub fn accept(&self, channel: &ChannelName) {
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let seat = self.fanout.seat();
        let channels = std::slice::from_ref(channel);
        let attach = Attach {
            socket,
            opening: self.core.subscribe(channels, Start::Now, seat.worker()),
            head: Vec::new(),
            framing: Framing::Chunked,
            heartbeat_ms: HEARTBEAT_INTERVAL_MS_MAX,
            age_ms_max: 0,
            seat,
            permit: None,
        };
        self.runtime.block_on(self.fanout.attach(Box::new(attach))).unwrap();
    }

    /// A subscriber of a channel; returns its end of the connection, whose first bytes were read.
    pub fn subscribe(&self, channel: &ChannelName) -> TcpStream {
        let mut socket = TcpStream::connect(self.address()).unwrap();
        self.accept(channel);
        socket.set_read_timeout(Some(reading::DEADLINE)).unwrap();
        reading::read_to(&mut socket, reading::FIRST, &mut [0; 64]).unwrap();
        socket
    }

    /// Publishes one event.
    pub fn publish(&self, channel: &ChannelName, data: &str) {
        self.core.publish(channel, Draft::new(None, data));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let stopped = self.runtime.block_on(self.fanout.stop());
        assert!(stopped.is_ok() || std::thread::panicking(), "the worker panicked");
    }
}
