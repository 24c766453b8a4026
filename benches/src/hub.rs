//! A hub and the broker that publishes to it, in memory and without IO.

use std::sync::Arc;

use fanfare_core::{
    Change, ChannelName, Doorbell, Draft, Epoch, Hub, HubLimits, MemoryBroker, Opening,
    Publication, Request, Selectors, Start, Subscribed, WorkerIndex,
};

/// A hub and its broker.
#[derive(Debug)]
pub struct Core {
    /// The hub.
    pub hub: Arc<Hub>,
    broker: MemoryBroker,
}

impl Core {
    /// A hub whose workers have these doorbells.
    pub fn new(limits: HubLimits, doorbells: Vec<Arc<Doorbell>>) -> Self {
        let hub = Arc::new(Hub::new(Epoch::from_random(7), limits, doorbells));
        let broker = MemoryBroker::new(Arc::clone(&hub));
        Self { hub, broker }
    }

    /// A hub with a worker that nobody runs.
    pub fn without_worker(limits: HubLimits) -> Self {
        Self::new(limits, vec![Arc::new(Doorbell::new(Box::new(|| {})))])
    }

    /// Publishes one event; returns its `seq`.
    pub fn publish(&self, channel: &ChannelName, draft: Draft) -> u64 {
        let (channel, change) = (channel.clone(), Change::Event(draft, None));
        let publication = Publication {
            channel,
            change,
            instance: None,
            producer: None,
            key: None,
            now_us: NOW_US,
        };
        self.broker.place(publication).unwrap().id.seq
    }

    /// Subscribes to channels, without control events.
    pub fn subscribe(
        &self,
        channels: &[ChannelName],
        start: Start,
        worker: WorkerIndex,
    ) -> Opening {
        let selectors = Selectors::parse(channels.iter().map(ChannelName::as_str)).unwrap();
        let request = Request {
            selectors,
            start,
            control: false,
            open: false,
            envelope: false,
            coalesce: None,
            live: false,
        };
        let subscribed = self.hub.subscribe(&request, worker, RETRY_MS).unwrap();
        let Subscribed::Live(opening) = subscribed else { panic!("{subscribed:?}") };
        opening
    }
}

/// The channels `bench/0`, `bench/1` and so on.
pub fn channels(count: usize) -> Vec<ChannelName> {
    (0..count).map(|index| ChannelName::parse(&format!("bench/{index}")).unwrap()).collect()
}

/// All events are published at this time, in Unix microseconds: none grows old.
const NOW_US: u64 = 1_000;
/// Milliseconds after which a client would come back; no channel ends here.
const RETRY_MS: u32 = 5_000;
