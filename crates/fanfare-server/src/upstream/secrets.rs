//! Headers of the settings, and how their values are kept out of everything that is told.
//!
//! Policy: an upstream may repeat in its answer what it was sent. So whatever it says is looked
//! through for the values that it was given before anybody gets it.

use std::{borrow::Cow, fmt, sync::Arc};

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::Upstream;
use crate::limits::SECRET_BYTES_MIN;

/// A header that an upstream is sent.
#[derive(Clone, Eq, PartialEq)]
pub struct UpstreamHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// The part of the value that nobody is told.
    secret: Box<str>,
}

impl UpstreamHeader {
    /// A header whose value is `prefix`, which is no secret, and then `secret`. None if that is
    /// no value.
    pub fn new(name: HeaderName, prefix: &str, secret: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{secret}")).ok()?;
        value.set_sensitive(true);
        Some(Self { name, value, secret: secret.into() })
    }
}

impl fmt::Debug for UpstreamHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

/// The secrets of an upstream.
#[derive(Clone, Default)]
pub(crate) struct Masks(Arc<[Box<str>]>);

impl Masks {
    pub(super) fn of(upstream: &Upstream) -> Self {
        let headers = upstream.headers.iter().map(|header| header.secret.clone());
        let query = upstream.url.query.iter().flat_map(|query| query.split('&'));
        let values = query.filter_map(|pair| Some(pair.split_once('=')?.1));
        // As it is sent, and as the upstream reads it.
        let values = values.flat_map(|value| {
            let read = percent_decode_str(value).decode_utf8().ok();
            [Some(value.into()), read.map(|read| read.into_owned().into_boxed_str())]
        });
        let secrets = headers.chain(values.flatten());
        let mut secrets: Vec<Box<str>> =
            secrets.filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
        // One that holds another goes first, or its rest would be left.
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets.into())
    }

    /// A text without them, however JSON may spell them.
    pub(crate) fn cover<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &*self.0 {
            if text.contains(&**secret) {
                text = Cow::Owned(text.replace(&**secret, COVER));
            }
            if text.contains('\\')
                && let Some(covered) = cover_escaped(&text, secret)
            {
                text = Cow::Owned(covered);
            }
        }
        text
    }

    /// The same for the beginning of a text, at whose end a secret may have been cut.
    pub(super) fn cover_cut(&self, text: &str) -> String {
        let longest = self.0.first().map_or(0, |secret| secret.len());
        let covered = self.cover(text);
        let spelt = if covered.contains('\\') { longest * ESCAPE_BYTES } else { longest };
        let end = covered.len().saturating_sub(spelt);
        covered[..covered.floor_char_boundary(end)].to_owned()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({})", self.0.len())
    }
}

/// A text without a secret that has escapes in it; none if it is not there.
fn cover_escaped(text: &str, secret: &str) -> Option<String> {
    let mut covered: Option<String> = None;
    let (mut start, mut at) = (0, 0);
    while let Some(next) = text[at..].chars().next() {
        match spelt_bytes(&text[at..], secret) {
            Some(bytes) => {
                let covered = covered.get_or_insert_default();
                covered.push_str(&text[start..at]);
                covered.push_str(COVER);
                at += bytes;
                start = at;
            }
            None => at += next.len_utf8(),
        }
    }
    covered.map(|covered| covered + &text[start..])
}

/// How many bytes at the start of a text spell a secret, with escapes of JSON or without.
fn spelt_bytes(text: &str, secret: &str) -> Option<usize> {
    let mut rest = text;
    for wanted in secret.chars() {
        rest = match rest.strip_prefix('\\') {
            None => rest.strip_prefix(wanted)?,
            Some(escape) => match escape.strip_prefix('u') {
                None => escape.strip_prefix(wanted)?,
                Some(code) => {
                    let code_point = u32::from_str_radix(code.get(..4)?, 16).ok()?;
                    (char::from_u32(code_point)? == wanted).then_some(&code[4..])?
                }
            },
        };
    }
    Some(text.len() - rest.len())
}

/// What stands where a secret was.
const COVER: &str = "***";
/// Of `\uXXXX`, as which JSON may spell any character.
const ESCAPE_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(secrets: &[&str]) -> Masks {
        Masks(secrets.iter().map(|secret| (*secret).into()).collect())
    }

    #[test]
    fn no_secret_is_left() {
        let masks = masks(&["hunter22-long", "hunter22"]);
        assert!(matches!(masks.cover("nothing here"), Cow::Borrowed("nothing here")));
        assert_eq!(masks.cover("a hunter22-long b hunter22."), "a *** b ***.");
        assert_eq!(masks.cover_cut("0123456789abcdef hunter22-lon"), "0123456789a");
    }

    #[test]
    fn no_spelling_of_a_secret_is_left() {
        let masks = masks(&["a/b\"c-0123"]);
        for spelt in [
            "a/b\"c-0123",
            "a/b\\\"c-0123",
            "a\\/b\\\"c-0123",
            "\\u0061\\u002Fb\\u0022c-\\u00301\\u00323",
        ] {
            assert_eq!(masks.cover(&format!("\\n{spelt}\\\\ä{spelt}")), "\\n***\\\\ä***");
            let cut = masks.cover_cut(&format!("{{\"k\":\"{spelt}"));
            assert!(!cut.contains("0123") && !cut.contains("u0061"), "{cut}");
        }
        for other in ["a\\u002fb", "a\\/b\\", "\\u00", "\\uä", "\\"] {
            assert_eq!(masks.cover(other), other);
        }
    }

    #[test]
    fn a_header_shows_no_value() {
        let name = HeaderName::from_static("authorization");
        let header = UpstreamHeader::new(name.clone(), "Bearer ", "hunter22").unwrap();
        assert_eq!(header.value.to_str().unwrap(), "Bearer hunter22");
        assert_eq!(format!("{header:?} {:?}", header.value), "authorization: *** Sensitive");
        assert!(UpstreamHeader::new(name, "", "a\nb").is_none());
    }
}
