//! `GET /channels/{channel}` for those who accept JSON: a page of what the channel keeps.

use fanfare_core::{
    ChannelName, CloseReason, EventId, GapReason, History, HistoryFrom,
    limits::{HISTORY_EVENTS_MAX, JOURNAL_EVENTS_MAX},
};
use hyper::{HeaderMap, Response, header, header::HeaderValue};
use serde::Serialize;

use crate::{
    body::Body,
    coalesce,
    limits::HISTORY_EVENTS,
    metrics::Reached,
    problem::{Kind, Problem},
    publish::json_response,
    query::Query,
    state::State,
    status,
    subscribe::must_exist,
};

/// Whether a request accepts JSON and not an event stream.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let (mut json, mut stream) = (false, false);
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
        if parameters.split(';').any(refuses) {
            continue;
        }
        let media_type = media_type.trim();
        json |= media_type.eq_ignore_ascii_case("application/json");
        stream |= media_type.eq_ignore_ascii_case("text/event-stream");
    }
    json && !stream
}

/// Whether a parameter of a media range is a weight of 0 (RFC 9110, section 12.4.2).
fn refuses(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32)
}

/// Answers a page.
pub(crate) fn answer(
    state: &State,
    channel: &ChannelName,
    query: &Query,
) -> Result<Response<Body>, Problem> {
    let limit = query.number("limit", 1..=HISTORY_EVENTS_MAX)?.unwrap_or(HISTORY_EVENTS);
    let from = from(state, query)?;
    let coalesce = coalesce::of_query(query)?;
    if must_exist(query)? && !state.hub.exists(channel) {
        return Err(status::missing(channel));
    }
    let mut history = state.hub.history(channel, &from, limit).ok_or_else(|| {
        let detail = format!(
            "the channel does not exist: it has no event that is kept and no subscriber; the \
             name is `{channel}`"
        );
        Problem::new(Kind::ChannelNotFound, detail)
    })?;
    if let Some(coalesce) = coalesce {
        coalesce.merge_page(&mut history.events);
    }
    // An answer that nobody takes stays in memory for as long as its connection does.
    let json = json(state, channel, &from, history);
    let mut charge = state.requests.charge();
    let charged = charge.resize(json.capacity());
    charged.inspect_err(|_| state.metrics.reached(Reached::RequestsBytes))?;
    let mut response = json_response(charge.hold(json));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Where the page begins: `from`, else `last`, else at the oldest event.
fn from(state: &State, query: &Query) -> Result<HistoryFrom, Problem> {
    let last = query.number("last", 0..=JOURNAL_EVENTS_MAX)?;
    match (query.single("from")?, last) {
        (None, None) | (Some("start"), _) => Ok(HistoryFrom::Beginning),
        (None, Some(count)) => Ok(HistoryFrom::Last(count)),
        (Some("now"), _) => Ok(HistoryFrom::After(state.hub.id(state.hub.watermark()).to_string())),
        (Some(id), _) => match id.parse::<EventId>() {
            Ok(_) => Ok(HistoryFrom::After(id.to_owned())),
            Err(error) => {
                let expected = format!("`start`, `now` or an id ({error})");
                Err(Query::wrong("from", id, &expected))
            }
        },
    }
}

fn json(state: &State, channel: &ChannelName, from: &HistoryFrom, history: History) -> Vec<u8> {
    let id = |seq| state.hub.id(seq).to_string();
    let gap = history.gap.map(|reason| Gap {
        requested: match from {
            HistoryFrom::After(id) => id,
            HistoryFrom::Beginning | HistoryFrom::Last(_) => "",
        },
        resumed_after: id(history.after),
        reason: GapReason::as_str(reason),
    });
    let event = |event: fanfare_core::HistoryEvent| Event {
        id: id(event.seq),
        event: event.event_type,
        data: event.data,
        published_at: event.published_at_ms,
    };
    let page = Page {
        channel: channel.as_str(),
        next: id(history.next),
        gap,
        closed: history.closed.map(CloseReason::as_str),
        events: history.events.into_iter().map(event).collect(),
    };
    serde_json::to_vec(&page).unwrap_or_default()
}

#[derive(Serialize)]
struct Page<'a> {
    channel: &'a str,
    events: Vec<Event>,
    /// What to ask for as `from` to go on.
    next: String,
    gap: Option<Gap<'a>>,
    closed: Option<&'static str>,
}

#[derive(Serialize)]
struct Event {
    id: String,
    event: Option<String>,
    data: String,
    /// In Unix milliseconds.
    published_at: u64,
}

#[derive(Serialize)]
struct Gap<'a> {
    requested: &'a str,
    resumed_after: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    async fn get(state: &State, query: &str) -> Result<Value, Problem> {
        let channel = ChannelName::parse("news").unwrap();
        let response = answer(state, &channel, &Query::parse(query).unwrap())?;
        Ok(testing::json(response).await)
    }

    fn ids(page: &Value) -> Vec<&str> {
        page["events"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn json_is_asked_for_by_name() {
        let wants = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            wants_json(&headers)
        };
        for yes in ["application/json", "text/html, Application/JSON;q=0.1", "application/json,*/*"]
        {
            assert!(wants(&[yes]), "{yes}");
        }
        assert!(wants(&["application/json", "text/event-stream;q=0.0"]));
        for no in ["*/*", "text/event-stream", "application/json;q=0", "application/*", ""] {
            assert!(!wants(&[no]), "{no}");
        }
        assert!(!wants(&[]) && !wants(&["application/json", "text/event-stream"]));
    }

    #[tokio::test]
    async fn pages_go_on_where_the_last_ended() {
        let state = testing::state();
        for n in 1..=5 {
            testing::publish(&state, "news", &n.to_string()).await;
        }
        let id = |seq| state.hub.id(seq).to_string();
        let first = get(&state, "limit=2").await.unwrap();
        assert_eq!(ids(&first), [id(1), id(2)]);
        assert_eq!(
            (&first["next"], &first["gap"], &first["closed"]),
            (&json!(id(2)), &Value::Null, &Value::Null)
        );
        assert_eq!(first["events"][0]["data"], "1");
        assert_eq!(first["events"][0]["event"], Value::Null);
        assert!(first["events"][0]["published_at"].as_u64().unwrap() > 1_600_000_000_000);
        let rest = get(&state, &format!("from={}", id(2))).await.unwrap();
        assert_eq!(ids(&rest), [id(3), id(4), id(5)]);
        let last = get(&state, "last=1").await.unwrap();
        assert_eq!(ids(&last), [id(5)]);
        let now = get(&state, "from=now").await.unwrap();
        assert_eq!((ids(&now).len(), &now["next"]), (0, &json!(id(5))));
    }

    #[tokio::test]
    async fn gaps_and_ends_are_told() {
        let state = testing::state();
        testing::publish(&state, "news", "1").await;
        let page = get(&state, "from=aaaaaaaa-7").await.unwrap();
        let gap = json!({
            "requested": "aaaaaaaa-7",
            "resumed_after": state.hub.id(0).to_string(),
            "reason": "epoch",
        });
        assert_eq!(page["gap"], gap);
    }

    #[tokio::test]
    async fn an_answer_is_charged_for_until_it_was_taken() {
        let state = testing::state_with_requests(1_500);
        testing::publish(&state, "news", &"x".repeat(600)).await;
        let channel = ChannelName::parse("news").unwrap();
        let ask = || answer(&state, &channel, &Query::default());
        let untaken = ask().unwrap();
        assert!(state.requests.held_bytes() >= 600);
        assert_eq!(ask().unwrap_err().kind(), Kind::RequestsFull);
        assert_eq!(state.metrics.reached_total(Reached::RequestsBytes), 1);
        drop(untaken);
        assert_eq!(state.requests.held_bytes(), 0);
        testing::json(ask().unwrap()).await;
        assert_eq!(state.requests.held_bytes(), 0);
    }

    #[tokio::test]
    async fn wrong_questions_are_refused() {
        let state = testing::state();
        let missing = get(&state, "").await.unwrap_err();
        assert_eq!(missing.kind(), Kind::ChannelNotFound);
        testing::publish(&state, "news", "1").await;
        for query in ["limit=0", "limit=1001", "limit=x", "last=-1", "from=", "from=later"] {
            assert_eq!(get(&state, query).await.unwrap_err().kind(), Kind::Query, "{query}");
        }
    }
}
