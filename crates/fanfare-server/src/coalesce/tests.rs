//! Whole streams of each format, put together in any way, say what they said; and what is no delta.

use std::{collections::BTreeMap, sync::Arc};

use fanfare_core::{
    Change, ChannelName, Doorbell, Draft, Epoch, HistoryFrom, Hub, HubLimits, MemoryBroker,
    Publication, Request, Retention, Run, Start, Subscribed,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits::DELTA_MEMBERS_MAX;

/// A format, a stream of it as a service sends it, and what makes the final message of it.
type Stream = (&'static str, &'static str, fn(&[Event]) -> Value);

const STREAMS: [Stream; 4] = [
    ("openai-chat", include_str!("../../tests/streams/openai-chat.sse"), chat),
    ("openai-responses", include_str!("../../tests/streams/openai-responses.sse"), response),
    ("anthropic", include_str!("../../tests/streams/anthropic.sse"), message),
    ("ai-sdk", include_str!("../../tests/streams/ai-sdk.sse"), ui_message),
];

/// An event's type and its data.
type Event = (Option<String>, String);

fn parse(sse: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    let event = |block: &str| Some((field(block, "event: "), field(block, "data: ")?));
    sse.split("\n\n").filter_map(event).collect()
}

fn coalesce(name: &str) -> Coalesce {
    let query = Query::parse(&format!("coalesce={name}")).unwrap();
    of_query(&query).unwrap().unwrap()
}

fn is_delta(name: &str, event_type: Option<&str>, data: &str) -> bool {
    let format = Format::parse(name).unwrap();
    Named { name: name.to_owned(), format }.delta(event_type, data).is_some()
}

/// A hub with a stream in its channel `a`.
fn hub_with(events: &[Event]) -> Arc<Hub> {
    let doorbell = Arc::new(Doorbell::new(Box::new(|| {})));
    let retention = Retention { ring_events_max: 2_000, ..Retention::default() };
    let limits = HubLimits { retention, ..HubLimits::default() };
    let hub = Arc::new(Hub::new(Epoch::from_random(0), limits, vec![doorbell]));
    let broker = MemoryBroker::new(Arc::clone(&hub));
    for (event_type, data) in events {
        let event_type = EventType::parse(event_type.as_deref().unwrap_or_default()).unwrap();
        let change = Change::Event(Draft::new(event_type.as_ref(), data), None);
        let channel = ChannelName::parse("a").unwrap();
        broker
            .place(Publication {
                channel,
                change,
                instance: None,
                key: None,
                producer: None,
                now_us: 0,
            })
            .unwrap();
    }
    hub
}

/// What a subscriber gets that breaks off after events for which `breaks` says so and comes back,
/// and is given at most so many bytes at a time.
fn read(
    hub: &Arc<Hub>,
    name: &str,
    sizes: &[usize],
    mut breaks: impl FnMut() -> bool,
) -> Vec<Event> {
    let mut start = Start::Beginning;
    let mut events = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut run = Run::default();
    loop {
        let selectors = Selectors::parse(["a"]).unwrap();
        let (control, open, envelope, live) = (true, false, false, false);
        let coalesce = (!name.is_empty()).then(|| coalesce(name));
        let request = Request { selectors, start, control, open, envelope, coalesce, live };
        let subscribed = hub.subscribe(&request, 0, 0).unwrap();
        let Subscribed::Live(opening) = subscribed else { panic!("it is live") };
        let mut cursor = opening.subscription.cursor;
        'connection: loop {
            opening.subscription.feed().read(hub, cursor, *sizes.next().unwrap(), &mut run);
            for (seq, frame) in &run.frames {
                events.push((frame.event_type().map(str::to_owned), frame.data()));
                cursor = seq + 1;
                if breaks() {
                    break 'connection;
                }
            }
            if run.exhausted {
                return events;
            }
        }
        start = Start::After(hub.id(cursor - 1).to_string());
    }
}

#[test]
fn whole_streams_say_what_they_said_in_few_events() {
    for (name, sse, fold) in STREAMS {
        let events = parse(sse);
        assert!(events.len() > 250, "{name}");
        let hub = hub_with(&events);
        assert_eq!(read(&hub, "", &[usize::MAX], || false), events, "{name}: as it was published");
        let merged = read(&hub, name, &[usize::MAX], || false);
        assert!(merged.len() * 8 < events.len(), "{name}: {}", merged.len());
        assert_eq!(fold(&merged), fold(&events), "{name}");
        let text =
            |value: &Value| value.to_string().contains("Nothing is lost, nothing comes twice");
        assert!(text(&fold(&merged)), "{name}: {}", fold(&merged));
        let channel = ChannelName::parse("a").unwrap();
        let mut page = hub.history(&channel, &HistoryFrom::Beginning, 1_000).unwrap().events;
        coalesce(name).merge_page(&mut page);
        let page: Vec<_> = page.into_iter().map(|event| (event.event_type, event.data)).collect();
        assert_eq!(page, merged, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_a_stream_is_read_it_says_the_same(
        sizes in proptest::collection::vec(1..20_000_usize, 1..8),
        one_in in 2..60_u32,
        seed: u64,
    ) {
        for (name, sse, fold) in STREAMS {
            let events = parse(sse);
            let hub = hub_with(&events);
            let mut rng = fastrand::Rng::with_seed(seed);
            let merged = read(&hub, name, &sizes, || rng.u32(..one_in) == 0);
            prop_assert_eq!(fold(&merged), fold(&events), "{}", name);
        }
    }

    #[test]
    fn no_data_panics(data in ".{0,200}", event_type in proptest::option::of("[a-z.]{1,20}")) {
        for name in ["text", "text:x", "openai-chat", "openai-responses", "anthropic", "ai-sdk"] {
            is_delta(name, event_type.as_deref(), &data);
        }
    }
}

/// What is left of a delta of a format when one thing of it is changed.
fn without(name: &str, delta: &str, changes: &[(&str, &str)]) {
    assert!(is_delta(name, None, delta), "{name}: {delta}");
    for (from, to) in changes {
        let changed = delta.replace(from, to);
        assert_ne!(changed, delta, "{name}: {from}");
        assert!(!is_delta(name, None, &changed), "{name}: {changed}");
    }
}

#[test]
fn a_chunk_that_says_more_than_its_text_is_no_delta() {
    let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"usage":null,"choices":[{
        "index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}]}"#;
    let changes = [
        (r#""Hi"}"#, r#""Hi","reasoning":"x"}"#),
        (r#""Hi"}"#, r#""Hi","tool_calls":[{"index":0,"function":{"arguments":""}}]}"#),
        (r#""Hi"}"#, r#""Hi","reasoning_details":[]}"#),
        (r#""Hi"}"#, r#""Hi","content":"Ho"}"#),
        (r#""Hi"}"#, r#""Hi","role":"user"}"#),
        (r#""Hi""#, "null"),
        (r#""Hi""#, "7"),
        (r#""Hi""#, r#"["Hi"]"#),
        (r#""Hi""#, r#""Hi\ud83d""#),
        (r#""Hi""#, r#""\uDE80Hi""#),
        (r#""logprobs":null"#, r#""logprobs":{"content":[]}"#),
        (r#""logprobs":null"#, r#""token_ids":[7]"#),
        (r#""finish_reason":null"#, r#""finish_reason":"stop""#),
        (r#""usage":null"#, r#""usage":{"total_tokens":1}"#),
        (r#""created":1"#, r#""timings":{"ms":1}"#),
        ("chat.completion.chunk", "chat.completion"),
        (r#""choices":["#, r#""choices":[{"index":1,"delta":{}},"#),
        (r#""index":0,"#, ""),
        ("]}", "]"),
        ("]}", "]} "),
    ];
    without("openai-chat", chunk, &changes[..changes.len() - 1]);
    assert!(is_delta("openai-chat", None, &chunk.replace("]}", "]} ")), "white space is no matter");
    for more in [r#","role":"assistant"}"#, r#","refusal":null,"tool_calls":null}"#] {
        assert!(is_delta("openai-chat", None, &chunk.replace("\"}", &format!("\"{more}"))));
    }
    let call = chunk.replace(
        r#""content":"Hi""#,
        r#""tool_calls":[{"index":0,"id":null,"function":{"arguments":"Hi"}}]"#,
    );
    let changes = [
        (r#""id":null"#, r#""id":"call_1""#),
        (r#""arguments""#, r#""name":"f","arguments""#),
        (r#""index":0,"id""#, r#""id""#),
        (r#"[{"index":0,"id""#, r#"[{"index":1,"function":{"arguments":""}},{"index":0,"id""#),
    ];
    without("openai-chat", &call, &changes);
}

#[test]
fn an_event_that_says_more_than_its_text_is_no_delta() {
    let event = r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,
        "content_index":0,"delta":"Hi","logprobs":[ ],"sequence_number":4,"obfuscation":"x"}"#;
    let changes = [
        ("[ ]", r#"[{"token":"Hi"}]"#),
        ("output_text.delta", "output_text.done"),
        ("output_text.delta", "audio.delta"),
        (r#""item_id":"m""#, r#""item":{}"#),
        (r#""delta":"Hi","#, ""),
    ];
    without("openai-responses", event, &changes);
    let event =
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}"#;
    let changes = [
        ("text_delta", "signature_delta"),
        ("text_delta", "thinking_delta"),
        ("content_block_delta", "content_block_start"),
        (r#""Hi""#, r#""Hi","citations":[]"#),
        (r#""index":1"#, r#""usage":{}"#),
    ];
    without("anthropic", event, &changes);
    let part = r#"{"type":"text-delta","id":"t","delta":"Hi"}"#;
    let changes = [
        ("text-delta", "text-end"),
        ("text-delta", "tool-input-delta"),
        (r#""t","#, r#""t","providerMetadata":{},"#),
        (r#""delta":"#, r#""de\u006cta":"#),
    ];
    without("ai-sdk", part, &changes);
    let many: String = (0..DELTA_MEMBERS_MAX).map(|n| format!("\"x{n}\":1,")).collect();
    assert!(!is_delta("ai-sdk", None, &part.replace('{', &format!("{{{many}"))));
    assert!(!is_delta("ai-sdk", None, &"[".repeat(100_000)));
}

#[test]
fn what_differs_is_not_put_together() {
    let merged = |name: &str, events: &[&str]| -> Vec<String> {
        let events: Vec<Event> = events.iter().map(|data| (None, (*data).to_owned())).collect();
        let merged = read(&hub_with(&events), name, &[usize::MAX], || false);
        merged.into_iter().map(|(_, data)| data).collect()
    };
    let part = |kind: &str, id: &str, text: &str| {
        format!(r#"{{"type":"{kind}-delta","id":"{id}","delta":"{text}"}}"#)
    };
    let parts = [
        part("text", "a", "1"),
        part("text", "a", ""),
        part("text", "a", "\\\"2\\ud83d\\ude80"),
        part("text", "b", "3"),
        part("reasoning", "b", "4"),
    ];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let whole = part("text", "a", "1\\\"2\\ud83d\\ude80");
    assert_eq!(merged("ai-sdk", &parts), [whole.as_str(), parts[3], parts[4]]);
    let numbered = |number: u32, text: &str, padding: &str| {
        format!(
            "{{\"type\":\"response.refusal.delta\",\"delta\":\"{text}\",\
             \"sequence_number\":{number}{padding}}}"
        )
    };
    let (one, two) =
        (numbered(9, "a", ",\"obfuscation\":\"xy\""), numbered(10, "b", ",\"obfuscation\":\"\""));
    let other = numbered(11, "c", "");
    let whole = numbered(10, "ab", ",\"obfuscation\":\"\"");
    assert_eq!(merged("openai-responses", &[&one, &two, &other]), [whole, other.clone()]);
    assert_eq!(
        merged("text", &["a", "", "b\n", "c", "[DONE]", "[DONE] "]),
        ["ab\nc", "[DONE]", "[DONE] "]
    );
    assert_eq!(merged("text", &["[DO", "NE]"]), ["[DO", "NE]"], "nobody has said that");
}

#[test]
fn text_is_of_the_type_that_was_asked_for() {
    for (name, event_type, is) in [
        ("text", None, true),
        ("text", Some("token"), false),
        ("text:token", Some("token"), true),
        ("text:token", Some("other"), false),
        ("text:token", None, false),
    ] {
        assert_eq!(is_delta(name, event_type, "x"), is, "{name} {event_type:?}");
    }
}

#[test]
fn wrong_wishes_are_refused() {
    let one = Selectors::parse(["a"]).unwrap();
    let ask = |query: &str, selectors: &Selectors| {
        of_subscription(&Query::parse(query).unwrap(), selectors)
    };
    assert_eq!(ask("", &one).unwrap(), None);
    for name in ["text", "text:my.type", "openai-chat", "openai-responses", "anthropic", "ai-sdk"] {
        let coalesce = ask(&format!("coalesce={name}"), &one).unwrap().unwrap();
        let windowed = ask(&format!("coalesce={name}&window=25"), &one).unwrap().unwrap();
        assert_eq!((coalesce.window_ms(), windowed.window_ms()), (0, 25));
        assert_ne!(coalesce, windowed, "they are other feeds");
    }
    assert_ne!(ask("coalesce=text", &one).unwrap(), ask("coalesce=text:x", &one).unwrap());
    for query in [
        "coalesce=",
        "coalesce=openai",
        "coalesce=text:",
        "coalesce=text:fanfare.x",
        "coalesce=text:a%0Ab",
        "coalesce=text&coalesce=anthropic",
        "coalesce=text&window=24",
        "coalesce=text&window=101",
        "coalesce=text&window=",
        "window=50",
    ] {
        assert_eq!(ask(query, &one).unwrap_err().kind(), Kind::Query, "{query}");
    }
    for several in [Selectors::parse(["a", "b"]).unwrap(), Selectors::parse(["a/*"]).unwrap()] {
        assert_eq!(ask("coalesce=text", &several).unwrap_err().kind(), Kind::Query);
        assert_eq!(ask("", &several).unwrap(), None);
    }
}

/// The texts of a message by what they belong to, and everything else as it came, with how much
/// text there was before it.
#[derive(Default)]
struct Fold {
    texts: BTreeMap<String, String>,
    others: Vec<Value>,
}

impl Fold {
    fn add(&mut self, key: impl Into<String>, text: &str) {
        self.texts.entry(key.into()).or_default().push_str(text);
    }

    fn other(&mut self, event: Value) {
        let chars: usize = self.texts.values().map(|text| text.chars().count()).sum();
        self.others.push(json!([chars, event]));
    }

    fn done(self) -> Value {
        json!({ "texts": self.texts, "others": self.others })
    }
}

/// Each event's data as JSON, or as a string.
fn values(events: &[Event]) -> impl Iterator<Item = Value> {
    events.iter().map(|(_, data)| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
}

fn chat(events: &[Event]) -> Value {
    let mut fold = Fold::default();
    for chunk in values(events) {
        let Some(mut choice) = chunk.pointer("/choices/0").cloned() else {
            fold.other(json!([chunk["usage"], chunk.as_str()]));
            continue;
        };
        for name in ["content", "reasoning_content"] {
            if let Some(text) = choice["delta"].as_object_mut().unwrap().remove(name) {
                fold.add(name, text.as_str().unwrap());
            }
        }
        if let Some(call) = choice.pointer_mut("/delta/tool_calls/0") {
            let arguments = call["function"].as_object_mut().unwrap().remove("arguments");
            fold.add(call["index"].to_string(), arguments.unwrap().as_str().unwrap());
            if call["id"].is_null() {
                choice["delta"] = json!({});
            }
        }
        if choice != json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": null }) {
            fold.other(choice);
        }
    }
    fold.done()
}

fn response(events: &[Event]) -> Value {
    let mut fold = Fold::default();
    for mut event in values(events) {
        let kind = event["type"].as_str().unwrap().to_owned();
        if kind.ends_with(".delta") {
            fold.add(format!("{kind} {}", event["item_id"]), event["delta"].as_str().unwrap());
            if event["logprobs"].as_array().is_some_and(|probabilities| !probabilities.is_empty()) {
                event["obfuscation"].take();
                fold.other(event);
            }
        } else {
            fold.other(event);
        }
    }
    fold.done()
}

fn message(events: &[Event]) -> Value {
    let mut fold = Fold::default();
    for event in values(events) {
        let delta = &event["delta"];
        let texts = ["text", "thinking", "partial_json"].map(|name| delta[name].as_str());
        let text = texts.into_iter().flatten().next();
        match text {
            Some(text) => fold.add(format!("{} {}", event["index"], delta["type"]), text),
            None => fold.other(event.clone()),
        }
    }
    fold.done()
}

fn ui_message(events: &[Event]) -> Value {
    let mut fold = Fold::default();
    for (_, data) in events {
        // Halves of characters are no Rust strings: they stay as they are spelt.
        let part: Value = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
        let text = part["delta"].as_str().or_else(|| part["inputTextDelta"].as_str());
        match text {
            Some(text) if part["providerMetadata"].is_null() => {
                let of = if part["id"].is_null() { &part["toolCallId"] } else { &part["id"] };
                fold.add(format!("{} {of}", part["type"]), text);
            }
            _ => fold.other(part),
        }
    }
    fold.done()
}
