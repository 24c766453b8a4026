//! The data plane of the Fanfare hub: plain threads that write frames to sockets.
//!
//! What happens to a slow subscriber: its socket fills up, it is passed over, and it goes on from
//! its own cursor when the socket takes bytes again; what left the ring meanwhile is told as a
//! gap, and one that takes nothing for the stall limit is closed. Nobody else waits for it, and
//! it holds no bytes but the rest of one frame. What happens on a drain: each is brought to the
//! watermark and told to come back.
//!
//! No task, no lock and no allocation per subscriber and event.

mod drain;
mod fanout;
mod group;
mod held;
pub mod limits;
mod member;
mod membership;
mod patterns;
mod pins;
mod sampler;
mod totals;
mod turn;
mod wheel;
mod worker;

pub use fanout::{Attach, Bells, Fanout, FanoutConfig, Seat, Stopped};
pub use pins::Pinned;
pub use sampler::Sampler;
pub use totals::{
    BACKLOG_BOUNDS, DELIVERY_BOUNDS_US, Disconnect, EVENTS_PER_WRITE_BOUNDS, Histogram, Load,
    Progress, TURN_BOUNDS_NS, Totals,
};
