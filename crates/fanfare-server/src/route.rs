//! From a path to what it names.
//!
//! Policy: a segment is percent-decoded exactly once, and what it then says is judged as if it had
//! been written plainly: an encoded slash, dot or control gains nothing.

use std::borrow::Cow;

use fanfare_core::{ChannelName, NameError, limits::CHANNEL_NAME_BYTES_MAX};
use percent_encoding::percent_decode_str;

use crate::{
    problem::{Kind, Problem},
    upstream::{is_plain_path, is_upstream_name},
};

/// What a path of the public listener names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// `/cancel/{channel}`
    Cancel(ChannelName),
    /// `/channels/{channel}`
    Channel(ChannelName),
    /// `/events`
    Events,
    /// `/client.js`
    ClientModule,
    /// `/`
    Page,
    /// `/page.js`
    PageScript,
    /// `/page.css`
    PageStyle,
    /// `/status/{channel}`
    Status(ChannelName),
    /// `/upstreams/{upstream}/{path}`: the name, and the path without its first slash.
    Upstream(String, String),
}

impl Route {
    /// Finds the route of a path that is still percent-encoded.
    pub(crate) fn parse(path: &str) -> Result<Self, Problem> {
        match path {
            "/" => Ok(Self::Page),
            "/client.js" => Ok(Self::ClientModule),
            "/events" => Ok(Self::Events),
            "/page.css" => Ok(Self::PageStyle),
            "/page.js" => Ok(Self::PageScript),
            _ => Self::of_channel(path),
        }
    }

    fn of_channel(path: &str) -> Result<Self, Problem> {
        if let Some(encoded) = path.strip_prefix("/channels/") {
            return channel(encoded).map(Self::Channel);
        }
        if let Some(encoded) = path.strip_prefix("/cancel/") {
            return channel(encoded).map(Self::Cancel);
        }
        if let Some(encoded) = path.strip_prefix("/status/") {
            return channel(encoded).map(Self::Status);
        }
        if let Some(rest) = path.strip_prefix("/upstreams/") {
            return upstream(rest);
        }
        Err(Problem::not_found(
            "this hub has `/channels/{channel}`, `/events`, `/status/{channel}`, \
             `/cancel/{channel}`, `/upstreams/{upstream}/{path}`, `/client.js` and a page at `/`",
        ))
    }

    /// The methods that it takes.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Channel(_) => "GET, POST, DELETE, OPTIONS",
            Self::Cancel(_) | Self::Events => "GET, POST, OPTIONS",
            Self::ClientModule
            | Self::Page
            | Self::PageScript
            | Self::PageStyle
            | Self::Status(_) => "GET, OPTIONS",
            Self::Upstream(..) => "POST, OPTIONS",
        }
    }
}

/// The name of a channel from its percent-encoded path.
pub(crate) fn channel(encoded: &str) -> Result<ChannelName, Problem> {
    let decoded = if encoded.contains('%') { decode(encoded)? } else { Cow::Borrowed(encoded) };
    ChannelName::parse(&decoded).map_err(wrong_name)
}

/// The name of an upstream, and a path of it that everybody reads as it is written: what could
/// be read in two ways is refused, not decoded.
fn upstream(rest: &str) -> Result<Route, Problem> {
    let Some((name, path)) = rest.split_once('/').filter(|(name, _)| is_upstream_name(name)) else {
        return Err(Problem::not_found("a fetch is a POST to /upstreams/{upstream}/{path}"));
    };
    if !is_plain_path(path) {
        let detail = "the path of an upstream is of letters, digits, `-._~:` and single slashes, \
                      without `.` and `..` as segments; nothing in it is percent-encoded";
        return Err(Problem::new(Kind::Path, detail));
    }
    Ok(Route::Upstream(name.to_owned(), path.to_owned()))
}

/// The problem of a wrong name.
pub(crate) fn wrong_name(error: NameError) -> Problem {
    let problem = Problem::new(Kind::ChannelName, error.to_string());
    match error {
        NameError::TooLong(_) => {
            problem.with_limit("channel_name_bytes_max", CHANNEL_NAME_BYTES_MAX)
        }
        _ => problem,
    }
}

/// Decodes once, segment by segment.
fn decode(encoded: &str) -> Result<Cow<'_, str>, Problem> {
    if encoded.split('%').skip(1).any(|rest| !starts_with_two_digits(rest)) {
        let detail = "a `%` in a path is followed by two hexadecimal digits";
        return Err(Problem::new(Kind::Path, detail));
    }
    let decoded = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| Problem::new(Kind::Path, "the path is not UTF-8 after percent-decoding"))?;
    if decoded.matches('/').count() > encoded.matches('/').count() {
        let detail = "a segment of a channel's name has no slash, percent-encoded or not";
        return Err(Problem::new(Kind::ChannelName, detail));
    }
    Ok(decoded)
}

fn starts_with_two_digits(text: &str) -> bool {
    matches!(text.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_name_routes() {
        for (path, name) in [
            ("/channels/news", "news"),
            ("/channels/orders/42", "orders/42"),
            ("/channels/gr%C3%B6%c3%9fe/a%20b", "größe/a b"),
            ("/channels/100%25", "100%"),
            ("/channels/a%2525", "a%25"),
            ("/channels/a+b;c", "a+b;c"),
        ] {
            let name = ChannelName::parse(name).unwrap();
            assert_eq!(Route::parse(path), Ok(Route::Channel(name)), "{path}");
        }
        let name = || ChannelName::parse("a/b").unwrap();
        assert_eq!(Route::parse("/cancel/a/b"), Ok(Route::Cancel(name())));
        assert_eq!(Route::parse("/status/a/b"), Ok(Route::Status(name())));
        assert_eq!(Route::parse("/"), Ok(Route::Page));
        let upstream = Route::Upstream("a-1".into(), "v1/models/m:stream".into());
        assert_eq!(Route::parse("/upstreams/a-1/v1/models/m:stream"), Ok(upstream));
        assert_eq!(Route::parse("/events"), Ok(Route::Events));
        assert_eq!(Route::parse("/client.js"), Ok(Route::ClientModule));
    }

    #[test]
    fn tricks_are_refused() {
        for (path, kind) in [
            ("/channels/a%2Fb", Kind::ChannelName),
            ("/channels/a%2fb", Kind::ChannelName),
            ("/channels/%2e%2e/b", Kind::ChannelName),
            ("/channels/a/%2e", Kind::ChannelName),
            ("/channels/..", Kind::ChannelName),
            ("/channels/a%00b", Kind::ChannelName),
            ("/channels/a%0ab", Kind::ChannelName),
            ("/channels/a%C2%85b", Kind::ChannelName),
            ("/channels/", Kind::ChannelName),
            ("/channels//a", Kind::ChannelName),
            ("/channels/a/", Kind::ChannelName),
            ("/channels/*", Kind::ChannelName),
            ("/channels/%2a", Kind::ChannelName),
            ("/channels/%24hub", Kind::ChannelName),
            ("/channels/%ff", Kind::Path),
            ("/channels/%c3", Kind::Path),
            ("/channels/%", Kind::Path),
            ("/channels/%2", Kind::Path),
            ("/channels/%zz", Kind::Path),
            ("/channels/%+1", Kind::Path),
            ("/channels", Kind::NotFound),
            ("/Channels/a", Kind::NotFound),
            ("/events/", Kind::NotFound),
            ("", Kind::NotFound),
            ("/upstreams", Kind::NotFound),
            ("/upstreams/a", Kind::NotFound),
            ("/upstreams/A/b", Kind::NotFound),
            ("/upstreams/../b", Kind::NotFound),
            ("/upstreams//b", Kind::NotFound),
            ("/upstreams/a/", Kind::Path),
            ("/upstreams/a//b", Kind::Path),
            ("/upstreams/a/../b", Kind::Path),
            ("/upstreams/a/%2e%2e/b", Kind::Path),
            ("/upstreams/a/b%2fc", Kind::Path),
            ("/upstreams/a/@evil.example", Kind::Path),
            ("/upstreams/a/http://evil.example/", Kind::Path),
        ] {
            assert_eq!(Route::parse(path).unwrap_err().kind(), kind, "{path}");
        }
        assert!(Route::parse(&format!("/channels/{}", "a".repeat(256))).is_err());
        assert!(Route::parse(&format!("/channels/{}", "%61".repeat(255))).is_ok());
    }

    proptest! {
        #[test]
        fn every_name_has_a_path(name in "[^/*$]{1,40}(/[^/*]{1,20}){0,3}") {
            if let Ok(name) = ChannelName::parse(&name) {
                let every = percent_encoding::NON_ALPHANUMERIC;
                let segments = name.as_str().split('/');
                let encoded: Vec<_> = segments
                    .map(|part| percent_encoding::utf8_percent_encode(part, every).to_string())
                    .collect();
                prop_assert_eq!(channel(&encoded.join("/")).unwrap(), name);
            }
        }

        #[test]
        fn no_path_panics(path in "(/channels/)?[%a-f0-9/.*é]{0,40}") {
            Route::parse(&path).ok();
        }
    }
}
