//! A path with its subscribers: a flat vector of sockets, and the loop over it.

use std::io::{ErrorKind, Write};

use mio::net::TcpStream;

use crate::bare::history::History;

/// One path.
pub(super) struct Channel {
    /// For the lines on standard error.
    pub(super) path: String,
    /// Who gets its events.
    pub(super) subscribers: Vec<Subscriber>,
    /// What those get who come back.
    pub(super) history: History,
}

/// A subscriber that has everything so far.
pub(super) struct Subscriber {
    pub(super) socket: TcpStream,
    /// Its key among the peers, for when its place changes.
    pub(super) key: usize,
}

/// A subscriber that did not take a frame whole.
pub(super) struct Failed {
    /// Its index among the subscribers.
    pub(super) place: usize,
    /// Whether its socket was full; otherwise its peer is gone.
    pub(super) is_full: bool,
}

/// The floor: one `send` of the same bytes per subscriber, and nothing else. Adds to `failed` in
/// the order of places.
pub(super) fn send_to_all(subscribers: &mut [Subscriber], frame: &[u8], failed: &mut Vec<Failed>) {
    for (place, subscriber) in subscribers.iter_mut().enumerate() {
        match subscriber.socket.write(frame) {
            Ok(sent) if sent == frame.len() => {}
            Ok(_) => failed.push(Failed { place, is_full: true }),
            Err(error) => {
                failed.push(Failed { place, is_full: error.kind() == ErrorKind::WouldBlock });
            }
        }
    }
}

/// Writes the event `bare-<number>` as a chunk of an event stream.
pub(super) fn encode(frame: &mut Vec<u8>, number: u64, data: &[u8]) {
    let digits = number.ilog10() as usize + 1;
    let len = "id: bare-\ndata: \n\n".len() + digits + data.len();
    frame.clear();
    // Writing to a vector does not fail.
    drop(write!(frame, "{len:x}\r\nid: bare-{number}\ndata: "));
    frame.extend_from_slice(data);
    frame.extend_from_slice(b"\n\n\r\n");
}

#[cfg(test)]
mod tests {
    use std::net;

    use super::*;

    #[test]
    fn a_frame_that_is_not_taken_whole_is_a_failure() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut subscribers = Vec::new();
        let mut clients = Vec::new();
        for key in 0..3 {
            clients.push(net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            subscribers.push(Subscriber { socket: TcpStream::from_std(socket), key });
        }
        subscribers[1].socket.shutdown(net::Shutdown::Write).unwrap();
        // The first time the sockets take a part of it, the second time nothing.
        let frame = vec![0; 64 * 1024 * 1024];
        for _ in 0..2 {
            let mut failed = Vec::new();
            send_to_all(&mut subscribers, &frame, &mut failed);
            let failed: Vec<_> = failed.iter().map(|f| (f.place, f.is_full)).collect();
            assert_eq!(failed, [(0, true), (1, false), (2, true)]);
        }
    }
}
