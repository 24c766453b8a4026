//! The commands that talk to a hub: its public listener for publishers and subscribers, the
//! operators' one for the rest.

pub(crate) mod admin;
pub(crate) mod amount;
pub(crate) mod cancel;
pub(crate) mod channels;
pub(crate) mod drain;
pub(crate) mod health;
pub(crate) mod hub;
pub(crate) mod publish;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod subscribe;
pub(crate) mod top;

mod control;

mod sse;
mod stats;
mod table;
