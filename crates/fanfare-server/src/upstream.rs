//! Upstreams: services whose event streams the hub fetches itself, as the settings name them.
//!
//! Policy: a request names an upstream and one of the paths that its operator has allowed, and
//! gives a body. Where that goes, by which name and with which secrets is the operator's alone;
//! header values and the query of a URL are never shown, not even by `Debug`.

mod answer;
mod connect;
mod ended;
mod fetch;
mod lookups;
mod public_address;
mod secrets;
mod slots;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, time::Duration};

use hyper::{Uri, header, header::HeaderName};

pub(crate) use self::{
    answer::answer,
    ended::Ended,
    secrets::Masks,
    slots::{Slots, Taken},
};
pub use self::{
    secrets::UpstreamHeader,
    tls::{Tls, TlsError},
};
use crate::limits::{UPSTREAM_NAME_BYTES_MAX, UPSTREAM_PATH_BYTES_MAX};

/// A service whose streams the hub fetches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// What requests call it.
    pub name: String,
    /// Where it is.
    pub url: UpstreamUrl,
    /// What it is sent beside a request's body: here are its secrets.
    pub headers: Vec<UpstreamHeader>,
    /// What may be asked of it; at least one.
    pub paths: Vec<PathRule>,
    /// Whether its name may lead to an address that is not public.
    pub allow_private: bool,
    /// Whom to trust, if the URL is one of https.
    pub tls: Option<Tls>,
    /// How long anything may take.
    pub patience: Patience,
}

impl Upstream {
    /// Whether a path, without its first slash, may be asked for.
    pub(crate) fn allows(&self, path: &str) -> bool {
        self.paths.iter().any(|rule| rule.matches(path))
    }
}

/// How long an upstream may take, step by step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Finding its address, connecting and shaking hands.
    pub connect: Duration,
    /// From then on to the head of its answer.
    pub first_byte: Duration,
    /// Between two pieces of its stream.
    pub idle: Duration,
    /// All of it.
    pub total: Duration,
}

/// Whether a text can be the name of an upstream: it is a segment of URLs and of channels.
pub fn is_upstream_name(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    (1..=UPSTREAM_NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_fine)
}

/// Whether the settings of an upstream may set a header: those that frame the message or say what
/// the hub can read are its own.
pub fn is_upstream_header(name: &HeaderName) -> bool {
    let own = [
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    !own.contains(name)
}

/// Where an upstream is.
#[derive(Clone, Eq, PartialEq)]
pub struct UpstreamUrl {
    is_https: bool,
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    /// As `Host` says it.
    authority: String,
    /// What paths are put behind; empty, or begins with a slash and does not end with one.
    base: String,
    /// Sent with each request; may be a secret.
    query: Option<String>,
}

impl UpstreamUrl {
    /// Reads a URL, or says what is wrong with it, but not what it was.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins with https:// or http://"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user; secrets belong into `headers`");
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") if is_https => 443,
            Some("") => 80,
            _ => authority.port_u16().filter(|port| *port > 0).ok_or("its port is none")?,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err("it has no host");
        }
        if text.contains('#') {
            return Err("it has a fragment");
        }
        let base = uri.path().trim_end_matches('/');
        if !base.is_empty() && !base.strip_prefix('/').is_some_and(is_plain_path) {
            return Err("its path has a part that could be read in two ways");
        }
        Ok(Self {
            is_https,
            host: bare.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            base: base.to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// Whether it is one of https.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The URL without what may be secret.
    pub fn shown(&self) -> String {
        let Self { is_https, authority, base, query, .. } = self;
        let scheme = if *is_https { "https" } else { "http" };
        let query = if query.is_some() { "?***" } else { "" };
        format!("{scheme}://{authority}{base}{query}")
    }

    /// What a request line says for a path that is allowed.
    fn target(&self, path: &str) -> String {
        let query = self.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{path}{query}", self.base)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// A path that may be asked for, or the beginning of several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathRule {
    text: String,
    /// Whether more may follow.
    is_prefix: bool,
}

impl PathRule {
    /// Reads a path such as `v1/chat/completions` or `v1/models/*`; a first slash is not needed.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let (path, is_prefix) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let whole = if is_prefix { format!("{path}x") } else { path.to_owned() };
        if !is_plain_path(&whole) {
            return Err("it is a path, perhaps with a final `*`: v1/chat/completions, v1/models/*");
        }
        Ok(Self { text: path.to_owned(), is_prefix })
    }

    fn matches(&self, path: &str) -> bool {
        if self.is_prefix { path.starts_with(&self.text) } else { path == self.text }
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

/// Whether everybody reads a path as it is written: no encoding, no empty or dotted segment,
/// nothing that could begin a host, a query or another path.
pub(crate) fn is_plain_path(path: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-._~:".contains(c);
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment.chars().all(is_fine) && !matches!(segment, "." | "..")
    };
    path.len() <= UPSTREAM_PATH_BYTES_MAX && path.split('/').all(is_segment)
}

#[cfg(test)]
mod url_tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read() {
        let url = UpstreamUrl::parse("https://api.example/base/?key=s").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.is_https()), ("api.example", 443, true));
        assert_eq!(url.target("v1/chat"), "/base/v1/chat?key=s");
        assert_eq!(format!("{url:?}"), "https://api.example/base?***");
        let url = UpstreamUrl::parse("http://[::1]:8000").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.is_https()), ("::1", 8_000, false));
        assert_eq!((url.target("a").as_str(), url.authority.as_str()), ("/a", "[::1]:8000"));
        for wrong in [
            "",
            "/v1",
            "api.example",
            "ftp://api.example",
            "https://",
            "https://me:secret@api.example",
            "https://api.example:0",
            "https://api.example:99999",
            "https://api.example/a#b",
            "https://api.example/../a",
            "https://api.example//a",
            "https://api.example/%2e",
        ] {
            assert!(UpstreamUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_is_allowed_is_matched() {
        let rule = |text| PathRule::parse(text).unwrap();
        assert!(rule("/v1/chat").matches("v1/chat"));
        for other in ["v1/chat/", "v1/chatter", "v1", "V1/chat", "v1/chat/x"] {
            assert!(!rule("v1/chat").matches(other), "{other}");
        }
        assert!(rule("v1/models/*").matches("v1/models/a:stream"));
        assert!(!rule("v1/models/*").matches("v1/model"));
        assert!(rule("*").matches("anything/at/all"));
        assert_eq!((rule("/a/*").to_string(), rule("a").to_string()), ("a/*".into(), "a".into()));
        for wrong in ["", "/", "a//b", "a/../b", "a/*/b", "a?b", "//a", "https://a/b", "a%2f"] {
            assert!(PathRule::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_none() {
        for fine in ["a", "v1/chat/completions", "v1beta/models/m-1.5:stream", "~a/_b", "a/..."] {
            assert!(is_plain_path(fine), "{fine}");
        }
        for trick in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "%2e%2e/a",
            "a%2fb",
            "a\\b",
            "a?b",
            "a#b",
            "a@b",
            "https://a",
            "a b",
            "a;b",
            "a\r\nb",
            "ä",
            "a\0",
        ] {
            assert!(!is_plain_path(trick), "{trick}");
        }
        assert!(!is_plain_path(&"a".repeat(UPSTREAM_PATH_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn what_is_plain_stays_what_it_is(path in "[a-z0-9./%@:?#\\\\~_-]{0,30}") {
            if is_plain_path(&path) {
                let url = UpstreamUrl::parse("https://api.example/base").unwrap();
                let uri: Uri = format!("https://api.example{}", url.target(&path)).parse().unwrap();
                prop_assert_eq!(uri.host(), Some("api.example"));
                prop_assert_eq!(uri.path(), format!("/base/{path}"));
                prop_assert_eq!(uri.query(), None);
            }
        }
    }
}
