//! The control plane's view of the workers: start them, hand sockets over, drain, stop.

use std::{
    any::Any,
    io,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use fanfare_core::{Doorbell, Framing, Hub, Opening, WorkerIndex};
use mio::{Poll, Waker};
use tokio::sync::{mpsc, oneshot};

use crate::{
    limits,
    pins::{Pinned, Pins},
    totals::{Load, Progress, Report, Totals},
    worker::{WAKER, Worker},
};

/// What the data plane may be given.
#[derive(Clone, Copy, Debug)]
pub struct FanoutConfig {
    /// Milliseconds that a socket may take no byte before its connection is closed.
    pub write_stall_ms_max: u32,
    /// Bytes of frames that slow subscribers have begun and so keep in memory, over all workers:
    /// past it those are disconnected that have taken nothing for longest.
    pub pinned_bytes_max: usize,
}

impl Default for FanoutConfig {
    fn default() -> Self {
        Self {
            write_stall_ms_max: limits::WRITE_STALL_MS_MAX,
            pinned_bytes_max: limits::PINNED_BYTES_MAX,
        }
    }
}

/// A subscriber on its way from the control plane to a worker.
#[derive(Debug)]
pub struct Attach {
    /// Its socket, non-blocking; nothing was written for this request yet.
    pub socket: TcpStream,
    /// Its position, taken for the worker of `seat`.
    pub opening: Opening,
    /// The response head.
    pub head: Vec<u8>,
    /// How the stream is framed.
    pub framing: Framing,
    /// Milliseconds of silence after which a heartbeat is sent.
    pub heartbeat_ms: u32,
    /// Milliseconds after which it is sent away, to come back; 0 stands for never.
    pub age_ms_max: u64,
    /// Its place on the worker.
    pub seat: Seat,
    /// Its shares of limits on connections, given back by dropping it when the socket is closed.
    pub permit: Option<Box<dyn Any + Send>>,
}

/// A place on a worker, counted while it lives.
#[derive(Debug)]
pub struct Seat {
    members: Arc<AtomicUsize>,
    worker: WorkerIndex,
}

impl Seat {
    /// The worker.
    pub fn worker(&self) -> WorkerIndex {
        self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.members.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the control plane asks of a worker.
pub(crate) enum Command {
    /// Takes a subscriber over.
    Attach(Box<Attach>),
    /// Sends all subscribers away, spread over so many milliseconds, and says how many there were.
    Drain {
        /// Over how long.
        period_ms: u64,
        /// Told once all are gone.
        done: oneshot::Sender<u64>,
    },
    /// Takes the drain back.
    DrainCancel,
    /// Says that the worker goes on.
    Ping(oneshot::Sender<()>),
    /// Closes everything now.
    Stop,
}

/// The workers' doorbells and polls, made before the hub that rings them.
#[derive(Debug)]
pub struct Bells {
    polls: Vec<(Poll, Arc<Doorbell>)>,
}

impl Bells {
    /// Polls and doorbells for so many workers.
    pub fn new(workers: usize) -> io::Result<Self> {
        let bell = |_| {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            // A waker that cannot be written to is full, so the worker wakes anyway.
            let wake = Box::new(move || drop(waker.wake()));
            Ok((poll, Arc::new(Doorbell::new(wake))))
        };
        (0..workers).map(bell).collect::<io::Result<_>>().map(|polls| Self { polls })
    }

    /// The doorbells, for the hub.
    pub fn doorbells(&self) -> Vec<Arc<Doorbell>> {
        self.polls.iter().map(|(_, doorbell)| Arc::clone(doorbell)).collect()
    }
}

/// The running workers.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    workers: Vec<Running>,
    live: Arc<Live>,
    pinned: Arc<Pinned>,
}

/// What workers look at whenever they need it: it may change while they run.
#[derive(Debug)]
pub(crate) struct Live {
    /// See [`FanoutConfig::write_stall_ms_max`].
    pub(crate) write_stall_ms_max: AtomicU32,
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    members: Arc<AtomicUsize>,
    report: Arc<Report>,
    /// Taken by the one who stops it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The workers are gone, and the subscriber with them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stopped;

impl Fanout {
    /// Starts a thread per bell. `hub` rings them as its first workers.
    pub fn start(hub: Arc<Hub>, bells: Bells, config: FanoutConfig) -> io::Result<Self> {
        let live = Arc::new(Live { write_stall_ms_max: AtomicU32::new(config.write_stall_ms_max) });
        let pinned = Pinned::new(config.pinned_bytes_max, hub.workers());
        let count = bells.polls.len();
        let mut workers = Vec::with_capacity(count);
        for (index, (poll, _)) in bells.polls.into_iter().enumerate() {
            let (commands, queue) = mpsc::channel(limits::ATTACH_QUEUE_MAX);
            let report = Arc::new(Report::default());
            let pins = Pins::new(Arc::clone(&pinned));
            let (hub, live) = (Arc::clone(&hub), Arc::clone(&live));
            let worker = Worker::new(index, hub, poll, queue, live, pins, Arc::clone(&report));
            let name = format!("fanout-{index}");
            let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
            let members = Arc::new(AtomicUsize::new(0));
            workers.push(Running { commands, members, report, thread: Mutex::new(Some(thread)) });
        }
        Ok(Self { hub, workers, live, pinned })
    }

    /// A place on the worker that has the fewest members.
    pub fn seat(&self) -> Seat {
        let members = |(_, worker): &(usize, &Running)| worker.members.load(Ordering::Relaxed);
        let least = self.workers.iter().enumerate().min_by_key(members);
        let (worker, running) = least.expect("there is a worker");
        running.members.fetch_add(1, Ordering::Relaxed);
        Seat { members: Arc::clone(&running.members), worker }
    }

    /// Hands a subscriber to the worker of its seat; waits while that worker's queue is full.
    pub async fn attach(&self, attach: Box<Attach>) -> Result<(), Stopped> {
        let worker = attach.seat.worker;
        let sent = self.workers[worker].commands.send(Command::Attach(attach)).await;
        self.hub.doorbell(worker).ring();
        sent.map_err(|_| Stopped)
    }

    /// Sends all subscribers away, spread over `period_ms`; resolves when the last is gone, with
    /// how many it has sent away: others may have gone by themselves.
    pub async fn drain(&self, period_ms: u64) -> u64 {
        let mut drained = Vec::with_capacity(self.workers.len());
        for (index, worker) in self.workers.iter().enumerate() {
            let (done, gone) = oneshot::channel();
            let command = Command::Drain { period_ms, done };
            if worker.commands.send(command).await.is_ok() {
                self.hub.doorbell(index).ring();
                drained.push(gone);
            }
        }
        let mut total = 0;
        for gone in drained {
            total += gone.await.unwrap_or(0);
        }
        total
    }

    /// Takes a drain back: who was not asked to leave yet stays, and who comes from now on is
    /// served as ever. Who was asked goes. The drain resolves with how many it has sent away.
    pub async fn drain_cancel(&self) {
        for (index, worker) in self.workers.iter().enumerate() {
            // A worker that is gone has nobody to keep.
            drop(worker.commands.send(Command::DrainCancel).await);
            self.hub.doorbell(index).ring();
        }
    }

    /// How far the drain is that is under way, or was the last, as of the workers' last reports.
    pub fn drain_progress(&self) -> Progress {
        let of = |worker: &Running| {
            let told = worker.report.load();
            Progress { departed: told.departed, left: told.load.subscribers }
        };
        self.workers.iter().map(of).fold(Progress::default(), Progress::plus)
    }

    /// What slow subscribers keep in memory, for a worker of the hub that is none of these.
    pub fn pinned(&self) -> &Arc<Pinned> {
        &self.pinned
    }

    /// Changes what workers were started with. The stall limit holds from the next look at each
    /// blocked subscriber, which comes when the limit that it blocked under is over at the latest.
    pub fn set_config(&self, config: FanoutConfig) {
        self.live.write_stall_ms_max.store(config.write_stall_ms_max, Ordering::Relaxed);
        self.pinned.set_bytes_max(config.pinned_bytes_max);
        // What is held may be too much from now on.
        self.hub.ring_all();
    }

    /// Whether all workers are there; resolves when each has come to its commands, so not while
    /// one of them is stuck.
    pub async fn answers(&self) -> bool {
        let mut pongs = Vec::with_capacity(self.workers.len());
        for (index, worker) in self.workers.iter().enumerate() {
            let (ping, pong) = oneshot::channel();
            if worker.commands.send(Command::Ping(ping)).await.is_err() {
                return false;
            }
            self.hub.doorbell(index).ring();
            pongs.push(pong);
        }
        let mut all = true;
        for pong in pongs {
            all &= pong.await.is_ok();
        }
        all
    }

    /// Closes everything now and waits for the threads.
    /// An error holds the panic of a worker.
    pub async fn stop(&self) -> Result<(), Box<dyn Any + Send>> {
        for (index, worker) in self.workers.iter().enumerate() {
            // A worker that is gone already has stopped.
            drop(worker.commands.send(Command::Stop).await);
            self.hub.doorbell(index).ring();
        }
        let thread = |worker: &Running| worker.thread.lock().ok()?.take();
        self.workers.iter().filter_map(thread).try_for_each(JoinHandle::join)
    }

    /// Whether a worker has ended: by [`stop`](Self::stop), or by a panic.
    pub fn has_ended(&self) -> bool {
        let ended = |thread: &Option<JoinHandle<()>>| match thread {
            Some(thread) => thread.is_finished(),
            None => true,
        };
        self.workers.iter().any(|worker| worker.thread.lock().is_ok_and(|thread| ended(&thread)))
    }

    /// What all workers counted.
    pub fn totals(&self) -> Totals {
        self.workers.iter().fold(Totals::default(), |sum, w| sum.plus(&w.report.load().totals))
    }

    /// What each worker has to do and to hold, as of its last report; the queue of commands as of
    /// now.
    pub fn loads(&self) -> Vec<Load> {
        let of = |worker: &Running| {
            let waiting = worker.commands.max_capacity() - worker.commands.capacity();
            Load { queue_attach: waiting as u64, ..worker.report.load().load }
        };
        self.workers.iter().map(of).collect()
    }

    /// Members of each worker, those included that are on their way.
    pub fn members(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.members.load(Ordering::Relaxed)).collect()
    }
}
