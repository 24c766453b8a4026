//! An upstream that does what a test says: it takes one request after the other and hands each
//! connection to the script.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use crate::support::{DEADLINE, http::chunk};

/// A scripted upstream. It ends with the test.
pub(crate) struct Upstream {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
    over: Arc<AtomicBool>,
}

impl Upstream {
    /// Runs the script for each request, on a thread of its own, when its body has come.
    pub(crate) fn start(script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let (script, over) = (Arc::new(script), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&over);
        thread::spawn(move || {
            for socket in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (mut socket, script, sender) =
                    (socket.unwrap(), Arc::clone(&script), sender.clone());
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                thread::spawn(move || {
                    if let Some(asked) = request(&mut socket) {
                        sender.send(asked).ok();
                        script(&mut socket);
                    }
                });
            }
        });
        Self { address, requests, over }
    }

    /// Answers each request with these bytes and closes the connection.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |socket| say(socket, &bytes))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next request, head and body.
    pub(crate) fn asked(&self) -> String {
        self.requests.recv_timeout(DEADLINE).unwrap()
    }

    /// Whether there was no request that nobody looked at.
    pub(crate) fn was_not_asked(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// Reads a request with a length; none if the peer went.
fn request(socket: &mut impl Read) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut bytes = [0; 4096];
        match socket.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&bytes[..count]),
        }
    }
}

/// Writes what the peer still takes.
pub(crate) fn say(socket: &mut impl Write, bytes: impl AsRef<[u8]>) {
    socket.write_all(bytes.as_ref()).and_then(|()| socket.flush()).ok();
}

/// Waits until the peer has gone; says whether it did.
pub(crate) fn is_left(socket: &mut impl Read) -> bool {
    match socket.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// The head of a stream in chunks.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                                 Transfer-Encoding: chunked\r\n\r\n";

/// A whole answer: a stream in these chunks.
pub(crate) fn stream(chunks: &[&str]) -> Vec<u8> {
    let body = chunks.iter().chain([&""]).flat_map(|data| chunk(data.as_bytes()));
    STREAM.bytes().chain(body).collect()
}

/// A whole answer with a status, headers and a body.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}
