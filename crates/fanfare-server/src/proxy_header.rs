//! The header of the PROXY protocol, versions 1 and 2, with which a proxy that only passes bytes
//! on says whose connection it is (haproxy.org, `doc/proxy-protocol.txt`).
//!
//! Policy: it is asked of trusted proxies only, and of all of their connections: one that may be
//! left out could be written by the client. What is no header, or too long, or too slow, ends the
//! connection.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::{PROXY_HEADER_BYTES_MAX, READ_AHEAD_BYTES};

/// Reads a header: whose connection it is, or none if it is the proxy's own, and what was read
/// beyond. The caller's clock bounds how long that takes.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<(Option<IpAddr>, BytesMut)> {
    let mut bytes = BytesMut::with_capacity(READ_AHEAD_BYTES);
    loop {
        match parse(&bytes) {
            Ok(Some((client, length))) => {
                bytes.advance(length);
                return Ok((client, bytes));
            }
            Ok(None) if bytes.len() < PROXY_HEADER_BYTES_MAX => {}
            Ok(None) | Err(NoHeader) => return Err(io::ErrorKind::InvalidData.into()),
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// These bytes do not begin with a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct NoHeader;

/// Whose connection it is and how long the header is; none if it is not whole yet.
type Parsed = Result<Option<(Option<IpAddr>, usize)>, NoHeader>;

fn parse(bytes: &[u8]) -> Parsed {
    if begins(bytes, SIGNATURE) {
        return parse_binary(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return parse_text(bytes);
    }
    Err(NoHeader)
}

/// Whether bytes begin with others, as far as they go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, expected)| byte == expected)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n`
fn parse_text(bytes: &[u8]) -> Parsed {
    let line = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < TEXT_BYTES_MAX { Ok(None) } else { Err(NoHeader) };
    };
    let text = std::str::from_utf8(&line[..end]).map_err(|_| NoHeader)?;
    let mut words = text.split(' ').skip(1);
    let client = match (words.next(), words.next()) {
        // What stands behind it says nothing.
        (Some("UNKNOWN"), _) => return Ok(Some((None, end + 2))),
        (Some("TCP4"), Some(ip)) => ip.parse::<Ipv4Addr>().map(IpAddr::V4),
        (Some("TCP6"), Some(ip)) => ip.parse::<Ipv6Addr>().map(IpAddr::V6),
        _ => return Err(NoHeader),
    };
    // The destination and both ports.
    if words.count() != 3 {
        return Err(NoHeader);
    }
    Ok(Some((Some(client.map_err(|_| NoHeader)?), end + 2)))
}

/// Twelve bytes that no other protocol begins with, version and command, family, length.
fn parse_binary(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_at_checked(SIGNATURE.len() + 4) else { return Ok(None) };
    let [version_and_command, family, length @ ..] = &head[SIGNATURE.len()..] else {
        return Err(NoHeader);
    };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if head.len() + length > PROXY_HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let client = match (version_and_command, family >> 4) {
        // A connection of the proxy itself, such as a check of health.
        (0x20, _) => None,
        (0x21, 0x1) if length >= 12 => block.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
        (0x21, 0x2) if length >= 36 => block.first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
        // An address of a kind that is no address here: a socket of Unix, or none.
        (0x21, 0x0 | 0x3) => None,
        _ => return Err(NoHeader),
    };
    Ok(Some((client, head.len() + length)))
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const TEXT_BYTES_MAX: usize = 107;
const _: () = assert!(PROXY_HEADER_BYTES_MAX > TEXT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::*;

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, block].concat()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Every way to say whose connection it is.
    fn headers() -> Vec<(Vec<u8>, Option<IpAddr>)> {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let v6 = ["2001:db8::1", "fd00::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
        let v6 = [&v6[0][..], &v6[1], &[0x12, 0x67, 0, 80]].concat();
        let with_more = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), ip("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::1 fd00::1 4711 80\r\n".to_vec(), ip("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), ip("192.0.2.1")),
            (binary(0x21, 0x11, &with_more), ip("192.0.2.1")),
            (binary(0x21, 0x21, &v6), ip("2001:db8::1")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, &[]), None),
        ]
    }

    #[tokio::test]
    async fn a_header_says_whose_connection_it_is() {
        for (header, client) in headers() {
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Ok(None), "{length} bytes of {header:?}");
            }
            let all = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&all), Ok(Some((client, header.len()))));
            let (found, beyond) = read(&mut &all[..]).await.unwrap();
            assert_eq!((found, &beyond[..]), (client, &b"GET / HTTP/1.1\r\n"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let too_long = binary(0x21, 0x11, &vec![0; PROXY_HEADER_BYTES_MAX]);
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 fd00::1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 x\r\n".to_vec(),
            b"PROXY \xff\xff\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            long,
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x41, &[0; 36]),
            too_long,
        ] {
            assert_eq!(parse(&bytes), Err(NoHeader), "{:?}", String::from_utf8_lossy(&bytes));
            let error = read(&mut &bytes[..]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let cut = read(&mut &b"PROXY TCP4"[..]).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn no_bytes_panic(
            begins in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [begins, &rest].concat();
            if let Ok(Some((_, length))) = parse(&bytes) {
                assert!(length <= bytes.len());
            }
        }

        #[test]
        fn no_text_panics(text in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,120}(\r\n)?") {
            if let Ok(Some((_, length))) = parse(text.as_bytes()) {
                assert!(length <= text.len());
            }
        }
    }
}
