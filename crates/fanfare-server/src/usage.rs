//! How near the hub is to its limits: for the metrics, the console and the command line.

use fanfare_core::{Limit, limits::PRODUCERS_SHARE};

use crate::{
    bucket::SharedBucket,
    limits::{JOURNAL_PAIR_BYTES, REFUSED_CONNECTIONS_MAX, UPSTREAM_LOOKUPS_MAX},
    metrics::Reached,
    state::State,
};

/// A limit, and how much of it is used. A limit of which nobody knows how much is used is only
/// counted when it is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LimitUse {
    /// Its name, as in `fanfare_limit_reached_total`.
    pub(crate) limit: &'static str,
    /// How much is used now.
    pub(crate) used: u64,
    /// How much may be; 0 is no limit.
    pub(crate) max: u64,
}

/// A share of the budget of memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ShareUse {
    /// Its name.
    pub(crate) share: &'static str,
    /// Bytes that are used now.
    pub(crate) used_bytes: u64,
    /// Bytes that may be.
    pub(crate) max_bytes: u64,
}

impl State {
    /// All limits of which it is known how much is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        let config = self.config();
        let held = self.hub.held();
        let of =
            |limit, used: usize, max: usize| LimitUse { limit, used: used as u64, max: max as u64 };
        let hub = |limit: Limit, used, max| of(limit.as_str(), used, max);
        let server = |limit: Reached, used, max| of(limit.as_str(), used, max);
        let per_s = |limit: Reached, bucket: &SharedBucket, per_s: u32| {
            let used = match per_s {
                0 => 0,
                _ => bucket.with(|bucket| bucket.used(per_s, self.now_ns())),
            };
            LimitUse { limit: limit.as_str(), used, max: per_s.into() }
        };
        vec![
            server(Reached::Addresses, self.gate.addresses.len(), self.gate.addresses.max()),
            per_s(Reached::ConnectRate, &self.gate.connects, config.connect_rate_max),
            per_s(Reached::PublishRate, &self.gate.events, config.publish_rate_max),
            server(
                Reached::RefusedConnections,
                REFUSED_CONNECTIONS_MAX - self.gate.refusals.available_permits(),
                REFUSED_CONNECTIONS_MAX,
            ),
            server(Reached::Connections, self.connections.taken(), config.connections_max),
            hub(Limit::Channels, held.channels, config.channels_max),
            hub(Limit::IdempotencyKeys, held.idempotency_keys, config.idempotency_keys_max),
            hub(Limit::JournalEvents, held.journal_events, config.journal_events_max),
            hub(
                Limit::ProducersBytes,
                held.producers_bytes,
                config.rings_bytes_max / PRODUCERS_SHARE,
            ),
            hub(Limit::RingsBytes, held.budgeted_bytes(), config.rings_bytes_max),
            of("tombstones", held.tombstones, config.tombstones_max),
            server(Reached::UpstreamFetches, self.upstreams.taken(), config.upstream_fetches_max),
            server(Reached::UpstreamLookups, self.upstreams.lookups(), UPSTREAM_LOOKUPS_MAX),
            server(Reached::RequestsBytes, self.requests.held_bytes(), self.shares().requests),
            server(Reached::SocketsBytes, self.sockets.held_bytes(), self.shares().sockets),
        ]
    }

    /// The shares of the budget of memory. What blocked subscribers pin is known to the workers.
    pub(crate) fn memory(&self, pinned_bytes: usize) -> [ShareUse; 5] {
        let held = self.hub.held();
        let of = |share, used: usize, max: usize| ShareUse {
            share,
            used_bytes: used as u64,
            max_bytes: max as u64,
        };
        let config = self.config();
        let journal = |events: usize| events.saturating_mul(JOURNAL_PAIR_BYTES);
        [
            // As the budget of all rings counts it.
            of("rings", held.budgeted_bytes(), config.rings_bytes_max),
            of("journal", journal(held.journal_events), journal(config.journal_events_max)),
            of("requests", self.requests.held_bytes(), self.shares().requests),
            of("sockets", self.sockets.held_bytes(), self.shares().sockets),
            of("pinned", pinned_bytes, self.shares().pinned),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::Config, testing};

    #[tokio::test]
    async fn what_is_used_shows() {
        let state = testing::state();
        let _place = state.connections.try_take(1).unwrap();
        let mut charge = state.requests.charge();
        charge.resize(70).unwrap();
        testing::publish(&state, "news", "x").await;
        let limits = state.limits();
        let used = |name| limits.iter().find(|limit| limit.limit == name).unwrap().used;
        assert_eq!((used("connections"), used("channels"), used("requests_bytes")), (1, 1, 70));
        let memory = state.memory(7);
        assert_eq!(memory.map(|share| share.used_bytes)[1..], [32, 70, 0, 7]);
        assert!(memory[0].used_bytes > 128, "{memory:?}");
        assert!(memory.iter().all(|share| share.used_bytes < share.max_bytes));
    }

    #[tokio::test]
    async fn how_many_addresses_are_remembered_follows_the_budget() {
        let config = Config {
            memory_bytes_max: 64 << 20,
            rings_bytes_max: 16 << 20,
            journal_events_max: 1_000,
            ..testing::config()
        };
        let limits = testing::state_with(config).limits();
        let addresses = limits.iter().find(|limit| limit.limit == "addresses").unwrap();
        assert_eq!((addresses.used, addresses.max), (0, 16_384));
    }
}
