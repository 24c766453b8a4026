//! `fanfare top` in a terminal and without one, on a hub that always tells the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

const STATS: &str = r#"{"version": "9.9.9", "epoch": "e", "uptime_ms": 5000, "state": "running",
    "subscribers": {"http1": 1234}, "workers": [{"worker": 0, "busy_percent": 50.0}]}"#;
const CHANNELS: &str =
    r#"{"channels": [{"channel": "orders/42", "subscribers": 7}], "next": null}"#;

/// A hub that answers for as long as the test runs.
fn hub() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

fn answer(mut socket: TcpStream) {
    let mut head = String::new();
    let mut lines = BufReader::new(&socket);
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let body = if head.contains("/api/stats") { STATS } else { CHANNELS };
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    // It may have been ended meanwhile.
    drop(socket.write_all(answer.as_bytes()));
}

fn top(hub: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["top", "--admin-url", &format!("http://{hub}")]).env_clear();
    command.env("TERM", "xterm");
    command
}

/// The command in a terminal of its own.
struct Terminal {
    child: Child,
    /// Our side of it.
    master: File,
    /// Its own side, kept open so that its modes can be read at the end.
    slave: File,
    /// All that was written to it.
    shown: String,
}

impl Terminal {
    fn start(hub: SocketAddr) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap();
        let slave = File::from(slave);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = top(hub).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, master: master.into(), slave, shown: String::new() }
    }

    /// Reads until this is shown; fails the test if nothing comes for long.
    fn wait(&mut self, text: &str) {
        let mut bytes = [0; 4_096];
        while !self.shown.contains(text) {
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
            assert_eq!(poll(&mut ready, Some(&patience)), Ok(1), "no {text:?} in {}", self.shown);
            let count = self.master.read(&mut bytes).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Its exit code, once the terminal was given back.
    fn end(mut self) -> i32 {
        self.wait("\u{1b}[?1049l");
        let code = self.child.wait().unwrap().code().unwrap();
        assert!(!self.is_raw(), "the terminal was not given back");
        assert!(self.shown.contains("\u{1b}[?25h"), "the cursor is hidden");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        drop(self.child.kill());
    }
}

#[test]
fn it_shows_the_hub_and_gives_the_terminal_back() {
    let mut terminal = Terminal::start(hub());
    terminal.wait("orders/42");
    assert!(terminal.is_raw() && terminal.shown.starts_with("\u{1b}[?1049h"));
    assert!(terminal.shown.contains("fanfare 9.9.9") && terminal.shown.contains("1,234"));
    terminal.master.write_all(b"s").unwrap();
    terminal.wait("sorted by subscribers");
    terminal.master.write_all(b" ").unwrap();
    terminal.wait("resume");
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = Terminal::start(hub());
        terminal.wait("orders/42");
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        assert_eq!(terminal.end(), 0);
    }
}

#[test]
fn it_takes_another_size() {
    let mut terminal = Terminal::start(hub());
    terminal.wait("orders/42");
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.slave, size).unwrap();
    // It is not its controlling terminal, which would tell it so.
    kill_process(Pid::from_child(&terminal.child), Signal::WINCH).unwrap();
    terminal.wait("\u{1b}[40;1H");
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(terminal.end(), 0);
}

#[test]
fn without_a_terminal_it_prints_one_snapshot() {
    let output = top(hub()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("fanfare 9.9.9  127.0.0.1:"), "{stdout}");
    assert!(stdout.ends_with("orders/42\n") && !stdout.contains('\u{1b}'), "{stdout}");
}
