//! A subscriber's end of its connection: blocking reads up to bytes that are known to come last.

use std::{
    io::{self, Read},
    net::TcpStream,
    time::Duration,
};

/// How long anything may take before a bench fails: less than the time between two heartbeats,
/// which would hide that nothing else comes.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The first that a subscriber gets: a comment in a chunk of its own.
pub const FIRST: &[u8] = b"2\r\n:\n\r\n";
/// What the data of the event that ends a round ends with.
pub const LAST: &str = "last";
/// What the bytes of a round end with: those of its last event.
pub const ROUND_END: &[u8] = b"last\n\n\r\n";
/// Bytes that a round may have for one subscriber.
pub const ROUND_BYTES_MAX: usize = 256 * 1024;

/// Data of so many bytes for an event; the last one of a round ends with [`LAST`].
pub fn data(bytes: usize, is_last: bool) -> String {
    let end = if is_last { LAST } else { "" };
    "x".repeat(bytes - end.len()) + end
}

/// Reads until what came ends with `end`. An end of the connection before that, or a full
/// `buffer`, is [`io::ErrorKind::UnexpectedEof`].
pub fn read_to(socket: &mut TcpStream, end: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    let mut len = 0;
    while !buffer[..len].ends_with(end) {
        match socket.read(&mut buffer[len..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    }
    Ok(())
}
