//! The life of a hub's process: what it prints, how it drains, how it is stopped at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A hub on ports of its own.
struct Hub {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Hub {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).env_clear();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Reads standard output up to the line that starts so, and answers its rest.
    fn line(&mut self, start: &str) -> String {
        let mut lines = (&mut self.stdout).lines().map(Result::unwrap);
        lines.find_map(|line| line.strip_prefix(start).map(str::to_owned)).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code and what it said to the end.
    fn end(&mut self) -> (i32, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap(), said)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        drop(self.child.kill());
    }
}

#[test]
fn a_start_prints_where_and_what_to_try() {
    let mut hub = Hub::start();
    let public = hub.line("  hub      http://");
    let admin = hub.line("  admin    http://");
    assert_eq!(hub.line("  curl -N "), format!("http://{public}/channels/news"));
    assert_eq!(hub.line("  curl -d hello "), format!("http://{public}/channels/news"));
    let connections = hub.line("");
    assert_eq!(connections, "");
    assert!(hub.line("").contains(" connections at most ("));
    assert!(TcpStream::connect(public).is_ok() && TcpStream::connect(admin).is_ok());
    hub.signal(Signal::TERM);
    assert_eq!(hub.end().0, 0);
}

#[test]
fn a_signal_drains() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut hub = Hub::start();
        hub.line("  curl -d ");
        hub.signal(signal);
        let (code, said) = hub.end();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("draining; a second signal exits now"), "{said}");
        assert!(said.contains("drained: 0 subscribers, all in time"), "{said}");
    }
}

#[test]
fn a_second_signal_exits_now() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut hub = Hub::start();
        let public = hub.line("  hub      http://");
        // A publish that is under way holds the drain; its first ack says that it is.
        let mut publisher = TcpStream::connect(&public).unwrap();
        let head = "POST /channels/news?acks=stream HTTP/1.1\r\nHost: localhost\r\n\
                    Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = "d\r\n{\"data\": \"a\"}\n\r\n";
        publisher.write_all(format!("{head}{chunk}").as_bytes()).unwrap();
        publisher.read_exact(&mut [0]).unwrap();
        hub.signal(signal);
        let mut said = (&mut hub.stderr).lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("draining")));
        hub.signal(signal);
        assert_eq!(hub.end().0, code);
    }
}
