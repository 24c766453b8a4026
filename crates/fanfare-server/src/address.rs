//! Whose request it is, for limits per address.
//!
//! Policy: an address is one of IPv4, or a /64 of IPv6, which is what one customer of a provider
//! has; IPv6 that only carries IPv4 is that. A connection is its peer's. A peer in a network that
//! is trusted is a proxy, and its requests are those of the right-most address that it and the
//! trusted proxies before it have told of and that is not one of them: what stands left of it
//! anybody could have written. Who is not told is the last one that is known, so that at worst all
//! are one.
//!
//! A connection for which the PROXY protocol names nobody speaks for nobody: what its client says
//! of itself must not count.
//!
//! What counts follows from that. A connection of a client of its own counts from the moment it is
//! accepted until it is closed, whatever it carries. A connection of a proxy carries many clients
//! and counts for none of them; each of their subscriptions does, for as long as it lives.

use std::net::{IpAddr, Ipv6Addr};

use hyper::{HeaderMap, header::HeaderValue};
use ipnet::IpNet;

/// What is counted as one client.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Address {
    /// An address of IPv4.
    V4(u32),
    /// The network of a /64 of IPv6.
    V6(u64),
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Peer {
    ip: IpAddr,
    /// Whether it speaks for others.
    is_proxy: bool,
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl Peer {
    /// The peer of a connection that was accepted from there.
    pub(crate) fn new(ip: IpAddr, proxies: &[IpNet]) -> Self {
        Self { ip, is_proxy: is_trusted(ip, proxies) }
    }

    /// Whether its requests are those of others.
    pub(crate) fn is_proxy(self) -> bool {
        self.is_proxy
    }

    /// Its own address.
    pub(crate) fn address(self) -> Address {
        Address::of(self.ip)
    }

    /// Whose a request is that came over its connection.
    pub(crate) fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> Address {
        if !self.is_proxy {
            return self.address();
        }
        let forwarded = hops(headers, "forwarded", forwarded_for);
        let x_forwarded_for = hops(headers, "x-forwarded-for", list_of_nodes);
        let client = |hops: &[Option<IpAddr>]| Address::of(self.behind(hops, proxies));
        match (&forwarded[..], &x_forwarded_for[..]) {
            ([], hops) | (hops, []) => client(hops),
            // A proxy writes one of them and may pass the other on, which is the client's word
            // then. It is not known which one, so a difference is no news of the client at all.
            (one, other) if client(one) == client(other) => client(one),
            _ => self.address(),
        }
    }

    /// The right-most of the hops that is not trusted, or the left-most that is known.
    fn behind(self, hops: &[Option<IpAddr>], proxies: &[IpNet]) -> IpAddr {
        let mut last = self.ip;
        for hop in hops.iter().rev() {
            let Some(ip) = hop else { break };
            last = *ip;
            if !is_trusted(last, proxies) {
                break;
            }
        }
        last
    }
}

fn is_trusted(ip: IpAddr, proxies: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    proxies.iter().any(|network| network.contains(&ip))
}

/// The hops that all headers of a name tell, the first one left; none for one that is not told.
fn hops(
    headers: &HeaderMap,
    name: &str,
    parse: fn(&str, &mut Vec<Option<IpAddr>>),
) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    for value in headers.get_all(name) {
        match HeaderValue::to_str(value) {
            Ok(text) => parse(text, &mut hops),
            Err(_) => hops.push(None),
        }
    }
    hops
}

/// `192.0.2.1, 2001:db8::1`, with ports or without.
fn list_of_nodes(text: &str, hops: &mut Vec<Option<IpAddr>>) {
    hops.extend(text.split(',').map(|text| node(text.trim())));
}

/// `for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"` (RFC 7239).
fn forwarded_for(text: &str, hops: &mut Vec<Option<IpAddr>>) {
    hops.extend(split(text, b',').map(element_for));
}

/// The address that one hop tells. What is not written as it should be tells nothing, whatever
/// stands beside it: a client may leave a quote open, so that the quotes of the proxy behind it
/// pair up wrongly and its own words stand where the proxy's should.
fn element_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let pairs = split(element, b';').map(str::trim);
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), plain(value.trim())?);
        let is_second = name.eq_ignore_ascii_case("for") && found.replace(value).is_some();
        if !is_plain(name) || is_second {
            return None;
        }
    }
    // An address has nothing that would have to be escaped.
    node(found?)
}

/// A value without its quotes: all of it is quoted, or nothing.
fn plain(value: &str) -> Option<&str> {
    let Some(quoted) = value.strip_prefix('"') else {
        return is_plain(value).then_some(value);
    };
    let inner = quoted.strip_suffix('"')?;
    let mut escaped = false;
    let is_one = inner.bytes().all(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        !ends
    });
    (is_one && !escaped).then_some(inner)
}

/// Whether it can do without quotes. Proxies do without them where the RFC does not, in ports for
/// instance.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Splits outside of quotes. A quote that is never closed holds all the rest.
fn split(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let found = text.bytes().position(|byte| {
            let splits = !quoted && byte == at;
            let ends = byte == b'"' && !escaped;
            escaped = quoted && byte == b'\\' && !escaped;
            quoted ^= ends;
            splits
        });
        let (head, tail) = match found {
            Some(index) => (&text[..index], Some(&text[index + 1..])),
            None => (text, None),
        };
        rest = tail;
        Some(head)
    })
}

/// An address with a port or without, IPv6 in brackets or bare; none if it is `unknown`, a name
/// that hides one, or nothing that is known here.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(text) = text.strip_prefix('[') {
        let (ip, _port) = text.split_once(']')?;
        return ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse().ok().or_else(|| {
        let (ip, _port) = text.split_once(':')?;
        ip.parse().ok().map(IpAddr::V4)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::*;

    fn proxies() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into()
    }

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    fn client(from: &str, pairs: &[(&'static str, &str)]) -> Address {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Peer::new(from.parse().unwrap(), &proxies()).client(&headers, &proxies())
    }

    #[test]
    fn an_address_of_ipv6_is_its_64() {
        assert_eq!(address("2001:db8:1:2::3"), address("2001:db8:1:2:ffff::4"));
        assert_ne!(address("2001:db8:1:2::3"), address("2001:db8:1:3::3"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }

    #[test]
    fn only_who_is_trusted_speaks_for_others() {
        let header = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("198.51.100.1", &header), address("198.51.100.1"));
        assert_eq!(client("10.0.0.1", &header), address("192.0.2.1"));
        assert_eq!(client("::ffff:10.0.0.1", &header), address("192.0.2.1"));
        assert_eq!(client("fd00::1", &header), address("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &[]), address("10.0.0.1"));
    }

    #[test]
    fn the_right_most_that_is_not_trusted_counts() {
        for (value, expected) in [
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1, 10.0.0.2, 10.0.0.3", "192.0.2.1"),
            ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
            ("203.0.113.9, unknown, 10.0.0.3", "10.0.0.3"),
            ("203.0.113.9, ", "10.0.0.1"),
            ("203.0.113.9,_hidden", "10.0.0.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
        ] {
            let found = client("10.0.0.1", &[("x-forwarded-for", value)]);
            assert_eq!(found, address(expected), "{value}");
        }
        // The last header is the right-most.
        let two = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &two), address("192.0.2.1"));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (value, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=203.0.113.9, FOR = \"192.0.2.43:47011\"", "192.0.2.43"),
            ("for=192.0.2.43, for=\"[fd00::2]\"", "192.0.2.43"),
            ("by=\"a,b;for=203.0.113.9\";for=192.0.2.1", "192.0.2.1"),
            ("by=\"a\\\",for=203.0.113.9\";for=192.0.2.1", "192.0.2.1"),
            ("for=203.0.113.9, for=unknown", "10.0.0.1"),
            ("for=203.0.113.9, for=_mystery", "10.0.0.1"),
            ("for=203.0.113.9, proto=https", "10.0.0.1"),
            // What a client left open must not hide what the proxy wrote behind it.
            ("for=203.0.113.9, for=\"x, for=192.0.2.1", "10.0.0.1"),
            ("", "10.0.0.1"),
            (";for=192.0.2.1;;host=a.example:8080;", "192.0.2.1"),
            // Nor must it become a part of what the client wrote before.
            ("for=203.0.113.9;x=\", for=\"[2001:db8::7]\"", "10.0.0.1"),
            ("for=203.0.113.9;x=\", for=192.0.2.1;by=\"_a\"", "10.0.0.1"),
            ("for=203.0.113.9;x=\"\\, for=\"[2001:db8::7]\"", "10.0.0.1"),
            ("for=203.0.113.9;x=\"\\\", for=192.0.2.1;by=\"\"", "10.0.0.1"),
            ("for=203.0.113.9;x=\"a\\\"", "10.0.0.1"),
            ("for=203.0.113.9;\"x\"=1", "10.0.0.1"),
            ("for=203.0.113.9;for=192.0.2.1", "10.0.0.1"),
            ("for=203.0.113.9;FOR=203.0.113.9", "10.0.0.1"),
            ("for=203.0.113.9;x", "10.0.0.1"),
            ("for=203.0.113.9;x=a b", "10.0.0.1"),
        ] {
            let found = client("10.0.0.1", &[("forwarded", value)]);
            assert_eq!(found, address(expected), "{value}");
        }
    }

    #[test]
    fn two_headers_that_differ_are_not_believed() {
        let both = |one, two| client("10.0.0.1", &[("forwarded", one), ("x-forwarded-for", two)]);
        assert_eq!(both("for=192.0.2.1", "203.0.113.9, 192.0.2.1"), address("192.0.2.1"));
        assert_eq!(both("for=192.0.2.2", "192.0.2.1"), address("10.0.0.1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_header_panics(text in "[ -~]{0,60}", other in "[for=\"\\\\\\[\\],;:.0-9a-f]{0,40}") {
            let (mut all, mut more) = (Vec::new(), Vec::new());
            for text in [&text, &other] {
                forwarded_for(text, &mut all);
                list_of_nodes(text, &mut more);
            }
            assert!(all.len() >= 2 && more.len() >= 2);
        }
    }
}
