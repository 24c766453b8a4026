//! Traces of publishes: what a hub tells of each request to whoever traces them.
//!
//! Policy: without a tracer there is nothing to do but one look. A tracer is told counts, and
//! never data, names of channels or queries.

use std::fmt;

use hyper::{HeaderMap, StatusCode};

/// Begins spans of publishes. Nothing that it does may wait: a publish does not go on before.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// Begins the span of a publish with these headers, if it is traced.
    fn begin(&self, headers: &HeaderMap) -> Option<Box<dyn Span>>;
}

/// The span of one publish.
pub trait Span: fmt::Debug + Send + Sync {
    /// Ends it, once.
    fn end(&mut self, publish: &PublishFacts);
}

/// What is known of one publish request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PublishFacts {
    /// The status that it was answered with; none if the peer was gone before.
    pub status: Option<u16>,
    /// Channels that it published to; a bounded number of them is told apart.
    pub channels: u64,
    /// Events that were accepted.
    pub events: u64,
    /// Bytes of its body, as far as they were read.
    pub bytes: u64,
}

/// A span that has begun. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Told as they are at the end.
    pub(crate) facts: PublishFacts,
    span: Box<dyn Span>,
}

impl Trace {
    /// Begins the span of a publish, if it is traced.
    pub(crate) fn begin(tracer: &dyn Tracer, headers: &HeaderMap) -> Option<Box<Self>> {
        let span = tracer.begin(headers)?;
        // On the heap, so that publishes that are not traced are no larger for it.
        Some(Box::new(Self { facts: PublishFacts::default(), span }))
    }

    /// Notes what the request was answered with.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.facts.status = Some(status.as_u16());
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.span.end(&self.facts);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use fanfare_core::ChannelName;
    use hyper::header::HeaderName;

    use super::*;
    use crate::{
        publish::{self, Target},
        query::Query,
        testing,
        upload::Upload,
    };

    /// Traces what has a header, and keeps what it is told.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<PublishFacts>>>);

    impl Tracer for Kept {
        fn begin(&self, headers: &HeaderMap) -> Option<Box<dyn Span>> {
            (!headers.is_empty()).then(|| Box::new(self.clone()) as Box<dyn Span>)
        }
    }

    impl Span for Kept {
        fn end(&mut self, publish: &PublishFacts) {
            self.0.lock().unwrap().push(publish.clone());
        }
    }

    #[test]
    fn a_span_ends_with_its_request() {
        let kept = Kept::default();
        assert!(Trace::begin(&kept, &HeaderMap::new()).is_none());
        let headers = [(hyper::header::HOST, "a".parse().unwrap())].into_iter().collect();
        let mut answered = Trace::begin(&kept, &headers).unwrap();
        answered.facts.events = 3;
        answered.answered(StatusCode::OK);
        drop((answered, Trace::begin(&kept, &headers)));
        let told = kept.0.lock().unwrap();
        let of_answered = PublishFacts { status: Some(200), events: 3, ..PublishFacts::default() };
        assert_eq!(*told, [of_answered, PublishFacts::default()]);
    }

    #[tokio::test]
    async fn so_does_that_of_a_producer_that_may_not() {
        let state = testing::state();
        let kept = Kept::default();
        state.tracer.set(Box::new(kept.clone())).ok().unwrap();
        let headers: HeaderMap = [
            ("content-type", "application/x-ndjson"),
            ("producer-id", "p"),
            ("producer-epoch", "0"),
            ("producer-seq", "1"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
        let target = Target::Channel(ChannelName::parse("a").unwrap());
        let upload = Upload::new(testing::chunks([]), &headers);
        let query = Query::default();
        let answer = publish::answer(&state, None, target, &query, &headers, upload).await;
        assert_eq!(answer.unwrap_err().status(), StatusCode::CONFLICT);
        assert_eq!(kept.0.lock().unwrap()[0].status, Some(409));
    }
}
