//! The requests that are understood.

use httparse::{EMPTY_HEADER, Status};

/// A request's head.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Request<'a> {
    /// The path, without a query.
    pub(super) path: &'a str,
    /// What is asked for.
    pub(super) action: Action,
    /// Bytes up to the body.
    pub(super) head_bytes: usize,
}

/// What a request asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// The events of the path, from the one after this number on or else from now on.
    Subscribe { after: Option<u64> },
    /// An event for the path, of so many bytes.
    Event { data_bytes: usize },
    /// A line for each event, in chunks.
    Lines,
}

/// Reads the head at the front of the bytes; none until it is whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, &'static str> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) if bytes.len() < REQUEST_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) => return Err("the head of a request is too long"),
        Err(_) => return Err("a request is not HTTP/1.1"),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok())
    };
    let target = head.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let data_bytes = header("content-length").and_then(|length| length.parse().ok());
    let action = match (head.method, header("transfer-encoding"), data_bytes) {
        (Some("GET"), ..) => {
            let id = header("last-event-id").and_then(|id| id.strip_prefix("bare-"));
            Action::Subscribe { after: id.and_then(|number| number.parse().ok()) }
        }
        (Some("POST"), Some("chunked"), _) => Action::Lines,
        (Some("POST"), None, Some(data_bytes)) if data_bytes <= REQUEST_BYTES_MAX => {
            Action::Event { data_bytes }
        }
        _ => return Err("a request is neither GET nor POST with a body of chunks or 1 MiB"),
    };
    Ok(Some(Request { path, action, head_bytes }))
}

/// Headers of a request: the generator sends six.
const HEADERS_MAX: usize = 32;
/// Bytes of a head, and of an event's data: far more than the generator sends.
pub(super) const REQUEST_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (head, path, action) in [
            ("GET /a?b=c HTTP/1.1\r\n\r\n", "/a", Action::Subscribe { after: None }),
            (
                "GET /a HTTP/1.1\r\nlast-event-id: bare-7\r\n\r\n",
                "/a",
                Action::Subscribe { after: Some(7) },
            ),
            (
                "POST /a/b HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
                "/a/b",
                Action::Event { data_bytes: 3 },
            ),
            ("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "/x", Action::Lines),
        ] {
            let head_bytes = head.len();
            let wanted = Request { path, action, head_bytes };
            let sent = format!("{head}abc");
            assert_eq!(parse(sent.as_bytes()).unwrap(), Some(wanted));
            for cut in 0..head_bytes {
                assert_eq!(parse(&sent.as_bytes()[..cut]).unwrap(), None, "{head} {cut}");
            }
        }
    }

    #[test]
    fn others_are_refused() {
        for head in [
            "PUT / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "\u{1}",
        ] {
            assert!(parse(head.as_bytes()).is_err(), "{head}");
        }
    }
}
