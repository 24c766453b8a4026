//! The subscribers' ends of many connections, in a process of its own: one process may not open
//! enough files for both ends.
//!
//! `readers ADDRESS COUNT` connects so many times, one after the other. It writes one byte to
//! standard output when all are subscribers, and one for every round that all of them have got.
//! It ends when the hub closes.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    env,
    io::{self, Write},
    net::TcpStream,
};

use fanfare_benches::reading::{DEADLINE, FIRST, ROUND_BYTES_MAX, ROUND_END, read_to};

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let address = args.next().unwrap();
    let count: usize = args.next().unwrap().parse().unwrap();
    let mut buffer = vec![0; ROUND_BYTES_MAX];
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = TcpStream::connect(&address)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        // So the next one connects when the hub has taken this one, and its backlog never fills.
        read_to(&mut socket, FIRST, &mut buffer)?;
        sockets.push(socket);
    }
    loop {
        io::stdout().write_all(b".")?;
        io::stdout().flush()?;
        // A pass of the hub begins with the newest member. Whoever reads in the other order waits
        // once, for the end of the pass, and not for each member.
        for socket in &mut sockets {
            match read_to(socket, ROUND_END, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
        }
    }
}
