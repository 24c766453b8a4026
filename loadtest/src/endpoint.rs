//! How each kind of server wants to be spoken to: its URLs and its forms of publish and subscribe.

use std::{net::SocketAddr, ops::Range};

/// A kind of server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// This project's hub
    Fanfare,
    /// nginx with Nchan
    Nchan,
    /// The Mercure hub
    Mercure,
    /// A loop of `send`: the floor of fan-out
    BareLoop,
    /// `recv` and `send`: the floor of many channels with one subscriber each
    BareRelay,
    /// `accept` and `send`: the floor of a reconnect storm
    BareAccept,
    /// One channel over WebSocket, as a program on tokio-tungstenite has it
    Websocket,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fanfare => "fanfare",
            Self::Nchan => "nchan",
            Self::Mercure => "mercure",
            Self::BareLoop => "bare-loop",
            Self::BareRelay => "bare-relay",
            Self::BareAccept => "bare-accept",
            Self::Websocket => "websocket",
        })
    }
}

/// A server's address and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// What goes into `Authorization: Bearer`, if anything.
    pub(crate) token: Option<String>,
    /// What the names of channels begin with: `<prefix>/<index>`.
    pub(crate) prefix: String,
    /// What a subscription of one channel asks for besides, such as `?window=50`; empty if nothing.
    pub(crate) query: String,
}

impl Endpoint {
    /// The name of a channel.
    pub(crate) fn channel(&self, index: u32) -> String {
        format!("{}/{index}", self.prefix)
    }

    /// The path and query that subscribe to a channel, or to several of the hub.
    pub(crate) fn subscribe_path(&self, channels: Range<u32>) -> String {
        if channels.len() > 1 {
            let query = channels.map(|index| format!("channel={}", self.channel(index)));
            return format!("/events?{}", query.collect::<Vec<_>>().join("&"));
        }
        let channel = self.channel(channels.start);
        match self.kind {
            Kind::Nchan => format!("/sub/{channel}"),
            Kind::Mercure => format!("/.well-known/mercure?topic={channel}"),
            _ => format!("/channels/{channel}{}", self.query),
        }
    }

    /// The HTTP/1.1 request that subscribes to channels, after `last_id` unless that is empty.
    pub(crate) fn subscribe(&self, channels: Range<u32>, last_id: &[u8]) -> Vec<u8> {
        let mut request = self.head("GET", &self.subscribe_path(channels));
        request.extend_from_slice(match self.kind {
            Kind::Websocket => UPGRADE,
            _ => b"Accept: text/event-stream\r\n",
        });
        if !last_id.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(last_id);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// The HTTP/1.1 request that publishes `data` to a channel.
    pub(crate) fn publish(&self, channel: u32, data: &[u8]) -> Vec<u8> {
        let name = self.channel(channel);
        let (path, kind, body) = match self.kind {
            Kind::Nchan => (format!("/pub/{name}"), "text/plain", data.to_vec()),
            Kind::Mercure => {
                let mut form = format!("topic={name}&data=").into_bytes();
                // The data of a load test has no other byte that a form would have to escape.
                form.extend(data.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }));
                let path = "/.well-known/mercure".to_owned();
                (path, "application/x-www-form-urlencoded", form)
            }
            _ => (format!("/channels/{name}"), "text/plain", data.to_vec()),
        };
        let mut request = self.head("POST", &path);
        let length = body.len();
        let fields = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        request.extend_from_slice(fields.as_bytes());
        request.extend_from_slice(&body);
        request
    }

    /// The head of the HTTP/1.1 request that publishes lines of NDJSON to many channels.
    pub(crate) fn publish_lines(&self) -> Vec<u8> {
        let mut request = self.head("POST", "/events");
        request.extend_from_slice(
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        request
    }

    /// The head of the HTTP/1.1 request that publishes an event stream to a channel as it comes and
    /// closes the channel at its end.
    pub(crate) fn publish_stream(&self, channel: u32) -> Vec<u8> {
        let mut request = self.head("POST", &self.stream_path(channel));
        request.extend_from_slice(
            b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        request
    }

    /// The path and query of that request.
    pub(crate) fn stream_path(&self, channel: u32) -> String {
        format!("/channels/{}?close=on-end", self.channel(channel))
    }

    /// The HTTP/1.1 request that closes a channel.
    pub(crate) fn close(&self, channel: u32) -> Vec<u8> {
        let path = format!("/channels/{}?close=done", self.channel(channel));
        let mut request = self.head("POST", &path);
        request.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        request
    }

    fn head(&self, method: &str, path: &str) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.into_bytes()
    }
}

/// What asks for a WebSocket. The key only has to be 16 bytes; this one is the example of RFC 6455.
const UPGRADE: &[u8] = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
