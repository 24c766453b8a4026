//! `fanfare subscribe`: prints events as they come, and comes back after every cut from where it
//! was. Only a status that is final, or the end of all its channels, ends it.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    control,
    hub::{self, ClientError, Hub, channel_path, encode},
    sse::{Event, Parser},
};
use crate::{
    limits::{ANSWER_TIME_MAX, RETRY_BACKOFF_MS_MAX, RETRY_MS, RETRY_MS_MAX, SILENCE_TIME_MAX},
    terminal,
};

/// What to subscribe to, and how to print it.
#[derive(Debug)]
pub(crate) struct Subscribe {
    /// The hub.
    pub(crate) hub: Hub,
    /// Channels and patterns, as typed: at least one.
    pub(crate) channels: Vec<String>,
    /// Where the first connection begins: `now`, `start` or an id.
    pub(crate) from: Option<String>,
    /// How many events back it begins.
    pub(crate) last: Option<String>,
    /// Whether an event is printed as a line of JSON, rather than its data.
    pub(crate) json: bool,
}

/// Prints events until the end.
pub(crate) async fn run(subscribe: Subscribe) -> Result<(), ClientError> {
    let mut position = Position::new(&subscribe);
    loop {
        match connect(&subscribe, &mut position).await {
            Ok(Ended::Cut(why)) => terminal::say(why),
            Ok(Ended::AsTold) => {}
            Ok(Ended::ForGood) => return Ok(()),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                position.failures += 1;
                terminal::report(&error);
            }
        }
        let wait = position.wait(fastrand::f64());
        terminal::say(&format!("coming back in {:.1} s", wait.as_secs_f64()));
        sleep(wait).await;
    }
}

/// How a connection ended.
enum Ended {
    /// It was cut.
    Cut(&'static str),
    /// The hub said before that it would close it.
    AsTold,
    /// There is nothing more to come.
    ForGood,
}

/// Where a subscriber is: all that one connection hands to the next.
#[derive(Debug)]
struct Position {
    /// The last id it saw; empty at first.
    last_event_id: String,
    /// What the hub said about coming back.
    retry_ms: u64,
    /// Attempts in a row that found no hub.
    failures: u32,
    /// Channels that have not ended; a pattern never ends.
    open: BTreeSet<String>,
}

impl Position {
    fn new(subscribe: &Subscribe) -> Self {
        Self {
            last_event_id: String::new(),
            retry_ms: RETRY_MS,
            failures: 0,
            open: subscribe.channels.iter().cloned().collect(),
        }
    }

    /// How long to wait. Never less than the hub said; up to a quarter more by `luck`, so that
    /// those who were cut together do not come back together; doubled while there is no hub.
    fn wait(&self, luck: f64) -> Duration {
        let doubled = self.retry_ms.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let wait_ms = doubled.min(RETRY_BACKOFF_MS_MAX).max(self.retry_ms).min(RETRY_MS_MAX);
        Duration::from_millis(wait_ms).mul_f64(1.0 + luck / 4.0)
    }
}

/// One connection, from its request to its end.
async fn connect(subscribe: &Subscribe, position: &mut Position) -> Result<Ended, ClientError> {
    let mut request = subscribe.hub.request(&subscribe.path()).header(ACCEPT, EVENT_STREAM);
    if !position.last_event_id.is_empty() {
        let id = HeaderValue::from_bytes(position.last_event_id.as_bytes())
            .map_err(|_| ClientError::NoHub("an id of the stream cannot be sent back"))?;
        request = request.header(LAST_EVENT_ID, id);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| ClientError::NoHub("the address of the channels is too long"))?;
    let answering = timeout(ANSWER_TIME_MAX, subscribe.hub.send(request));
    let response = answering.await.unwrap_or(Err(ClientError::Silent))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NO_CONTENT => return Ok(Ended::ForGood),
        _ => return Err(hub::refusal(response).await),
    }
    if !is_event_stream(&response) {
        return Err(ClientError::NoHub("what answers is not a stream of events"));
    }
    position.failures = 0;
    read(response.into_body(), subscribe, position).await
}

/// Reads a stream to its end.
async fn read(
    mut body: Incoming,
    subscribe: &Subscribe,
    position: &mut Position,
) -> Result<Ended, ClientError> {
    let mut parser = Parser::new(&position.last_event_id);
    let mut is_told = false;
    loop {
        let bytes = match timeout(SILENCE_TIME_MAX, body.frame()).await {
            Err(_) => return Ok(Ended::Cut("the connection fell silent")),
            Ok(None | Some(Err(_))) if is_told => return Ok(Ended::AsTold),
            Ok(None) => return Ok(Ended::Cut("the stream ended")),
            Ok(Some(Err(_))) => return Ok(Ended::Cut("the connection was cut")),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        let events = parser
            .push(&bytes)
            .map_err(|_| ClientError::NoHub("an event of the stream is too long"))?;
        print(&events, subscribe, position)?;
        is_told |= events.iter().any(|event| event.event == control::RECONNECT);
        parser.last_event_id().clone_into(&mut position.last_event_id);
        position.retry_ms = parser.retry_ms().unwrap_or(position.retry_ms);
        if position.open.is_empty() {
            return Ok(Ended::ForGood);
        }
    }
}

/// Prints events, the hub's own ones in words on standard error.
fn print(
    events: &[Event],
    subscribe: &Subscribe,
    position: &mut Position,
) -> Result<(), ClientError> {
    let mut lines = String::new();
    for event in events {
        if control::is_control(&event.event) {
            terminal::say(&control::words(&event.event, &event.data));
            for channel in control::ended(&event.event, &event.data) {
                position.open.remove(&channel);
            }
        } else {
            lines.push_str(&line(event, subscribe.json));
        }
    }
    if lines.is_empty() { Ok(()) } else { terminal::out(&lines).map_err(ClientError::Output) }
}

impl Subscribe {
    fn path(&self) -> String {
        let named = |name: &str, text: &str| format!("{name}={}", encode(text));
        let (path, mut query) = match &self.channels[..] {
            [channel] if !channel.contains('*') => (channel_path(channel), Vec::new()),
            many => ("/events".to_owned(), many.iter().map(|c| named("channel", c)).collect()),
        };
        query.extend(self.from.iter().map(|from| named("from", from)));
        query.extend(self.last.iter().map(|last| named("last", last)));
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

/// An event as a line. Control characters of the data are escaped, line ends too, so that an
/// event stays a line and cannot play with the terminal; `--json` has the data exactly.
fn line(event: &Event, json: bool) -> String {
    if json {
        let quoted = |text: &str| Value::from(text).to_string();
        let (id, kind, data) = (quoted(&event.id), quoted(&event.event), quoted(&event.data));
        return format!("{{\"id\":{id},\"event\":{kind},\"data\":{data}}}\n");
    }
    let mut line = String::with_capacity(event.data.len() + 1);
    for character in event.data.chars() {
        if character.is_control() && character != '\t' {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Whether coming back would be no use: a refusal that is not about load, a mistake of the user,
/// or something that is no hub.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => {
            !status.is_server_error()
                && *status != StatusCode::REQUEST_TIMEOUT
                && *status != StatusCode::TOO_MANY_REQUESTS
        }
        ClientError::Answer(_)
        | ClientError::Connect { .. }
        | ClientError::Http(_)
        | ClientError::Silent => false,
        ClientError::Advised { .. }
        | ClientError::Cancelled(_)
        | ClientError::Input(_)
        | ClientError::NoHub(_)
        | ClientError::Output(_)
        | ClientError::System(_)
        | ClientError::Undrained(_)
        | ClientError::Unwell { .. }
        | ClientError::Url { .. }
        | ClientError::Settings(_)
        | ClientError::Usage(_) => true,
    }
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(EVENT_STREAM)
}

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channels: &[&str]) -> Subscribe {
        Subscribe {
            hub: Hub::parse("http://127.0.0.1", "--url").unwrap(),
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            from: None,
            last: None,
            json: false,
        }
    }

    #[test]
    fn one_channel_has_its_own_path() {
        assert_eq!(subscribe(&["orders/42"]).path(), "/channels/orders/42");
        assert_eq!(subscribe(&["orders/*"]).path(), "/events?channel=orders%2F%2A");
        let mut many = subscribe(&["a", "b&c"]);
        many.last = Some("3".into());
        assert_eq!(many.path(), "/events?channel=a&channel=b%26c&last=3");
    }

    #[test]
    fn an_event_is_a_line() {
        let event =
            Event { id: "e-1".into(), event: "add".into(), data: "a\n\tb\u{1b}ä\"".into() };
        assert_eq!(line(&event, false), "a\\n\tb\\u{1b}ä\"\n");
        let expected = "{\"id\":\"e-1\",\"event\":\"add\",\"data\":\"a\\n\\tb\\u001bä\\\"\"}\n";
        assert_eq!(line(&event, true), expected);
    }

    #[test]
    fn the_wait_is_never_less_than_the_hub_said() {
        let mut position = Position::new(&subscribe(&["a"]));
        let wait_ms = |position: &Position, luck| position.wait(luck).as_millis();
        assert_eq!((wait_ms(&position, 0.0), wait_ms(&position, 1.0)), (3_000, 3_750));
        position.failures = 1;
        assert_eq!(wait_ms(&position, 0.0), 3_000);
        position.failures = 3;
        assert_eq!(wait_ms(&position, 0.0), 12_000);
        position.failures = u32::MAX;
        assert_eq!(wait_ms(&position, 0.0), 30_000);
        position.retry_ms = 45_000;
        assert_eq!(wait_ms(&position, 0.0), 45_000);
        position.retry_ms = u64::MAX;
        assert_eq!(wait_ms(&position, 0.0), 86_400_000);
    }

    #[test]
    fn it_is_over_when_all_channels_have_ended() {
        let subscribe = subscribe(&["a", "b"]);
        let mut position = Position::new(&subscribe);
        let end = |channel| Event {
            id: String::new(),
            event: "fanfare.end".into(),
            data: format!("{{\"channels\": [\"{channel}\"], \"reason\": \"done\"}}"),
        };
        print(&[end("a")], &subscribe, &mut position).unwrap();
        assert_eq!(position.open.iter().collect::<Vec<_>>(), ["b"]);
        print(&[end("b")], &subscribe, &mut position).unwrap();
        assert!(position.open.is_empty());
    }

    #[test]
    fn load_is_no_reason_to_give_up() {
        let refused = |status| ClientError::Refused { status, title: None, detail: None };
        for status in [400, 401, 403, 404, 410, 301] {
            assert!(is_final(&refused(StatusCode::from_u16(status).unwrap())), "{status}");
        }
        for status in [408, 429, 500, 502, 503] {
            assert!(!is_final(&refused(StatusCode::from_u16(status).unwrap())), "{status}");
        }
    }
}
