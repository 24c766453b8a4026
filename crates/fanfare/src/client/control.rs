//! The hub's control events in words for people.

use serde_json::Value;

/// Whether an event is the hub's own.
pub(crate) fn is_control(event: &str) -> bool {
    event.starts_with("fanfare.")
}

/// What a control event says.
pub(crate) fn words(event: &str, data: &str) -> String {
    let data: Value = data.parse().unwrap_or_default();
    let text = |name: &str| match &data[name] {
        Value::String(text) => text.escape_debug().to_string(),
        _ => "?".to_owned(),
    };
    let channels = channels(&data).map_or_else(|| "?".to_owned(), |names| names.join(", "));
    match event {
        "fanfare.open" => format!("subscribed to {}", channels.escape_debug()),
        "fanfare.gap" => format!(
            "events of {} were lost ({}): asked for what follows {}, goes on after {}",
            channels.escape_debug(),
            text("reason"),
            text("requested"),
            text("resumed_after"),
        ),
        "fanfare.end" => format!("{} was closed ({})", channels.escape_debug(), text("reason")),
        RECONNECT => format!("the hub closes this connection ({})", text("reason")),
        other => format!("{}: {}", other.escape_debug(), data),
    }
}

/// The channels that the data of a control event names.
pub(crate) fn ended(event: &str, data: &str) -> Vec<String> {
    let data: Value = data.parse().unwrap_or_default();
    let names = if event == "fanfare.end" { channels(&data) } else { None };
    names.unwrap_or_default()
}

fn channels(data: &Value) -> Option<Vec<String>> {
    data["channels"].as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// What the hub says before it closes a connection.
pub(crate) const RECONNECT: &str = "fanfare.reconnect";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_events_are_put_into_words() {
        for (event, data, expected) in [
            ("fanfare.open", r#"{"channels": ["a", "b/*"]}"#, "subscribed to a, b/*"),
            (
                "fanfare.gap",
                r#"{"channels": ["a"], "requested": "x-1", "resumed_after": "y-7",
                    "reason": "epoch"}"#,
                "events of a were lost (epoch): asked for what follows x-1, goes on after y-7",
            ),
            ("fanfare.end", r#"{"channels": ["a"], "reason": "done"}"#, "a was closed (done)"),
            (
                "fanfare.reconnect",
                r#"{"reason": "drain"}"#,
                "the hub closes this connection (drain)",
            ),
            ("fanfare.new", "[1]", "fanfare.new: [1]"),
            ("fanfare.open", "not json", "subscribed to ?"),
        ] {
            assert_eq!(words(event, data), expected);
        }
    }

    #[test]
    fn only_an_end_ends_channels() {
        let data = r#"{"channels": ["a", "b"], "reason": "done"}"#;
        assert_eq!(ended("fanfare.end", data), ["a", "b"]);
        assert_eq!(ended("fanfare.gap", data), [""; 0]);
        assert_eq!(ended("fanfare.end", "garbage"), [""; 0]);
    }
}
