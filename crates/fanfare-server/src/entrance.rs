//! Who gets in: connections as they are accepted, and subscribes as they are asked for.
//!
//! Policy: what is new is refused, what is there is never cut for it. A connection over a limit of
//! its address, or for which no memory is left, is served just long enough to be told so; a
//! subscribe over a limit is sent away with a time to come back (rule 8 of the wire).

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    net::TcpStream,
    sync::{Mutex as Queue, Semaphore},
    time::timeout,
};

use crate::{
    address::{Address, Peer},
    addresses::{Addresses, Refused, Share},
    bucket::SharedBucket,
    budget::Charge,
    limits::{
        CONNECTION_BYTES, HEAD_READ_MS_MAX, OVERLOAD_RETRY_MS, REFUSED_CONNECTIONS_MAX,
        SUBSCRIBER_BYTES,
    },
    metrics::Reached,
    places::Place,
    pressure::{Pressures, Wall},
    proxy_header,
    state::State,
};

/// What the limits on clients count.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) addresses: Arc<Addresses>,
    /// For subscribes.
    pub(crate) connects: SharedBucket,
    /// For events.
    pub(crate) events: SharedBucket,
    /// Publishes that wait for a token of it, one of each address; each has a handle to it.
    pub(crate) queue: Arc<Queue<()>>,
    pub(crate) pressures: Pressures,
    /// Connections that are told that they are too many.
    pub(crate) refusals: Arc<Semaphore>,
}

impl Gate {
    /// One that remembers so many addresses.
    pub(crate) fn new(addresses_max: usize) -> Self {
        Self {
            addresses: Arc::new(Addresses::new(addresses_max)),
            connects: SharedBucket::default(),
            events: SharedBucket::default(),
            queue: Arc::default(),
            pressures: Pressures::default(),
            refusals: Arc::new(Semaphore::new(REFUSED_CONNECTIONS_MAX)),
        }
    }
}

/// What a connection holds until its socket is closed.
#[derive(Debug)]
pub(crate) struct Ticket {
    _place: Place,
    /// Its part of what its address may have; none if it is a proxy's that carries requests.
    share: Option<Share>,
    /// For its memory.
    pub(crate) charge: Charge,
}

/// Whose connection a request came over, and what stands in the way of all of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) peer: Peer,
    pub(crate) wall: Option<Wall>,
}

/// A subscribe that is refused: after how many milliseconds it may come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ComeBack(pub(crate) u32);

impl ComeBack {
    /// When few wait.
    pub(crate) fn soon() -> Self {
        Self(fastrand::u32(OVERLOAD_RETRY_MS))
    }
}

/// Finds out whose connection it is; `from` is the socket's other end. Also answers what was read
/// on the way. None if the connection is to be closed.
pub(crate) async fn identify(
    state: &State,
    stream: &mut TcpStream,
    from: IpAddr,
) -> Option<(Peer, BytesMut)> {
    let (peer, asks) = {
        let config = state.config();
        let peer = Peer::new(from, &config.trusted_proxies);
        (peer, config.proxy_protocol && peer.is_proxy())
    };
    if !asks {
        return Some((peer, BytesMut::new()));
    }
    let header = proxy_header::read(stream);
    match timeout(Duration::from_millis(HEAD_READ_MS_MAX), header).await {
        Err(_late) => {
            state.metrics.reached(Reached::HeadRead);
            None
        }
        Ok(Err(_no_header)) => {
            state.metrics.reached(Reached::ProxyHeader);
            None
        }
        Ok(Ok((Some(client), ahead))) => {
            Some((Peer::new(client, &state.config().trusted_proxies), ahead))
        }
        // It may carry a client that the header cannot name, whose words about itself these are.
        Ok(Ok((None, ahead))) => Some((Peer::new(from, &[]), ahead)),
    }
}

impl Ticket {
    /// What is left of it when the connection has become a subscriber of a worker, whose share is
    /// that of its request if the connection had none.
    pub(crate) fn for_worker(mut self, share: Option<Share>) -> Self {
        self.share = self.share.or(share);
        // It gives back, and that is never refused.
        self.charge.resize(SUBSCRIBER_BYTES).unwrap_or_default();
        self
    }
}

impl State {
    /// Lets a connection in that has a place.
    pub(crate) fn enter(&self, peer: Peer, place: Place) -> Result<Ticket, (Wall, Place)> {
        let mut charge = self.sockets.charge();
        if charge.resize(CONNECTION_BYTES).is_err() {
            self.metrics.reached(Reached::SocketsBytes);
            return Err((Wall::Sockets, place));
        }
        if peer.is_proxy() {
            return Ok(Ticket { _place: place, share: None, charge });
        }
        match self.count_in(peer.address()) {
            Ok(share) => Ok(Ticket { _place: place, share, charge }),
            Err(wall) => Err((wall, place)),
        }
    }

    /// Lets a subscribe of a client in as far as the client is concerned. The share is for as long
    /// as the subscription lives.
    pub(crate) fn admit(&self, visit: Visit, client: Address) -> Result<Option<Share>, ComeBack> {
        if let Some(wall) = visit.wall {
            return Err(self.come_back(wall));
        }
        self.take_connect(client)?;
        match visit.peer.is_proxy() {
            true => self.count_in(client).map_err(|wall| self.come_back(wall)),
            false => Ok(None),
        }
    }

    /// Notes that a subscribe has become a stream.
    pub(crate) fn admitted(&self) {
        self.gate.pressures.admit(self.now_ns() / NS_PER_MS);
    }

    /// How old a new subscriber may become: another age for each, so that those who came together
    /// do not leave together. 0 is no limit.
    pub(crate) fn age_ms_max(&self) -> u64 {
        match self.config().connection_age_ms_max {
            0 => 0,
            ms => (ms as f64 * between(1.0 - AGE_JITTER, 1.0 + AGE_JITTER)).max(1.0) as u64,
        }
    }

    /// When a subscribe that met a wall may come back.
    pub(crate) fn come_back(&self, wall: Wall) -> ComeBack {
        let per_s = match wall {
            Wall::Rate => Some(self.config().connect_rate_max),
            _ => None,
        };
        ComeBack(self.gate.pressures.refuse(wall, per_s, self.now_ns() / NS_PER_MS))
    }

    /// Counts a connection of an address, or a subscription of one behind a proxy.
    fn count_in(&self, client: Address) -> Result<Option<Share>, Wall> {
        let max = self.config().connections_per_address_max;
        let share = self.gate.addresses.connect(client, max, self.now_ns());
        share.map_err(|refused| {
            self.metrics.reached(refused.limit(Reached::ConnectionsPerAddress));
            Wall::Address
        })
    }

    /// Takes a token of each bucket that is limited, or of none.
    fn take_connect(&self, client: Address) -> Result<(), ComeBack> {
        let (all, each) = {
            let config = self.config();
            (config.connect_rate_max, config.connect_rate_per_address_max)
        };
        let now_ns = self.now_ns();
        if each > 0
            && let Err(refused) = self.gate.addresses.subscribe(client, each, now_ns)
        {
            self.metrics.reached(refused.limit(Reached::ConnectRatePerAddress));
            return Err(self.come_back(Wall::Address));
        }
        if all > 0 && self.gate.connects.with(|bucket| bucket.take(all, now_ns)).is_err() {
            self.metrics.reached(Reached::ConnectRate);
            if each > 0 {
                self.gate.addresses.put_back_subscribe(client, each);
            }
            return Err(self.come_back(Wall::Rate));
        }
        Ok(())
    }
}

impl Refused {
    /// The limit that was reached.
    pub(crate) fn limit(self, met: Reached) -> Reached {
        match self {
            Self::Met(_) => met,
            Self::TableFull => Reached::Addresses,
        }
    }
}

/// A number between two, each as likely as another.
fn between(least: f64, most: f64) -> f64 {
    least + fastrand::f64() * (most - least)
}

/// The share by which the age of a connection may be more or less.
const AGE_JITTER: f64 = 0.2;
const NS_PER_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, testing};

    #[tokio::test]
    async fn ages_differ_by_a_fifth() {
        let state =
            testing::state_with(Config { connection_age_ms_max: 1_000, ..testing::config() });
        let ages: Vec<_> = (0..1_000).map(|_| state.age_ms_max()).collect();
        assert!(ages.iter().all(|ms| (800..=1_200).contains(ms)));
        assert!(ages.iter().any(|ms| *ms < 830) && ages.iter().any(|ms| *ms > 1_170));
        assert_eq!(testing::state().age_ms_max(), 0, "no limit is no age");
    }

    #[tokio::test]
    async fn a_connection_is_charged_for_and_refused_when_the_memory_is_used_up() {
        let state = testing::state();
        let place = || state.connections.try_take(100).unwrap();
        let ticket = state.enter(testing::peer(), place()).unwrap();
        assert_eq!(state.sockets.held_bytes(), CONNECTION_BYTES);
        let ticket = ticket.for_worker(None);
        assert_eq!(state.sockets.held_bytes(), SUBSCRIBER_BYTES);
        let mut rest = state.sockets.charge();
        rest.resize(state.shares().sockets - SUBSCRIBER_BYTES).unwrap();
        let (wall, place) = state.enter(testing::peer(), place()).unwrap_err();
        assert_eq!(wall, Wall::Sockets);
        drop((ticket, rest, place));
        assert_eq!((state.sockets.held_bytes(), state.connections.taken()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscribe_that_one_bucket_refuses_costs_nothing_of_the_other() {
        let config =
            Config { connect_rate_max: 1, connect_rate_per_address_max: 2, ..testing::config() };
        let state = testing::state_with(config);
        let client = testing::peer().address();
        state.take_connect(client).unwrap();
        (0..5).for_each(|_| assert!(state.take_connect(client).is_err()));
        state.gate.addresses.subscribe(client, 2, state.now_ns()).expect("one token is left");
    }
}
