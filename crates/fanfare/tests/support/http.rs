//! A raw HTTP/1 client: it sends exactly the bytes it is given, keeps exactly those it gets, and
//! checks every chunk's framing.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::DEADLINE;

/// A connection.
pub(crate) struct Client {
    socket: TcpStream,
    /// What came and was not taken yet.
    unread: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// All its bytes, the empty line included.
    pub(crate) raw: String,
    /// The status code.
    pub(crate) status: u16,
    /// Names as they were sent, and values.
    pub(crate) headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// Without the framing.
    pub(crate) body: Vec<u8>,
}

/// What a chunked body goes on with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Chunk {
    /// These bytes.
    Data(Vec<u8>),
    /// The last chunk: the body is whole.
    Last,
    /// The connection ended before the last chunk; holds what was left of one.
    Cut(Vec<u8>),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closed {
    /// In order.
    Fin,
    /// With a reset.
    Reset,
}

impl Client {
    /// Connects; whatever is waited for fails the test after [`DEADLINE`].
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Takes a socket that is connected already.
    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { socket, unread: Vec::new() }
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Waits longer, or less long, for bytes than [`DEADLINE`].
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends these bytes if the peer still takes any.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Sends a request with `Host: localhost` and, if there is a body, its length.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        self.send(request(method, target, headers, body));
    }

    /// Sends one chunk of a chunked body; an empty one is the last.
    pub(crate) fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        self.send(chunk(data.as_ref()));
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Takes the head of an answer.
    pub(crate) fn head(&mut self) -> Head {
        let end = loop {
            let found = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(at) = found {
                break at + 4;
            }
            let shown = String::from_utf8_lossy(&self.unread).into_owned();
            let more = self.fill();
            assert_eq!(more, None, "the connection ended inside the head: {shown:?}");
        };
        Head::parse(String::from_utf8(self.take(end)).unwrap())
    }

    /// Takes a whole answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = self.body(&head);
        Answer { head, body }
    }

    /// Takes the body that belongs to a head. One that does not end is none.
    pub(crate) fn body(&mut self, head: &Head) -> Vec<u8> {
        assert_ne!(head.get("content-type"), Some("text/event-stream"), "a stream: {}", head.raw);
        if head.get("transfer-encoding").is_some() {
            return self.chunked_body(head);
        }
        if matches!(head.status, 100..200 | 204 | 304) {
            return Vec::new();
        }
        let Some(length) = head.get("content-length") else { return self.rest().0 };
        let length: usize = length.parse().unwrap();
        while self.unread.len() < length {
            assert_eq!(self.fill(), None, "the connection ended inside a body");
        }
        self.take(length)
    }

    fn chunked_body(&mut self, head: &Head) -> Vec<u8> {
        assert_eq!(head.get("transfer-encoding"), Some("chunked"), "{}", head.raw);
        assert_eq!(head.get("content-length"), None, "{}", head.raw);
        let mut body = Vec::new();
        loop {
            match self.chunk() {
                Chunk::Data(data) => body.extend_from_slice(&data),
                Chunk::Last => return body,
                Chunk::Cut(rest) => panic!("the body was cut after {body:?} at {rest:?}"),
            }
        }
    }

    /// Takes one chunk; its framing must be exact.
    pub(crate) fn chunk(&mut self) -> Chunk {
        let length_end = loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                break at + 1;
            }
            if self.fill().is_some() {
                return Chunk::Cut(std::mem::take(&mut self.unread));
            }
        };
        let line = String::from_utf8(self.unread[..length_end].to_vec()).unwrap();
        let digits = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("chunk length {line:?}"));
        assert!(
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "chunk length {line:?}"
        );
        let length = usize::from_str_radix(digits, 16).unwrap();
        let end = length_end + length + 2;
        while self.unread.len() < end {
            if self.fill().is_some() {
                return Chunk::Cut(std::mem::take(&mut self.unread));
            }
        }
        let whole = self.take(end);
        assert!(whole.ends_with(b"\r\n"), "a chunk of {length} bytes has another length");
        match length {
            0 => Chunk::Last,
            _ => Chunk::Data(whole[length_end..end - 2].to_vec()),
        }
    }

    /// Takes at least one byte of a body without framing, or says how the connection ended.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Closed> {
        if self.unread.is_empty()
            && let Some(closed) = self.fill()
        {
            return Err(closed);
        }
        Ok(std::mem::take(&mut self.unread))
    }

    /// Takes all up to the end of the connection.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Closed) {
        loop {
            if let Some(closed) = self.fill() {
                return (std::mem::take(&mut self.unread), closed);
            }
        }
    }

    /// Waits for the end of the connection; nothing more may come before.
    pub(crate) fn closed(&mut self) -> Closed {
        let (rest, closed) = self.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "", "more came before the end");
        closed
    }

    /// What came and was not taken yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads once; none if something came.
    fn fill(&mut self) -> Option<Closed> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Some(Closed::Fin),
                Ok(read) => {
                    self.unread.extend_from_slice(&bytes[..read]);
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Some(Closed::Reset);
                }
                Err(error) => {
                    let unread = String::from_utf8_lossy(&self.unread);
                    panic!("nothing came in time ({error}) after {unread:?}")
                }
            }
        }
    }
}

impl Head {
    fn parse(raw: String) -> Self {
        let mut lines = raw.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("{raw:?}"));
        let status = status.get(2..5).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.map(pair).collect();
        Self { raw, status, headers }
    }

    /// The only value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice: {}", self.raw);
        Some(value)
    }
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// The only value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The bytes of a request with `Host: localhost` and, if there is a body, its length.
pub(crate) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// The bytes of one chunk; an empty one is the last.
pub(crate) fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// One request on a connection of its own.
pub(crate) fn call(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(address);
    client.request(method, target, headers, body);
    client.answer()
}

/// A GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    call(address, "GET", target, &[], b"")
}

/// A POST on a connection of its own.
pub(crate) fn post(address: SocketAddr, target: &str, body: impl AsRef<[u8]>) -> Answer {
    call(address, "POST", target, &[], body.as_ref())
}
