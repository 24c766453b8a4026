//! The commands that talk to a hub: `publish` and `subscribe`.

pub(crate) mod hub;
pub(crate) mod publish;
pub(crate) mod subscribe;

mod control;

mod sse;
