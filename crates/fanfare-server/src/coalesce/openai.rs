//! OpenAI's chat completions, which many other services speak too, and its responses.

use fanfare_core::Delta;

use super::json::Value;

/// A chunk of a chat completion with one choice that only adds to one text of the message, or to
/// the arguments of one call that has its name already.
pub(super) fn chat_delta(data: &str) -> Option<Delta> {
    let mut chunk = Value::of(data).object()?;
    let is_chunk = chunk.take("object")?.is("\"chat.completion.chunk\"");
    let mut choice = chunk.take("choices")?.only()?.object()?;
    let padding = chunk.take("obfuscation").map(Value::place);
    // What is no scalar may differ in what it means, though it is spelt the same: usage, timings.
    if !is_chunk || !chunk.rest_is(Value::is_scalar) {
        return None;
    }
    let mut delta = choice.take("delta")?.object()?;
    // Where in the order of choices, and what Azure's filter thinks of the text so far.
    choice.take("index").filter(|index| index.is_scalar())?;
    choice.take("content_filter_results");
    if !choice.is_spent() {
        return None;
    }
    let mut texts = TEXTS.iter().filter_map(|name| delta.take_some(name));
    let (text, other) = (texts.next(), texts.next());
    let call = delta.take_some("tool_calls");
    // Some services say it again with each chunk.
    let is_answer = delta.take_some("role").is_none_or(|role| role.is("\"assistant\""));
    let text = match (text, other, call) {
        (Some(text), None, None) => text,
        (None, None, Some(calls)) => arguments(calls)?,
        _ => return None,
    };
    (is_answer && delta.is_spent()).then_some(())?;
    Some(Delta::new(text.string()?, [padding, None]))
}

/// The arguments that the only call adds to.
fn arguments(calls: Value<'_>) -> Option<Value<'_>> {
    let mut call = calls.only()?.object()?;
    call.take("index").filter(|index| index.is_scalar())?;
    let mut function = call.take("function")?.object()?;
    let arguments = function.take("arguments")?;
    let is_function = call.take_some("type").is_none_or(|kind| kind.is("\"function\""));
    (is_function && call.is_spent() && function.is_spent()).then_some(arguments)
}

/// An event of a response that only adds to one text.
pub(super) fn response_delta(data: &str) -> Option<Delta> {
    let mut event = Value::of(data).object()?;
    let kind = event.take("type")?;
    let is_delta = RESPONSE_DELTAS.iter().any(|name| kind.is(name));
    let has_none = |value: Value<'_>| value.is_null() || value.is_empty();
    let text = event.take("delta")?;
    let number = event.take("sequence_number").map(Value::place);
    let padding = event.take("obfuscation").map(Value::place);
    let is_plain = event.take("logprobs").is_none_or(has_none);
    (is_delta && is_plain && event.rest_is(Value::is_scalar)).then_some(())?;
    Some(Delta::new(text.string()?, [number, padding]))
}

/// The texts of a message that chunks add to; the two in the middle are of other services.
const TEXTS: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];
/// Events that add to a text. Audio is none: base64 cannot be cut anywhere.
const RESPONSE_DELTAS: [&str; 8] = [
    "\"response.code_interpreter_call_code.delta\"",
    "\"response.custom_tool_call_input.delta\"",
    "\"response.function_call_arguments.delta\"",
    "\"response.mcp_call_arguments.delta\"",
    "\"response.output_text.delta\"",
    "\"response.reasoning_summary_text.delta\"",
    "\"response.reasoning_text.delta\"",
    "\"response.refusal.delta\"",
];
