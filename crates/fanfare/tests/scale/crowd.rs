//! Many subscribers on one thread: a poll, a socket each, and what each has seen.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stream::Stream;

/// The subscribers of a test.
pub(crate) struct Crowd {
    hub: SocketAddr,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    pub(crate) members: Vec<Member>,
    /// Sums over all members.
    pub(crate) seen: Seen,
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Member {
    socket: Option<TcpStream>,
    target: String,
    pub(crate) stream: Stream,
    /// It is cut off by its own side once it has read so many bytes more.
    cut_after: Option<usize>,
    /// Whether it reads what comes.
    reads: bool,
    /// When the hub ended its connection.
    pub(crate) ended: Option<Instant>,
}

/// What all members have seen together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) heads: usize,
    pub(crate) events: usize,
    pub(crate) away: usize,
    pub(crate) ended: usize,
    pub(crate) cut: usize,
}

/// As many subscribers as were wanted, or as the machine lets this process have.
pub(crate) fn size(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    }
    let files = maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    let size = wanted.min(files.saturating_sub(700));
    if size < wanted {
        println!("{size} subscribers instead of {wanted}: {files} files may be open");
    }
    size
}

impl Crowd {
    pub(crate) fn new(hub: SocketAddr) -> Self {
        Self {
            hub,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1_024),
            buffer: vec![0; 256 * 1024],
            members: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// So many more subscribers, all of which have their heads.
    pub(crate) fn join(&mut self, count: usize, target: &str) -> Range<usize> {
        let (from, before) = (self.members.len(), self.seen.heads);
        for index in 0..count {
            self.members.push(Member {
                socket: None,
                target: target.to_owned(),
                stream: Stream::default(),
                cut_after: None,
                reads: true,
                ended: None,
            });
            self.connect(from + index);
            // No more at once than the hub's backlog takes.
            if index % 500 == 499 || index + 1 == count {
                let heads = before + index + 1;
                self.run("heads", |crowd| crowd.seen.heads >= heads);
            }
        }
        from..from + count
    }

    /// Connects a member, with its last id if it has one.
    pub(crate) fn connect(&mut self, index: usize) {
        let member = &mut self.members[index];
        let mut socket = std::net::TcpStream::connect(self.hub).unwrap();
        let last = member.stream.last_id.as_ref();
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let target = &member.target;
        write!(socket, "GET {target} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(index), Interest::READABLE).unwrap();
        member.socket = Some(socket);
    }

    /// Cuts a member off, wherever it is, once it has read so many bytes more.
    pub(crate) fn cut_after(&mut self, index: usize, bytes: usize) {
        self.members[index].cut_after = Some(bytes);
    }

    /// The members that were cut off and did not come back yet.
    pub(crate) fn cut_off(&self) -> Vec<usize> {
        let is_cut = |member: &Member| member.socket.is_none() && member.ended.is_none();
        (0..self.members.len()).filter(|index| is_cut(&self.members[*index])).collect()
    }

    /// A member that reads nothing from here on.
    pub(crate) fn pause(&mut self, index: usize) {
        self.members[index].reads = false;
    }

    /// A member that reads again.
    pub(crate) fn go_on(&mut self, index: usize) {
        self.members[index].reads = true;
        self.read(index);
    }

    /// Ends connections, all at once.
    pub(crate) fn leave(&mut self, members: Range<usize>) {
        members.for_each(|index| self.members[index].socket = None);
    }

    /// Reads what comes until it is so; fails the test if that takes too long.
    pub(crate) fn run(&mut self, what: &str, mut until: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !until(self) {
            assert!(began.elapsed() < DEADLINE, "{what}: not in time: {:?}", self.seen);
            self.poll.poll(&mut self.events, Some(Duration::from_millis(20))).unwrap();
            let ready: Vec<_> = self.events.iter().map(|event| event.token().0).collect();
            ready.into_iter().for_each(|index| self.read(index));
        }
    }

    /// Whether nothing came for a moment: what is on its way has arrived.
    pub(crate) fn settle(&mut self) {
        let mut before = self.seen.events;
        let mut quiet = Instant::now();
        self.run("silence", |crowd| {
            if crowd.seen.events != before {
                before = crowd.seen.events;
                quiet = Instant::now();
            }
            quiet.elapsed() > Duration::from_millis(300)
        });
    }

    fn read(&mut self, index: usize) {
        let member = &mut self.members[index];
        while let Some(socket) = member.socket.as_mut().filter(|_| member.reads) {
            let mut read = match socket.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                Err(error) => panic!("{error}"),
            };
            if read == 0 {
                member.socket = None;
                member.ended = Some(Instant::now());
                self.seen.ended += 1;
                return;
            }
            if let Some(left) = &mut member.cut_after {
                read = read.min(*left);
                *left -= read;
            }
            let (heads, events) = (member.stream.has_head, member.stream.seqs.len());
            let away = member.stream.away.is_some();
            member.stream.push(&self.buffer[..read]);
            self.seen.heads += usize::from(member.stream.has_head && !heads);
            self.seen.events += member.stream.seqs.len() - events;
            self.seen.away += usize::from(member.stream.away.is_some() && !away);
            if member.cut_after == Some(0) {
                // What was not read makes the kernel reset the connection.
                member.socket = None;
                member.cut_after = None;
                member.stream.cut();
                self.seen.cut += 1;
                return;
            }
        }
    }
}

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);
