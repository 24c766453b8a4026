//! Anthropic's messages.

use fanfare_core::Delta;

use super::json::Value;

/// A delta of a content block that only adds to its text, its thinking, or its input. Signatures
/// and citations come whole.
pub(super) fn delta(data: &str) -> Option<Delta> {
    let mut event = Value::of(data).object()?;
    let is_delta = event.take("type")?.is("\"content_block_delta\"");
    let mut delta = event.take("delta")?.object()?;
    let kind = delta.take("type")?;
    let (_, member) = MEMBERS.iter().find(|(name, _)| kind.is(name))?;
    let text = delta.take(member)?;
    (is_delta && event.rest_is(Value::is_scalar) && delta.is_spent()).then_some(())?;
    Some(Delta::new(text.string()?, [None, None]))
}

/// The sorts of deltas that add to a text, and the member that has it.
const MEMBERS: [(&str, &str); 3] = [
    ("\"input_json_delta\"", "partial_json"),
    ("\"text_delta\"", "text"),
    ("\"thinking_delta\"", "thinking"),
];
