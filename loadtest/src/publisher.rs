//! Publishers: one event a request over a connection that is kept, or lines of NDJSON that are
//! streamed in one request.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    endpoint::{Endpoint, Kind},
    fleet::{Newest, histogram},
    ledger::Ids,
    payload,
};

/// Publishes one event a request.
#[derive(Debug)]
pub(crate) struct Publisher {
    endpoint: Endpoint,
    stream: TcpStream,
    answer: Vec<u8>,
    data: Vec<u8>,
    log: Log,
}

/// What was published.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// The number of the newest event of each channel.
    pub(crate) newest: Newest,
    /// How many events were published.
    pub(crate) events: u64,
    /// The ids that were answered and the data that got them, by channel.
    pub(crate) ids: HashMap<u32, Ids>,
    /// Nanoseconds from the first byte of a request to the last of its answer.
    pub(crate) latencies: Histogram<u64>,
    /// Publishes that were answered with another status than 2xx.
    pub(crate) refused: u64,
    /// The most lately refused status.
    pub(crate) refusal: u16,
}

impl Default for Log {
    fn default() -> Self {
        let (newest, ids) = (HashMap::new(), HashMap::new());
        Self { newest, events: 0, ids, latencies: histogram(), refused: 0, refusal: 0 }
    }
}

impl Log {
    /// Adds what another publisher published to other channels.
    pub(crate) fn merge(&mut self, other: Self) {
        self.newest.extend(other.newest);
        self.events += other.events;
        self.ids.extend(other.ids);
        // Both have the bounds of `histogram`.
        let _same_bounds = self.latencies.add(other.latencies);
        self.refused += other.refused;
        self.refusal = self.refusal.max(other.refusal);
    }
}

impl Publisher {
    /// Connects.
    pub(crate) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Self::go_on(endpoint, Log::default()).await
    }

    /// Connects and goes on where another publisher ended.
    pub(crate) async fn go_on(endpoint: &Endpoint, log: Log) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (answer, data) = (Vec::new(), Vec::new());
        Ok(Self { endpoint: endpoint.clone(), stream, answer, data, log })
    }

    /// Publishes the next event of a channel with data of `size` bytes, and waits for the answer.
    pub(crate) async fn publish(&mut self, channel: u32, size: usize) -> io::Result<()> {
        self.publish_at(payload::now_ns(), channel, size).await
    }

    /// The same with the moment from which its delivery counts, such as [`Pace::wait`] returns.
    pub(crate) async fn publish_at(
        &mut self,
        stamp_ns: u64,
        channel: u32,
        size: usize,
    ) -> io::Result<()> {
        let number = self.log.newest.get(&channel).copied().unwrap_or(0) + 1;
        self.data.clear();
        payload::write(&mut self.data, stamp_ns, number, size);
        let began_ns = payload::now_ns();
        self.stream.write_all(&self.endpoint.publish(channel, &self.data)).await?;
        let (status, body) = self.answer().await?;
        self.log.latencies.saturating_record(payload::now_ns() - began_ns);
        if !(200..300).contains(&status) {
            self.log.refused += 1;
            self.log.refusal = status;
            return Ok(());
        }
        self.log.newest.insert(channel, number);
        self.log.events += 1;
        if let Some(id) = answered_id(self.endpoint.kind, &self.answer[body..]) {
            self.log.ids.entry(channel).or_default().agree(number, id, &self.data);
        }
        Ok(())
    }

    /// Forgets how long the publishes so far took.
    pub(crate) fn forget_latencies(&mut self) {
        self.log.latencies.reset();
    }

    /// What it published.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Ends it; returns what it published.
    pub(crate) fn into_log(self) -> Log {
        self.log
    }

    /// Closes a channel; its next event would be refused.
    pub(crate) async fn close(&mut self, channel: u32) -> io::Result<()> {
        self.stream.write_all(&self.endpoint.close(channel)).await?;
        match self.answer().await? {
            (200..300, _) => Ok(()),
            (status, _) => Err(io::Error::other(format!("a close got status {status}"))),
        }
    }

    /// Reads an answer; returns its status and where its body begins.
    async fn answer(&mut self) -> io::Result<(u16, usize)> {
        self.answer.clear();
        loop {
            if let Some((status, body, length)) = parse_answer(&self.answer)?
                && self.answer.len() >= body + length
            {
                return Ok((status, body));
            }
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The status of an answer, where its body begins, and how long that is.
fn parse_answer(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(body) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok())
        .ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    Ok(Some((response.code.unwrap_or(0), body, length)))
}

/// The id in the answer to a publish; none if this kind of server does not answer one.
fn answered_id(kind: Kind, body: &[u8]) -> Option<&[u8]> {
    match kind {
        Kind::Nchan | Kind::Websocket => None,
        Kind::Mercure => Some(body),
        _ => {
            let begin = memchr::memmem::find(body, b"\"id\":\"")? + 6;
            let end = memchr::memchr(b'"', &body[begin..])?;
            Some(&body[begin..begin + end])
        }
    }
}

/// Publishes lines of NDJSON in one request.
#[derive(Debug)]
pub(crate) struct LinePublisher {
    publisher: Publisher,
    lines: Vec<u8>,
    chunk: Vec<u8>,
}

impl LinePublisher {
    /// Connects and begins the request.
    pub(crate) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let mut publisher = Publisher::connect(endpoint).await?;
        publisher.stream.write_all(&endpoint.publish_lines()).await?;
        Ok(Self { publisher, lines: Vec::new(), chunk: Vec::new() })
    }

    /// Adds the next event of a channel with data of `size` bytes to what [`Self::flush`] sends.
    pub(crate) fn add(&mut self, channel: u32, size: usize) {
        let number = self.begin_line(channel);
        self.lines.push(b'"');
        payload::write(&mut self.lines, payload::now_ns(), number, size);
        self.lines.extend_from_slice(b"\"}\n");
    }

    /// Adds the chunk of the next token of a channel.
    pub(crate) fn add_chunk(&mut self, stamp_ns: u64, channel: u32) {
        let number = self.begin_line(channel);
        payload::write_chunk(&mut self.lines, stamp_ns, number);
        self.lines.extend_from_slice(b"}\n");
    }

    /// Begins the line of the next event of a channel, up to its data; returns its number.
    fn begin_line(&mut self, channel: u32) -> u64 {
        let newest = self.publisher.log.newest.entry(channel).or_default();
        *newest += 1;
        self.publisher.log.events += 1;
        let endpoint = &self.publisher.endpoint;
        // Writing to memory does not fail.
        let _infallible =
            write!(self.lines, "{{\"channel\":\"{}/{channel}\",\"data\":", endpoint.prefix);
        *newest
    }

    /// Bytes that wait for [`Self::flush`].
    pub(crate) fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Sends the lines that wait, as one chunk. It waits while the server does not read.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.chunk.clear();
        write!(self.chunk, "{:x}\r\n", self.lines.len())?;
        self.chunk.append(&mut self.lines);
        self.chunk.extend_from_slice(b"\r\n");
        self.publisher.stream.write_all(&self.chunk).await
    }

    /// Ends the request; returns what was published once the server has answered that it took all.
    pub(crate) async fn finish(mut self) -> io::Result<Log> {
        self.flush().await?;
        self.publisher.stream.write_all(b"0\r\n\r\n").await?;
        let (status, body) = self.publisher.answer().await?;
        let answer = String::from_utf8_lossy(&self.publisher.answer[body..]).into_owned();
        let accepted = format!("\"accepted\":{}", self.publisher.log.events);
        if status != 200 || !answer.contains(&accepted) {
            return Err(io::Error::other(format!("not {accepted}, but {status} {answer}")));
        }
        Ok(self.publisher.into_log())
    }
}

/// By how much a timer may be late: both it and the call that it waits in count milliseconds.
const TIMER_LATE_NS_MAX: u64 = 2_000_000;

/// Waits for moments that are `1 / rate` apart, whatever happens between them.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: tokio::time::Instant,
    /// How late the timer was when it was waited for last.
    timer_late_ns: u64,
}

impl Pace {
    /// The first moment is now.
    pub(crate) fn new(per_second: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / per_second);
        Self { interval, next: tokio::time::Instant::now(), timer_late_ns: 0 }
    }

    /// Waits for the next moment; not at all if that is past. Returns from when on what is done now
    /// counts, on the clock of [`payload::now_ns`]: from the moment that was planned, so that
    /// whatever kept the caller until it was past counts too, but not what the timer is late.
    pub(crate) async fn wait(&mut self) -> u64 {
        let planned = self.next;
        let is_past = planned <= tokio::time::Instant::now();
        tokio::time::sleep_until(planned).await;
        self.next += self.interval;
        let planned_ns = payload::ns_at(planned.into_std());
        let late_ns = payload::now_ns().saturating_sub(planned_ns);
        if !is_past {
            self.timer_late_ns = late_ns.min(TIMER_LATE_NS_MAX);
        }
        planned_ns + late_ns.min(self.timer_late_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_that_is_past_counts_from_when_it_was_planned() {
        // The clock has to have begun before what is planned.
        while payload::now_ns() < 100_000 {
            std::hint::spin_loop();
        }
        let mut pace = Pace::new(100_000.0);
        // As if the caller had been kept for so long.
        pace.next -= Duration::from_micros(60);
        let first_ns = pace.wait().await;
        for nth in 1..=5 {
            assert_eq!(pace.wait().await - first_ns, nth * 10_000);
        }
        assert!(pace.wait().await <= payload::now_ns());
    }

    #[tokio::test]
    async fn a_moment_to_come_is_waited_for() {
        let mut pace = Pace::new(1_000.0);
        let first_ns = pace.wait().await;
        for nth in 1..=5 {
            assert!(pace.wait().await >= first_ns + nth * 1_000_000);
            assert!(payload::now_ns() >= first_ns + nth * 1_000_000);
        }
    }
}
