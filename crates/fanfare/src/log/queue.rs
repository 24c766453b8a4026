//! Lines on their way to standard error. A thread of its own writes them, so that nobody waits for
//! whoever reads them; when the queue is full, lines are dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

use fanfare_server::ProcessCounts;
use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{LOG_FLUSH_TIME_MAX, LOG_LINES_MAX};

/// Takes lines, and never waits.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: SyncSender<Item>,
    counts: Arc<ProcessCounts>,
}

enum Item {
    Line(Vec<u8>),
    /// Dropped when everything before it is written.
    Flush(#[expect(dead_code, reason = "its end is what counts")] SyncSender<()>),
}

impl Queue {
    /// Starts the thread that writes.
    pub(crate) fn start(
        to: impl Write + Send + 'static,
        counts: Arc<ProcessCounts>,
    ) -> io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(LOG_LINES_MAX);
        let told = Arc::clone(&counts);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&items, to, &told))?;
        Ok(Self { sender, counts })
    }

    /// Waits until what is queued is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (flush, written) = mpsc::sync_channel(0);
        // A full queue is one that nobody reads.
        if self.sender.try_send(Item::Flush(flush)).is_ok() {
            written.recv_timeout(LOG_FLUSH_TIME_MAX).unwrap_or_default();
        }
    }
}

impl Write for &Queue {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Item::Line(line.to_vec())) {
            self.counts.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

fn write(items: &Receiver<Item>, mut to: impl Write, counts: &ProcessCounts) {
    let mut told = 0;
    for item in items {
        let Item::Line(line) = item else { continue };
        // There is nobody to tell that it cannot be told.
        drop(to.write_all(&line));
        let dropped = counts.log_lines_dropped.load(Ordering::Relaxed);
        if told < dropped {
            tracing::warn!(lines = dropped - told, "log lines were dropped: nobody took them");
            told = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool};

    use super::*;

    /// What was written; nothing more is while it is locked.
    #[derive(Clone, Default)]
    struct Written(Arc<(Mutex<Vec<u8>>, AtomicBool)>);

    impl Written {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn is_waiting(&self) -> bool {
            self.0.1.load(Ordering::SeqCst)
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.1.store(true, Ordering::SeqCst);
            self.bytes().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order() {
        let written = Written::default();
        let queue = Queue::start(written.clone(), Arc::default()).unwrap();
        for line in ["a\n", "b\n", "c\n"] {
            queue.make_writer().write_all(line.as_bytes()).unwrap();
        }
        queue.flush();
        assert_eq!(*written.bytes(), b"a\nb\nc\n");
    }

    #[test]
    fn who_logs_never_waits_and_what_is_dropped_is_counted() {
        let (written, counts) = (Written::default(), Arc::<ProcessCounts>::default());
        let queue = Queue::start(written.clone(), Arc::clone(&counts)).unwrap();
        let blocked = written.bytes();
        queue.make_writer().write_all(b"0").unwrap();
        while !written.is_waiting() {
            thread::yield_now();
        }
        for _ in 0..LOG_LINES_MAX + 3 {
            queue.make_writer().write_all(b"1").unwrap();
        }
        assert_eq!(counts.log_lines_dropped.load(Ordering::Relaxed), 3);
        queue.flush();
        drop(blocked);
    }
}
