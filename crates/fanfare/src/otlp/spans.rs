//! Spans of publishes: what the hub tells of a request, as a span of the library.

use std::time::SystemTime;

use fanfare_server::{PublishFacts, Span, Tracer};
use hyper::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span as _, SpanKind, Status, Tracer as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span as SdkSpan},
};

/// Begins spans as their senders, or chance, have decided.
#[derive(Debug)]
pub(super) struct Publishes {
    tracer: SdkTracer,
    parents: TraceContextPropagator,
}

impl Publishes {
    /// Begins them with a tracer of the library.
    pub(super) fn new(tracer: SdkTracer) -> Self {
        Self { tracer, parents: TraceContextPropagator::new() }
    }
}

impl Tracer for Publishes {
    fn begin(&self, headers: &HeaderMap) -> Option<Box<dyn Span>> {
        let parent = self.parents.extract_with_context(&Context::new(), &Traceparent(headers));
        let (kind, began) = (SpanKind::Server, SystemTime::now());
        let builder = self.tracer.span_builder("publish").with_kind(kind).with_start_time(began);
        let span = builder.start_with_context(&self.tracer, &parent);
        span.is_recording().then(|| Box::new(Publish { span, began }) as Box<dyn Span>)
    }
}

/// The headers of a publish, as far as they say which trace it is part of. Their `tracestate` is
/// not looked at: the hub hands it to nobody, and it could be long.
struct Traceparent<'a>(&'a HeaderMap);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = (key == TRACEPARENT).then(|| self.0.get(key))??;
        value.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// The span of one publish.
#[derive(Debug)]
struct Publish {
    span: SdkSpan,
    began: SystemTime,
}

impl Span for Publish {
    fn end(&mut self, publish: &PublishFacts) {
        let Self { span, began } = self;
        let status = publish.status.unwrap_or_default();
        let result = match status {
            0 => "aborted",
            200..300 => "accepted",
            429 | 500.. => "unavailable",
            _ => "refused",
        };
        let number = |key, number| KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX));
        span.set_attributes([
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("fanfare.result", result),
            number("fanfare.channels", publish.channels),
            number("fanfare.events", publish.events),
            number("fanfare.bytes", publish.bytes),
        ]);
        if status > 0 {
            span.set_attribute(number("http.response.status_code", status.into()));
        }
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        // A clock that was set back would end it before it began.
        span.end_with_timestamp(SystemTime::now().max(*began));
    }
}

const TRACEPARENT: &str = "traceparent";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::{
        TraceFlags,
        trace::{SpanId, TraceId, TracerProvider},
    };
    use opentelemetry_sdk::{
        Resource,
        error::OTelSdkResult,
        trace::{SimpleSpanProcessor, SpanData, SpanExporter},
    };

    use super::*;
    use crate::otlp::provider;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        fn take(&self) -> Option<SpanData> {
            self.0.lock().unwrap().pop()
        }
    }

    /// What traces so many percent, and the spans that it has ended.
    fn publishes(percent: u32) -> (Publishes, Kept) {
        let kept = Kept::default();
        let processor = SimpleSpanProcessor::new(kept.clone());
        let provider = provider(processor, percent, Resource::builder_empty().build());
        (Publishes::new(provider.tracer("test")), kept)
    }

    fn headers(traceparent: &str) -> HeaderMap {
        let headers = [("traceparent", traceparent), ("tracestate", "vendor=opaque")];
        let header = |(name, value): (&'static str, &str)| {
            (hyper::header::HeaderName::from_static(name), value.parse().unwrap())
        };
        headers.into_iter().map(header).collect()
    }

    #[test]
    fn a_span_says_how_the_publish_went_and_which_it_was_part_of() {
        let (publishes, kept) = publishes(0);
        let ended = |status| {
            let mut span = publishes.begin(&headers(PARENT)).unwrap();
            span.end(&PublishFacts { status, channels: 1, events: 300, bytes: 5 });
            drop(span);
            let span = kept.take().unwrap();
            assert!(kept.take().is_none(), "it ends once");
            span
        };
        let span = ended(Some(503));
        let trace_id = TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(span.span_context.trace_id(), trace_id);
        assert_eq!(span.span_context.trace_flags(), TraceFlags::SAMPLED);
        assert_eq!(span.span_context.trace_state().header(), "");
        assert_eq!(span.parent_span_id, SpanId::from(0xb7ad_6b71_6920_3331));
        assert!(span.parent_span_is_remote && span.start_time <= span.end_time);
        assert_eq!((&*span.name, &span.span_kind), ("publish", &SpanKind::Server));
        assert_eq!(span.status, Status::error(""));
        let attributes = |span: &SpanData| {
            let pairs = span.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value));
            pairs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            attributes(&span),
            "http.request.method=POST fanfare.result=unavailable fanfare.channels=1 \
             fanfare.events=300 fanfare.bytes=5 http.response.status_code=503"
        );
        for (status, result) in [(200, "accepted"), (404, "refused"), (429, "unavailable")] {
            let span = ended(Some(status));
            assert!(attributes(&span).contains(&format!("fanfare.result={result}")), "{status}");
            assert_eq!(span.status, Status::Unset);
        }
        let aborted = attributes(&ended(None));
        assert!(aborted.contains("fanfare.result=aborted") && !aborted.contains("status_code"));
    }

    #[test]
    fn the_sender_decides_and_without_one_chance() {
        let begun = |percent, headers: &HeaderMap| {
            let (publishes, _) = publishes(percent);
            (0..200).filter(|_| publishes.begin(headers).is_some()).count()
        };
        assert_eq!(begun(100, &headers(&PARENT.replace("-01", "-00"))), 0);
        assert_eq!(begun(0, &headers(PARENT)), 200);
        let none = HeaderMap::new();
        assert_eq!((begun(0, &none), begun(100, &none)), (0, 200));
        assert!((1..200).contains(&begun(50, &none)));
    }

    #[test]
    fn a_traceparent_that_is_wrong_is_none() {
        let (publishes, _) = publishes(0);
        let is_read = |text: &str| publishes.begin(&headers(text)).is_some();
        assert!(is_read(PARENT));
        assert!(is_read(&format!("01{}-more", &PARENT[2..])), "later versions may have more");
        for wrong in [
            "",
            "00",
            &PARENT[..52],
            &format!("{PARENT}-more"),
            &PARENT.replace("00-0", "ff-0"),
            &PARENT.replace("0af7", "0AF7"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
        ] {
            assert!(!is_read(wrong), "{wrong}");
        }
    }
}
