//! A fan-out worker: one thread, one poll, many sockets.
//!
//! The loop polls, takes commands and marks, serves one slice of what is ready, looks at timers,
//! and polls again. Everything in it is bounded, so nobody waits longer than a turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use fanfare_core::{Batch, Channel, Framing, Hub, Marks, ReconnectReason, Run, Trie, WorkerIndex};
use mio::{Events, Poll, Token};
use slab::Slab;
use tokio::sync::mpsc;

use crate::{
    drain::Drain,
    fanout::{Command, Live},
    group::{Group, GroupKey},
    held::Plan,
    limits,
    member::{Member, Sent},
    pins::Pins,
    sampler::Sampler,
    totals::{BACKLOG_BOUNDS, Disconnect, Load, Report, TURN_BOUNDS_NS, Told, Totals},
    wheel::{Handle, Wheel},
};

/// The token of a worker's waker.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// One worker's state. Only its own thread touches it.
pub(crate) struct Worker {
    pub(crate) index: WorkerIndex,
    pub(crate) hub: Arc<Hub>,
    pub(crate) poll: Poll,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) live: Arc<Live>,
    /// The subscribers.
    pub(crate) members: Slab<Member>,
    /// The groups they are in.
    pub(crate) groups: Slab<Group>,
    pub(crate) by_key: HashMap<GroupKey, u32>,
    /// Groups by the life of a channel that they read.
    pub(crate) by_channel: HashMap<u64, Vec<u32>>,
    /// Groups that follow the journal, by their patterns.
    pub(crate) patterns: Trie<u32>,
    /// The groups whose patterns match a channel's life; emptied when a pattern comes or goes.
    pub(crate) matches: HashMap<u64, Arc<[u32]>>,
    /// How many groups follow the journal.
    pub(crate) journal_groups: usize,
    /// How far the journal was walked for them.
    pub(crate) walked: u64,
    /// Whether it grew since.
    walking: bool,
    /// Memory for the walk.
    pub(crate) pairs: Vec<(u64, Arc<Channel>)>,
    /// Groups that wait for a turn, with their generation, each once.
    pub(crate) ready: VecDeque<(u32, u32)>,
    /// Members that are served alone: new, behind, or writable again; each once.
    pub(crate) alone: VecDeque<Handle>,
    /// What the member served last got, for others of its group that are as far back.
    pub(crate) alone_batch: Batch,
    pub(crate) alone_group: Option<u32>,
    /// Groups that wait for the end of a window.
    pub(crate) plan: Plan,
    /// Batches to use again.
    pub(crate) spare: Vec<Batch>,
    /// Memory to read into.
    pub(crate) run: Run,
    pub(crate) wheel: Wheel,
    /// The next generation.
    pub(crate) generations: u32,
    pub(crate) totals: Totals,
    pub(crate) sampler: Sampler,
    /// Frames that blocked members have begun.
    pub(crate) pins: Pins,
    /// Members that are blocked, and members with a subscription.
    pub(crate) blocked: u64,
    pub(crate) subscribers: u64,
    /// Subscribers that this drain, or the last one, has sent away.
    pub(crate) departed: u64,
    report: Arc<Report>,
    /// What was told last.
    told: Told,
    reported_at_ms: u64,
    started: Instant,
    /// Milliseconds since `started`, read once per turn.
    pub(crate) now_ms: u64,
    pub(crate) drain: Option<Drain>,
}

impl Worker {
    pub(crate) fn new(
        index: WorkerIndex,
        hub: Arc<Hub>,
        poll: Poll,
        commands: mpsc::Receiver<Command>,
        live: Arc<Live>,
        pins: Pins,
        report: Arc<Report>,
    ) -> Self {
        Self {
            index,
            hub,
            poll,
            commands,
            live,
            members: Slab::new(),
            groups: Slab::new(),
            by_key: HashMap::new(),
            by_channel: HashMap::new(),
            patterns: Trie::default(),
            matches: HashMap::new(),
            journal_groups: 0,
            walked: 0,
            walking: false,
            pairs: Vec::new(),
            ready: VecDeque::new(),
            alone: VecDeque::new(),
            alone_batch: Batch::new(Framing::Bare),
            alone_group: None,
            plan: Plan::new(),
            spare: Vec::new(),
            run: Run::default(),
            wheel: Wheel::new(),
            generations: 0,
            totals: Totals::default(),
            sampler: Sampler::default(),
            pins,
            blocked: 0,
            subscribers: 0,
            departed: 0,
            report,
            told: Told::default(),
            reported_at_ms: 0,
            started: Instant::now(),
            now_ms: 0,
            drain: None,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(limits::POLL_EVENTS_MAX);
        let mut marks = Marks::default();
        let mut due = Vec::new();
        let mut busy = false;
        loop {
            let timeout = self.timeout(busy);
            // An interrupted poll reports nothing, and the loop comes back to it.
            drop(self.poll.poll(&mut events, timeout));
            let began = Instant::now();
            self.now_ms = began.duration_since(self.started).as_millis() as u64;
            let mut worked = busy;
            for event in &events {
                if event.token() != WAKER {
                    worked = true;
                    self.on_socket(event);
                }
            }
            // Marks first: they hold the ring of a command's sender, who sends before he rings.
            // Taken after the commands, that of one sent in between would be lost.
            worked |= self.take_marks(&mut marks);
            let Ok(more_commands) = self.take_commands() else { break };
            self.release();
            self.turn();
            self.unpin();
            let more_timers = self.wheel.advance(self.now_ms, limits::TURN_COMMANDS_MAX, &mut due);
            due.iter().for_each(|handle| self.on_timer(*handle));
            self.send_away();
            if worked || !due.is_empty() {
                let spent_ns = began.elapsed().as_nanos() as u64;
                self.totals.turns.add(&TURN_BOUNDS_NS, spent_ns);
            }
            self.report(false);
            busy = more_commands || more_timers || self.walking;
            busy |= !self.ready.is_empty() || !self.alone.is_empty();
        }
        self.stop();
    }

    /// How long the poll may wait. Going to sleep is declared before it, so that a mark that
    /// comes now rings the waker.
    fn timeout(&self, busy: bool) -> Option<Duration> {
        if busy || !self.hub.doorbell(self.index).sleep() {
            return Some(Duration::ZERO);
        }
        let unreported = (self.told != self.tell())
            .then_some(self.reported_at_ms + limits::REPORT_INTERVAL_MS)
            .map(|at_ms| at_ms.saturating_sub(self.now_ms));
        let departure = self.drain.as_ref().map(|_| limits::WHEEL_TICK_MS);
        let (timer, release) = (self.wheel.next_in_ms(self.now_ms), self.next_release_in_ms());
        let waits = [timer, release, unreported, departure];
        waits.into_iter().flatten().min().map(|ms| Duration::from_millis(ms.max(1)))
    }

    fn on_socket(&mut self, event: &mio::event::Event) {
        let handle = from_token(event.token());
        let Some(member) = self.member(handle) else { return };
        let gone = event.is_readable() && member.discard() == Sent::Gone;
        if gone || event.is_error() {
            return self.remove(handle.key, Disconnect::Client);
        }
        if event.is_writable() && self.unblock(handle.key) {
            self.note_backlog(handle.key);
            // The wheel was asked for the stall limit; a heartbeat may be due long before.
            self.arm(handle.key);
            self.serve_alone(handle.key);
        }
    }

    /// Takes commands; returns whether more wait. An error means to stop.
    fn take_commands(&mut self) -> Result<bool, ()> {
        for _ in 0..limits::TURN_COMMANDS_MAX {
            match self.commands.try_recv() {
                Ok(Command::Attach(attach)) => self.attach(*attach),
                Ok(Command::Drain { period_ms, done }) => self.begin_drain(period_ms, done),
                Ok(Command::DrainCancel) => self.cancel_drain(),
                // Who asks may have lost patience.
                Ok(Command::Ping(pong)) => pong.send(()).unwrap_or_default(),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(false),
                Ok(Command::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => return Err(()),
            }
        }
        Ok(true)
    }

    /// Queues the groups that have something new; returns whether anything was marked.
    fn take_marks(&mut self, marks: &mut Marks) -> bool {
        self.hub.doorbell(self.index).take(self.index, marks);
        let any = !marks.channels.is_empty() || marks.journal || marks.rung;
        for channel in marks.channels.drain(..) {
            if let Some(groups) = self.by_channel.get(&channel.instance()) {
                groups.iter().for_each(|g| make_ready(&mut self.groups, &mut self.ready, *g));
            }
        }
        self.walking |= marks.journal;
        if self.walking {
            self.walking = !self.walk_journal();
        }
        any
    }

    fn on_timer(&mut self, handle: Handle) {
        let (now_ms, stall_ms) = (self.now_ms, self.write_stall_ms_max());
        let Some(member) = self.member(handle) else { return };
        if member.look_at_ms > now_ms {
            return;
        }
        let silent_ms = now_ms - member.sent_at_ms;
        let stays = member.subscription.is_some() && member.leaving.is_none();
        if stays && member.leaves_at_ms <= now_ms {
            // A blocked one goes when its socket takes bytes again, or as stalled.
            member.leaving = Some(ReconnectReason::MaxAge);
            self.serve_alone(handle.key);
            return self.arm(handle.key);
        }
        match (&member.subscription, member.blocked) {
            // The peer had its time to close.
            (None, _) if silent_ms >= u64::from(limits::LINGER_MS_MAX) => {
                return self.remove(handle.key, Disconnect::Client);
            }
            (Some(_), true) if silent_ms >= stall_ms => {
                return self.remove(handle.key, Disconnect::Stalled);
            }
            (Some(_), false) if silent_ms >= member.heartbeat_ms.into() && member.is_open() => {
                let group = member.group as usize;
                let bytes = heartbeat(self.groups[group].framing);
                self.members[handle.key as usize].pending = bytes;
                self.flush(handle.key);
            }
            _ => {}
        }
        self.arm(handle.key);
    }

    /// Asks the wheel for a look when a heartbeat or the stall limit is due. A look that comes
    /// earlier already is kept: it will ask again.
    pub(crate) fn arm(&mut self, key: u32) {
        let stall_ms = self.write_stall_ms_max();
        let Some(member) = self.members.get_mut(key as usize) else { return };
        let limit_ms = match (&member.subscription, member.blocked) {
            (None, _) => limits::LINGER_MS_MAX.into(),
            (_, true) => stall_ms,
            (_, false) => member.heartbeat_ms.into(),
        };
        let leaves_at_ms = if member.leaving.is_none() { member.leaves_at_ms } else { u64::MAX };
        let due_ms = (member.sent_at_ms + limit_ms).min(leaves_at_ms).max(self.now_ms + 1);
        if member.look_at_ms <= self.now_ms || due_ms < member.look_at_ms {
            let handle = Handle { key, generation: member.generation };
            member.look_at_ms = self.wheel.schedule(due_ms, handle);
        }
    }

    /// The member of a handle, unless its key has been given to another.
    pub(crate) fn member(&mut self, handle: Handle) -> Option<&mut Member> {
        let member = self.members.get_mut(handle.key as usize)?;
        (member.generation == handle.generation).then_some(member)
    }

    pub(crate) fn report(&mut self, now: bool) {
        if now || self.now_ms >= self.reported_at_ms + limits::REPORT_INTERVAL_MS {
            self.reported_at_ms = self.now_ms;
            self.sampler.tick();
            self.told = self.tell();
            self.report.store(&self.told);
        }
    }

    fn tell(&self) -> Told {
        let load = Load {
            subscribers: self.subscribers,
            blocked: self.blocked,
            blocked_bytes: self.pins.bytes() as u64,
            queue_groups: self.ready.len() as u64,
            queue_members: self.alone.len() as u64,
            queue_attach: 0,
            busy_ns: self.totals.turns.sum,
        };
        Told { totals: self.totals, load, departed: self.departed }
    }

    /// Notes how far behind a member is whose socket takes bytes again.
    fn note_backlog(&mut self, key: u32) {
        let member = &self.members[key as usize];
        let Some(subscription) = &member.subscription else { return };
        let group = &self.groups[member.group as usize];
        let cursor = group.standing(subscription.cursor, self.walked);
        self.totals.backlog.add(&BACKLOG_BOUNDS, group.feed.backlog(&self.hub, cursor));
    }

    fn write_stall_ms_max(&self) -> u64 {
        self.live.write_stall_ms_max.load(Ordering::Relaxed).into()
    }

    /// Closes everything in one pass.
    fn stop(mut self) {
        for (_, member) in &self.members {
            if member.subscription.is_some() {
                self.totals.count(Disconnect::Stop);
            }
        }
        (self.subscribers, self.blocked) = (0, 0);
        self.report(true);
    }
}

/// Queues a group for a turn, at most once.
pub(crate) fn make_ready(groups: &mut Slab<Group>, ready: &mut VecDeque<(u32, u32)>, key: u32) {
    let Some(group) = groups.get_mut(key as usize) else { return };
    if group.pass.is_some() {
        group.again = true;
    } else if !group.queued {
        group.queued = true;
        ready.push_back((key, group.generation));
    }
}

/// A heartbeat in a framing.
fn heartbeat(framing: Framing) -> bytes::Bytes {
    match framing {
        Framing::Bare => bytes::Bytes::from_static(fanfare_core::HEARTBEAT),
        Framing::Chunked => bytes::Bytes::from_static(b"2\r\n:\n\r\n"),
    }
}

/// The token of a member: its slab key and its generation.
pub(crate) fn to_token(handle: Handle) -> Token {
    Token((handle.generation as usize) << 32 | handle.key as usize)
}

fn from_token(token: Token) -> Handle {
    Handle { key: token.0 as u32, generation: (token.0 >> 32) as u32 }
}
