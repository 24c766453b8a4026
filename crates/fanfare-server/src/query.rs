//! The query of a request: `application/x-www-form-urlencoded`, decoded once.
//!
//! Policy: unknown parameters are ignored. One that must be single may be repeated with the same
//! value; with different ones it is refused rather than guessed at.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use hyper::Uri;
use percent_encoding::percent_decode_str;

use crate::{
    limits::QUERY_PARAMETERS_MAX,
    metrics::Reached,
    problem::{Kind, Problem},
    state::State,
};

/// The parameters in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what stands after the `?`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parameters = text.split('&').filter(|part| !part.is_empty()).count();
        if parameters > QUERY_PARAMETERS_MAX {
            let detail = format!(
                "the query has {parameters} parameters, at most {QUERY_PARAMETERS_MAX} are allowed"
            );
            let problem = Problem::new(Kind::Query, detail);
            return Err(problem.with_limit("query_parameters_max", QUERY_PARAMETERS_MAX));
        }
        if text.contains('%') && percent_decode_str(text).decode_utf8().is_err() {
            let detail = "the query is not UTF-8 after percent-decoding";
            return Err(Problem::new(Kind::Query, detail));
        }
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }

    /// The parameters of a request.
    pub(crate) fn of(state: &State, uri: &Uri) -> Result<Self, Problem> {
        Self::parse(uri.query().unwrap_or_default()).inspect_err(|problem| {
            if problem.has_limit() {
                state.metrics.reached(Reached::QueryParameters);
            }
        })
    }

    /// The first value of a parameter.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The only value of a parameter.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&str>, Problem> {
        let first = self.first(name);
        if first.is_some_and(|first| self.all(name).any(|value| value != first)) {
            let detail = format!("`{name}` is there more than once, with different values");
            return Err(Problem::new(Kind::Query, detail));
        }
        Ok(first)
    }

    /// The only value of a parameter that is a number.
    pub(crate) fn number<N>(
        &self,
        name: &str,
        range: RangeInclusive<N>,
    ) -> Result<Option<N>, Problem>
    where
        N: Display + FromStr + PartialOrd,
    {
        let Some(text) = self.single(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = (range.start(), range.end());
                let expected = format!("a number from {least} to {most}");
                Err(Self::wrong(name, text, &expected))
            }
        }
    }

    /// The problem of a parameter that has a wrong value.
    pub(crate) fn wrong(name: &str, value: &str, expected: &str) -> Problem {
        let shown = &value[..value.floor_char_boundary(VALUE_SHOWN_BYTES_MAX)];
        let cut = if shown.len() < value.len() { "…" } else { "" };
        let shown = shown.escape_debug();
        Problem::new(Kind::Query, format!("`{name}` is `{shown}{cut}`, it must be {expected}"))
    }
}

/// Bytes of a wrong value that are told back.
const VALUE_SHOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let query = Query::parse("channel=a&channel=b%2F*&x=1+2%2525&empty&&").unwrap();
        assert_eq!(query.all("channel").collect::<Vec<_>>(), ["a", "b/*"]);
        assert_eq!(query.first("x"), Some("1 2%25"));
        assert_eq!(query.first("empty"), Some(""));
        assert_eq!(query.first("none"), None);
        assert_eq!(Query::parse("").unwrap(), Query::default());
    }

    #[test]
    fn what_must_be_single_is() {
        let query = Query::parse("a=1&a=1&b=1&b=2").unwrap();
        assert_eq!(query.single("a").unwrap(), Some("1"));
        assert_eq!(query.single("b").unwrap_err().kind(), Kind::Query);
        assert_eq!(query.single("c").unwrap(), None);
    }

    #[test]
    fn numbers_have_a_range() {
        let query =
            Query::parse("good=60&low=0&high=61&sign=%2B1&text=x&none=&huge=99999").unwrap();
        assert_eq!(query.number("good", 1..=60_u8).unwrap(), Some(60));
        for name in ["low", "high", "sign", "text", "none", "huge"] {
            let json = query.number(name, 1..=60_u8).unwrap_err().json();
            let told = String::from_utf8(json).unwrap();
            assert!(told.contains("a number from 1 to 60"), "{told}");
        }
    }

    #[test]
    fn bad_queries_are_refused() {
        assert!(Query::parse("channel=%ff").is_err());
        let many = "a=1&".repeat(QUERY_PARAMETERS_MAX);
        assert!(Query::parse(&many).is_ok());
        let state = crate::testing::state();
        let uri = |query: &str| format!("/?{query}").parse().unwrap();
        assert!(Query::of(&state, &uri("a=%ff")).is_err());
        assert!(Query::of(&state, &uri(&format!("{many}a=1"))).is_err());
        assert_eq!(state.metrics.reached_total(Reached::QueryParameters), 1);
    }

    proptest! {
        #[test]
        fn no_query_panics(text in ".{0,200}") {
            if let Ok(query) = Query::parse(&text) {
                query.number("last", 0..=5_u32).ok();
            }
        }
    }
}
