//! The core of the Fanfare hub: channels, events, ids, frames, rings, the journal, feeds and the
//! broker.
//!
//! It performs no IO, reads no clock and has no `async fn`: time and randomness are arguments, and
//! who waits is told by a [`Doorbell`]. One idea carries it: one sequence per hub, one ring per
//! channel, one cursor per subscriber. Live delivery is reading the next entry, replay is starting
//! further back, a slow subscriber is a position that fell off the ring.
//!
//! What a subscriber gets: every event of its channels in order, exactly once, or an explicit gap,
//! or the end. What a publisher waits for: one short lock, never a subscriber. What happens when
//! something is full: rings drop their oldest events and remember that they did; what cannot be
//! remembered is refused.

mod apply;
mod audience;
mod batch;
mod broker;
mod channel;
mod coalesce;
mod control;
mod doorbell;
mod extras;
mod feed;
mod fence;
mod frame;
mod hub;
mod id;
mod inspect;
mod journal;
mod json;
mod keys;
mod lifecycle;
pub mod limits;
mod maintain;
mod name;
mod producers;
mod publishing;
mod registry;
mod ring;
mod stamps;
mod subscribe;
mod subscription;
mod sync;
mod tombstones;
mod trie;
mod waiters;
mod window;

#[cfg(all(test, loom))]
mod loom_tests;

pub use batch::{Batch, Begun, Partial, is_inside};
pub use broker::{Broker, Change, MemoryBroker, Placed, Publication, Published, Refusal};
pub use channel::Channel;
pub use coalesce::{Coalesce, Coalescer, Delta};
pub use control::{CloseReason, GapReason, HEARTBEAT, ReconnectReason, reconnect};
pub use doorbell::{Doorbell, Marks, WorkerIndex};
pub use feed::{Feed, FeedKey, Run, Stop};
pub use frame::{Draft, EventType, EventTypeError, Frame, Framing};
pub use hub::{Channels, Held, Hub, HubLimits, Limit, Removal, Walk};
pub use id::{Epoch, EventId, MalformedId};
pub use inspect::{
    ChannelInfo, ChannelList, ChannelQuery, ChannelSort, History, HistoryEvent, HistoryFrom,
};
pub use keys::{IdempotencyKey, KeyError};
pub use lifecycle::{Overdue, WishedBy};
pub use name::{ChannelName, NameError, Pattern, Selectors, SelectorsError};
pub use producers::{Producer, ProducerAt, ProducerId, ProducerIdError, ProducerRefusal};
pub use publishing::Publishing;
pub use registry::RegistryFull;
pub use ring::{Closed, Rate, Retention, SlowPolicy};
pub use subscription::{Met, Opening, Replay, Request, Start, Subscribed, Subscription};
pub use trie::Trie;
pub use waiters::{Standing, WaitersFull, Watch};
pub use window::Window;
