//! A plain fan-out over WebSocket: what a program on a well kept library has that does no more than
//! send each event to everybody who is connected. It stands beside the hub in
//! `docs/sse-or-websocket.md`: a task for each subscriber, no history, no ids.

mod messages;

use std::{
    io, net,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

pub(crate) use self::messages::Messages;

/// Events that a subscriber may be behind.
const EVENTS_MAX: usize = 1_024;
/// Bytes that the library reads at once: what its documentation recommends for many connections
/// that say little, instead of the 128 KiB of its default.
const READ_BYTES: usize = 4 * 1024;
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// What all connections share.
struct Hub {
    events: broadcast::Sender<Utf8Bytes>,
    published: AtomicU64,
}

/// Serves one channel, whatever the path: a POST is an event, an upgrade is a subscriber.
pub(crate) fn serve(listener: net::TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let events = broadcast::Sender::new(EVENTS_MAX);
        let hub = Arc::new(Hub { events, published: AtomicU64::new(0) });
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let hub = Arc::clone(&hub);
            // A connection that fails is nobody else's.
            tokio::spawn(async move { drop(converse(socket, &hub).await) });
        }
    })
}

/// A request's head.
struct Head {
    bytes: usize,
    body_bytes: usize,
    /// What proves that it wants a WebSocket.
    key: Option<String>,
}

/// Takes requests until one is for a WebSocket, or to the end.
async fn converse(mut socket: TcpStream, hub: &Hub) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let Some(head) = parse(&input)? else {
            if input.len() > REQUEST_BYTES_MAX || socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if let Some(key) = &head.key {
            // Before the answer, so that no event is missed after it.
            let events = hub.events.subscribe();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            socket.write_all(answer.as_bytes()).await?;
            return send_on(socket, events).await;
        }
        while input.len() < head.bytes + head.body_bytes {
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        let body: Vec<u8> = input.drain(..head.bytes + head.body_bytes).skip(head.bytes).collect();
        let event = Utf8Bytes::try_from(body).map_err(io::Error::other)?;
        let subscribers = hub.events.send(event).unwrap_or(0);
        let number = hub.published.fetch_add(1, Relaxed) + 1;
        let body = format!(r#"{{"id":"{number}","subscribers":{subscribers}}}"#);
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(answer.as_bytes()).await?;
    }
}

/// Sends every event to a subscriber while it is there. One that is too far behind is let go.
async fn send_on(socket: TcpStream, mut events: broadcast::Receiver<Utf8Bytes>) -> io::Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
    loop {
        tokio::select! {
            event = events.recv() => {
                let event = event.map_err(io::Error::other)?;
                socket.send(Message::Text(event)).await.map_err(io::Error::other)?;
            }
            said = socket.next() => match said {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
        }
    }
}

/// Reads the head at the front of the bytes; none until it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = request.parse(bytes).map_err(io::Error::other)?
    else {
        return Ok(None);
    };
    let value = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.and_then(|field| String::from_utf8(field.value.to_vec()).ok())
    };
    let body_bytes = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if body_bytes > REQUEST_BYTES_MAX {
        return Err(io::Error::other("a body is too long"));
    }
    Ok(Some(Head { bytes: head_bytes, body_bytes, key: value("sec-websocket-key") }))
}
