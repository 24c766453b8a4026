//! `/api/drain`: how far a drain is; one that begins as SIGTERM begins it, without the end of the
//! process; and the way back.

use std::sync::Arc;

use hyper::{Method, Response, StatusCode, http::request};

use super::written;
use crate::{
    body::Body,
    drain::{self, Stopping},
    problem::{Kind, Problem},
    state::Shared,
};

/// Answers one request: with how far the drain is.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    head: &request::Parts,
) -> Result<Response<Body>, Problem> {
    let state = &shared.state;
    let status = match head.method {
        Method::GET => StatusCode::OK,
        Method::POST => {
            let config = Arc::clone(&state.config());
            state.drain.begin(&config).await;
            StatusCode::ACCEPTED
        }
        Method::DELETE => match state.drain.take_back().await {
            Ok(()) => StatusCode::OK,
            Err(Stopping) => {
                let detail = "the process was told to stop, and its drain cannot be taken back";
                return Err(Problem::new(Kind::Stopping, detail));
            }
        },
        _ => return Err(Problem::method("GET, POST, DELETE")),
    };
    let mut response = written(&drain::progress(shared));
    *response.status_mut() = status;
    Ok(response)
}
