//! Looking after streams whose peers take nothing: they stall, and they hold memory.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use fanfare_fanout::Disconnect;

use super::{
    H2, lock,
    reading::{Reading, Stream},
};
use crate::limits::{H2_PRESS_INTERVAL_MS, H2_SWEEP_INTERVAL_MS};

impl H2 {
    /// Ends streams whose peers take nothing, and lets go of what was read for feeds that are
    /// quiet. `seen` holds their versions from sweep to sweep.
    pub(super) fn sweep(&self, seen: &mut Vec<(Arc<Reading>, u64)>) {
        let (now_ms, stall_ms) = (self.now_ms(), self.stall_ms_max.load(Ordering::Relaxed));
        let since_ms = now_ms.saturating_sub(stall_ms);
        let blocked_ms = now_ms.saturating_sub(H2_SWEEP_INTERVAL_MS);
        let mut blocked = 0;
        let readings = self.readings();
        let mut stalled = Vec::new();
        for reading in &readings {
            blocked += reading.waiting(blocked_ms);
            reading.stalled(since_ms, &mut stalled);
            for stream in stalled.drain(..) {
                self.cut(reading, &stream, Disconnect::Stalled);
            }
        }
        self.blocked.store(blocked as u64, Ordering::Relaxed);
        lock(&self.counts).sampler.tick();
        self.stock.tidy();
        for (reading, version) in seen.drain(..) {
            reading.forget(version);
        }
        seen.extend(readings.into_iter().map(|reading| {
            // A version that cannot be: only asks for the current one.
            let version = reading.forget(u64::MAX);
            (reading, version)
        }));
    }

    /// Makes room while joined frames hold too much: what nobody was given goes first, then the
    /// streams whose peers have taken nothing for longest, until they held half of it.
    pub(super) fn press(&self) {
        if !self.stock.is_full() {
            return;
        }
        let readings = self.readings();
        readings.iter().for_each(|reading| reading.forget_joined());
        if !self.stock.is_full() {
            return;
        }
        let since_ms = self.now_ms().saturating_sub(H2_PRESS_INTERVAL_MS);
        let (mut streams, mut blocked) = (Vec::new(), Vec::new());
        for reading in &readings {
            reading.stalled(since_ms, &mut streams);
            let holds = |stream: Arc<Stream>| {
                let (address, bytes) = stream.holds()?;
                Some((stream.waiting_since_ms(), address, bytes, Arc::clone(reading), stream))
            };
            blocked.extend(streams.drain(..).filter_map(holds));
        }
        blocked.sort_unstable_by_key(|(since_ms, ..)| *since_ms);
        let mut needed = self.stock.bytes() / 2;
        let mut freed = HashSet::new();
        for (_, address, bytes, reading, stream) in blocked {
            if needed == 0 {
                break;
            }
            self.cut(&reading, &stream, Disconnect::Memory);
            if freed.insert(address) {
                needed = needed.saturating_sub(bytes);
            }
        }
    }

    fn readings(&self) -> Vec<Arc<Reading>> {
        lock(&self.members).feeds.all().cloned().collect()
    }

    /// Takes the subscription from a stream, and what hyper holds of it.
    fn cut(&self, reading: &Reading, stream: &Stream, reason: Disconnect) {
        let subscription = lock(&stream.subscription).take();
        if subscription.is_some() {
            self.leave(reading, stream, reason);
        }
        stream.end(reason);
    }
}
