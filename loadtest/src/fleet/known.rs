//! Events of a channel as they came to the subscriber that got them first.
//!
//! Bytes that are equal to those of an event that was read and checked are that event: so most
//! subscribers of a channel only compare, and the generator is not the slowest part of a burst.

use std::collections::VecDeque;

/// Events of a channel that are remembered.
const EVENTS_MAX: usize = 1_024;
/// The bytes of one that is.
const EVENT_BYTES_MAX: usize = 16 * 1024;

/// The newest events of a channel.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Events without a gap between their numbers, the first of them `first`.
    events: VecDeque<Event>,
    first: u64,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    /// When it was published, in nanoseconds since the generator began.
    pub(crate) stamp_ns: u64,
    /// All its bytes in the event stream, to the empty line.
    bytes: Box<[u8]>,
    id: std::ops::Range<usize>,
}

impl Event {
    /// Its id.
    pub(crate) fn id(&self) -> &[u8] {
        &self.bytes[self.id.clone()]
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Known {
    /// The event `number`, if it is known and `stream` begins with it.
    pub(crate) fn find(&self, number: u64, stream: &[u8]) -> Option<&Event> {
        let event = self.events.get(number.checked_sub(self.first)? as usize)?;
        stream.starts_with(&event.bytes).then_some(event)
    }

    /// Remembers event `number`, whose `bytes` are all of it.
    pub(crate) fn remember(&mut self, number: u64, stamp_ns: u64, id: &[u8], bytes: &[u8]) {
        if number != self.first + self.events.len() as u64 {
            if number < self.first + self.events.len() as u64 {
                return;
            }
            self.events.clear();
            self.first = number;
        }
        let Some(at) = memchr::memmem::find(bytes, id).filter(|_| bytes.len() <= EVENT_BYTES_MAX)
        else {
            return;
        };
        let id = at..at + id.len();
        self.events.push_back(Event { stamp_ns, bytes: bytes.into(), id });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_same_event() {
        let mut known = Known::default();
        known.remember(7, 1, b"e-7", b"id: e-7\ndata: x\n\n");
        known.remember(8, 2, b"e-8", b"id: e-8\ndata: y\n\n");
        let found = known.find(7, b"id: e-7\ndata: x\n\nid: e-8\n");
        assert_eq!(found.map(|event| (event.id(), event.len())), Some((&b"e-7"[..], 17)));
        assert!(known.find(8, b"id: e-8\ndata: x\n\n").is_none());
        assert!(known.find(7, b"id: e-7\ndata: x\n").is_none(), "not all of it has come");
        assert!(known.find(6, b"id: e-7\ndata: x\n\n").is_none());
        known.remember(20, 3, b"e-20", b"id: e-20\ndata: z\n\n");
        assert!(known.find(8, b"id: e-8\ndata: y\n\n").is_none());
        assert!(known.find(20, b"id: e-20\ndata: z\n\n").is_some());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = Known::default();
        for number in 1..=2 * EVENTS_MAX as u64 {
            known.remember(number, 0, b"i", b"id: i\n\n");
        }
        assert_eq!(known.events.len(), EVENTS_MAX);
        assert!(known.find(EVENTS_MAX as u64 + 1, b"id: i\n\n").is_some());
        assert!(known.find(EVENTS_MAX as u64, b"id: i\n\n").is_none());
    }
}
