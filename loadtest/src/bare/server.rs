//! The sockets of a baseline: one poll, and whoever is connected.
//!
//! The poll reports edges. Every report is followed by one read, and whoever may have more to say
//! asks to be reported again, so that nobody holds up the others.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    mem, net,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use socket2::SockRef;

use crate::bare::{
    channel::{Channel, Failed, Subscriber, encode, send_to_all},
    history::History,
    lines::Lines,
    peer::{Behind, Owed, Peer, STREAM_HEAD, Talk},
    request::{self, Action},
};

/// All there is. Nothing is shared, nothing waits.
pub(super) struct Server {
    poll: Poll,
    listener: TcpListener,
    /// Who is connected; the token of a socket is its peer's key.
    peers: Slab<Peer>,
    channels: Vec<Channel>,
    /// The index of each channel.
    by_path: HashMap<String, usize>,
    /// The index of `/channels/narrow/NUMBER`, or with `streams`: a scenario has one of them.
    by_number: Vec<Option<usize>>,
    /// Frames that a channel keeps.
    frames_kept: usize,
    /// The number of the newest event.
    published: u64,
    /// Memory for what is read.
    buffer: Vec<u8>,
    /// Memory for the frame that is sent.
    frame: Vec<u8>,
    /// Memory for those who did not take it.
    failed: Vec<Failed>,
}

impl Server {
    pub(super) fn new(listener: net::TcpListener, frames_kept: usize) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Accepted sockets inherit it: no call for each.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            peers: Slab::new(),
            channels: Vec::new(),
            by_path: HashMap::new(),
            by_number: Vec::new(),
            frames_kept,
            published: 0,
            buffer: vec![0; BUFFER_BYTES],
            frame: Vec::new(),
            failed: Vec::new(),
        })
    }

    /// Runs until it cannot accept.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(POLL_EVENTS_MAX);
        let mut is_accepting = false;
        loop {
            match self.poll.poll(&mut events, is_accepting.then_some(Duration::ZERO)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => is_accepting = true,
                    Token(key) => self.on_socket(key, event),
                }
            }
            // Last, because a new peer may get the key of one that has just been removed, and
            // with it what was reported of that one.
            if is_accepting {
                is_accepting = self.accept()?;
            }
        }
    }

    /// Accepts and reads what has come already; returns whether more may wait.
    fn accept(&mut self) -> io::Result<bool> {
        for _ in 0..ACCEPTS_MAX {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(false),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            };
            let entry = self.peers.vacant_entry();
            let key = entry.key();
            self.poll.registry().register(&mut socket, Token(key), Interest::READABLE)?;
            let talk = Talk::new(socket);
            entry.insert(Peer::Moving);
            let next = self.read(key, talk, false);
            self.settle(key, next);
        }
        Ok(true)
    }

    /// Does what a report of the poll asks for. A subscriber says nothing more, and one that
    /// closes its half of the connection leaves.
    fn on_socket(&mut self, key: usize, event: &Event) {
        let is_closed = event.is_read_closed() || event.is_error();
        let Some(peer) = self.peers.get_mut(key) else { return };
        let next = match mem::take(peer) {
            Peer::Talking(talk) => self.read(key, talk, is_closed),
            Peer::Behind(behind) if !is_closed => self.catch_up(key, behind),
            Peer::Live { channel, place } if is_closed => {
                self.leave(channel, place);
                None
            }
            Peer::Behind(_) => None,
            same => Some(same),
        };
        self.settle(key, next);
    }

    /// Puts a peer back as what it has become, if it is still one.
    fn settle(&mut self, key: usize, next: Option<Peer>) {
        match next {
            Some(peer) => self.peers[key] = peer,
            None => drop(self.peers.remove(key)),
        }
    }

    /// Reads once and does what is asked.
    fn read(&mut self, key: usize, mut talk: Talk, is_closed: bool) -> Option<Peer> {
        let len = match talk.socket.read(&mut self.buffer) {
            Ok(len) if 0 < len => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Some(Peer::Talking(talk));
            }
            _ => return None,
        };
        if len == self.buffer.len() || is_closed {
            self.watch(key, &mut talk.socket, Interest::READABLE)?;
        }
        let buffer = mem::take(&mut self.buffer);
        let done = self.requests(&mut talk, &buffer[..len]);
        self.buffer = buffer;
        match done {
            Ok(None) => Some(Peer::Talking(talk)),
            Ok(Some(owed)) => {
                self.catch_up(key, Behind { socket: talk.socket, owed, is_watched: false })
            }
            Err(why) => {
                say(&format!("refused: {why}"));
                talk.respond("400 Bad Request", "{}").ok();
                None
            }
        }
    }

    /// Answers the requests in these bytes and those before them, up to one that subscribes.
    fn requests(&mut self, talk: &mut Talk, bytes: &[u8]) -> Result<Option<Owed>, &'static str> {
        let mut input = mem::take(&mut talk.input);
        let mut rest = bytes;
        if !input.is_empty() {
            input.extend_from_slice(bytes);
            rest = &input;
        }
        loop {
            if let Some(lines) = &mut talk.lines {
                self.relay(lines, &mut rest)?;
                if !lines.is_done() {
                    break;
                }
                let answer = lines.answer();
                talk.lines = None;
                talk.respond("200 OK", &answer)?;
            }
            let Some(request) = request::parse(rest)? else { break };
            let body = &rest[request.head_bytes..];
            match request.action {
                Action::Subscribe { after } => {
                    return self.subscribe(request.path, after).map(Some);
                }
                Action::Event { data_bytes } if body.len() < data_bytes => break,
                Action::Event { data_bytes } => {
                    let channel = self.channel(request.path);
                    let number = self.publish(channel, &body[..data_bytes]);
                    let subscribers = self.channels[channel].subscribers.len();
                    let answer = format!(r#"{{"id":"bare-{number}","subscribers":{subscribers}}}"#);
                    talk.respond("200 OK", &answer)?;
                    rest = &body[data_bytes..];
                }
                Action::Lines => {
                    let is_one = request.path != "/events";
                    let channel = is_one.then(|| self.channel(request.path));
                    talk.lines = Some(Box::new(Lines::to(channel)));
                    rest = body;
                }
            }
        }
        talk.input = rest.to_vec();
        Ok(None)
    }

    /// What a new subscriber gets first: the head, and the frames after the event it had last.
    fn subscribe(&mut self, path: &str, after: Option<u64>) -> Result<Owed, &'static str> {
        let channel = self.channel(path);
        let history = &self.channels[channel].history;
        let newest = history.newest;
        let after = after.map_or(newest, |after| after.min(newest));
        let frames = history.after(after).ok_or("what came after an id is not kept any more")?;
        Ok(Owed { channel, bytes: [STREAM_HEAD, frames].concat(), newest })
    }

    /// Sends what is owed until nothing is, or until the socket takes no more.
    fn catch_up(&mut self, key: usize, mut behind: Behind) -> Option<Peer> {
        let Behind { socket, owed, is_watched } = &mut behind;
        let channel = owed.channel;
        loop {
            while !owed.bytes.is_empty() {
                match socket.write(&owed.bytes) {
                    Ok(sent) => drop(owed.bytes.drain(..sent)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if !mem::replace(is_watched, true) {
                            self.watch(key, socket, Interest::READABLE | Interest::WRITABLE)?;
                        }
                        return Some(Peer::Behind(behind));
                    }
                    Err(_) => return None,
                }
            }
            let history = &self.channels[channel].history;
            let Some(frames) = history.after(owed.newest) else {
                say("dropped a subscriber that fell behind what is kept");
                return None;
            };
            if frames.is_empty() {
                break;
            }
            owed.bytes.extend_from_slice(frames);
            owed.newest = history.newest;
        }
        if *is_watched {
            self.watch(key, socket, Interest::READABLE)?;
        }
        let subscribers = &mut self.channels[channel].subscribers;
        subscribers.push(Subscriber { socket: behind.socket, key });
        Some(Peer::Live { channel, place: subscribers.len() - 1 })
    }

    /// Has the poll report a socket again, for what is so now and for what comes. One that it
    /// cannot report is as good as gone.
    fn watch(&self, key: usize, socket: &mut TcpStream, interest: Interest) -> Option<()> {
        self.poll.registry().reregister(socket, Token(key), interest).ok()
    }

    /// Sends an event to the subscribers of a channel and returns its number.
    pub(super) fn publish(&mut self, channel: usize, data: &[u8]) -> u64 {
        self.published += 1;
        encode(&mut self.frame, self.published, data);
        let Channel { subscribers, history, .. } = &mut self.channels[channel];
        send_to_all(subscribers, &self.frame, &mut self.failed);
        history.push(self.published, &self.frame);
        if !self.failed.is_empty() {
            self.drop_failed(channel);
        }
        self.published
    }

    /// Removes those who did not take a frame whole, and says so of those who were still there.
    fn drop_failed(&mut self, channel: usize) {
        let failed = mem::take(&mut self.failed);
        let full = failed.iter().filter(|failed| failed.is_full).count();
        let (path, gone) = (&self.channels[channel].path, failed.len() - full);
        if full > 0 {
            say(&format!("dropped subscribers of {path}: {full} were full, {gone} were gone"));
        }
        // From the last on, because the last subscriber takes the place of one that leaves.
        for failed in failed.iter().rev() {
            let key = self.channels[channel].subscribers[failed.place].key;
            self.leave(channel, failed.place);
            self.peers.remove(key);
        }
    }

    /// Takes a subscriber out of its channel and closes its socket.
    fn leave(&mut self, channel: usize, place: usize) {
        let subscribers = &mut self.channels[channel].subscribers;
        subscribers.swap_remove(place);
        if let Some(moved) = subscribers.get(place) {
            self.peers[moved.key] = Peer::Live { channel, place };
        }
    }

    /// The index of a path's channel.
    fn channel(&mut self, path: &str) -> usize {
        if let Some(channel) = self.by_path.get(path) {
            return *channel;
        }
        let (channel, path) = (self.channels.len(), path.to_owned());
        let history = History::new(self.frames_kept);
        self.channels.push(Channel { path: path.clone(), subscribers: Vec::new(), history });
        self.by_path.insert(path, channel);
        channel
    }

    /// The index of the channel that a line names.
    pub(super) fn numbered_channel(&mut self, kind: &str, number: usize) -> usize {
        if let Some(Some(channel)) = self.by_number.get(number) {
            return *channel;
        }
        let channel = self.channel(&format!("/channels/{kind}/{number}"));
        self.by_number.resize(self.by_number.len().max(number + 1), None);
        self.by_number[number] = Some(channel);
        channel
    }
}

/// Says on standard error what would make a measurement doubtful.
fn say(words: &str) {
    // In one write. There is nobody to tell that it cannot be told.
    drop(io::stderr().write_all(format!("fanfare-loadtest: bare: {words}\n").as_bytes()));
}

const LISTENER: Token = Token(usize::MAX);
/// Reports of one poll.
const POLL_EVENTS_MAX: usize = 1_024;
/// Connections accepted between two polls.
const ACCEPTS_MAX: usize = 256;
/// Bytes of one read.
const BUFFER_BYTES: usize = 64 * 1024;
