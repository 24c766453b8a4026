//! The broker gives every event its place.
//!
//! Policy: a publish is accepted or refused as a whole, and completes when its place is known.
//! The memory broker places it before `publish` returns; a durable or a remote one may complete
//! it later, and applies what others published too.

use std::{fmt, pin::Pin, sync::Arc};

use crate::{
    channel::Channel,
    control::CloseReason,
    frame::Draft,
    hub::Hub,
    id::EventId,
    keys::IdempotencyKey,
    name::ChannelName,
    producers::{Producer, ProducerAt, ProducerRefusal},
    sync::{Mutex, lock},
};

/// One thing to do to a channel.
#[derive(Debug)]
pub struct Publication {
    /// The channel.
    pub channel: ChannelName,
    /// What happens to it.
    pub change: Change,
    /// The life of the channel that it is for, if it is for no other: its [`instance`].
    ///
    /// [`instance`]: Channel::instance
    pub instance: Option<u64>,
    /// Who does it, if it counts its events. It has no key then.
    pub producer: Option<Producer>,
    /// Publishes once, however often it is sent.
    pub key: Option<IdempotencyKey>,
    /// The time, in Unix microseconds.
    pub now_us: u64,
}

/// What happens to a channel.
#[derive(Debug)]
pub enum Change {
    /// Its producer begins an epoch, or says that it is there.
    Claim,
    /// It ends.
    Close(CloseReason),
    /// It ends if the hub says that its time has come.
    CloseIfDue,
    /// It ends, and its events go now.
    Delete,
    /// It gets an event, and then perhaps ends, as one.
    Event(Draft, Option<CloseReason>),
    /// It ends because its producer is done: so it says, or `cancelled` if that was wished.
    Finish,
}

/// What was accepted.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The id of the event, or of the end where there was no event; of what is newest where there
    /// was neither.
    pub id: EventId,
    /// Subscribers that the channel has.
    pub subscribers: u64,
    /// Whether an idempotency key or its producer says that it was published before.
    pub duplicate: bool,
    /// How the channel was ended by it, if it was.
    pub ended: Option<CloseReason>,
    /// The channel, for who keeps publishing on it; none for a duplicate of a removed one.
    pub channel: Option<Arc<Channel>>,
    /// How far its producer is now, if it has one.
    pub producer: Option<ProducerAt>,
}

/// Why a publication was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The hub holds as many channels as it may; holds how many.
    ChannelsFull(usize),
    /// The channel was closed; the publisher is late.
    Closed(CloseReason),
    /// The key was used with other data; the publisher is at fault.
    KeyReused,
    /// The hub remembers as many keys as it may; holds how many.
    KeysFull(usize),
    /// Nobody knows what became of it; the broker is at fault.
    NoAnswer,
    /// The channel does not exist, or not in the life that this is for.
    NoChannel,
    /// The time of the channel has not come, or it is over already.
    NotDue,
    /// The producer may not.
    Producer(ProducerRefusal),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelsFull(max) => write!(f, "the hub holds {max} channels, its limit"),
            Self::Closed(reason) => {
                write!(f, "the channel was closed ({}) and takes no more events", reason.as_str())
            }
            Self::KeyReused => {
                f.write_str("the idempotency key was used on this channel with other data")
            }
            Self::KeysFull(max) => {
                write!(f, "the hub remembers {max} idempotency keys, its limit")
            }
            Self::NoAnswer => {
                f.write_str("the broker gave no answer: whether it was published is not known")
            }
            Self::NoChannel => f.write_str("the channel does not exist"),
            Self::NotDue => f.write_str("the channel is not due to be closed"),
            Self::Producer(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a broker answers.
pub enum Published {
    /// What became of the publication.
    Now(Result<Placed, Refusal>),
    /// What will become of it, whether anybody waits for that or not.
    Later(Pin<Box<dyn Future<Output = Result<Placed, Refusal>> + Send>>),
}

/// Gives events their order and applies them to hubs.
pub trait Broker: Send + Sync {
    /// Publishes, without waiting for anything.
    fn publish(&self, publication: Publication) -> Published;
}

/// Order in memory, for one node: one short lock.
#[derive(Debug)]
pub struct MemoryBroker {
    hub: Arc<Hub>,
    /// The next `seq`. Held while a publication is applied, so that one writer applies at a time.
    next: Mutex<u64>,
}

impl MemoryBroker {
    /// A broker for a hub that nothing was published to.
    pub fn new(hub: Arc<Hub>) -> Self {
        let next = Mutex::new(hub.watermark() + 1);
        Self { hub, next }
    }

    /// Publishes and answers at once.
    pub fn place(&self, publication: Publication) -> Result<Placed, Refusal> {
        let mut placed = {
            let mut next = lock(&self.next);
            let placed = self.hub.apply(*next, publication)?;
            *next = self.hub.watermark() + 1;
            placed
        };
        self.hub.announce(&mut placed);
        Ok(placed)
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, publication: Publication) -> Published {
        Published::Now(self.place(publication))
    }
}
