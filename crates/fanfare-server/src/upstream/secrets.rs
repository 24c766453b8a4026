//! Headers of the settings, and how their values are kept out of everything that is told.
//!
//! Policy: an upstream may repeat in its answer what it was sent. So whatever it says is looked
//! through for the values that it was given before anybody gets it.

use std::{borrow::Cow, fmt, sync::Arc};

use hyper::header::{HeaderName, HeaderValue};

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
        let values = query.filter_map(|pair| Some(pair.split_once('=')?.1.into()));
        let mut secrets: Vec<Box<str>> =
            headers.chain(values).filter(|secret| secret.len() >= SECRET_BYTES_MIN).collect();
        // One that holds another goes first, or its rest would be left.
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets.into())
    }

    /// A text without them.
    pub(crate) fn cover<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.iter().filter(|secret| text.contains(&***secret)).collect::<Vec<_>>() {
            text = Cow::Owned(text.replace(&**secret, COVER));
        }
        text
    }

    /// The same for the beginning of a text, at whose end a secret may have been cut.
    pub(super) fn cover_cut(&self, text: &str) -> String {
        let longest = self.0.first().map_or(0, |secret| secret.len());
        let covered = self.cover(text);
        let end = covered.len().saturating_sub(longest);
        covered[..covered.floor_char_boundary(end)].to_owned()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({})", self.0.len())
    }
}

/// What stands where a secret was.
const COVER: &str = "***";

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
    fn a_header_shows_no_value() {
        let name = HeaderName::from_static("authorization");
        let header = UpstreamHeader::new(name.clone(), "Bearer ", "hunter22").unwrap();
        assert_eq!(header.value.to_str().unwrap(), "Bearer hunter22");
        assert_eq!(format!("{header:?} {:?}", header.value), "authorization: *** Sensitive");
        assert!(UpstreamHeader::new(name, "", "a\nb").is_none());
    }
}
