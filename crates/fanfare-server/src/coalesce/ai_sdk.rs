//! The UI message stream of Vercel's AI SDK.

use fanfare_core::Delta;

use super::json::Value;

/// A part that only adds to a text, to reasoning, or to the input of a tool.
pub(super) fn delta(data: &str) -> Option<Delta> {
    let mut part = Value::of(data).object()?;
    let kind = part.take("type")?;
    let (_, member) = MEMBERS.iter().find(|(name, _)| kind.is(name))?;
    let text = part.take(member)?;
    // What a provider adds is an object.
    part.rest_is(Value::is_scalar).then_some(())?;
    Some(Delta::new(text.string()?, [None, None]))
}

/// The sorts of parts that add to a text, and the member that has it.
const MEMBERS: [(&str, &str); 3] = [
    ("\"reasoning-delta\"", "delta"),
    ("\"text-delta\"", "delta"),
    ("\"tool-input-delta\"", "inputTextDelta"),
];
