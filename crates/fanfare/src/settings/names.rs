//! Names: hosts, origins, networks, and the address of a collector.

use std::net::IpAddr;

use ipnet::IpNet;

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
    match text.parse::<IpNet>().or(whole) {
        Ok(network) => Ok(network.to_string()),
        Err(_) => Err(format!("`{}` is not a network or an address", text.escape_debug())),
    }
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
