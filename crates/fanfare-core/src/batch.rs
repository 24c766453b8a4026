//! Frames that are written together: the bytes from a cursor on, put together once for all
//! members of a feed.

use std::num::NonZeroUsize;

use bytes::Bytes;

use crate::{
    feed::{Run, Stop},
    frame::{Frame, Framing},
};

/// Joined frames. A member whose cursor it covers starts at its own frame.
#[derive(Debug)]
pub struct Batch {
    /// How the bytes are framed.
    framing: Framing,
    /// The first cursor that it covers.
    start: u64,
    /// The cursor after all of it, the stop included.
    end: u64,
    /// The frames, joined.
    bytes: Vec<u8>,
    /// Each frame with its `seq` and where it ends in `bytes`.
    frames: Vec<(u64, Frame, usize)>,
    /// The first and the last `seq` of frames that stand for several events. Who has some of those
    /// already must not get the frame.
    merged: Vec<(u64, u64)>,
    /// What stands after the frames.
    stop: Option<Stop>,
    /// Whether nothing more was there when it was read.
    exhausted: bool,
}

/// Where a member stands after a write that took only part of the bytes.
#[derive(Debug, Eq, PartialEq)]
pub struct Partial {
    /// Its cursor: after the frame that was begun.
    pub cursor: u64,
    /// What is left of that frame, sharing it; empty if the write ended between frames.
    pub rest: Bytes,
    /// The frame that `rest` keeps in memory.
    pub begun: Option<Begun>,
}

/// A frame that was written in part and is kept in memory for its rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Begun {
    /// Tells its memory from that of other frames that are kept.
    pub address: NonZeroUsize,
    /// Bytes of the whole frame.
    pub bytes: u32,
}

impl Batch {
    /// An empty batch that covers nothing.
    pub fn new(framing: Framing) -> Self {
        let (bytes, frames, merged) = (Vec::new(), Vec::new(), Vec::new());
        Self { framing, start: 0, end: 0, bytes, frames, merged, stop: None, exhausted: false }
    }

    /// Empties it; the next [`append`](Self::append) is read from `start`.
    pub fn reset(&mut self, framing: Framing, start: u64) {
        self.framing = framing;
        self.start = start;
        self.end = start;
        self.bytes.clear();
        self.frames.clear();
        self.merged.clear();
        self.stop = None;
        self.exhausted = false;
    }

    /// Joins what was read from [`end`](Self::end) on.
    pub fn append(&mut self, run: &mut Run) {
        debug_assert!(self.stop.is_none(), "nothing is read past a stop");
        for (seq, frame) in run.frames.drain(..) {
            debug_assert!(seq >= self.end, "a run goes on where the batch ended");
            self.bytes.extend_from_slice(frame.bytes(self.framing));
            self.frames.push((seq, frame, self.bytes.len()));
        }
        self.merged.append(&mut run.merged);
        self.end = run.end;
        self.stop = run.stop.take();
        self.exhausted = run.exhausted;
    }

    /// Whether a member at `cursor` gets its next bytes, or its stop, here.
    pub fn covers(&self, cursor: u64) -> bool {
        (self.start..self.end).contains(&cursor)
            && (self.merged.is_empty() || !is_inside(&self.merged, cursor))
    }

    /// The bytes for a member at `cursor`.
    pub fn bytes_from(&self, cursor: u64) -> &[u8] {
        &self.bytes[self.frame_start(self.first_at(cursor))..]
    }

    /// How many events those are.
    pub fn events_from(&self, cursor: u64) -> usize {
        self.frames.len() - self.first_at(cursor)
    }

    /// Where a member that was at `cursor` stands when only `sent` of its bytes were taken.
    pub fn partial(&self, cursor: u64, sent: usize) -> Partial {
        let first = self.first_at(cursor);
        let at = self.frame_start(first) + sent;
        let index = self.frames.partition_point(|(_, _, end)| *end <= at);
        let start = self.frame_start(index);
        if at == start {
            let finished = index.checked_sub(1).map_or(0, |last| self.frames[last].0 + 1);
            let cursor = cursor.max(finished);
            return Partial { cursor, rest: Bytes::new(), begun: None };
        }
        let (seq, frame, _) = &self.frames[index];
        let address = NonZeroUsize::new(frame.address());
        let begun = address.map(|address| Begun { address, bytes: frame.len() as u32 });
        Partial { cursor: seq + 1, rest: frame.rest(self.framing, at - start), begun }
    }

    /// The place of one of a member's events.
    pub fn seq_from(&self, cursor: u64, index: usize) -> Option<u64> {
        self.frames.get(self.first_at(cursor) + index).map(|(seq, _, _)| *seq)
    }

    /// How many events there are from one cursor to another.
    pub fn events_between(&self, cursor: u64, end: u64) -> usize {
        self.first_at(end).saturating_sub(self.first_at(cursor))
    }

    /// How many of a member's events a partial write has finished.
    pub fn events_in(&self, cursor: u64, sent: usize) -> usize {
        let first = self.first_at(cursor);
        let at = self.frame_start(first) + sent;
        self.frames.partition_point(|(_, _, end)| *end <= at) - first
    }

    /// The cursor after all of it.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What stands after the frames.
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Whether there was nothing after it when it was read.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Bytes of all frames.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no frames.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn first_at(&self, cursor: u64) -> usize {
        self.frames.partition_point(|(seq, _, _)| *seq < cursor)
    }

    fn frame_start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |previous| self.frames[previous].2)
    }
}

/// Whether a cursor is past the first and not past the last of events that one frame stands for;
/// `merged` has the first and the last `seq` of such frames, ascending.
pub fn is_inside(merged: &[(u64, u64)], cursor: u64) -> bool {
    let index = merged.partition_point(|(_, last)| *last < cursor);
    merged.get(index).is_some_and(|(first, _)| *first < cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Draft, id::Epoch};

    fn batch(framing: Framing) -> Batch {
        let frame = |seq| (seq, Draft::new(None, "x").seal(&Epoch::from_random(0), seq));
        let frames = [3, 5, 9].map(frame).into();
        let mut batch = Batch::new(framing);
        batch.reset(framing, 2);
        batch.append(&mut Run { frames, end: 10, exhausted: true, ..Run::default() });
        batch
    }

    #[test]
    fn a_member_starts_at_its_own_frame() {
        let batch = batch(Framing::Bare);
        let text = |cursor| std::str::from_utf8(batch.bytes_from(cursor)).unwrap();
        for cursor in [2, 3] {
            assert!(text(cursor).starts_with("id: aaaaaaaa-3\n"));
            assert_eq!(batch.events_from(cursor), 3);
        }
        assert!(text(4).starts_with("id: aaaaaaaa-5\n") && text(6).starts_with("id: aaaaaaaa-9\n"));
        assert!(!batch.covers(1) && batch.covers(2) && batch.covers(9) && !batch.covers(10));
    }

    #[test]
    fn every_partial_write_goes_on_exactly() {
        for framing in [Framing::Bare, Framing::Chunked] {
            let batch = batch(framing);
            for cursor in 2..10 {
                let whole = batch.bytes_from(cursor);
                for sent in 0..whole.len() {
                    let partial = batch.partial(cursor, sent);
                    let mut rest = whole[..sent].to_vec();
                    rest.extend_from_slice(&partial.rest);
                    rest.extend_from_slice(batch.bytes_from(partial.cursor));
                    assert_eq!(rest, whole, "{framing:?} from {cursor} after {sent}");
                    assert!(partial.cursor >= cursor && batch.covers(partial.cursor.min(9)));
                }
            }
        }
    }

    #[test]
    fn finished_events_are_counted_once() {
        let batch = batch(Framing::Chunked);
        let whole = batch.bytes_from(2).len();
        let one = whole / 3;
        assert_eq!(batch.events_in(2, 0), 0);
        assert_eq!(batch.events_in(2, one - 1), 0);
        assert_eq!(batch.events_in(2, one), 1);
        assert_eq!(batch.events_in(4, one), 1);
        assert_eq!(batch.events_in(2, whole), 3);
    }
}
