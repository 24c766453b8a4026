//! `coalesce=` and `window=`: the formats whose deltas the hub knows, to put them together.
//!
//! Policy: an event is a delta only if the text is all that it says. Whatever else it carries, a
//! reason to finish, a name, probabilities, a member that is not known, makes it an event of its
//! own; so does anything that cannot be read. A subscriber gets the same text in fewer events.

mod ai_sdk;
mod anthropic;
mod json;
mod openai;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fanfare_core::{
    Coalesce, Coalescer, Delta, EventType, Selectors,
    limits::{WINDOW_MS_MAX, WINDOW_MS_MIN},
};

use crate::{
    problem::{Kind, Problem},
    query::Query,
};

/// A format and what it is asked for by.
#[derive(Debug)]
struct Named {
    name: String,
    format: Format,
}

/// What an event's data is.
#[derive(Debug)]
enum Format {
    /// Parts of the Vercel AI SDK's UI message stream.
    AiSdk,
    /// Events of Anthropic's messages.
    Anthropic,
    /// Chunks of OpenAI's chat completions.
    OpenaiChat,
    /// Events of OpenAI's responses.
    OpenaiResponses,
    /// Text, in events of this type or of none.
    Text(Option<EventType>),
}

/// What a subscription is to have put together.
pub(crate) fn of_subscription(
    query: &Query,
    selectors: &Selectors,
) -> Result<Option<Coalesce>, Problem> {
    let coalesce = of_query(query)?;
    let is_one = selectors.patterns().is_empty() && selectors.channels().len() == 1;
    if coalesce.is_some() && !is_one {
        let detail = "`coalesce` is for a subscription of exactly one channel";
        return Err(Problem::new(Kind::Query, detail));
    }
    Ok(coalesce)
}

/// The parameters.
pub(crate) fn of_query(query: &Query) -> Result<Option<Coalesce>, Problem> {
    let window_ms = query.number("window", WINDOW_MS_MIN..=WINDOW_MS_MAX)?;
    let Some(name) = query.single("coalesce")? else {
        if window_ms.is_some() {
            let detail = "`window` is for a subscription with `coalesce`";
            return Err(Problem::new(Kind::Query, detail));
        }
        return Ok(None);
    };
    let format = Format::parse(name).ok_or_else(|| Query::wrong("coalesce", name, FORMATS))?;
    let named = Named { name: name.to_owned(), format };
    Ok(Some(Coalesce::new(Arc::new(named), window_ms.unwrap_or(0))))
}

impl Format {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "ai-sdk" => Some(Self::AiSdk),
            "anthropic" => Some(Self::Anthropic),
            "openai-chat" => Some(Self::OpenaiChat),
            "openai-responses" => Some(Self::OpenaiResponses),
            "text" => Some(Self::Text(None)),
            _ => {
                let event_type = EventType::parse(name.strip_prefix("text:")?).ok().flatten();
                event_type.map(|event_type| Self::Text(Some(event_type)))
            }
        }
    }
}

impl Coalescer for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn delta(&self, event_type: Option<&str>, data: &str) -> Option<Delta> {
        match &self.format {
            Format::AiSdk => ai_sdk::delta(data),
            Format::Anthropic => anthropic::delta(data),
            Format::OpenaiChat => openai::chat_delta(data),
            Format::OpenaiResponses => openai::response_delta(data),
            Format::Text(wanted) => {
                let is_text = event_type == wanted.as_ref().map(EventType::as_str);
                let whole = || Delta::new(0..data.len(), [None, None]);
                (is_text && data != DONE).then(whole)
            }
        }
    }
}

/// How many services say that nothing more comes.
const DONE: &str = "[DONE]";
/// What `coalesce` may be.
const FORMATS: &str = "`text`, `text:TYPE`, `openai-chat`, `openai-responses`, `anthropic` or \
                       `ai-sdk`";
