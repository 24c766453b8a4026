//! `/api/drain`: what SIGTERM begins, without the end of the process.

use hyper::{Method, Response, StatusCode, http::request};
use serde_json::json;

use super::{millis, only, written};
use crate::{body::Body, problem::Problem, state::Shared};

/// Answers one request.
pub(super) fn answer(shared: &Shared, head: &request::Parts) -> Result<Response<Body>, Problem> {
    only(head, Method::POST, POST)?;
    let state = &shared.state;
    state.begin_drain();
    let left = millis(state.drain_left());
    let mut response = written(&json!({ "draining": true, "drain_left_ms": left }));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

const POST: &str = "POST";
