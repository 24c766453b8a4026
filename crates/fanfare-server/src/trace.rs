//! Traces of publishes: a span for each request, for whoever exports them.
//!
//! Policy: without an exporter there is nothing to do but one look. A span never makes a publish
//! wait: when the queue is full it is dropped and counted. It tells counts, and never data, names
//! of channels or queries.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use crate::{config::Telemetry, limits::SPANS_MAX, process::ProcessCounts};

/// What is known of one publish request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// The trace that it is part of.
    pub trace_id: [u8; 16],
    /// Its own id.
    pub id: [u8; 8],
    /// The span of the publisher, if it named one.
    pub parent_id: Option<[u8; 8]>,
    /// When it began, in Unix nanoseconds.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// The status that it was answered with; none if the peer was gone before.
    pub status: Option<u16>,
    /// Channels that it published to; a bounded number of them is told apart.
    pub channels: u64,
    /// Events that were accepted.
    pub events: u64,
    /// Bytes of its body, as far as they were read.
    pub bytes: u64,
}

/// Begins spans.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// Takes them to the exporter.
    spans: mpsc::Sender<Span>,
    /// Of the publishes whose sender has not decided.
    percent: u32,
    counts: Arc<ProcessCounts>,
}

/// A span that has begun. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Told as it is at the end.
    pub(crate) span: Span,
    spans: mpsc::Sender<Span>,
    counts: Arc<ProcessCounts>,
}

impl Tracer {
    /// A tracer, and where its spans come out; none if nobody exports them.
    pub(crate) fn new(
        telemetry: &Telemetry,
        counts: &Arc<ProcessCounts>,
    ) -> Option<(Self, mpsc::Receiver<Span>)> {
        telemetry.otlp_endpoint.as_ref()?;
        let (spans, exported) = mpsc::channel(SPANS_MAX);
        let (percent, counts) = (telemetry.otlp_percent, Arc::clone(counts));
        Some((Self { spans, percent, counts }, exported))
    }

    /// Begins the span of a publish, if it is traced: as its sender has decided, or by chance.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Box<Trace>> {
        let parent = headers.get("traceparent").and_then(|value| Parent::parse(value.as_bytes()));
        let is_traced = match &parent {
            Some(parent) => parent.is_sampled,
            None => fastrand::u32(..100) < self.percent,
        };
        let begin = || Trace {
            span: Span {
                trace_id: parent.as_ref().map_or_else(|| non_zero().to_be_bytes(), |p| p.trace_id),
                id: (non_zero() as u64 | 1).to_be_bytes(),
                parent_id: parent.map(|parent| parent.span_id),
                began_ns: now_ns(),
                ended_ns: 0,
                status: None,
                channels: 0,
                events: 0,
                bytes: 0,
            },
            spans: self.spans.clone(),
            counts: Arc::clone(&self.counts),
        };
        // On the heap, so that publishes that are not traced are no larger for it.
        is_traced.then(|| Box::new(begin()))
    }
}

impl Trace {
    /// Notes what the request was answered with.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.span.status = Some(status.as_u16());
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut span = self.span.clone();
        span.ended_ns = now_ns().max(span.began_ns);
        if self.spans.try_send(span).is_err() {
            self.counts.spans_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a publisher says of the trace that it is in.
#[derive(Debug, Eq, PartialEq)]
struct Parent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` (W3C Trace Context, section 3.2). One that is wrong is none.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'-');
        let [version]: [u8; 1] = hex(parts.next()?)?;
        let (trace_id, span_id) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let [flags]: [u8; 1] = hex(parts.next()?)?;
        // Later versions may have more.
        let is_known = version != 0xff && (version > 0 || parts.next().is_none());
        let is_valid = is_known && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

/// So many bytes, as twice as many lower case digits.
fn hex<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    if text.len() != 2 * BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn non_zero() -> u128 {
    fastrand::u128(1..)
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracer(percent: u32) -> (Tracer, mpsc::Receiver<Span>, Arc<ProcessCounts>) {
        let telemetry = Telemetry {
            otlp_endpoint: Some("http://collector".into()),
            otlp_percent: percent,
            ..Telemetry::default()
        };
        let counts = Arc::default();
        let (tracer, spans) = Tracer::new(&telemetry, &counts).unwrap();
        (tracer, spans, counts)
    }

    fn headers(traceparent: &str) -> HeaderMap {
        let value = traceparent.parse().unwrap();
        [(hyper::header::HeaderName::from_static("traceparent"), value)].into_iter().collect()
    }

    #[test]
    fn a_sampled_parent_is_followed_and_another_is_not() {
        let (tracer, mut spans, _) = tracer(0);
        let mut trace = tracer.begin(&headers(PARENT)).unwrap();
        trace.span.events = 3;
        trace.answered(StatusCode::OK);
        drop(trace);
        let span = spans.try_recv().unwrap();
        assert_eq!(span.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(span.parent_id.unwrap()[6..], [0x33, 0x31]);
        assert_eq!((span.events, span.status), (3, Some(200)));
        assert!(span.began_ns <= span.ended_ns && span.id != [0; 8]);
        let (tracer, ..) = self::tracer(100);
        assert!(tracer.begin(&headers(&PARENT.replace("-01", "-00"))).is_none());
    }

    #[test]
    fn without_a_parent_chance_decides() {
        let begun = |percent| {
            let (tracer, ..) = tracer(percent);
            (0..200).filter(|_| tracer.begin(&HeaderMap::new()).is_some()).count()
        };
        assert_eq!((begun(0), begun(100)), (0, 200));
        assert!((1..200).contains(&begun(50)));
    }

    #[test]
    fn a_traceparent_that_is_wrong_is_none() {
        let parse = |text: &str| Parent::parse(text.as_bytes());
        assert!(parse(PARENT).is_some_and(|parent| parent.is_sampled));
        let longer = format!("01{}-more", &PARENT[2..]);
        assert!(parse(&longer).is_some());
        for wrong in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &PARENT.replace("00-0", "ff-0"),
            &PARENT.replace("0af7", "0AF7"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_full_queue_drops_spans_and_counts_them() {
        let (tracer, _spans, counts) = tracer(100);
        (0..SPANS_MAX + 5).for_each(|_| drop(tracer.begin(&HeaderMap::new())));
        assert_eq!(counts.spans_dropped.load(Ordering::Relaxed), 5);
    }
}
