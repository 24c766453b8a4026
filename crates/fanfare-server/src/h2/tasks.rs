//! The tasks in which hyper serves the streams of a connection, so that one of them can be ended.
//!
//! A body ends its stream when it is asked for more. One that was given a window of nothing is
//! never asked again, and only its task can be ended.

use std::sync::{Arc, Mutex, OnceLock};

use hyper::rt::Executor;
use tokio::{sync::Notify, task::AbortHandle};

use super::lock;

/// Spawns the tasks of one connection.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// For the task that is spawned next.
    next: Mutex<Option<Arc<OnceLock<AbortHandle>>>>,
    /// Told when the connection is to end if its peer takes nothing.
    needed: Arc<Notify>,
}

/// What ends a stream from outside.
#[derive(Clone)]
pub(crate) struct End {
    task: Arc<OnceLock<AbortHandle>>,
    needed: Arc<Notify>,
}

impl Tasks {
    /// What ends the stream of the request that is being taken: hyper spawns its task right after
    /// it has called the service.
    pub(crate) fn end_of_next(&self) -> End {
        let task = Arc::default();
        *lock(&self.0.next) = Some(Arc::clone(&task));
        End { task, needed: Arc::clone(&self.0.needed) }
    }

    /// Resolves when what the streams of this connection hold is needed: if the socket takes
    /// nothing, only the end of the connection frees it.
    pub(crate) async fn needed(&self) {
        self.0.needed.notified().await;
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        let task = lock(&self.0.next).take();
        let handle = tokio::spawn(future).abort_handle();
        if let Some(task) = task {
            // It was made for this task only.
            task.set(handle).unwrap_or_default();
        }
    }
}

impl End {
    /// Ends the task and with it the stream.
    pub(crate) fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Asks the connection to end if its peer takes nothing.
    pub(super) fn need(&self) {
        self.needed.notify_one();
    }
}
