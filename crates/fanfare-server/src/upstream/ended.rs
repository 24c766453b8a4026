//! How a fetch ended, for its channel, the metrics and the log.

use std::{borrow::Cow, time::Duration};

use fanfare_core::{Change, CloseReason, Draft};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::Masks;
use crate::{
    limits::{UPSTREAM_MESSAGE_BYTES_MAX, UPSTREAM_TOLD_BYTES_MAX},
    problem::{Kind, Problem},
};

/// How a fetch ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// Its name leads to no address that is allowed.
    Address,
    /// The connection broke, or what came is not HTTP.
    Broken(String),
    /// Somebody asked for its end.
    Cancelled,
    /// The channel was closed or deleted by somebody else.
    Closed,
    /// No connection came about.
    Connect(String),
    /// It answered in a coding that nobody asked for.
    ContentEncoding(String),
    /// It answered well, and with no event stream.
    ContentType(String, Option<Said>),
    /// Its stream came to its end.
    Done,
    /// The hub drains, and could wait no longer.
    Drain,
    /// Its stream has what no event stream may have, or no event of this hub.
    Event(String),
    /// The hub has no room for its events.
    Full(String),
    /// It sent the hub elsewhere.
    Redirect(StatusCode),
    /// It answered with an error.
    Status(StatusCode, Option<Said>),
    /// A step took too long: which, and what is allowed.
    Timeout(&'static str, Duration),
}

/// The body of an answer that is an error, or its beginning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Json(Value),
    Text(String),
}

impl Ended {
    /// How many ways there are, for counters.
    pub(crate) const COUNT: usize = Self::NAMES.len();
    /// All of them as the metrics spell them, in the order of [`index`](Self::index).
    pub(crate) const NAMES: [&'static str; 14] = [
        "address",
        "broken",
        "cancelled",
        "closed",
        "connect",
        "content_encoding",
        "content_type",
        "done",
        "drain",
        "event",
        "full",
        "redirect",
        "status",
        "timeout",
    ];

    /// Its place in [`NAMES`](Self::NAMES).
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Address => 0,
            Self::Broken(_) => 1,
            Self::Cancelled => 2,
            Self::Closed => 3,
            Self::Connect(_) => 4,
            Self::ContentEncoding(_) => 5,
            Self::ContentType(..) => 6,
            Self::Done => 7,
            Self::Drain => 8,
            Self::Event(_) => 9,
            Self::Full(_) => 10,
            Self::Redirect(_) => 11,
            Self::Status(..) => 12,
            Self::Timeout(..) => 13,
        }
    }

    /// Its name.
    pub(crate) fn as_str(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Whether the upstream, or the way to it, is at fault.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, Self::Cancelled | Self::Closed | Self::Done | Self::Drain)
    }

    /// The status that the upstream answered with, if it was one of an error.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Redirect(status) | Self::Status(status, _) => Some(status.as_u16()),
            _ => None,
        }
    }

    /// What it does to the channel, whose events may have so many bytes of data; nothing if it has
    /// ended already.
    pub(super) fn change(
        &self,
        upstream: &str,
        masks: &Masks,
        data_bytes_max: usize,
    ) -> Option<Change> {
        match self {
            Self::Cancelled => Some(Change::Close(CloseReason::Cancelled)),
            Self::Closed => None,
            // Done, or cancelled if somebody has asked for that a moment ago.
            Self::Done => Some(Change::Finish),
            _ => {
                let mut told = self.told(upstream, masks);
                let mut json = told.json();
                if json.len() > data_bytes_max.min(UPSTREAM_TOLD_BYTES_MAX) {
                    // What is left is one sentence, which is told in any case.
                    told.error.body = None;
                    json = told.json();
                }
                Some(Change::Event(Draft::new(None, &json), Some(CloseReason::Error)))
            }
        }
    }

    /// The final event. Clients of the formats that have an `error` in their events raise on it.
    fn told(&self, upstream: &str, masks: &Masks) -> Told<'_> {
        let body = match self {
            Self::ContentType(_, said) | Self::Status(_, said) => said.as_ref(),
            _ => None,
        };
        let message = self.message(upstream);
        let message = masks.cover(&message);
        let end = message.floor_char_boundary(UPSTREAM_MESSAGE_BYTES_MAX);
        Told {
            error: ToldError {
                message: message[..end].to_owned(),
                kind: format!("upstream_{}", self.as_str()),
                code: self.status(),
                body: body.map(|said| match said {
                    Said::Json(json) => Cow::Borrowed(json),
                    Said::Text(text) => Cow::Owned(Value::from(text.as_str())),
                }),
            },
        }
    }

    fn message(&self, upstream: &str) -> String {
        let why = match self {
            Self::Address => "leads to an address that is not public".to_owned(),
            Self::Broken(why) => format!("broke off: {why}"),
            Self::Cancelled => "was cancelled".to_owned(),
            Self::Closed => "has lost its channel".to_owned(),
            Self::Connect(why) => format!("cannot be reached: {why}"),
            Self::ContentEncoding(coding) => {
                format!("answered with Content-Encoding {coding}, which was not asked for")
            }
            Self::ContentType(found, _) => format!(
                "answered with {found}, not with text/event-stream; perhaps the request does not \
                 ask for a stream"
            ),
            Self::Done => "came to its end".to_owned(),
            Self::Drain => "was left because the hub drains".to_owned(),
            Self::Event(why) => format!("sent what is not taken: {why}"),
            Self::Full(why) => format!("was left because the hub has no room: {why}"),
            Self::Redirect(status) => {
                format!("answered {status}, and redirects are not followed")
            }
            Self::Status(status, said) => match said.as_ref().and_then(Said::message) {
                Some(message) => format!("answered {status}: {message}"),
                None => format!("answered {status}"),
            },
            Self::Timeout(step, max) => {
                format!("took too long: {step} may take {} ms", max.as_millis())
            }
        };
        format!("the upstream {upstream} {why}")
    }
}

impl Said {
    /// What an answer said, covered already; nothing if it said nothing.
    pub(super) fn of(text: String, is_json: bool) -> Option<Self> {
        if is_json && let Ok(json) = serde_json::from_str(&text) {
            return Some(Self::Json(json));
        }
        (!text.is_empty()).then_some(Self::Text(text))
    }

    /// The message of an error as nearly all services spell it.
    fn message(&self) -> Option<&str> {
        let Self::Json(json) = self else { return None };
        json.pointer("/error/message").or_else(|| json.get("message"))?.as_str()
    }
}

impl From<Problem> for Ended {
    /// What of a stream was no event, or could not be placed.
    fn from(problem: Problem) -> Self {
        let detail = problem.detail().to_owned();
        match problem.kind() {
            Kind::ChannelClosed | Kind::ChannelNotFound => Self::Closed,
            Kind::ChannelsFull | Kind::RequestsFull | Kind::Unavailable => Self::Full(detail),
            _ => Self::Event(detail),
        }
    }
}

#[derive(Serialize)]
struct Told<'a> {
    error: ToldError<'a>,
}

impl Told<'_> {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct ToldError<'a> {
    message: String,
    #[serde(rename = "type")]
    kind: String,
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, Value>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{limits::UPSTREAM_ERROR_BYTES_MAX, testing};

    fn told(ended: &Ended) -> Value {
        let json = serde_json::to_value(ended.told("u", &Masks::default())).unwrap();
        json["error"].clone()
    }

    #[test]
    fn a_status_is_told_with_its_body() {
        let said = |text: &str, is_json| Said::of(text.to_owned(), is_json);
        let json = "{\"error\":{\"message\":\"wrong key\"}}";
        let ended = Ended::Status(StatusCode::UNAUTHORIZED, said(json, true));
        assert_eq!(
            told(&ended),
            json!({
                "message": "the upstream u answered 401 Unauthorized: wrong key",
                "type": "upstream_status",
                "code": 401,
                "body": {"error": {"message": "wrong key"}},
            })
        );
        for (text, is_json) in [("{\"error\":", true), ("{}", false)] {
            let ended = Ended::Status(StatusCode::BAD_GATEWAY, said(text, is_json));
            assert_eq!(told(&ended)["body"], text);
        }
        let ended = Ended::Status(StatusCode::BAD_GATEWAY, said("", false));
        assert!(told(&ended).get("body").is_none());
    }

    #[test]
    fn every_end_has_its_name_and_its_change() {
        let text = String::new;
        let all = [
            Ended::Address,
            Ended::Broken(text()),
            Ended::Cancelled,
            Ended::Closed,
            Ended::Connect(text()),
            Ended::ContentEncoding(text()),
            Ended::ContentType(text(), None),
            Ended::Done,
            Ended::Drain,
            Ended::Event(text()),
            Ended::Full(text()),
            Ended::Redirect(StatusCode::FOUND),
            Ended::Status(StatusCode::NOT_FOUND, None),
            Ended::Timeout("all of it", Duration::from_secs(1)),
        ];
        for (index, ended) in all.iter().enumerate() {
            assert_eq!(ended.index(), index);
            assert!(told(ended)["message"].as_str().unwrap().starts_with("the upstream u "));
            let change = ended.change("u", &Masks::default(), 1_000);
            match ended {
                Ended::Closed => assert!(change.is_none()),
                Ended::Cancelled => {
                    assert!(matches!(change, Some(Change::Close(CloseReason::Cancelled))));
                }
                Ended::Done => assert!(matches!(change, Some(Change::Finish))),
                _ => {
                    let Some(Change::Event(draft, reason)) = change else { panic!("{ended:?}") };
                    assert_eq!(reason, Some(CloseReason::Error));
                    let wire = testing::sse(draft);
                    assert!(wire.starts_with("data: {\"error\":{\"message\":"), "{wire}");
                }
            }
        }
        assert_eq!(Ended::NAMES.len(), all.len());
    }

    #[test]
    fn a_body_that_is_too_long_as_json_is_left_out() {
        let told = |text: &str, data_bytes_max| {
            let said = Said::of(text.to_owned(), false);
            let ended = Ended::Status(StatusCode::BAD_GATEWAY, said);
            let change = ended.change("u", &Masks::default(), data_bytes_max);
            let Some(Change::Event(draft, _)) = change else { panic!("{ended:?}") };
            let wire = testing::sse(draft);
            let json: Value = serde_json::from_str(wire.trim()[6..].trim()).unwrap();
            assert_eq!(json["error"]["code"], 502);
            let has_body = json["error"].get("body").is_some_and(|body| body == text);
            (has_body, wire.len() <= data_bytes_max.min(UPSTREAM_TOLD_BYTES_MAX) + 8)
        };
        let full = "x".repeat(UPSTREAM_ERROR_BYTES_MAX);
        assert_eq!(told(&full, 256 * 1024), (true, true));
        assert_eq!(told(&full.replace('x', "\u{1}"), 256 * 1024), (false, true));
        assert_eq!(told(&"x".repeat(500), 1_000), (true, true));
        assert_eq!(told(&"\u{1}".repeat(500), 1_000), (false, true));
    }

    #[test]
    fn a_hub_that_is_full_blames_no_upstream() {
        let ended = Ended::from(Problem::new(Kind::RequestsFull, "requests hold 9 bytes"));
        let expected = "the upstream u was left because the hub has no room: requests hold 9 bytes";
        assert_eq!(told(&ended)["message"], expected);
        let ended = Ended::from(Problem::new(Kind::NotUtf8, "line 1 is not UTF-8"));
        let expected = "the upstream u sent what is not taken: line 1 is not UTF-8";
        assert_eq!(told(&ended)["message"], expected);
    }

    #[test]
    fn a_long_message_is_cut() {
        let message = told(&Ended::Broken("ä".repeat(5_000)))["message"].to_string();
        assert!(message.len() <= UPSTREAM_MESSAGE_BYTES_MAX + 2);
    }
}
