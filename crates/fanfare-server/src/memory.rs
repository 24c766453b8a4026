//! How the memory of the process is divided.
//!
//! Policy: the defaults of rings, journal, channels, tombstones and keys are made from the budget;
//! one that is set wins. So is how many addresses of clients are remembered, which nobody sets.
//! What they leave is for requests, for sockets, and for what blocked subscribers pin. A share that
//! is used up refuses what is new and never cuts what is there; but what is pinned grows by what
//! publishers send, so there those go who have been blocked longest.

use std::fmt;

use crate::{
    config::Config,
    limits::{
        ADDRESS_BYTES, ADDRESSES_MAX, CHANNEL_BYTES, FRAME_FACTOR_MAX, JOURNAL_PAIR_BYTES,
        KEY_BYTES, PINNED_BYTES_MIN, REQUESTS_BYTES_MAX, REQUESTS_BYTES_MIN, SOCKETS_BYTES_MIN,
        TOMBSTONE_BYTES, ndjson_line_bytes_max,
    },
};

/// What each part of the hub may hold, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryShares {
    /// All rings: what channels keep.
    pub rings: usize,
    /// The journal.
    pub journal: usize,
    /// Bodies and lines that are not whole yet, and answers that are not taken yet.
    pub requests: usize,
    /// Connections and streams.
    pub sockets: usize,
    /// Begun frames of subscribers whose sockets are full.
    pub pinned: usize,
}

/// The parts need more than the budget; holds how many bytes. The settings are at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OverBudget(pub usize);

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parts of the hub need {} bytes", self.0)
    }
}

impl std::error::Error for OverBudget {}

/// Defaults of what a hub holds, made from the bytes of its budget.
#[derive(Clone, Copy, Debug)]
pub struct Budgeted(pub u64);

impl Budgeted {
    /// Bytes of all rings: half.
    pub fn rings_bytes(self) -> u64 {
        self.0 / 2
    }

    /// Events of the journal: a sixteenth.
    pub fn journal_events(self) -> u64 {
        self.0 / 16 / JOURNAL_PAIR_BYTES as u64
    }

    /// Channels: an eighth.
    pub fn channels(self) -> u64 {
        self.0 / 8 / CHANNEL_BYTES as u64
    }

    /// Tombstones: a thirty-second.
    pub fn tombstones(self) -> u64 {
        self.0 / 32 / TOMBSTONE_BYTES as u64
    }

    /// Idempotency keys: a thirty-second.
    pub fn idempotency_keys(self) -> u64 {
        self.0 / 32 / KEY_BYTES as u64
    }

    /// Addresses of clients: a thirty-second, and no more than any hub needs.
    pub(crate) fn addresses(self) -> usize {
        (self.0 as usize / 32 / ADDRESS_BYTES).min(ADDRESSES_MAX)
    }

    /// What is not divided further: channels, tombstones, keys, addresses, code, and what the
    /// allocator holds beyond what it gave out.
    fn rest_bytes(self) -> u64 {
        self.0 / 4
    }
}

impl MemoryShares {
    /// Divides the budget of a configuration. Tables that are set to more than their part do not
    /// count against it: they are seldom full.
    pub fn of(config: &Config) -> Result<Self, OverBudget> {
        let budget = config.memory_bytes_max;
        let rest = Budgeted(budget as u64).rest_bytes() as usize;
        let data_max = config.event_data_bytes_max;
        let rings = config.rings_bytes_max;
        let journal = config.journal_events_max.saturating_mul(JOURNAL_PAIR_BYTES);
        // What grows has up to twice the room that it needs.
        let requests = (2 * ndjson_line_bytes_max(data_max)).max(REQUESTS_BYTES_MIN);
        let pinned = (data_max * FRAME_FACTOR_MAX).max(PINNED_BYTES_MIN);
        let sockets = SOCKETS_BYTES_MIN;
        let parts = [rings, journal, rest, requests, sockets, pinned];
        let needed = parts.into_iter().fold(0, usize::saturating_add);
        let Some(spare) = budget.checked_sub(needed) else { return Err(OverBudget(needed)) };
        // Of what the parts do not need, two fifths, two fifths and one.
        let more = (spare / 5 * 2).min(REQUESTS_BYTES_MAX.saturating_sub(requests));
        let spare = spare - more;
        let (requests, pinned) = (requests + more, pinned + spare / 3);
        Ok(Self { rings, journal, requests, sockets: sockets + (spare - spare / 3), pinned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn config(budget: usize) -> Config {
        let defaults = Budgeted(budget as u64);
        Config {
            memory_bytes_max: budget,
            rings_bytes_max: defaults.rings_bytes() as usize,
            journal_events_max: defaults.journal_events().min(1_048_576) as usize,
            event_data_bytes_max: 256 * 1024,
            ..Config::default()
        }
    }

    fn sum(shares: MemoryShares) -> usize {
        let MemoryShares { rings, journal, requests, sockets, pinned } = shares;
        rings + journal + requests + sockets + pinned
    }

    #[test]
    fn the_parts_of_any_budget_fit_it() {
        for mib in [64, 100, 256, 1_024, 4_096, 1 << 20] {
            let budget = mib * MIB;
            let shares = MemoryShares::of(&config(budget)).unwrap();
            assert!(sum(shares) <= budget / 4 * 3, "{mib} MiB: {shares:?}");
            assert!(sum(shares) >= budget / 4 * 3 - 64, "nothing is left over: {shares:?}");
            assert!(shares.sockets >= SOCKETS_BYTES_MIN, "{mib} MiB: {shares:?}");
        }
        let large = MemoryShares::of(&config(8 << 30)).unwrap();
        assert_eq!((large.rings, large.requests), (4 << 30, REQUESTS_BYTES_MAX));
        assert!(large.sockets > 256 * MIB, "{large:?}");
    }

    #[test]
    fn what_is_not_divided_has_room_for_its_tables() {
        for mib in [64, 256, 1_024, 4_096, 1 << 20] {
            let budget = Budgeted((mib * MIB) as u64);
            let tables = budget.channels() as usize * CHANNEL_BYTES
                + budget.tombstones() as usize * TOMBSTONE_BYTES
                + budget.idempotency_keys() as usize * KEY_BYTES
                + budget.addresses() * ADDRESS_BYTES;
            assert!(tables <= budget.rest_bytes() as usize / 8 * 7, "{mib} MiB: {tables}");
        }
        let addresses = [64, 256, 1 << 20].map(|mib| Budgeted(mib << 20).addresses());
        assert_eq!(addresses, [16_384, 65_536, ADDRESSES_MAX]);
    }

    #[test]
    fn what_is_set_wins_and_the_others_have_less() {
        let half = MemoryShares::of(&config(256 * MIB)).unwrap();
        let more = Config { rings_bytes_max: 160 * MIB, ..config(256 * MIB) };
        let shares = MemoryShares::of(&more).unwrap();
        assert_eq!(shares.rings, 160 * MIB);
        assert!(shares.sockets < half.sockets && shares.requests < half.requests);
        assert_eq!(sum(shares), sum(half));
    }

    #[test]
    fn what_cannot_fit_is_refused_with_what_it_needs() {
        let config = Config { rings_bytes_max: 200 * MIB, ..config(256 * MIB) };
        let OverBudget(needed) = MemoryShares::of(&config).unwrap_err();
        assert!((250 * MIB..300 * MIB).contains(&needed), "{needed}");
        let enough = Config { memory_bytes_max: needed * 4 / 3, ..config };
        assert!(MemoryShares::of(&enough).is_ok());
    }
}
