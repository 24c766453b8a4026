//! `/cancel/{channel}`: the wish that a channel be cancelled, and who waits for one.
//!
//! Policy: stop is not disconnect. A wish is stored before anybody is told of it, so one that comes
//! before the producer is not lost; the channel ends when its producer ends it.

use std::{future::poll_fn, sync::Arc, time::Duration};

use fanfare_core::{Change, ChannelName, CloseReason, Standing, WaitersFull, Watch};
use hyper::{Response, StatusCode, header, header::HeaderValue};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    body::Body,
    limits::{CANCEL_WAIT_S, CANCEL_WAIT_S_MAX, RETRY_AFTER_FULL_S},
    problem::{Kind, Problem},
    publish::{json_response, place_now},
    query::Query,
    state::State,
};

/// `POST`: stores a wish.
pub(crate) async fn ask(
    state: &Arc<State>,
    channel: ChannelName,
) -> Result<Response<Body>, Problem> {
    let _token = state.publishes.token();
    // Who is still being streamed to can be stopped; for the others the hub is as good as gone.
    let is_live = || state.hub.channel(&channel).is_some_and(|info| info.publishing > 0);
    if state.drain.refuses() && !is_live() {
        return Err(Problem::draining(state));
    }
    let (mut standing, is_due) = state.hub.cancel(&channel, state.now_ms())?;
    if is_due {
        // Another may have been quicker, or the producer came back.
        drop(place_now(state, channel.clone(), Change::CloseIfDue, None).await);
        standing = state.hub.standing(&channel);
    }
    let mut response = told(&channel, standing);
    if standing == Standing::Cancelling {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

/// `GET`: waits until there is a wish, or the channel has ended.
pub(crate) async fn wait(
    state: &Arc<State>,
    channel: ChannelName,
    query: &Query,
) -> Result<Response<Body>, Problem> {
    let seconds = query.number("wait", 0..=CANCEL_WAIT_S_MAX)?.unwrap_or(CANCEL_WAIT_S);
    if state.drain.publishes_end.is_on() {
        return Err(Problem::draining(state));
    }
    let (watch, standing) = state.hub.watch(&channel, true)?;
    if standing != Standing::Open {
        return Ok(told(&channel, standing));
    }
    let standing = tokio::select! {
        biased;
        standing = next(&watch) => standing,
        () = state.drain.publishes_end.until_on() => Standing::Open,
        () = sleep(Duration::from_secs(seconds)) => Standing::Open,
    };
    Ok(told(&channel, standing))
}

/// What becomes of a channel next.
async fn next(watch: &Watch) -> Standing {
    poll_fn(|cx| watch.poll(cx)).await
}

fn told(channel: &ChannelName, standing: Standing) -> Response<Body> {
    let reason = standing.reason().map(CloseReason::as_str);
    let told = Told { channel: channel.as_str(), state: standing.as_str(), reason };
    let mut response = json_response(serde_json::to_vec(&told).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<WaitersFull> for Problem {
    fn from(WaitersFull(max): WaitersFull) -> Self {
        let detail = format!(
            "{max} requests wait for the channel to be cancelled, which is what is allowed; try \
             again in {RETRY_AFTER_FULL_S} s"
        );
        Self::full(Kind::CancelWaitersFull, detail, "cancel_waiters_max", max)
    }
}

#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    state: &'static str,
    reason: Option<&'static str>,
}
