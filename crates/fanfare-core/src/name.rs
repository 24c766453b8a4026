//! Names of channels, patterns over them, and the set of both that a subscription asks for.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::limits::{
    CHANNEL_NAME_BYTES_MAX, CHANNEL_NAME_SEGMENTS_MAX, CHANNELS_PER_SUBSCRIPTION_MAX,
};

/// A valid channel name, such as `orders/42`: cheap to clone, ordered by its bytes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Parses a name that is percent-decoded already.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if text.contains('*') {
            return Err(NameError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// A valid pattern: `*` stands for one segment, a final `**` for one or more.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Parses a pattern. A name without a wildcard is a pattern that matches itself.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        let last = text.split('/').count() - 1;
        for (index, segment) in text.split('/').enumerate() {
            match segment {
                "*" => {}
                "**" if index == last => {}
                "**" => return Err(NameError::DoubleStarNotLast),
                _ if segment.contains('*') => return Err(NameError::PartialWildcard),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a channel's name matches.
    pub fn matches(&self, name: &ChannelName) -> bool {
        let mut segments = name.as_str().split('/');
        for part in self.0.split('/') {
            let Some(segment) = segments.next() else { return false };
            match part {
                "**" => return true,
                "*" => {}
                _ if part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// What one subscription asks for: 1 to [`CHANNELS_PER_SUBSCRIPTION_MAX`] channels and patterns,
/// sorted, none twice.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Selectors {
    /// Channels named one by one.
    channels: Box<[ChannelName]>,
    /// Patterns; any of them makes the subscription follow the journal.
    patterns: Box<[Pattern]>,
}

impl Selectors {
    /// A single channel.
    pub fn one(name: ChannelName) -> Self {
        Self { channels: Box::new([name]), patterns: Box::default() }
    }

    /// Parses names and patterns; a text with `*` is a pattern.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, SelectorsError> {
        let (mut channels, mut patterns) = (Vec::new(), Vec::new());
        for (count, text) in texts.into_iter().enumerate() {
            if count == CHANNELS_PER_SUBSCRIPTION_MAX {
                return Err(SelectorsError::TooMany);
            }
            let wrong = |error| SelectorsError::Name { text: text.to_owned(), error };
            if text.contains('*') {
                patterns.push(Pattern::parse(text).map_err(wrong)?);
            } else {
                channels.push(ChannelName::parse(text).map_err(wrong)?);
            }
        }
        if channels.is_empty() && patterns.is_empty() {
            return Err(SelectorsError::None);
        }
        channels.sort_unstable();
        channels.dedup();
        patterns.sort_unstable();
        patterns.dedup();
        Ok(Self { channels: channels.into(), patterns: patterns.into() })
    }

    /// The channels that are named one by one.
    pub fn channels(&self) -> &[ChannelName] {
        &self.channels
    }

    /// The patterns.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether a channel belongs to the subscription.
    pub fn matches(&self, name: &ChannelName) -> bool {
        self.channels.binary_search(name).is_ok() || self.patterns.iter().any(|p| p.matches(name))
    }

    /// All of them as text, channels first.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.channels
            .iter()
            .map(ChannelName::as_str)
            .chain(self.patterns.iter().map(|p| p.as_str()))
    }
}

/// Why a text is no channel name or pattern; the client is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// A control character.
    Control,
    /// `.` or `..` as a segment.
    Dots,
    /// `**` before the last segment.
    DoubleStarNotLast,
    /// No byte at all.
    Empty,
    /// Two slashes in a row, or one at an end.
    EmptySegment,
    /// A `*` beside other characters of its segment.
    PartialWildcard,
    /// A first segment that starts with `$`.
    Reserved,
    /// Over [`CHANNEL_NAME_BYTES_MAX`] bytes; holds how many.
    TooLong(usize),
    /// Over [`CHANNEL_NAME_SEGMENTS_MAX`] segments; holds how many.
    TooManySegments(usize),
    /// A `*` in the name of a single channel.
    Wildcard,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("a channel's name has no control characters"),
            Self::Dots => f.write_str("a segment of a channel's name is never `.` or `..`"),
            Self::DoubleStarNotLast => f.write_str("`**` is only allowed as the last segment"),
            Self::Empty => f.write_str("a channel's name has at least 1 byte"),
            Self::EmptySegment => {
                f.write_str("a channel's name has no empty segment: no `//`, no `/` at an end")
            }
            Self::PartialWildcard => f.write_str("a wildcard `*` or `**` is a whole segment"),
            Self::Reserved => {
                f.write_str("names whose first segment starts with `$` are the hub's own")
            }
            Self::TooLong(bytes) => write!(
                f,
                "the channel's name has {bytes} bytes, at most {CHANNEL_NAME_BYTES_MAX} are allowed"
            ),
            Self::TooManySegments(segments) => write!(
                f,
                "the channel's name has {segments} segments, at most \
                 {CHANNEL_NAME_SEGMENTS_MAX} are allowed"
            ),
            Self::Wildcard => f.write_str("`*` is for patterns, which only a subscription takes"),
        }
    }
}

impl std::error::Error for NameError {}

/// Why a list of channels and patterns is no subscription; the client is at fault.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SelectorsError {
    /// One of them is wrong.
    Name {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// The list is empty.
    None,
    /// Over [`CHANNELS_PER_SUBSCRIPTION_MAX`] of them.
    TooMany,
}

impl fmt::Display for SelectorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { text, error } => write!(f, "`{}`: {error}", text.escape_debug()),
            Self::None => f.write_str("a subscription names at least one channel"),
            Self::TooMany => write!(
                f,
                "a subscription has at most {CHANNELS_PER_SUBSCRIPTION_MAX} channels and patterns"
            ),
        }
    }
}

impl std::error::Error for SelectorsError {}

/// What names and patterns have in common.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > CHANNEL_NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if text.starts_with('$') {
        return Err(NameError::Reserved);
    }
    let segments = 1 + text.bytes().filter(|byte| *byte == b'/').count();
    if segments > CHANNEL_NAME_SEGMENTS_MAX {
        return Err(NameError::TooManySegments(segments));
    }
    // By bytes: a search for a character costs more than such short texts.
    for segment in text.as_bytes().split(|byte| *byte == b'/') {
        match segment {
            b"" => return Err(NameError::EmptySegment),
            b"." | b".." => return Err(NameError::Dots),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).unwrap()
    }

    #[test]
    fn names_keep_to_the_rules() {
        for good in ["news", "orders/42", "größe/ß", "a b", "a.b", &"x".repeat(255), "x$"] {
            assert_eq!(name(good).as_str(), good);
        }
        let long = "x".repeat(256);
        let deep = vec!["s"; 17].join("/");
        for (bad, error) in [
            ("", NameError::Empty),
            ("/a", NameError::EmptySegment),
            ("a/", NameError::EmptySegment),
            ("a//b", NameError::EmptySegment),
            ("a/../b", NameError::Dots),
            (".", NameError::Dots),
            ("a\nb", NameError::Control),
            ("a\u{85}b", NameError::Control),
            ("a*", NameError::Wildcard),
            ("*", NameError::Wildcard),
            ("$hub/x", NameError::Reserved),
            (long.as_str(), NameError::TooLong(256)),
            (deep.as_str(), NameError::TooManySegments(17)),
        ] {
            assert_eq!(ChannelName::parse(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_whole_segments() {
        for (pattern, yes, no) in [
            ("orders/*", vec!["orders/1"], vec!["orders", "orders/1/2", "order/1"]),
            ("orders/**", vec!["orders/1", "orders/1/2"], vec!["orders", "news"]),
            ("*/status", vec!["a/status"], vec!["status", "a/b/status", "a/b"]),
            ("**", vec!["a", "a/b/c"], vec![]),
            ("a/*/c/**", vec!["a/b/c/d", "a/b/c/d/e"], vec!["a/b/c", "a/b/d/d"]),
            ("plain", vec!["plain"], vec!["plain/x"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            for text in yes {
                assert!(pattern.matches(&name(text)), "{pattern} should match {text}");
            }
            for text in no {
                assert!(!pattern.matches(&name(text)), "{pattern} should not match {text}");
            }
        }
        assert_eq!(Pattern::parse("a/**/b"), Err(NameError::DoubleStarNotLast));
        assert_eq!(Pattern::parse("a*/b"), Err(NameError::PartialWildcard));
    }

    #[test]
    fn selectors_are_sorted_and_bounded() {
        let selectors = Selectors::parse(["b", "a/*", "a", "b"]).unwrap();
        assert_eq!(selectors.texts().collect::<Vec<_>>(), ["a", "b", "a/*"]);
        assert!(selectors.matches(&name("a/x")) && !selectors.matches(&name("c")));
        assert_eq!(Selectors::parse([]), Err(SelectorsError::None));
        let names: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        let texts = || names.iter().map(String::as_str);
        assert_eq!(Selectors::parse(texts()), Err(SelectorsError::TooMany));
        assert!(Selectors::parse(texts().take(64)).is_ok());
    }
}
