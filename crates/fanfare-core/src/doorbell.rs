//! How a publisher tells a fan-out worker that a channel has something new.
//!
//! Policy: a mark is a set, one per channel and worker, never a queue of commands, so it is
//! bounded by the number of channels and a publisher never waits for a worker. The waker, a
//! system call, is only rung when the worker sleeps.

use std::{fmt, sync::Arc};

use crate::{
    channel::Channel,
    sync::{AtomicBool, Mutex, Ordering, lock},
};

/// The index of a fan-out worker.
pub type WorkerIndex = usize;

/// One worker's marks.
pub struct Doorbell {
    /// What is marked; the lock is held for a push or a swap of the list.
    marks: Mutex<Marks>,
    /// Whether `marks.journal` is set already, so that a publisher need not lock to see it.
    journal: AtomicBool,
    /// Wakes the worker; called only if it went to sleep.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// What a worker has to look at.
#[derive(Debug, Default)]
pub struct Marks {
    /// Channels with something new, each once.
    pub channels: Vec<Arc<Channel>>,
    /// Whether the journal grew.
    pub journal: bool,
    /// Whether the worker was rung for another reason, such as a command.
    pub rung: bool,
    /// Whether the worker sleeps.
    asleep: bool,
}

impl Doorbell {
    /// A doorbell that calls `wake` when its worker sleeps and something is marked.
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { marks: Mutex::default(), journal: AtomicBool::new(false), wake }
    }

    /// Marks a channel for the worker `worker`.
    pub(crate) fn mark(&self, channel: &Arc<Channel>, worker: WorkerIndex) {
        if !channel.slot(worker).mark() {
            self.update(|marks| marks.channels.push(Arc::clone(channel)));
        }
    }

    /// Marks the journal.
    pub(crate) fn mark_journal(&self) {
        if !self.journal.swap(true, Ordering::AcqRel) {
            self.update(|marks| marks.journal = true);
        }
    }

    /// Rings without a mark, for commands that travel another way.
    pub fn ring(&self) {
        self.update(|marks| marks.rung = true);
    }

    /// Takes all marks, for the worker. A channel's mark is cleared before the caller reads its
    /// ring: an event that comes after the read finds the mark clear and marks again.
    pub fn take(&self, worker: WorkerIndex, into: &mut Marks) {
        into.channels.clear();
        {
            let mut marks = lock(&self.marks);
            std::mem::swap(&mut marks.channels, &mut into.channels);
            into.journal = std::mem::take(&mut marks.journal);
            into.rung = std::mem::take(&mut marks.rung);
            marks.asleep = false;
        }
        if into.journal {
            self.journal.swap(false, Ordering::AcqRel);
        }
        for channel in &into.channels {
            channel.slot(worker).clear();
        }
    }

    /// Declares that the worker goes to sleep. False if something is marked: then it must not.
    pub fn sleep(&self) -> bool {
        let mut marks = lock(&self.marks);
        marks.asleep = marks.channels.is_empty() && !marks.journal && !marks.rung;
        marks.asleep
    }

    fn update(&self, change: impl FnOnce(&mut Marks)) {
        let asleep = {
            let mut marks = lock(&self.marks);
            change(&mut marks);
            std::mem::take(&mut marks.asleep)
        };
        if asleep {
            (self.wake)();
        }
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").finish_non_exhaustive()
    }
}
