//! A fleet of subscribers: threads that hold connections, read them as they are told, and check
//! every event that comes.

mod http1;
mod http2;
mod known;
mod subscriber;
mod tally;
mod thread;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::AtomicU32, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use self::thread::Order;
pub(crate) use self::{
    subscriber::{Reading, histogram},
    tally::{CLASSES_MAX, Counts, Tally},
    thread::Newest,
};
use crate::{cpus::Cpus, endpoint::Endpoint, ledger::Ids};

/// How streams travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    /// One connection each.
    Http1,
    /// So many streams on each connection.
    Http2(usize),
}

impl Transport {
    fn streams(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2(streams) => streams,
        }
    }
}

/// Subscribers that come and go together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The channel of each, by index.
    pub(crate) channels: Vec<u32>,
    /// How many channels each subscribes to: its own and those after it (the hub's only).
    pub(crate) channels_each: u32,
    /// Which counters and latencies they add to, below [`CLASSES_MAX`].
    pub(crate) class: usize,
    pub(crate) transport: Transport,
    pub(crate) reading: Reading,
    /// How many of a thread may be connecting at once.
    pub(crate) connecting_max: usize,
}

impl Group {
    /// Subscribers of HTTP/1.1 that read as fast as they can.
    pub(crate) fn new(channels: Vec<u32>) -> Self {
        Self {
            channels,
            channels_each: 1,
            class: 0,
            transport: Transport::Http1,
            reading: Reading::Fast,
            connecting_max: 512,
        }
    }
}

/// A group that was subscribed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupId(u32);

/// How long connecting, or catching up, may make no progress before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often counters are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Orders that may wait for a thread.
const ORDERS_MAX: usize = 64;

/// The threads.
#[derive(Debug)]
pub(crate) struct Fleet {
    threads: Vec<mpsc::Sender<Order>>,
    handles: Vec<JoinHandle<io::Result<()>>>,
    tally: Arc<Tally>,
    groups: AtomicU32,
}

impl Fleet {
    /// Starts threads on `cpus`.
    pub(crate) fn start(endpoint: &Endpoint, threads: usize, cpus: &Cpus) -> io::Result<Self> {
        let tally = Arc::new(Tally::default());
        let start = |index: usize| {
            let (sender, orders) = mpsc::channel(ORDERS_MAX);
            let (endpoint, tally, cpus) = (endpoint.clone(), Arc::clone(&tally), cpus.clone());
            let handle = std::thread::Builder::new()
                .name(format!("subscribers-{index}"))
                .spawn(move || cpus.enter().and_then(|()| thread::run(endpoint, tally, orders)))?;
            Ok((sender, handle))
        };
        let started = (0..threads.max(1)).map(start).collect::<io::Result<Vec<_>>>()?;
        let (threads, handles) = started.into_iter().unzip();
        Ok(Self { threads, handles, tally, groups: AtomicU32::new(0) })
    }

    /// What they count.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Subscribes a group, spread over the threads, without waiting for its connections.
    pub(crate) async fn subscribe(&self, group: Group) -> io::Result<GroupId> {
        let id = self.groups.fetch_add(1, Relaxed);
        let share = group.channels.len().div_ceil(self.threads.len()).max(1);
        let share = share.next_multiple_of(group.transport.streams());
        let shares: Vec<Vec<u32>> = group.channels.chunks(share).map(<[u32]>::to_vec).collect();
        for (thread, channels) in self.threads.iter().zip(shares) {
            let group = Group { channels, ..group.clone() };
            ask(thread, |done| Order::Subscribe { id, group, done }).await?;
        }
        Ok(GroupId(id))
    }

    /// Subscribes a group and waits until all of it has connected.
    pub(crate) async fn join(&self, group: Group) -> io::Result<GroupId> {
        let (class, more) = (group.class, group.channels.len() as u64);
        // Not those that are connected: some of a group that left just now still count as that.
        let before = self.tally.of(class).connects;
        let id = self.subscribe(group).await?;
        let mut last = (before, Instant::now());
        loop {
            let counts = self.tally.of(class);
            if counts.connects >= before + more {
                return Ok(id);
            }
            if counts.connects != last.0 {
                last = (counts.connects, Instant::now());
            }
            if last.1.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "only {} of {more} subscribers connected, {} attempts failed",
                    counts.connects - before,
                    counts.refused
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Closes a group's connections; the hub is told by the kernel alone.
    pub(crate) async fn cut(&self, GroupId(id): GroupId) -> io::Result<()> {
        for thread in &self.threads {
            ask(thread, |done| Order::Cut { id, done }).await?;
        }
        Ok(())
    }

    /// Connects a group that was cut again, everyone after the last event that it saw.
    pub(crate) async fn come_back(&self, GroupId(id): GroupId) -> io::Result<()> {
        for thread in &self.threads {
            thread.send(Order::Return { id }).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Cuts a group and forgets it.
    pub(crate) async fn leave(&self, GroupId(id): GroupId) -> io::Result<()> {
        for thread in &self.threads {
            ask(thread, |done| Order::Leave { id, done }).await?;
        }
        Ok(())
    }

    /// Says that everyone of a group must get event `next` of its channel next.
    pub(crate) async fn expect(&self, GroupId(id): GroupId, next: u64) -> io::Result<()> {
        for thread in &self.threads {
            thread.send(Order::Expect { id, next }).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// How many of a group have not got the newest event of their channel.
    pub(crate) async fn behind(
        &self,
        GroupId(id): GroupId,
        newest: &Arc<Newest>,
    ) -> io::Result<u64> {
        let mut behind = 0;
        for thread in &self.threads {
            let newest = Arc::clone(newest);
            behind += ask(thread, |done| Order::Behind { id, newest, done }).await?;
        }
        Ok(behind)
    }

    /// Waits until all of a group have got the newest event of their channel; returns how many
    /// have not when nothing comes any more.
    pub(crate) async fn caught_up(&self, group: GroupId, newest: Newest) -> io::Result<u64> {
        let newest = Arc::new(newest);
        let mut last = (0, Instant::now());
        loop {
            let behind = self.behind(group, &newest).await?;
            let events = self.tally.all().events;
            if behind == 0 || (events == last.0 && last.1.elapsed() > PATIENCE / 4) {
                return Ok(behind);
            }
            if events != last.0 {
                last = (events, Instant::now());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The latencies since the last time, in nanoseconds, by class.
    pub(crate) async fn latencies(&self) -> io::Result<[Histogram<u64>; CLASSES_MAX]> {
        let mut all = std::array::from_fn(|_| histogram());
        for thread in &self.threads {
            let some = ask(thread, |done| Order::Latencies { done }).await?;
            for (all, some) in all.iter_mut().zip(&some) {
                all.add(some).map_err(io::Error::other)?;
            }
        }
        Ok(all)
    }

    /// Compares the ids and data that all threads and the publishers saw; returns how many differ.
    pub(crate) async fn disagreements(&self, published: &HashMap<u32, Ids>) -> io::Result<u64> {
        let mut all = published.clone();
        let mut differ = 0;
        for thread in &self.threads {
            for (channel, ids) in ask(thread, |done| Order::Ids { done }).await? {
                differ += all.entry(channel).or_default().merge(&ids);
            }
        }
        Ok(differ)
    }
}

impl Drop for Fleet {
    /// Waits until all connections are closed, so that closing them is no load for what comes next.
    fn drop(&mut self) {
        self.threads.clear();
        for handle in self.handles.drain(..) {
            // Whoever asked a thread that failed was told so.
            let _told = handle.join();
        }
    }
}

/// Gives an order that is answered.
async fn ask<T>(
    thread: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> io::Result<T> {
    let (done, answer) = oneshot::channel();
    thread.send(order(done)).await.map_err(io::Error::other)?;
    answer.await.map_err(io::Error::other)
}
