//! How fast publishers may publish.
//!
//! Policy: a publish of one event that comes too soon is refused and told when to come back. A body
//! of many events waits instead: it is not read on, so that its publisher waits too, and nothing
//! that was accepted is lost. What operators publish does not count.
//!
//! Who waits has taken nothing ahead of its time, so those who leave, or who wait for their own
//! address, cost nobody else anything. Bodies take their turns, and leave the half of what there
//! is to publishes of one event, which cannot wait.

use std::{sync::Arc, time::Duration};

use hyper::HeaderMap;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    address::{Address, Peer},
    addresses::Refused,
    metrics::Reached,
    problem::Problem,
    state::State,
};

/// How many events a second are allowed; 0 is no limit.
#[derive(Clone, Copy, Debug)]
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
            let wait_ns = refused.wait_ns();
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

    /// Lets one event of a body of many pass, unless it has to wait.
    pub(crate) fn pass_at_once(&self, client: Address) -> bool {
        let Some(Rates { all, each }) = self.publish_rates() else { return true };
        if each > 0 {
            let taken = match self.gate.addresses.is_queued(client) {
                true => Err(Refused::Met(0)),
                false => self.gate.addresses.publish_of_many(client, each, self.now_ns()),
            };
            if let Err(refused) = taken {
                self.metrics.reached(refused.limit(Reached::PublishRatePerAddress));
                return false;
            }
        }
        // Nobody overtakes those who wait.
        let is_queued = Arc::strong_count(&self.gate.queue) > 1;
        if all > 0 && (is_queued || self.take_of_all().is_err()) {
            self.metrics.reached(Reached::PublishRate);
            if each > 0 {
                self.gate.addresses.put_back_publish(client, each);
            }
            return false;
        }
        true
    }

    /// Lets one event of a body of many pass when its turn has come. When a drain ends the
    /// publishes it never does.
    pub(crate) async fn pass_in_turn(self: &Arc<Self>, client: Address) -> Result<(), Problem> {
        // A task of its own, because others wait behind it, whether the publish is driven or not.
        let state = Arc::clone(self);
        let turn = async move { state.tokens(client).await };
        let turn = AbortOnDropHandle::new(tokio::spawn(turn));
        tokio::select! {
            () = self.drain.publishes_end.until_on() => Err(Problem::draining(self)),
            _passed = turn => Ok(()),
        }
    }

    /// Waits for a token of each bucket. First come those of an address one after the other, so
    /// that the whole hub's tokens are shared among addresses, however many bodies one has, and
    /// taken only by events that have nothing else to wait for.
    async fn tokens(&self, client: Address) {
        let of_address = self.gate.addresses.queue(client, self.now_ns());
        let _first_of_address = match &of_address {
            Some(queue) => Some(queue.lock().await),
            None => None,
        };
        until_taken(|| self.take_of_address(client)).await;
        let of_all = Arc::clone(&self.gate.queue);
        let _first_of_all = of_all.lock().await;
        until_taken(|| self.take_of_all()).await;
    }

    fn take_of_address(&self, client: Address) -> Result<(), u64> {
        let each = self.config().publish_rate_per_address_max;
        if each == 0 {
            return Ok(());
        }
        let taken = self.gate.addresses.publish_of_many(client, each, self.now_ns());
        taken.map_err(Refused::wait_ns)
    }

    fn take_of_all(&self) -> Result<(), u64> {
        match self.config().publish_rate_max {
            0 => Ok(()),
            all => self.gate.events.with(|bucket| bucket.take_of_half(all, self.now_ns())),
        }
    }

    fn publish_rates(&self) -> Option<Rates> {
        let config = self.config();
        let (all, each) = (config.publish_rate_max, config.publish_rate_per_address_max);
        (all > 0 || each > 0).then_some(Rates { all, each })
    }
}

impl Refused {
    /// After how many nanoseconds it may be different.
    fn wait_ns(self) -> u64 {
        match self {
            Self::Met(wait_ns) => wait_ns,
            Self::TableFull => TABLE_FULL_WAIT_NS,
        }
    }
}

/// Waits until there is a token. It looks now and then in any case: the rate may be another.
async fn until_taken(take: impl Fn() -> Result<(), u64>) {
    while let Err(wait_ns) = take() {
        sleep(Duration::from_nanos(wait_ns).min(LOOK_INTERVAL)).await;
    }
}

/// How often who waits long looks whether the settings have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What an event waits whose address cannot be remembered: until that may be different.
const TABLE_FULL_WAIT_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use fanfare_core::ChannelName;
    use http_body_util::BodyExt;
    use hyper::{Response, header};
    use tokio::{
        task::JoinHandle,
        time::{Instant, sleep_until, timeout},
    };

    use super::*;
    use crate::{
        body::Body,
        config::Config,
        ndjson::Ndjson,
        problem::Kind,
        publish::{self, Target},
        publish_many::{self, Many, Source},
        query::Query,
        streaming::Streaming,
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
    async fn a_head_that_leaves_something_behind_waits_like_an_event() {
        for (query, headers, waits) in [
            ("", &[][..], false),
            ("close=on-end", &[], true),
            ("", &[("producer-id", "p"), ("producer-epoch", "0"), ("producer-seq", "0")], true),
        ] {
            let state = limited(0, 2);
            let mut head = HeaderMap::new();
            for (name, value) in [("content-type", "application/x-ndjson")].iter().chain(headers) {
                head.insert(*name, header::HeaderValue::from_static(value));
            }
            let began = Instant::now();
            for n in 0..20 {
                let target = Target::Channel(ChannelName::parse(&format!("c/{n}")).unwrap());
                let upload = Upload::new(testing::raw(Vec::new()), &head);
                let query = Query::parse(query).unwrap();
                publish::answer(&state, peer(1), target, &query, &head, upload).await.unwrap();
            }
            let took = began.elapsed().as_millis();
            assert_eq!(took >= 8_000, waits, "{query} {headers:?}: {took} ms");
            assert_eq!(state.hub.channels().live + state.hub.channels().closed > 0, waits);
        }
    }

    /// A body of one line after the other that goes on when there is room for it.
    fn many(state: &Arc<State>, from: u8, lines: usize) -> JoinHandle<u64> {
        let (state, lines) = (Arc::clone(state), "{\"data\":1}\n".repeat(lines).into_bytes());
        tokio::spawn(async move {
            let body = testing::raw(vec![lines]);
            let answer = post(&state, peer(from), "application/x-ndjson", body).await.unwrap();
            testing::json(answer).await["accepted"].as_u64().unwrap()
        })
    }

    async fn pause(ms: u64) {
        sleep_until(Instant::now() + Duration::from_millis(ms)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_left_while_it_waited_costs_nobody_anything() {
        let state = limited(5, 0);
        let crowd: Vec<_> = (0..300).map(|_| many(&state, 1, 1)).collect();
        pause(1).await;
        crowd.iter().for_each(JoinHandle::abort);
        pause(1_000).await;
        let published = state.hub.published_total();
        for _ in 0..5 {
            one(&state, peer(2)).await.unwrap();
        }
        pause(60_000).await;
        assert_eq!(state.hub.published_total(), published + 5, "those who left are gone");
        assert_eq!((Arc::strong_count(&state.gate.queue), state.requests.held_bytes()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_own_address_costs_no_other_anything() {
        let state = limited(20, 1);
        let _crowd: Vec<_> = (0..300).map(|_| many(&state, 1, 1)).collect();
        for second in 1..10 {
            pause(1_050).await;
            one(&state, peer(2)).await.unwrap();
            let other = timeout(Duration::from_millis(100), many(&state, second + 10, 1)).await;
            assert_eq!(other.expect("it has tokens of its own").unwrap(), 1);
        }
        assert!((27..=29).contains(&state.hub.published_total()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_leaves_room_for_those_who_cannot_wait() {
        for state in [limited(10, 0), limited(0, 10)] {
            let body = many(&state, 1, 1_000);
            for _ in 0..40 {
                pause(230).await;
                one(&state, peer(1)).await.unwrap();
            }
            let published = state.hub.published_total();
            assert!((90..=100).contains(&published), "{published}, all that the rate allows");
            body.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_take_turns_however_many_bodies_one_has() {
        let state = limited(10, 0);
        let _crowd: Vec<_> = (0..300).map(|_| many(&state, 1, 100)).collect();
        pause(5_000).await;
        let began = Instant::now();
        assert_eq!(many(&state, 2, 20).await.unwrap(), 20);
        let took = began.elapsed().as_millis();
        assert!((3_500..4_500).contains(&took), "{took} ms: every second event was another's");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_acks_holds_up_nobody() {
        let state = limited(2, 0);
        let lines = testing::raw(vec!["{\"data\":1}\n".repeat(9).into_bytes()]);
        let upload = Upload::new(lines, &HeaderMap::new());
        let source = Source::Ndjson(Ndjson::new(None, 100, false));
        let channel = Some(ChannelName::parse("news").unwrap());
        let client = Some(testing::peer().address());
        let parts = (state.publishes.token(), None);
        let place = (channel, Streaming::new(&state, None));
        let many_acked = Many::new(&state, client, place, source, upload, parts);
        let mut acks = publish_many::acknowledged(many_acked).into_body();
        // It is driven until it waits, and then no more.
        acks.frame().await.unwrap().unwrap();
        tokio::select! {
            biased;
            _ = acks.frame() => panic!("it has to wait"),
            () = std::future::ready(()) => {}
        }
        let other = timeout(Duration::from_secs(9), many(&state, 2, 4)).await;
        assert_eq!(other.expect("others have their turns").unwrap(), 4);
        drop(acks);
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
