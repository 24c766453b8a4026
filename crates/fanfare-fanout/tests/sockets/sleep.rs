//! When a worker may sleep: only when nothing is left to do, of whatever kind.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::{
    peer::Peer,
    rig::{Asked, Rig},
};

#[test]
fn a_command_is_never_lost_beside_an_event() {
    let rig = Rig::new(1);
    let mut first = rig.subscribe(&["a"], &Asked::default());
    first.read_first();
    let mut others = Vec::new();
    for index in 0..4_000 {
        let (attach, mut peer) = rig.prepare(&["b"], &Asked::default());
        let seq = rig.publish("a", "x");
        // The event wakes the worker, and the command comes at any moment of its next round.
        let began = Instant::now();
        while began.elapsed() < Duration::from_nanos(index % 200 * 400) {
            std::hint::spin_loop();
        }
        rig.attach(attach);
        peer.read_first();
        first.read_to(seq);
        others.push(peer);
        others.drain(..others.len().saturating_sub(50));
    }
}

#[test]
fn a_walk_goes_on_until_it_is_at_the_end() {
    let rig = Rig::new(1);
    let mut peer = rig.subscribe(&["a/*"], &Asked::default());
    peer.read_first();
    let hold = Hold::on(&rig);
    // Far more than one walk sees, and nothing after it that would wake the worker again.
    for _ in 0..5_000 {
        rig.publish("b/1", "x");
    }
    let last = rig.publish("a/1", "x");
    drop(hold);
    peer.read_to(last);
    rig.check_exact(&peer, last);
}

#[test]
fn what_came_while_the_worker_was_away_is_delivered_at_once() {
    let rig = Rig::new(1);
    let mut peers: Vec<_> = (0..200).map(|_| rig.subscribe(&["a"], &Asked::default())).collect();
    peers.iter_mut().for_each(Peer::read_first);
    let hold = Hold::on(&rig);
    let last = (0..1_000).map(|_| rig.publish("a", "x")).last().unwrap();
    drop(hold);
    for peer in &mut peers {
        peer.read_to(last);
        rig.check_exact(peer, last);
    }
}

/// Holds the worker up until it is dropped: the permit of a member that leaves wakes who waits for
/// it, on the worker's thread, and that one does not come back.
struct Hold {
    _release: mpsc::Sender<()>,
}

impl Hold {
    fn on(rig: &Rig) -> Self {
        let semaphore = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&semaphore).try_acquire_owned().unwrap();
        let (mut attach, mut peer) = rig.prepare(&["held"], &Asked::default());
        attach.permit = Some(Box::new(permit));
        rig.attach(attach);
        peer.read_first();
        let (release, released) = mpsc::channel();
        let (held, is_held) = mpsc::channel();
        let waker = Waker::from(Arc::new(Stuck { held, released: Mutex::new(released) }));
        std::thread::spawn(move || {
            let mut wait = pin!(semaphore.acquire());
            let mut context = Context::from_waker(&waker);
            assert!(matches!(wait.as_mut().poll(&mut context), Poll::Pending));
            peer.cut();
            // The wait must be there when the permit comes back.
            is_held.recv().unwrap();
            is_held
        })
        .join()
        .unwrap();
        Self { _release: release }
    }
}

struct Stuck {
    held: mpsc::Sender<()>,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Wake for Stuck {
    fn wake(self: Arc<Self>) {
        self.held.send(()).unwrap();
        // It ends when the other side is dropped.
        self.released.lock().unwrap().recv().unwrap_err();
    }
}
