//! What is shown: the last figures of a hub, how they changed, and what was asked to be seen.

use std::collections::VecDeque;

use super::feed::{Moment, Wish};
use crate::{
    client::{channels::Facts, stats::Stats},
    limits::TOP_HISTORY,
};

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Host and port of the hub.
    pub(super) authority: String,
    /// Its last figures.
    pub(super) stats: Stats,
    /// How they changed, the last ones at the back.
    pub(super) rates: VecDeque<Rates>,
    /// Its busiest channels.
    pub(super) channels: Vec<Facts>,
    /// How many of them are passed over.
    pub(super) offset: usize,
    /// What is asked for.
    pub(super) wish: Wish,
    /// Why there are no new figures.
    pub(super) failure: Option<String>,
    /// Why there are no new channels.
    pub(super) channels_failure: Option<String>,
}

/// What went on in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Events from publishers.
    pub(super) events_in: f64,
    /// Bytes of their data.
    pub(super) bytes_in: f64,
    /// Events to subscribers.
    pub(super) events_out: f64,
    /// Bytes to them.
    pub(super) bytes_out: f64,
    /// Cores in use.
    pub(super) cores: f64,
}

/// By what channels are sorted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sort {
    /// Events a second.
    #[default]
    Rate,
    /// Subscribers.
    Subscribers,
    /// Events since they exist.
    Events,
    /// Bytes kept.
    Bytes,
    /// Their names.
    Name,
}

impl View {
    /// Nothing is known of this hub yet.
    pub(super) fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned(), ..Self::default() }
    }

    /// Takes what a hub told; what it did not tell stays as it was.
    pub(super) fn take(&mut self, moment: Moment) {
        self.failure = moment.stats.map(|stats| self.take_stats(stats)).err();
        let channels = moment.channels.map(|channels| self.channels = channels);
        self.channels_failure = channels.err().filter(|_| self.failure.is_none());
        self.scroll(0);
    }

    /// Takes new figures.
    pub(super) fn take_stats(&mut self, stats: Stats) {
        if self.stats.epoch != stats.epoch {
            self.rates.clear();
        } else if let Some(rates) = Rates::between(&self.stats, &stats) {
            self.rates.push_back(rates);
            self.rates.drain(..self.rates.len().saturating_sub(TOP_HISTORY));
        }
        self.stats = stats;
    }

    /// Goes so many channels further down, or up.
    pub(super) fn scroll(&mut self, lines: isize) {
        let last = self.channels.len().saturating_sub(1);
        self.offset = self.offset.saturating_add_signed(lines).min(last);
    }

    /// What went on in the last second.
    pub(super) fn last(&self) -> Rates {
        self.rates.back().copied().unwrap_or_default()
    }
}

impl Rates {
    /// What went on between two moments of one hub, if time passed.
    fn between(old: &Stats, new: &Stats) -> Option<Self> {
        let ms = new.uptime_ms.checked_sub(old.uptime_ms).filter(|ms| *ms > 0)?;
        let seconds = ms as f64 / 1_000.0;
        let per_second = |old: u64, new: u64| new.saturating_sub(old) as f64 / seconds;
        Some(Self {
            events_in: per_second(old.events_published_total, new.events_published_total),
            bytes_in: per_second(old.bytes_published_total, new.bytes_published_total),
            events_out: per_second(old.events_delivered_total, new.events_delivered_total),
            bytes_out: per_second(old.bytes_sent_total, new.bytes_sent_total),
            cores: (new.cpu_seconds_total - old.cpu_seconds_total).max(0.0) / seconds,
        })
    }
}

impl Sort {
    /// The one after this.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Subscribers,
            Self::Subscribers => Self::Events,
            Self::Events => Self::Bytes,
            Self::Bytes => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    /// As the hub calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Subscribers => "subscribers",
            Self::Events => "events",
            Self::Bytes => "bytes",
            Self::Name => "name",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(epoch: &str, uptime_ms: u64, published: u64) -> Stats {
        let epoch = epoch.to_owned();
        Stats { epoch, uptime_ms, events_published_total: published, ..Stats::default() }
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let mut view = View::new("hub");
        view.take_stats(stats("a", 1_000, 500));
        assert_eq!((view.rates.len(), view.last().events_in), (0, 0.0));
        view.take_stats(stats("a", 3_000, 600));
        assert_eq!(view.last().events_in, 50.0);
        // The same moment again, and a hub that began anew, tell nothing.
        view.take_stats(stats("a", 3_000, 700));
        assert_eq!(view.rates.len(), 1);
        view.take_stats(stats("b", 4_000, 9));
        assert_eq!(view.rates.len(), 0);
        for second in 5..1_000 {
            view.take_stats(stats("b", second * 1_000, 9));
        }
        assert_eq!(view.rates.len(), TOP_HISTORY);
    }

    #[test]
    fn the_sort_comes_round() {
        let sorts: Vec<_> =
            std::iter::successors(Some(Sort::Rate), |sort| Some(sort.next())).take(6).collect();
        assert_eq!(sorts[5], Sort::Rate);
        assert!((1..5).all(|n| sorts[n] != Sort::Rate));
    }
}
