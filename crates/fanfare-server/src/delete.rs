//! `DELETE /channels/{channel}`: ends its subscribers and drops its events now.

use std::sync::Arc;

use fanfare_core::{Change, ChannelName};
use hyper::{Response, StatusCode};

use crate::{body::Body, problem::Problem, publish::place_now, state::State};

/// Deletes a channel.
pub(crate) async fn answer(
    state: &Arc<State>,
    channel: ChannelName,
) -> Result<Response<Body>, Problem> {
    let _token = state.publishes.token();
    if state.drain.refuses() {
        return Err(Problem::draining(state));
    }
    place_now(state, channel, Change::Delete, None).await?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{problem::Kind, testing};

    #[tokio::test]
    async fn a_channel_is_deleted_once() {
        let state = testing::state();
        let name = || ChannelName::parse("news").unwrap();
        testing::publish(&state, "news", "1").await;
        assert_eq!(answer(&state, name()).await.unwrap().status(), StatusCode::NO_CONTENT);
        let again = answer(&state, name()).await.unwrap_err();
        assert_eq!(again.kind(), Kind::ChannelNotFound);
        testing::publish(&state, "news", "2").await;
        state.drain.refuse(20_000);
        assert_eq!(answer(&state, name()).await.unwrap_err().kind(), Kind::Draining);
    }
}
