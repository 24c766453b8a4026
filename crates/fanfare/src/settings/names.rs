//! Names: hosts, origins, networks, and the address of a collector.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Reads a host name without port, or `*`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    if text == "*" || is_host(text) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("`{}` is not a host name without port", text.escape_debug()))
}

/// Reads an origin as browsers send it, or `*`.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is not an origin: scheme, host, no path", text.escape_debug());
    if text == "*" {
        return Ok(text.to_owned());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (name, port) = split_port(rest);
    let is_scheme = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    if is_scheme && is_host(name) && port.is_none_or(is_port) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(wrong())
}

/// Reads a network, or an address as the network of it alone.
pub(crate) fn network(text: &str) -> Result<String, String> {
    let whole = text.parse().map(|address: IpAddr| IpNet::from(address));
    let network = text.parse::<IpNet>().or(whole).ok().and_then(plain);
    let network = network.map(|network| network.to_string());
    network.ok_or_else(|| format!("`{}` is not a network or an address", text.escape_debug()))
}

/// A network of IPv4 that is written as one of IPv6 is that of IPv4, because the addresses that it
/// is compared with are plain too. One that begins there and has others besides is neither.
fn plain(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(six) = network else { return Some(network) };
    let Some(address) = six.addr().to_ipv4_mapped() else { return Some(network) };
    let length = six.prefix_len().checked_sub(MAPPED_BITS)?;
    Ipv4Net::new(address, length).ok().map(IpNet::V4)
}

/// Reads the base URL of a collector, or nothing.
pub(crate) fn collector(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is not such a URL", text.escape_debug());
    if text.is_empty() {
        return Ok(String::new());
    }
    let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
    let (name, port) = split_port(rest.trim_end_matches('/'));
    if is_host(name) && port.is_none_or(is_port) { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// Whether it is a name or an address, `[::1]` with its brackets.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.chars().all(is_letter)
}

/// The host, and what stands after the colon if there is one outside of brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_port(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Bits before an address of IPv4 that is written as one of IPv6, `::ffff:192.0.2.1`.
const MAPPED_BITS: u8 = 96;
/// The longest name that DNS holds.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["*", "events.example", "10.0.0.7", "[::1]", "my_host"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        assert_eq!(host("Events.Example").as_deref(), Ok("events.example"));
        for bad in ["", "a:80", "http://a", "a/b", "*.example", "[::1", "::1", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks() {
        for (good, means) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:a00:1", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(network(good).as_deref(), Ok(means));
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "a.example", "::ffff:10.0.0.0/95"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins() {
        for good in ["*", "https://app.example", "http://localhost:5173", "http://[::1]:80"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "app.example", "https://", "https://a/", "https://a:b", "https://a:", "://a"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
