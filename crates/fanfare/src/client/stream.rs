//! A publish of many events: what comes from standard input or a command goes to the hub as it
//! comes, and the hub acknowledges each event.
//!
//! Policy: a line is sent when it is whole, so that the body can end well at any moment, which it
//! does when somebody wishes that the channel be cancelled. Input that cannot be read breaks the
//! request off instead: its end is none of the channel.

use std::{
    ffi::{OsStr, OsString},
    io, mem,
    pin::{Pin, pin},
    process::Stdio,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header::CONTENT_TYPE,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, stdin},
    process::{ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    hub::{self, ClientError},
    publish::{Publish, build},
    sse::Parser,
};
use crate::{
    limits::{ANSWER_BYTES_MAX, ANSWER_TIME_MAX, INPUT_LINE_BYTES_MAX, INPUT_PIECE_BYTES_MAX},
    terminal,
};

/// How many events are written one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// A line each, which is its data.
    Lines,
    /// A line of JSON each.
    Ndjson,
    /// Server-Sent Events.
    Sse,
}

impl Format {
    /// The type of the body that is sent.
    fn media_type(self) -> &'static str {
        match self {
            Self::Lines | Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
        }
    }
}

/// Publishes standard input, or what a command prints if one is given, to its end; prints the id of
/// the last event that was accepted.
pub(super) async fn run(
    publish: &Publish,
    format: Format,
    command: &[OsString],
) -> Result<(), ClientError> {
    let child = match command {
        [] => None,
        [program, arguments @ ..] => Some(begin(program, arguments).map_err(ClientError::Input)?),
    };
    let (sender, body) = mpsc::channel(1);
    let request = publish.hub.request(&publish.path()).method(Method::POST);
    let request = build(request.header(CONTENT_TYPE, format.media_type()), Piped(body))?;
    let mut acks = Acks::default();
    let accepted = acks.accepted.subscribe();
    let pieces = Pieces::of(format);
    let pump = match child {
        Some((input, end)) => tokio::spawn(pump(input, end, pieces, sender, accepted)),
        None => tokio::spawn(pump(stdin(), async { Ok(()) }, pieces, sender, accepted)),
    };
    // As long as there is no input the hub may have nothing to answer.
    let outcome = match publish.hub.send(request).await {
        Ok(response) => acks.read(response, &pump).await,
        Err(error) => Err(error),
    };
    acks.tell(outcome.is_ok())?;
    match outcome {
        Ok(()) if acks.is_cancelled => Err(ClientError::Cancelled(publish.channel.clone())),
        // Why the request broke off.
        Err(ClientError::Answer(_) | ClientError::Http(_)) if pump.is_finished() => {
            pump.await.unwrap_or(Ok(())).map_err(ClientError::Input).and(outcome)
        }
        outcome => outcome,
    }
}

/// Starts a command: what it prints, and whether it ended well, which a pipe would not tell. It is
/// killed when nobody waits for that any more.
fn begin(
    program: &OsStr,
    arguments: &[OsString],
) -> io::Result<(ChildStdout, impl Future<Output = io::Result<()>> + use<>)> {
    let name = program.display().to_string().escape_debug().to_string();
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
    let named = |error| io::Error::other(format!("{name}: {error}"));
    let mut child = command.spawn().map_err(named)?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let end = async move {
        let status = child.wait().await?;
        let failed = || io::Error::other(format!("{name} ended with {status}"));
        if status.success() { Ok(()) } else { Err(failed()) }
    };
    Ok((output, end))
}

/// Hands input over as it comes, until its end or until nobody takes it. What cannot be read, or
/// did not end well, breaks the request off once the hub has begun to answer and acknowledged what
/// came before, for then that is there.
async fn pump(
    mut input: impl AsyncRead + Unpin,
    end: impl Future<Output = io::Result<()>>,
    mut pieces: Pieces,
    sender: mpsc::Sender<io::Result<Bytes>>,
    accepted: watch::Receiver<Option<u64>>,
) -> io::Result<()> {
    let mut buffer = vec![0; INPUT_PIECE_BYTES_MAX];
    let mut end = pin!(end);
    loop {
        let mut piece = Vec::new();
        let read = match input.read(&mut buffer).await {
            Ok(0) => end.as_mut().await.map(|()| 0),
            read => read,
        };
        let read = read.and_then(|read| pieces.push(&buffer[..read], &mut piece).map(|()| read));
        if !piece.is_empty() && sender.send(Ok(piece.into())).await.is_err() {
            return Ok(());
        }
        match read {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                acknowledged(accepted, pieces.events).await;
                drop(sender.send(Err(error.kind().into())).await);
                return Err(error);
            }
        }
    }
}

/// Waits until the hub has begun to answer, and acknowledged so many events: a request that it has
/// not begun to read would not break off, but never have been. It stops if nobody is there to tell
/// it, or if no ack comes for long, for a proxy may keep the request to itself.
async fn acknowledged(mut accepted: watch::Receiver<Option<u64>>, events: u64) {
    while *accepted.borrow_and_update() < Some(events) {
        let Ok(Ok(())) = timeout(ANSWER_TIME_MAX, accepted.changed()).await else { return };
    }
}

/// Input in pieces that can be the last ones.
#[derive(Debug)]
struct Pieces {
    format: Format,
    /// The line that is not complete.
    rest: Vec<u8>,
    /// Events before it that the hub acknowledges.
    events: u64,
    /// Finds those of an event stream.
    blocks: Parser,
}

impl Pieces {
    fn of(format: Format) -> Self {
        Self { format, rest: Vec::new(), events: 0, blocks: Parser::new("") }
    }

    /// Adds what of the input up to here can be sent; no bytes are its end.
    fn push(&mut self, bytes: &[u8], sent: &mut Vec<u8>) -> io::Result<()> {
        if self.format == Format::Sse {
            // The hub leaves out a block that is not whole, and refuses one that is too long.
            self.events += self.blocks.push(bytes).map_or(0, |events| events.len() as u64);
            sent.extend_from_slice(bytes);
            return Ok(());
        }
        if INPUT_LINE_BYTES_MAX < self.rest.len() + bytes.len() {
            return Err(self.wrong(&format!("has over {INPUT_LINE_BYTES_MAX} bytes")));
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        self.rest.extend_from_slice(&bytes[..end]);
        if 0 < end || bytes.is_empty() {
            let whole = mem::take(&mut self.rest);
            let lines = whole.split_inclusive(|byte| *byte == b'\n');
            lines.into_iter().try_for_each(|line| self.push_line(line, sent))?;
        }
        self.rest.extend_from_slice(&bytes[end..]);
        Ok(())
    }

    fn push_line(&mut self, line: &[u8], sent: &mut Vec<u8>) -> io::Result<()> {
        if self.format == Format::Ndjson {
            sent.extend_from_slice(line);
            self.events += u64::from(!line.trim_ascii().is_empty());
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let data = str::from_utf8(line).map_err(|_| self.wrong("is not UTF-8"))?;
        sent.extend_from_slice(format!("{{\"data\":{}}}\n", Value::from(data)).as_bytes());
        self.events += 1;
        Ok(())
    }

    /// Why the next line cannot be sent.
    fn wrong(&self, why: &str) -> io::Error {
        let what = match self.format {
            Format::Lines => format!("line {} {why}", self.events + 1),
            Format::Ndjson | Format::Sse => format!("a line {why}"),
        };
        io::Error::new(io::ErrorKind::InvalidData, what)
    }
}

/// A body that is sent piece by piece. An error breaks it off.
#[derive(Debug)]
struct Piped(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(ctx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// What the hub said so far.
#[derive(Debug, Default)]
struct Acks {
    /// The line that is not complete.
    line: Vec<u8>,
    /// Events that were accepted, since the hub has begun to answer.
    accepted: watch::Sender<Option<u64>>,
    /// The last one of them.
    last_id: Option<String>,
    /// Whether somebody wishes that the channel be cancelled.
    is_cancelled: bool,
}

impl Acks {
    /// Reads an answer to its end. A wish that the channel be cancelled ends what is sent.
    async fn read<T>(
        &mut self,
        response: Response<Incoming>,
        pump: &JoinHandle<T>,
    ) -> Result<(), ClientError> {
        if !response.status().is_success() {
            return Err(hub::refusal(response).await);
        }
        self.accepted.send_replace(Some(0));
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Answer(error.into()))?;
            self.push(&frame.into_data().unwrap_or_default())?;
            if self.is_cancelled {
                pump.abort();
            }
        }
        if self.line.is_empty() { Ok(()) } else { self.push(b"\n") }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if ANSWER_BYTES_MAX < self.line.len() + piece.len() {
                return Err(NO_HUB);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut self.line);
                self.note(&serde_json::from_slice(&line).map_err(|_| NO_HUB)?)?;
            }
        }
        Ok(())
    }

    /// Notes one line: an ack, a wish, or why there is no more.
    fn note(&mut self, told: &Value) -> Result<(), ClientError> {
        let status = told["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
            return Err(hub::refused(status, told));
        }
        self.is_cancelled |= told["cancel"] == true;
        if let Some(id) = told["id"].as_str() {
            self.last_id = Some(id.to_owned());
            self.accepted.send_modify(|accepted| *accepted = Some(accepted.unwrap_or(0) + 1));
        }
        Ok(())
    }

    /// Says how many events were accepted, also before what ended them.
    fn tell(&self, is_well: bool) -> Result<(), ClientError> {
        let Self { accepted, last_id, .. } = self;
        let accepted = accepted.borrow().unwrap_or(0);
        if is_well || 0 < accepted {
            let plural = if accepted == 1 { "" } else { "s" };
            terminal::say(&format!("{accepted} event{plural} published"));
        }
        let Some(id) = last_id else { return Ok(()) };
        terminal::out(&format!("{}\n", id.escape_debug())).map_err(ClientError::Output)
    }
}

const NO_HUB: ClientError = ClientError::NoHub("what answers is not a hub");

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn sent(format: Format, input: &[u8], size: usize) -> io::Result<String> {
        let mut pieces = Pieces::of(format);
        let mut sent = Vec::new();
        for bytes in input.chunks(size).chain([&b""[..]]) {
            pieces.push(bytes, &mut sent)?;
            assert!(bytes.is_empty() || sent.is_empty() || sent.ends_with(b"\n"), "{sent:?}");
        }
        Ok(String::from_utf8(sent).unwrap())
    }

    #[test]
    fn any_pieces_give_the_same_lines() {
        let input = "one\r\n\n\"tw\u{f6}\"\nno end".as_bytes();
        let lines = "{\"data\":\"one\"}\n{\"data\":\"\"}\n{\"data\":\"\\\"tw\u{f6}\\\"\"}\n\
                     {\"data\":\"no end\"}\n";
        for size in 1..=input.len() {
            assert_eq!(sent(Format::Lines, input, size).unwrap(), lines);
            assert_eq!(sent(Format::Ndjson, input, size).unwrap().as_bytes(), input);
        }
        assert_eq!(sent(Format::Lines, b"", 1).unwrap(), "");
    }

    #[test]
    fn a_line_that_cannot_be_sent_is_named() {
        let error = sent(Format::Lines, b"a\nb\xff\n", 2).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not UTF-8");
        let (mut pieces, piece) =
            (Pieces::of(Format::Ndjson), vec![b'x'; INPUT_LINE_BYTES_MAX / 2]);
        let fits = [(); 3].map(|()| pieces.push(&piece, &mut Vec::new()).is_ok());
        assert_eq!(fits, [true, true, false]);
    }

    #[tokio::test]
    async fn what_did_not_end_well_breaks_off_when_the_rest_is_there() {
        for (format, input) in
            [(Format::Lines, "one\ntw"), (Format::Sse, "data: 1\n\n:\n\ndata: 2\n")]
        {
            let (sender, mut body) = mpsc::channel(2);
            let (accepted, seen) = watch::channel(None);
            let end = async { Err(io::ErrorKind::Other.into()) };
            let mut pumping = pin!(pump(input.as_bytes(), end, Pieces::of(format), sender, seen));
            let mut poll = || pumping.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll().is_pending(), "the hub has not begun to answer");
            accepted.send_replace(Some(0));
            assert!(poll().is_pending(), "the hub has not taken the event");
            assert!(body.recv().await.unwrap().is_ok() && body.is_empty());
            accepted.send_replace(Some(1));
            assert!(matches!(poll(), Poll::Ready(Err(_))));
            assert!(body.recv().await.unwrap().is_err());
        }
    }

    #[test]
    fn acks_come_in_any_pieces() {
        let told = b"{\"id\":\"e-1\"}\n{\"id\":null,\"duplicate\":true}\n{\"id\":\"e-2\"}\n";
        for size in 1..=told.len() {
            let mut acks = Acks::default();
            told.chunks(size).for_each(|piece| acks.push(piece).unwrap());
            assert_eq!((*acks.accepted.borrow(), acks.last_id.as_deref()), (Some(2), Some("e-2")));
            assert!(!acks.is_cancelled);
        }
    }
}
