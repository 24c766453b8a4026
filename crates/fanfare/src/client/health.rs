//! `fanfare health`: whether a hub is alive, told by the exit code, where there is no shell and
//! no curl.

use super::{admin::Admin, hub::ClientError};
use crate::limits::HEALTH_TIME_MAX;

/// Which hub to ask, and what.
#[derive(Debug)]
pub(crate) struct Health {
    /// The hub.
    pub(crate) admin: Admin,
    /// Whether it is asked to be ready, too, not only alive.
    pub(crate) ready: bool,
}

/// Asks once.
pub(crate) async fn run(health: Health) -> Result<(), ClientError> {
    let path = if health.ready { "/readyz" } else { "/livez" };
    let status = health.admin.probe(path, HEALTH_TIME_MAX).await?;
    if status == hyper::StatusCode::OK { Ok(()) } else { Err(ClientError::Unwell { path, status }) }
}
