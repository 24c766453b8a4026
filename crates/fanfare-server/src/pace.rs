//! How fast publishers may publish.
//!
//! Policy: a publish of one event that comes too soon is refused and told when to come back. A body
//! of many events waits instead: it is not read on, so that its publisher waits too, and nothing
//! that was accepted is lost. What operators publish does not count.

use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::{Instant, sleep_until};

use crate::{
    address::{Address, Peer},
    addresses::Refused,
    metrics::Reached,
    problem::Problem,
    state::State,
};

/// How many events a second are allowed; 0 is no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Rates {
    all: u32,
    each: u32,
}

impl State {
    /// Whether publishes are limited at all.
    pub(crate) fn limits_publishes(&self) -> bool {
        self.publish_rates().is_some()
    }

    /// Lets one event of a peer pass, or says when it may come again.
    pub(crate) fn pass_event(&self, peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(Rates { all, each }) = self.publish_rates() else { return Ok(()) };
        let client = peer.client(headers, &self.config().trusted_proxies);
        let now_ns = self.now_ns();
        if each > 0
            && let Err(refused) = self.gate.addresses.publish(client, each, now_ns)
        {
            self.metrics.reached(refused.limit(Reached::PublishRatePerAddress));
            let wait_ns = match refused {
                Refused::Met(wait_ns) => wait_ns,
                Refused::TableFull => TABLE_FULL_WAIT_NS,
            };
            return Err(Problem::too_fast("publish_rate_per_address_max", each, wait_ns));
        }
        if all > 0
            && let Err(wait_ns) = self.gate.events.with(|bucket| bucket.take(all, now_ns))
        {
            self.metrics.reached(Reached::PublishRate);
            if each > 0 {
                self.gate.addresses.put_back_publish(client, each);
            }
            return Err(Problem::too_fast("publish_rate_max", all, wait_ns));
        }
        Ok(())
    }

    /// How long an event of a body of many has to wait for its turn, which is taken.
    pub(crate) fn reserve_event(&self, client: Address) -> Option<Turn> {
        let rates = self.publish_rates()?;
        let Rates { all, each } = rates;
        let now_ns = self.now_ns();
        let mut wait_ns = 0;
        if each > 0 {
            let reserved = self.gate.addresses.reserve_publish(client, each, now_ns);
            let limit = |refused: Refused| refused.limit(Reached::PublishRatePerAddress);
            let limit = reserved.map_or_else(limit, |_| Reached::PublishRatePerAddress);
            wait_ns = reserved.unwrap_or(TABLE_FULL_WAIT_NS);
            if wait_ns > 0 {
                self.metrics.reached(limit);
            }
        }
        if all > 0 {
            let of_all_ns = self.gate.events.with(|bucket| bucket.reserve(all, now_ns));
            if of_all_ns > 0 {
                self.metrics.reached(Reached::PublishRate);
            }
            wait_ns = wait_ns.max(of_all_ns);
        }
        let at = Instant::now() + Duration::from_nanos(wait_ns);
        (wait_ns > 0).then_some(Turn { at, rates })
    }

    /// Waits for a turn. When the rates change meanwhile it has come, and when a drain ends the
    /// publishes it never does.
    pub(crate) async fn until(&self, turn: Turn) -> Result<(), Problem> {
        loop {
            let now = Instant::now();
            if turn.at <= now || self.publish_rates() != Some(turn.rates) {
                return Ok(());
            }
            tokio::select! {
                () = self.drain.publishes_end.until_on() => return Err(Problem::draining(self)),
                () = sleep_until(turn.at.min(now + LOOK_INTERVAL)) => {}
            }
        }
    }

    fn publish_rates(&self) -> Option<Rates> {
        let config = self.config();
        let (all, each) = (config.publish_rate_max, config.publish_rate_per_address_max);
        (all > 0 || each > 0).then_some(Rates { all, each })
    }
}

/// When an event may be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    at: Instant,
    /// What held when it was reserved.
    rates: Rates,
}

/// How often who waits long looks whether the settings have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What an event waits whose address cannot be remembered: until that may be different.
const TABLE_FULL_WAIT_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fanfare_core::ChannelName;
    use hyper::{Response, header};

    use super::*;
    use crate::{
        body::Body,
        config::Config,
        problem::Kind,
        publish::{self, Target},
        query::Query,
        testing::{self, TestBody},
        upload::Upload,
    };

    async fn post(
        state: &Arc<State>,
        peer: Option<Peer>,
        media_type: &'static str,
        body: TestBody,
    ) -> Result<Response<Body>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
        let target = Target::Channel(ChannelName::parse("news").unwrap());
        let upload = Upload::new(body, &headers);
        publish::answer(state, peer, target, &Query::parse("").unwrap(), &headers, upload).await
    }

    fn limited(all: u32, each: u32) -> Arc<State> {
        let limits = Config {
            publish_rate_max: all,
            publish_rate_per_address_max: each,
            ..testing::config()
        };
        testing::state_with(limits)
    }

    fn peer(last: u8) -> Option<Peer> {
        Some(Peer::new([192, 0, 2, last].into(), &[]))
    }

    async fn one(state: &Arc<State>, peer: Option<Peer>) -> Result<(), Problem> {
        post(state, peer, "text/plain", testing::chunks(["x"])).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn one_event_too_soon_is_refused_and_told_when() {
        for (state, name) in
            [(limited(2, 0), "publish_rate_max"), (limited(9, 2), "publish_rate_per_address_max")]
        {
            one(&state, peer(1)).await.unwrap();
            one(&state, peer(1)).await.unwrap();
            let problem = one(&state, peer(1)).await.unwrap_err();
            assert_eq!(problem.kind(), Kind::PublishRate);
            let text = String::from_utf8(problem.json()).unwrap();
            assert!(text.contains(&format!("\"limit\":{{\"name\":\"{name}\",\"value\":2}}")));
            let response = problem.response(&state);
            assert_eq!((response.status().as_u16(), state.hub.published_total()), (429, 2));
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
            one(&state, None).await.expect("operators are not limited");
            assert_eq!(one(&state, peer(2)).await.is_ok(), name != "publish_rate_max");
            tokio::time::advance(Duration::from_millis(501)).await;
            one(&state, peer(1)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_many_waits_and_loses_nothing() {
        for state in [limited(2, 0), limited(0, 2), limited(2, 3)] {
            let began = Instant::now();
            let lines: String = (0..100).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
            let body = testing::raw(vec![lines.into_bytes()]);
            let answer = post(&state, peer(1), "application/x-ndjson", body).await.unwrap();
            assert_eq!(testing::json(answer).await["accepted"], 100);
            let took = began.elapsed().as_millis();
            assert!((48_000..51_000).contains(&took), "{took} ms, longer than a body may pause");
            assert_eq!(state.requests.held_bytes(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_the_wait() {
        let state = limited(1, 0);
        let body = testing::raw(vec![b"{\"data\":1}\n{\"data\":2}\n{\"data\":3}\n".to_vec()]);
        let publish = {
            let state = Arc::clone(&state);
            tokio::spawn(async move { post(&state, peer(1), "application/x-ndjson", body).await })
        };
        let wait = Instant::now() + Duration::from_millis(1_500);
        sleep_until(wait).await;
        state.drain.publishes_end.turn_on();
        let problem = publish.await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), Kind::Draining);
        let told = String::from_utf8(problem.json()).unwrap();
        assert!(told.ends_with("\"line\":3,\"accepted\":2}"), "{told}");
        assert_eq!(state.hub.published_total(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn rates_that_change_free_who_waits() {
        let state = limited(1, 0);
        let body = testing::raw(vec!["{\"data\":1}\n".repeat(1_000).into_bytes()]);
        let began = Instant::now();
        let publish = {
            let state = Arc::clone(&state);
            tokio::spawn(async move { post(&state, peer(1), "application/x-ndjson", body).await })
        };
        let wait = Instant::now() + Duration::from_millis(1_500);
        sleep_until(wait).await;
        state.put(testing::config(), state.shares());
        publish.await.unwrap().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(state.hub.published_total(), 1_000);
    }
}
