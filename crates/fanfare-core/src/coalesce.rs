//! Deltas: events whose only payload is a piece of text, put together where several follow each
//! other.
//!
//! Policy: what data means is not known here. A [`Coalescer`] says whether an event is a delta and
//! where its text stands; two of them that follow each other are put together only if all the rest
//! is byte for byte the same, up to what the coalescer says differs without meaning anything. The
//! result is the last event with the texts of all, so whoever saw its id saw them all.

use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use crate::{
    feed::Run,
    frame::Frame,
    id::{Epoch, EventId},
    inspect::HistoryEvent,
};

/// Knows the deltas of one format.
pub trait Coalescer: fmt::Debug + Send + Sync {
    /// What it is asked for by. Coalescers of the same name find the same deltas.
    fn name(&self) -> &str;

    /// Where an event has its text if it is a delta; none if it says anything else, whatever that
    /// is. `data` has only LF as line ends.
    fn delta(&self, event_type: Option<&str>, data: &str) -> Option<Delta>;
}

/// Where in its data a delta has what may differ from the delta before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delta {
    /// The text as it is spelt there.
    text: Range<usize>,
    /// The text and the rest, in the order in which they stand.
    holes: [Range<usize>; HOLES_MAX],
}

impl Delta {
    /// A delta whose text stands at `text`, and at `varying` what means nothing: a number that
    /// rises from one to the next, or padding. They do not overlap.
    pub fn new(text: Range<usize>, varying: [Option<Range<usize>>; HOLES_MAX - 1]) -> Self {
        let [one, other] = varying.map(|hole| hole.unwrap_or(NO_HOLE));
        let mut holes = [text.clone(), one, other];
        holes.sort_unstable_by_key(|hole| hole.start);
        Self { text, holes }
    }

    /// What stands around the holes.
    fn template<'a>(&self, data: &'a str) -> [&'a str; HOLES_MAX + 1] {
        let mut start = 0;
        let mut pieces = [""; HOLES_MAX + 1];
        for (piece, hole) in pieces.iter_mut().zip(&self.holes) {
            if *hole == NO_HOLE {
                break;
            }
            *piece = data.get(start..hole.start).unwrap_or_default();
            start = hole.end;
        }
        pieces[HOLES_MAX] = data.get(start..).unwrap_or_default();
        pieces
    }
}

/// What a subscription wants put together.
#[derive(Clone, Debug)]
pub struct Coalesce {
    /// Knows the deltas.
    coalescer: Arc<dyn Coalescer>,
    /// Milliseconds in which at most one event comes of deltas that follow each other as they are
    /// published; 0 puts only together what is read together.
    window_ms: u32,
}

impl PartialEq for Coalesce {
    fn eq(&self, other: &Self) -> bool {
        self.window_ms == other.window_ms && self.coalescer.name() == other.coalescer.name()
    }
}

impl Eq for Coalesce {}

impl Hash for Coalesce {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.window_ms.hash(state);
        self.coalescer.name().hash(state);
    }
}

impl Coalesce {
    /// Puts together what `coalescer` knows, over `window_ms` if that is not 0.
    pub fn new(coalescer: Arc<dyn Coalescer>, window_ms: u32) -> Self {
        Self { coalescer, window_ms }
    }

    /// Milliseconds that deltas may wait for others; 0 if they do not.
    pub fn window_ms(&self) -> u32 {
        self.window_ms
    }

    /// Puts the deltas of a run together.
    pub(crate) fn merge_run(&self, run: &mut Run, epoch: Epoch) {
        let frames = std::mem::take(&mut run.frames);
        let seen: Vec<_> = frames.iter().map(|(_, frame)| self.look(frame)).collect();
        let mut at = 0;
        for stretch in seen.chunk_by(Seen::goes_on) {
            let start = at;
            at += stretch.len();
            let ((first, _), (last, frame)) = (&frames[start], &frames[at - 1]);
            match self.merged(stretch) {
                None => run.frames.extend_from_slice(&frames[start..at]),
                Some(data) => {
                    run.merged.push((*first, *last));
                    let frame = frame.with_data(EventId { epoch, seq: *last }, &data);
                    run.frames.push((*last, frame));
                }
            }
        }
    }

    /// Puts the deltas of a page together.
    pub fn merge_page(&self, page: &mut Vec<HistoryEvent>) {
        let see = |event: &HistoryEvent| {
            let (event_type, data) = (event.event_type.clone(), Cow::Owned(event.data.clone()));
            self.see(event_type.map(Cow::Owned), data)
        };
        let seen: Vec<_> = page.iter().map(see).collect();
        let mut lasts = Vec::new();
        let mut at = 0;
        for stretch in seen.chunk_by(Seen::goes_on) {
            let start = at;
            at += stretch.len();
            match self.merged(stretch) {
                None => lasts.extend_from_slice(&page[start..at]),
                Some(data) => lasts.push(HistoryEvent { data, ..page[at - 1].clone() }),
            }
        }
        *page = lasts;
    }

    /// The last event's data with the texts of all; none if there is only one, or if together they
    /// are no delta any more, as `[DO` and `NE]`.
    fn merged(&self, stretch: &[Seen<'_>]) -> Option<String> {
        let (last, data) = (stretch.last()?, merged(stretch)?);
        self.coalescer.delta(last.event_type.as_deref(), &data).map(|_| data)
    }

    /// Tells deltas apart that are not put together: the same for those that are. None if the
    /// event is no delta.
    pub(crate) fn kind(&self, frame: &Frame) -> Option<u64> {
        let seen = self.look(frame);
        let mut hasher = DefaultHasher::new();
        (&seen.event_type, seen.template()?).hash(&mut hasher);
        Some(hasher.finish())
    }

    fn look<'a>(&self, frame: &'a Frame) -> Seen<'a> {
        self.see(frame.event_type().map(Cow::Borrowed), frame.text())
    }

    fn see<'a>(&self, event_type: Option<Cow<'a, str>>, data: Cow<'a, str>) -> Seen<'a> {
        let delta = self.coalescer.delta(event_type.as_deref(), &data);
        Seen { event_type, data, delta }
    }
}

/// An event as a coalescer sees it.
struct Seen<'a> {
    event_type: Option<Cow<'a, str>>,
    data: Cow<'a, str>,
    delta: Option<Delta>,
}

impl Seen<'_> {
    fn template(&self) -> Option<[&str; HOLES_MAX + 1]> {
        self.delta.as_ref().map(|delta| delta.template(&self.data))
    }

    /// Whether `next` is put together with it.
    fn goes_on(&self, next: &Self) -> bool {
        let (template, after) = (self.template(), next.template());
        template.is_some() && template == after && self.event_type == next.event_type
    }
}

/// The last event's data with the texts of all; none if there is only one.
fn merged(stretch: &[Seen<'_>]) -> Option<String> {
    let (last, [_, ..]) = stretch.split_last()? else { return None };
    let place = &last.delta.as_ref()?.text;
    let texts = stretch.iter().filter_map(|seen| seen.data.get(seen.delta.as_ref()?.text.clone()));
    let mut data = String::with_capacity(stretch.iter().map(|seen| seen.data.len()).sum());
    data.push_str(last.data.get(..place.start)?);
    data.extend(texts);
    data.push_str(last.data.get(place.end..)?);
    Some(data)
}

/// The text, and two fields that differ from one delta to the next.
const HOLES_MAX: usize = 3;
/// Stands behind all holes.
const NO_HOLE: Range<usize> = usize::MAX..usize::MAX;
