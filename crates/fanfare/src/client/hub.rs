//! A hub as its clients see it: an address, and requests to it over plain HTTP/1.1.

use std::{
    error::Error,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    client::conn::http1,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    limits::{ANSWER_BYTES_MAX, CONNECT_TIME_MAX},
    settings::problem::Wrong,
    terminal::{EX_CANCELLED, EX_USAGE},
};

/// Where a hub is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hub {
    /// Host and port as in the URL, for the `Host` header.
    authority: String,
    /// What to connect to: a host without brackets.
    host: String,
    /// And its port.
    port: u16,
    /// What stands before `/channels`, without a slash at its end.
    path: String,
}

impl Hub {
    /// Parses the URL of a hub, such as `http://127.0.0.1:8080`, that was given at a place.
    pub(crate) fn parse(url: &str, place: &'static str) -> Result<Self, ClientError> {
        let wrong = |why| ClientError::Url { place, url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("https is not supported yet, only http")),
            _ => return Err(wrong("it begins with http://")),
        }
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return Err(wrong("it has no host"));
        };
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong("it has a host, a port, and no more than a path"));
        }
        Ok(Self {
            authority: authority.to_string(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(HTTP_PORT),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Host and port, as they were given.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The start of a request to a path of this hub.
    pub(crate) fn request(&self, path: &str) -> hyper::http::request::Builder {
        Request::builder().uri(format!("{}{path}", self.path)).header(HOST, &self.authority)
    }

    /// Sends a request on a connection of its own and answers the head of the response.
    pub(crate) async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let unreachable = |error| ClientError::Connect { hub: self.authority.clone(), error };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let socket = match timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(connected) => connected.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(ClientError::Http)?;
        // Its error, if any, also ends the request or the body that is read.
        tokio::spawn(async move { drop(connection.await) });
        sender.send_request(request).await.map_err(ClientError::Http)
    }

    /// Sends a request without a body, for an answer in JSON.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = self.request(path).method(method).header(ACCEPT, "application/json");
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| ClientError::NoHub("the address of the question is too long"))?;
        self.send(request).await
    }

    /// The text of its answer, if it is a good one.
    pub(crate) async fn answer(&self, method: Method, path: &str) -> Result<String, ClientError> {
        let response = self.ask(method, path).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        text(response.into_body()).await
    }
}

/// Where this machine reaches a listener: one on all addresses is on loopback, too.
pub(crate) fn near(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(match listener {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listener
}

/// What is at a channel's name behind a prefix; a segment keeps nothing that a URL could read
/// otherwise.
pub(crate) fn path(prefix: &str, channel: &str) -> String {
    let segments: Vec<_> = channel.split('/').map(encode).collect();
    format!("{prefix}/{}", segments.join("/"))
}

/// The path of a channel.
pub(crate) fn channel_path(channel: &str) -> String {
    path("/channels", channel)
}

/// A text as part of a path or query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The whole body of an answer that is no stream, as text.
pub(crate) async fn text(body: Incoming) -> Result<String, ClientError> {
    let body = Limited::new(body, ANSWER_BYTES_MAX);
    let bytes = body.collect().await.map_err(ClientError::Answer)?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The error that an answer tells, by its problem document if it has one.
pub(crate) async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = text(response.into_body()).await.unwrap_or_default();
    refused(status, &body.parse().unwrap_or_default())
}

/// That which a problem document tells.
pub(crate) fn refused(status: StatusCode, problem: &Value) -> ClientError {
    let member = |name: &str| problem[name].as_str().map(str::to_owned);
    ClientError::Refused { status, title: member("title"), detail: member("detail") }
}

/// Why a command did not get from the hub what it asked for.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Any of the others, where it is known what to do about it.
    Advised {
        /// What happened.
        error: Box<Self>,
        /// What to do.
        advice: String,
    },
    /// The answer broke off or was over [`ANSWER_BYTES_MAX`].
    Answer(Box<dyn Error + Send + Sync>),
    /// Somebody asked that this channel be cancelled while it was streamed to.
    Cancelled(String),
    /// The hub could not be reached.
    Connect {
        /// Its address.
        hub: String,
        /// What the system says.
        error: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    Http(hyper::Error),
    /// Standard input could not be read or is over what an event may have, or the command that was
    /// to give the input could not be run or did not end well.
    Input(io::Error),
    /// What answers is not a hub.
    NoHub(&'static str),
    /// Standard output could not be written.
    Output(io::Error),
    /// The hub said no, with a problem document if there is a title.
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// What kind of problem.
        title: Option<String>,
        /// What was wrong and what is allowed.
        detail: Option<String>,
    },
    /// Where the settings have the hub listen is no address; the user is at fault.
    Settings(Wrong),
    /// The hub did not answer.
    Silent,
    /// The system refused something every process needs.
    System(io::Error),
    /// A drain did not come to its end; says why.
    Undrained(String),
    /// A probe was answered, and not with 200.
    Unwell {
        /// What was asked.
        path: &'static str,
        /// What was answered.
        status: StatusCode,
    },
    /// The URL of the hub is wrong; the user is at fault.
    Url {
        /// The flag or variable.
        place: &'static str,
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The command line contradicts itself; the user is at fault.
    Usage(&'static str),
}

impl ClientError {
    /// The exit code that tells it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            // The command was asked wrongly, before any hub was.
            Self::Settings(_) | Self::Url { .. } | Self::Usage(_) => EX_USAGE,
            Self::Cancelled(_) => EX_CANCELLED,
            _ => 1,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn advice(&self) -> Option<&str> {
        match self {
            Self::Advised { advice, .. } => Some(advice),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advised { error, .. } => error.fmt(f),
            Self::Answer(_) => f.write_str("the answer could not be read"),
            Self::Cancelled(channel) => write!(
                f,
                "somebody asked that {} be cancelled; nothing more is published",
                channel.escape_debug()
            ),
            Self::Connect { hub, .. } => write!(f, "no hub can be reached at {hub}"),
            Self::Http(_) => f.write_str("the connection failed"),
            Self::Input(_) => f.write_str("the input could not be read to its end"),
            Self::NoHub(why) | Self::Usage(why) => f.write_str(why),
            Self::Output(_) => f.write_str("standard output could not be written"),
            Self::Refused { title: Some(title), detail: Some(detail), .. } => {
                write!(f, "{}: {}", title.escape_debug(), detail.escape_debug())
            }
            Self::Refused { title: Some(title), .. } => write!(f, "{}", title.escape_debug()),
            Self::Refused { status, .. } => write!(f, "the hub answered {status}"),
            Self::Settings(wrong) => wrong.fmt(f),
            Self::Silent => f.write_str("the hub did not answer"),
            Self::System(_) => f.write_str("the system refused"),
            Self::Undrained(why) => f.write_str(why),
            Self::Unwell { path, status } => write!(f, "{path} of the hub answers {status}"),
            Self::Url { place, url, why } => {
                write!(f, "{place}: `{}` is wrong: {why}", url.escape_debug())
            }
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Advised { error, .. } => error.source(),
            Self::Answer(error) => Some(&**error),
            Self::Connect { error, .. }
            | Self::Input(error)
            | Self::Output(error)
            | Self::System(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::Cancelled(_)
            | Self::NoHub(_)
            | Self::Refused { .. }
            | Self::Settings(_)
            | Self::Silent
            | Self::Undrained(_)
            | Self::Unwell { .. }
            | Self::Url { .. }
            | Self::Usage(_) => None,
        }
    }
}

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;
/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let hub = Hub::parse("http://[::1]:8080/hub/", "--url").unwrap();
        assert_eq!(
            (hub.authority.as_str(), hub.host.as_str(), hub.port),
            ("[::1]:8080", "::1", 8080)
        );
        assert_eq!(hub.request("/channels/a").body(()).unwrap().uri(), "/hub/channels/a");
        let hub = Hub::parse("http://hub.example", "--url").unwrap();
        assert_eq!((hub.host.as_str(), hub.port, hub.path.as_str()), ("hub.example", 80, ""));
        for (url, why) in [
            ("", "it is no URL"),
            ("127.0.0.1:8080", "it begins with http://"),
            ("/channels", "it begins with http://"),
            ("https://hub.example", "https is not supported yet, only http"),
            ("http://hub.example/?a=b", "it has a host, a port, and no more than a path"),
            ("http://me@hub.example/", "it has a host, a port, and no more than a path"),
        ] {
            let error = Hub::parse(url, "--url").unwrap_err().to_string();
            assert_eq!(error, format!("--url: `{url}` is wrong: {why}"));
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_on_loopback() {
        for (listener, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(near(listener.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn channels_are_encoded_by_segment() {
        assert_eq!(channel_path("orders/42"), "/channels/orders/42");
        assert_eq!(channel_path("größe/a b?#%"), "/channels/gr%C3%B6%C3%9Fe/a%20b%3F%23%25");
        assert_eq!(encode("orders/*"), "orders%2F%2A");
    }
}
