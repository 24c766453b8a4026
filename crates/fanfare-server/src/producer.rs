//! Publishers that number their events: `Producer-Id`, `Producer-Epoch` and `Producer-Seq`.
//!
//! Policy: the three headers come together. They say who sends a body, in which of its lives, and
//! which of its events this is, or the first of a body of many. What is there already is answered
//! as a duplicate and published no second time; who was fenced learns of the newer epoch.

use std::io::Write;

use fanfare_core::{
    IdempotencyKey, Placed, Producer, ProducerAt, ProducerId, limits::PRODUCER_NUMBER_MAX,
};
use hyper::{HeaderMap, header::HeaderName};
use serde::Serialize;

use crate::problem::{Kind, Problem};

/// The producer that a head names, if it names one.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Producer>, Problem> {
    // Nearly no publish has any: a look at each name costs a tenth of looking three of them up.
    if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(None);
    }
    let [id, epoch, seq] = [ID, EPOCH, SEQ].map(|name| single(headers, &name));
    match (id?, epoch?, seq?) {
        (None, None, None) => Ok(None),
        (Some(id), Some(epoch), Some(seq)) => {
            let id = ProducerId::parse(id).map_err(|error| wrong(error.to_string()))?;
            let (epoch, seq) = (number(&EPOCH, epoch)?, number(&SEQ, seq)?);
            Ok(Some(Producer { id, epoch, seq }))
        }
        _ => Err(wrong("`Producer-Id`, `Producer-Epoch` and `Producer-Seq` come together")),
    }
}

/// Adds what a producer is told of how far it is.
pub(crate) fn tell(headers: &mut HeaderMap, at: &ProducerAt) {
    headers.insert(EPOCH, at.epoch.into());
    if let Some(seq) = at.seq {
        headers.insert(SEQ, seq.into());
    }
}

/// What a request for `Producer-` something is that cannot be had.
pub(crate) fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Kind::Producer, detail)
}

/// The producer of a body of many events, while it is read.
#[derive(Debug)]
pub(crate) struct Producing {
    /// Whose event comes next, and which.
    next: Producer,
    /// How far it is on the channel.
    at: ProducerAt,
    /// Events of the body that were there already.
    duplicates: u64,
}

impl Producing {
    /// One that has claimed its place.
    pub(crate) fn new(next: Producer, claimed: &Placed) -> Option<Self> {
        Some(Self { next, at: claimed.producer?, duplicates: 0 })
    }

    /// Whose event comes next, and which; for what is published without being one.
    pub(crate) fn next(&self) -> Producer {
        self.next.clone()
    }

    /// Takes the next event's number.
    pub(crate) fn step(&mut self, key: Option<&IdempotencyKey>) -> Result<Producer, Problem> {
        if key.is_some() {
            return Err(wrong("a line has a `key` or its body has a producer, not both"));
        }
        if self.next.seq > PRODUCER_NUMBER_MAX {
            return Err(wrong(format!("the `seq` of an event is at most {PRODUCER_NUMBER_MAX}")));
        }
        let step = self.next.clone();
        self.next.seq += 1;
        Ok(step)
    }

    /// Notes what became of that event; returns its number.
    pub(crate) fn note(&mut self, placed: &Placed) -> u64 {
        self.duplicates += u64::from(placed.duplicate);
        self.at = placed.producer.unwrap_or(self.at);
        self.next.seq - 1
    }

    /// How far it is.
    pub(crate) fn at(&self) -> &ProducerAt {
        &self.at
    }

    /// What it is told at the end of its body.
    pub(crate) fn told(&self) -> Told<'_> {
        let ProducerAt { epoch, seq, events, .. } = self.at;
        let producer = ToldProducer { id: self.next.id.as_str(), epoch, seq, events };
        Told { duplicates: self.duplicates, producer }
    }
}

/// Members of a summary.
#[derive(Serialize)]
pub(crate) struct Told<'a> {
    duplicates: u64,
    producer: ToldProducer<'a>,
}

/// How far a producer is.
#[derive(Serialize)]
struct ToldProducer<'a> {
    id: &'a str,
    epoch: u64,
    seq: Option<u64>,
    events: u64,
}

/// Appends the ack of a producer's event.
pub(crate) fn push_ack(out: &mut Vec<u8>, placed: &Placed, seq: u64) {
    let Placed { id, subscribers, duplicate, .. } = placed;
    let written = match duplicate {
        true => write!(out, "{{\"id\":null,\"duplicate\":true,\"seq\":{seq}}}"),
        false => write!(out, "{{\"id\":\"{id}\",\"subscribers\":{subscribers},\"seq\":{seq}}}"),
    };
    written.expect("writing to memory cannot fail");
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let name = spelled(name);
        return Err(wrong(format!("the request has two `{name}` headers, one is allowed")));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| wrong(format!("`{}` is not visible ASCII", spelled(name))))
}

fn number(name: &HeaderName, text: &str) -> Result<u64, Problem> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_number && *number <= PRODUCER_NUMBER_MAX);
    let is_no_number =
        || format!("`{}` is a whole number, 0 to {PRODUCER_NUMBER_MAX}", spelled(name));
    number.ok_or_else(|| wrong(is_no_number()))
}

/// The name of a header as people write it.
fn spelled(name: &HeaderName) -> String {
    let capitalized = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.as_str().split('-').map(capitalized).collect::<Vec<_>>().join("-")
}

/// What the names begin with.
const PREFIX: &str = "producer-";
const ID: HeaderName = HeaderName::from_static("producer-id");
/// In which of its lives a producer is; in an answer, the newest.
pub(crate) const EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
const SEQ: HeaderName = HeaderName::from_static("producer-seq");
/// Which event would have been accepted.
pub(crate) const EXPECTED: HeaderName = HeaderName::from_static("producer-expected-seq");
/// Which event came instead.
pub(crate) const RECEIVED: HeaderName = HeaderName::from_static("producer-received-seq");
