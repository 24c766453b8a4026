//! One thread of subscribers: a runtime of its own that takes orders.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    sync::Arc,
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{AbortHandle, LocalSet, spawn_local},
};

use super::{
    Group, Transport, http1, http2,
    subscriber::{Shared, Subscriber, histogram},
    tally::{CLASSES_MAX, Tally},
};
use crate::{endpoint::Endpoint, ledger::Ids};

/// Bytes that one read takes at most.
const READ_BYTES_MAX: usize = 256 * 1024;

/// What the thread of a scenario asks of a thread of subscribers.
pub(crate) enum Order {
    /// Subscribe these channels' subscribers as group `id`.
    Subscribe { id: u32, group: Group, done: oneshot::Sender<()> },
    /// Close a group's connections.
    Cut { id: u32, done: oneshot::Sender<()> },
    /// Connect a group that was cut again, everyone with the last id it saw.
    Return { id: u32 },
    /// Cut a group and forget it.
    Leave { id: u32, done: oneshot::Sender<()> },
    /// Everyone of a group must get event `next` next.
    Expect { id: u32, next: u64 },
    /// Say how many of a group have not got event `newest[channel]` of their channel yet.
    Behind { id: u32, newest: Arc<Newest>, done: oneshot::Sender<u64> },
    /// Hand over the latencies since the last time.
    Latencies { done: oneshot::Sender<[Histogram<u64>; CLASSES_MAX]> },
    /// Hand over the ids that were seen.
    Ids { done: oneshot::Sender<HashMap<u32, Ids>> },
}

/// The number of the newest event of each channel.
pub(crate) type Newest = HashMap<u32, u64>;

/// The subscribers of a group and what keeps them connected.
struct Members {
    group: Group,
    subscribers: Vec<Rc<Subscriber>>,
    tasks: Vec<AbortHandle>,
}

/// Runs a thread until nobody can give it orders any more.
pub(crate) fn run(
    endpoint: Endpoint,
    tally: Arc<Tally>,
    mut orders: mpsc::Receiver<Order>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(Shared {
        endpoint,
        tally,
        channels: RefCell::default(),
        latencies: RefCell::new(std::array::from_fn(|_| histogram())),
        buffer: RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()),
        connections: Cell::new(0),
    });
    let mut groups: HashMap<u32, Members> = HashMap::new();
    LocalSet::new().block_on(&runtime, async move {
        while let Some(order) = orders.recv().await {
            obey(order, &mut groups, &shared);
        }
    });
    Ok(())
}

fn obey(order: Order, groups: &mut HashMap<u32, Members>, shared: &Rc<Shared>) {
    // Whoever asked may have stopped waiting; then nobody needs the answer.
    match order {
        Order::Subscribe { id, group, done } => {
            let mut members = Members::new(group);
            members.connect(shared);
            groups.insert(id, members);
            let _unwanted = done.send(());
        }
        Order::Cut { id, done } => {
            groups.get_mut(&id).into_iter().for_each(Members::cut);
            let _unwanted = done.send(());
        }
        Order::Return { id } => {
            groups.get_mut(&id).into_iter().for_each(|members| members.connect(shared));
        }
        Order::Leave { id, done } => {
            groups.remove(&id).iter_mut().for_each(Members::cut);
            let _unwanted = done.send(());
        }
        Order::Expect { id, next } => {
            for subscriber in groups.get(&id).iter().flat_map(|members| &members.subscribers) {
                let mut position = subscriber.position.get();
                position.expect(next);
                subscriber.position.set(position);
            }
        }
        Order::Behind { id, newest, done } => {
            let members = groups.get(&id);
            let behind = |subscriber: &&Rc<Subscriber>| {
                let newest = newest.get(&subscriber.channel).copied().unwrap_or(0);
                subscriber.position.get().newest() < newest
            };
            let subscribers = members.iter().flat_map(|members| &members.subscribers);
            let _unwanted = done.send(subscribers.filter(behind).count() as u64);
        }
        Order::Latencies { done } => {
            let fresh = std::array::from_fn(|_| histogram());
            let _unwanted = done.send(shared.latencies.replace(fresh));
        }
        Order::Ids { done } => {
            let seen = shared.channels.take().into_iter();
            let _unwanted = done.send(seen.map(|(channel, seen)| (channel, seen.ids)).collect());
        }
    }
}

impl Members {
    fn new(group: Group) -> Self {
        let subscriber = |channel: &u32| {
            Rc::new(Subscriber {
                channel: *channel,
                channels: group.channels_each,
                class: group.class,
                reading: group.reading,
                position: Cell::default(),
                last_id: RefCell::default(),
                is_done: Cell::default(),
            })
        };
        let subscribers = group.channels.iter().map(subscriber).collect();
        Self { group, subscribers, tasks: Vec::new() }
    }

    fn connect(&mut self, shared: &Rc<Shared>) {
        let connecting = Rc::new(Semaphore::new(self.group.connecting_max));
        let spawn = |subscribers: &[Rc<Subscriber>]| {
            let (shared, connecting) = (Rc::clone(shared), Rc::clone(&connecting));
            let task = match (self.group.transport, subscribers) {
                (Transport::Http1, [one]) => {
                    spawn_local(http1::subscribe(Rc::clone(one), shared, connecting))
                }
                _ => spawn_local(http2::subscribe(subscribers.to_vec(), shared, connecting)),
            };
            task.abort_handle()
        };
        self.tasks = self.subscribers.chunks(self.group.transport.streams()).map(spawn).collect();
    }

    fn cut(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}
