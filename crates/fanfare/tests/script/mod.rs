//! A hub that is only a script: it gives the answers that a test wrote down, and keeps what it was
//! asked.

#![allow(dead_code, reason = "each test crate uses its part of it")]

use std::{
    fmt::Display,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

/// Answers one connection after the other with the next of its answers, then is gone.
pub(crate) struct Script {
    pub(crate) url: String,
    pub(crate) requests: JoinHandle<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers.to_vec();
        let answer = move |answer: String| {
            let (mut socket, _) = listener.accept().unwrap();
            let request = request(&socket);
            socket.write_all(answer.as_bytes()).unwrap();
            request
        };
        Self { url, requests: thread::spawn(move || answers.into_iter().map(answer).collect()) }
    }

    /// Nobody: port 1 is for root, and what for is long forgotten.
    pub(crate) fn nobody() -> Self {
        Self::at("127.0.0.1:1")
    }

    /// Whatever is at this address.
    pub(crate) fn at(address: impl Display) -> Self {
        Self { url: format!("http://{address}"), requests: thread::spawn(Vec::new) }
    }

    /// What it was asked, once it has given all its answers.
    pub(crate) fn requests(self) -> Vec<String> {
        self.requests.join().unwrap()
    }
}

/// Reads one request: its head in lower case, then its body as it was sent.
fn request(socket: &TcpStream) -> String {
    let mut reader = BufReader::new(socket);
    let (mut head, mut body) = (String::new(), Vec::new());
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let head = head.to_ascii_lowercase();
    if let Some((_, length)) = head.split_once("content-length: ") {
        body.resize(length.split_once("\r\n").unwrap().0.parse().unwrap(), 0);
        reader.read_exact(&mut body).unwrap();
    } else if head.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            assert_ne!(reader.read_until(b'\n', &mut body).unwrap(), 0);
        }
    }
    format!("{head}{}", String::from_utf8(body).unwrap())
}

pub(crate) fn answer(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn json(body: &str) -> String {
    answer("200 OK", "application/json", body)
}

/// A stream that is cut: without its last chunk.
pub(crate) fn stream(events: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{events}\r\n",
        events.len()
    )
}

/// Runs a command on a hub: exit code, standard output, standard error.
pub(crate) fn fanfare(script: &Script, arguments: &[&str], input: &str) -> (i32, String, String) {
    let variables = [("FANFARE_URL", &*script.url), ("FANFARE_ADMIN_URL", &*script.url)];
    fanfare_with(&variables, arguments, input)
}

/// The same with nothing but these variables.
pub(crate) fn fanfare_with(
    variables: &[(&str, &str)],
    arguments: &[&str],
    input: &str,
) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
