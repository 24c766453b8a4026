//! The operators' listener of a hub as its commands see it: questions with answers in JSON, and
//! what to do when none comes.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::hub::{ClientError, Hub};
use crate::limits::ADMIN_ANSWER_TIME_MAX;

/// The operators' listener of a hub.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    hub: Hub,
}

impl Admin {
    /// That at this address.
    pub(crate) fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// Host and port, as they were given.
    pub(crate) fn authority(&self) -> &str {
        self.hub.authority()
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// Asks for something to be done that is answered with JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let asking = async {
            let body = self.hub.answer(method, path).await?;
            serde_json::from_str(&body).map_err(|_| {
                ClientError::NoHub("what answers is not the operators' listener of a hub")
            })
        };
        self.within(ADMIN_ANSWER_TIME_MAX, asking).await
    }

    /// The status that a probe answers, if it comes in time.
    pub(crate) async fn probe(
        &self,
        path: &str,
        time: Duration,
    ) -> Result<StatusCode, ClientError> {
        let asking = async { Ok(self.hub.ask(Method::GET, path).await?.status()) };
        self.within(time, asking).await
    }

    async fn within<T>(
        &self,
        time: Duration,
        asking: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let outcome = timeout(time, asking).await.unwrap_or(Err(ClientError::Silent));
        outcome.map_err(|error| self.advise(error))
    }

    /// An error with what to do about it, where that is known.
    fn advise(&self, error: ClientError) -> ClientError {
        let at = self.authority().escape_debug();
        let advice = match &error {
            ClientError::Connect { .. } | ClientError::Silent => format!(
                "is the hub running, and {at} its operators' listener? if it is elsewhere, say so \
                 with --admin-url or FANFARE_ADMIN_URL"
            ),
            ClientError::Refused { status: StatusCode::NOT_FOUND, .. } | ClientError::NoHub(_) => {
                format!(
                    "is {at} its public listener? this wants the operators' one, which is at port \
                     8081 unless --admin-listen of the hub says otherwise"
                )
            }
            ClientError::Refused { status: StatusCode::FORBIDDEN, .. } => format!(
                "it was asked as {at}; ask by an address of loopback, or start the hub with this \
                 name as --allowed-host"
            ),
            _ => return error,
        };
        ClientError::Advised { error: Box::new(error), advice }
    }
}
