//! Safe defaults: which `Host` a request may name, and which pages may read or publish.
//!
//! Policy: a web page anywhere can make its reader's browser send requests here. A name that an
//! attacker points at this hub (DNS rebinding) is refused by the `Host` check; a simple POST from
//! a foreign page is refused by its `Origin`; what a foreign page may GET is answered, but without
//! the headers that would let it read the answer. On the operators' listener only its own pages
//! are accepted, whatever `cors_origins` says.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri, header,
    header::{HeaderName, HeaderValue},
};

use crate::{
    body::Body,
    config::Config,
    limits::PREFLIGHT_AGE_S,
    problem::{Kind, Problem},
};

/// Which listener a request came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listener {
    Admin,
    Public,
}

/// The page that a request came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// No page.
    Absent,
    /// One that may read the answer; holds what the answer says to that.
    Accepted(HeaderValue),
    /// One that may not.
    Foreign,
}

impl Listener {
    /// Lets a request in if each host that it names is one of the hub's.
    pub(crate) fn check_host(
        self,
        config: &Config,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = named.next();
        if named.next().is_some() {
            return Err(Problem::new(Kind::Host, "the request has two `Host` headers"));
        }
        let host = host.map(|value| value.to_str().unwrap_or_default());
        let authority = uri.authority().map(|authority| authority.as_str());
        if host.is_none() && authority.is_none() {
            return Err(Problem::new(Kind::Host, "the request has no `Host` header"));
        }
        [authority, host].into_iter().flatten().try_for_each(|text| {
            let wrong = || Problem::new(Kind::Host, "the request's `Host` is no host with a port");
            let host = host_of(text).ok_or_else(wrong)?;
            if self.is_allowed(config, host) { Ok(()) } else { Err(self.refuse(host)) }
        })
    }

    fn is_allowed(self, config: &Config, host: &str) -> bool {
        let bare = bare(host);
        let literal = || bare.parse::<IpAddr>().ok();
        is_loopback_name(host)
            || config.allowed_hosts.iter().any(|allowed| allowed == "*" || is_named(allowed, host))
            || literal().is_some_and(|ip| {
                let listen = self.listen(config).ip();
                // No DNS name can be made to look like an address: probes and scrapers that use
                // one are safe where the operators' listener was opened on purpose.
                (ip == listen && ip.is_loopback())
                    || (self == Self::Admin && config.insecure_open_admin)
            })
    }

    fn listen(self, config: &Config) -> SocketAddr {
        match self {
            Self::Admin => config.admin_listen,
            Self::Public => config.listen,
        }
    }

    fn refuse(self, host: &str) -> Problem {
        let host = &host[..host.len().min(HOST_SHOWN_BYTES_MAX)];
        let detail = format!(
            "`{}` is no host of this hub; allowed are localhost, 127.0.0.1, [::1] and what \
             --allowed-host names",
            host.escape_debug()
        );
        Problem::new(Kind::HostNotAllowed, detail)
    }

    /// Judges the `Origin` of a request whose host was let in.
    pub(crate) fn origin(self, config: &Config, uri: &Uri, headers: &HeaderMap) -> Origin {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(value) = values.next() else { return Origin::Absent };
        let (None, Ok(origin)) = (values.next(), value.to_str()) else { return Origin::Foreign };
        if self == Self::Public {
            if config.cors_origins.iter().any(|allowed| allowed == "*") {
                return Origin::Accepted(HeaderValue::from_static("*"));
            }
            if config.cors_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
                return Origin::Accepted(value.clone());
            }
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let target = uri.authority().map(|authority| authority.as_str()).or(host);
        let own = origin
            .split_once("://")
            .filter(|(scheme, _)| PAGE_SCHEMES.iter().any(|own| own.eq_ignore_ascii_case(scheme)))
            .is_some_and(|(_, authority)| self.is_own(config, authority, target));
        if own { Origin::Accepted(value.clone()) } else { Origin::Foreign }
    }

    /// Whether pages of this authority are the hub's own: the one that the request itself names,
    /// or on the public listener any port of a host that is the hub's by name.
    fn is_own(self, config: &Config, authority: &str, target: Option<&str>) -> bool {
        let Some(host) = host_of(authority) else { return false };
        if target.is_some_and(|target| target.eq_ignore_ascii_case(authority)) {
            return true;
        }
        let by_name = config.allowed_hosts.iter().any(|allowed| is_named(allowed, host));
        let loopback = config.listen.ip().is_loopback() && is_loopback_name(host);
        self == Self::Public && (by_name || loopback)
    }
}

impl Origin {
    /// Lets a request change something unless it came from a foreign page.
    pub(crate) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        if *self != Self::Foreign || matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        {
            return Ok(());
        }
        let detail = "a page of this `Origin` may not publish or delete here; accepted are the \
                      hub's own pages and what --cors-origin names";
        Err(Problem::new(Kind::OriginNotAllowed, detail))
    }

    /// The headers that an answer carries because of it.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let vary = [(header::VARY, HeaderValue::from_static("Origin"))];
        let accepted = match self {
            Self::Absent | Self::Foreign => None,
            Self::Accepted(origin) => Some([
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
            ]),
        };
        vary.into_iter().chain(accepted.into_iter().flatten())
    }

    /// Adds them to an answer.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers());
    }

    /// The answer to `OPTIONS`.
    pub(crate) fn preflight(&self, methods: &'static str) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        if matches!(self, Self::Accepted(_)) {
            let pairs = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS)),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S.into()),
            ];
            headers.extend(pairs);
        }
        response
    }
}

/// The host of an authority, brackets included; none if it is no host with or without a port.
fn host_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + "[]".len(),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let digits = |digits: &str| digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    (!host.is_empty() && port_is_fine && host.is_ascii()).then_some(host)
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_loopback_name(host: &str) -> bool {
    LOOPBACK_NAMES.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn is_named(allowed: &str, host: &str) -> bool {
    bare(allowed).eq_ignore_ascii_case(bare(host))
}

/// What the pages of a hub come by. An extension of a browser, too, names itself as an origin.
const PAGE_SCHEMES: [&str; 2] = ["http", "https"];
/// What loopback is called in a `Host`.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
/// Bytes of a refused host that are told back.
const HOST_SHOWN_BYTES_MAX: usize = 255;
const METHODS: &str = "GET, POST, DELETE, OPTIONS";
const HEADERS: &str = "Last-Event-ID, Authorization, Cache-Control, Content-Type, Idempotency-Key, \
                       Producer-Id, Producer-Epoch, Producer-Seq";
const EXPOSED: &str = "Fanfare-Last-Event-Id, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, \
                       Producer-Received-Seq";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |text| HeaderValue::from_str(text).unwrap();
        let mut map = HeaderMap::new();
        for (name, text) in pairs {
            map.append(name, value(text));
        }
        map
    }

    fn host(listener: Listener, config: &Config, host: &str) -> Option<Kind> {
        let headers = headers(&[(header::HOST, host)]);
        listener.check_host(config, &"/".parse().unwrap(), &headers).err().map(|p| p.kind())
    }

    fn origin(listener: Listener, config: &Config, host: &str, origin: &str) -> Origin {
        let headers = headers(&[(header::HOST, host), (header::ORIGIN, origin)]);
        listener.origin(config, &"/".parse().unwrap(), &headers)
    }

    #[test]
    fn hosts_are_checked() {
        let mut config = testing::config();
        config.allowed_hosts = vec!["hub.example".into(), "::2".into()];
        for good in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:1", "[::1]", "[::2]:9"] {
            assert_eq!(host(Listener::Public, &config, good), None, "{good}");
        }
        assert_eq!(host(Listener::Public, &config, "Hub.example:443"), None);
        let no = Some(Kind::HostNotAllowed);
        for bad in ["evil.example", "localhost.evil.example", "a@localhost", "10.0.0.1", "::1"] {
            assert!(host(Listener::Public, &config, bad).is_some(), "{bad}");
        }
        for bad in ["", "localhost:x", "localhost:1:2", "[::1", "[::1]x", "::1"] {
            assert_eq!(host(Listener::Public, &config, bad), Some(Kind::Host), "{bad}");
        }
        assert_eq!(host(Listener::Admin, &config, "10.0.0.1:8081"), no);
        config.insecure_open_admin = true;
        assert_eq!(host(Listener::Admin, &config, "10.0.0.1:8081"), None);
        assert_eq!(host(Listener::Admin, &config, "evil.example:8081"), no);
        assert_eq!(host(Listener::Public, &config, "10.0.0.1:8081"), no);
        config.allowed_hosts.push("*".into());
        assert_eq!(host(Listener::Public, &config, "evil.example"), None);
    }

    #[test]
    fn a_request_names_one_host() {
        let config = testing::config();
        let check = |uri: &str, hosts: &[&str]| {
            let pairs: Vec<_> = hosts.iter().map(|host| (header::HOST, *host)).collect();
            let uri = uri.parse().unwrap();
            Listener::Public.check_host(&config, &uri, &headers(&pairs)).map_err(|p| p.kind())
        };
        assert_eq!(check("/", &[]), Err(Kind::Host));
        assert_eq!(check("/", &["localhost", "localhost"]), Err(Kind::Host));
        assert_eq!(check("http://localhost/", &[]), Ok(()));
        assert_eq!(check("http://evil/", &["localhost"]), Err(Kind::HostNotAllowed));
        assert_eq!(check("http://localhost/", &["evil"]), Err(Kind::HostNotAllowed));
    }

    #[test]
    fn origins_are_judged() {
        let mut config = testing::config();
        config.allowed_hosts = vec!["hub.example".into()];
        config.cors_origins = vec!["https://app.example".into()];
        let accepted = |listener, host, from| {
            matches!(origin(listener, &config, host, from), Origin::Accepted(_))
        };
        for good in [
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://hub.example",
            "https://app.example",
        ] {
            assert!(accepted(Listener::Public, "127.0.0.1:8080", good), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://evil.example",
            "https://app.example.evil.example",
            "https://app.example:444",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "http://localhost:3000/path",
            "chrome-extension://localhost",
            "file://localhost",
            "://localhost",
            "localhost",
        ] {
            assert!(!accepted(Listener::Public, "127.0.0.1:8080", bad), "{bad}");
        }
        assert!(accepted(Listener::Admin, "127.0.0.1:8081", "http://127.0.0.1:8081"));
        for bad in [
            "http://127.0.0.1:8080",
            "https://app.example",
            "https://hub.example",
            "chrome-extension://127.0.0.1:8081",
        ] {
            assert!(!accepted(Listener::Admin, "127.0.0.1:8081", bad), "{bad}");
        }
    }

    #[test]
    fn a_star_does_not_make_every_origin_the_hubs_own() {
        let mut config = testing::config();
        config.listen = "0.0.0.0:80".parse().unwrap();
        config.allowed_hosts = vec!["*".into()];
        let evil = origin(Listener::Public, &config, "hub.example", "https://evil.example");
        assert_eq!(evil, Origin::Foreign);
        assert!(
            evil.check_method(&Method::POST).is_err() && evil.check_method(&Method::GET).is_ok()
        );
        let own = origin(Listener::Public, &config, "hub.example", "https://hub.example");
        assert!(own.check_method(&Method::DELETE).is_ok());
        let local = origin(Listener::Public, &config, "hub.example", "http://localhost:3000");
        assert_eq!(local, Origin::Foreign);
        config.cors_origins = vec!["*".into()];
        let any = origin(Listener::Public, &config, "hub.example", "null");
        assert_eq!(any, Origin::Accepted(HeaderValue::from_static("*")));
    }

    #[test]
    fn preflights_tell_only_accepted_origins() {
        let accepted = Origin::Accepted(HeaderValue::from_static("https://a.example"));
        let mut response = accepted.preflight("GET");
        accepted.add_to(response.headers_mut());
        let headers = response.headers();
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "86400");
        assert_eq!(headers[header::VARY], "Origin");
        let response = Origin::Foreign.preflight("GET");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_METHODS));
    }
}
