//! Control events: what the hub itself tells one subscriber, in band.
//!
//! Each carries JSON data, a type that begins with `fanfare.`, and as `id` the position at which
//! it stands, so that a client that reconnects right after one resumes exactly.

use std::io::Write;

use crate::{id::EventId, json, limits::REQUESTED_BYTES_MAX};

/// Two bytes that keep a connection alive: a comment line and no empty line, because widespread
/// clients take an empty line after an id for an empty event.
pub const HEARTBEAT: &[u8] = b":\n";

/// Why events were lost to a subscriber.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GapReason {
    /// The id is no place in this life of the log.
    Epoch,
    /// They had left the ring before the subscriber came.
    Evicted,
    /// They left the ring while the subscriber was connected but slow.
    Lagged,
}

impl GapReason {
    /// All of them, for counters.
    pub const ALL: [Self; 3] = [Self::Epoch, Self::Evicted, Self::Lagged];

    /// The reason as the wire and the metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Evicted => "evicted",
            Self::Lagged => "lagged",
        }
    }
}

/// Why a channel takes no more events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// Its publisher gave up.
    Cancelled,
    /// It was removed with all its events.
    Deleted,
    /// Its publisher finished.
    Done,
    /// Its publisher failed.
    Error,
}

impl CloseReason {
    /// All of them, for counters.
    pub const ALL: [Self; 4] = [Self::Cancelled, Self::Deleted, Self::Done, Self::Error];

    /// The reason as the wire spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
            Self::Done => "done",
            Self::Error => "error",
        }
    }

    /// What a publisher may ask for; empty means done.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "done" => Some(Self::Done),
            "error" => Some(Self::Error),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// Why the hub is about to close a connection that should come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReconnectReason {
    /// The hub stops.
    Drain,
    /// The connection is as old as connections may be.
    MaxAge,
    /// The hub is full.
    Overload,
}

impl ReconnectReason {
    /// The reason as the wire spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::MaxAge => "max_age",
            Self::Overload => "overload",
        }
    }
}

/// `fanfare.open`: the first event of a stream.
pub(crate) fn open<'a>(position: EventId, channels: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    control(position, "open", None, |out| {
        out.extend_from_slice(b"{\"channels\":");
        json::push_strings(out, channels);
        out.push(b'}');
    })
}

/// `fanfare.live`: everything was delivered that had been published when the stream began.
pub(crate) fn live<'a>(position: EventId, channels: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    control(position, "live", None, |out| {
        out.extend_from_slice(b"{\"channels\":");
        json::push_strings(out, channels);
        out.push(b'}');
    })
}

/// `fanfare.gap`: events were lost. `requested` is where the subscriber wanted to go on.
pub(crate) fn gap<'a>(
    resumed_after: EventId,
    channels: impl IntoIterator<Item = &'a str>,
    requested: &str,
    reason: GapReason,
) -> Vec<u8> {
    control(resumed_after, "gap", None, |out| {
        out.extend_from_slice(b"{\"channels\":");
        json::push_strings(out, channels);
        out.extend_from_slice(b",\"requested\":");
        json::push_string(out, cut(requested));
        out.extend_from_slice(b",\"resumed_after\":");
        json::push_string(out, &resumed_after.to_string());
        out.extend_from_slice(b",\"reason\":");
        json::push_string(out, reason.as_str());
        out.push(b'}');
    })
}

/// `fanfare.end`: a channel was closed. `retry_ms` keeps clients that ignore it from hurrying back.
pub(crate) fn end(position: EventId, channel: &str, reason: CloseReason, retry_ms: u32) -> Vec<u8> {
    control(position, "end", Some(retry_ms), |out| {
        out.extend_from_slice(b"{\"channels\":");
        json::push_strings(out, [channel]);
        out.extend_from_slice(b",\"reason\":");
        json::push_string(out, reason.as_str());
        out.push(b'}');
    })
}

/// `fanfare.reconnect`: the connection is about to close; come back after `retry_ms`.
pub fn reconnect(position: EventId, reason: ReconnectReason, retry_ms: u32) -> Vec<u8> {
    control(position, "reconnect", Some(retry_ms), |out| {
        out.extend_from_slice(b"{\"reason\":");
        json::push_string(out, reason.as_str());
        out.push(b'}');
    })
}

fn control(
    id: EventId,
    kind: &str,
    retry_ms: Option<u32>,
    data: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write!(out, "id: {id}\nevent: fanfare.{kind}\n").expect(MEMORY);
    if let Some(retry_ms) = retry_ms {
        writeln!(out, "retry: {retry_ms}").expect(MEMORY);
    }
    out.extend_from_slice(b"data: ");
    data(&mut out);
    out.extend_from_slice(b"\n\n");
    out
}

/// At most [`REQUESTED_BYTES_MAX`] bytes of a text, whole characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(REQUESTED_BYTES_MAX)]
}

const MEMORY: &str = "writing to memory cannot fail";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;

    #[test]
    fn control_events_are_byte_for_byte_as_promised() {
        let id = EventId { epoch: Epoch::from_random(0), seq: 5 };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(open(id, ["a", "b/*"])),
            "id: aaaaaaaa-5\nevent: fanfare.open\ndata: {\"channels\":[\"a\",\"b/*\"]}\n\n"
        );
        assert_eq!(
            text(live(id, ["a"])),
            "id: aaaaaaaa-5\nevent: fanfare.live\ndata: {\"channels\":[\"a\"]}\n\n"
        );
        assert_eq!(
            text(gap(id, ["a"], "x\n", GapReason::Epoch)),
            "id: aaaaaaaa-5\nevent: fanfare.gap\ndata: {\"channels\":[\"a\"],\
             \"requested\":\"x\\n\",\"resumed_after\":\"aaaaaaaa-5\",\"reason\":\"epoch\"}\n\n"
        );
        assert_eq!(
            text(end(id, "a", CloseReason::Done, 5000)),
            "id: aaaaaaaa-5\nevent: fanfare.end\nretry: 5000\n\
             data: {\"channels\":[\"a\"],\"reason\":\"done\"}\n\n"
        );
        assert_eq!(
            text(reconnect(id, ReconnectReason::Drain, 7)),
            "id: aaaaaaaa-5\nevent: fanfare.reconnect\nretry: 7\ndata: {\"reason\":\"drain\"}\n\n"
        );
    }

    #[test]
    fn a_huge_request_is_told_back_cut() {
        let id = EventId { epoch: Epoch::from_random(0), seq: 0 };
        let told = gap(id, ["a"], &"ß".repeat(5_000), GapReason::Epoch);
        assert!(told.len() < 400 && String::from_utf8(told).unwrap().contains(&"ß".repeat(64)));
    }
}
