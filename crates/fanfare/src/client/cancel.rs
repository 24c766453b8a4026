//! `fanfare cancel`: asks the producer of a channel to stop.

use hyper::Method;

use super::{
    hub::{self, ClientError, Hub},
    status::{self, Standing},
};
use crate::terminal;

/// Which channel to cancel.
#[derive(Debug)]
pub(crate) struct Cancel {
    /// The hub.
    pub(crate) hub: Hub,
    /// The channel, as typed.
    pub(crate) channel: String,
}

/// Asks once; what became of the channel is printed.
pub(crate) async fn run(cancel: Cancel) -> Result<(), ClientError> {
    let path = hub::path("/cancel", &cancel.channel);
    let (_, standing): (_, Standing) = status::ask(&cancel.hub, Method::POST, &path).await?;
    terminal::out(&format!("{}\n", standing.words())).map_err(ClientError::Output)
}
