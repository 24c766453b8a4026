//! A connection to an upstream, to an address that was looked at before.
//!
//! Policy: the address that is checked is the one that is connected to, so a name that leads
//! elsewhere at the next look gains nothing. There is no proxy and no pool: a stream of minutes
//! has a connection of its own, which ends with it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{Ended, Upstream, lookups::Lookups, public_address::is_public};
use crate::{limits::UPSTREAM_ADDRESSES_MAX, metrics::Metrics};

/// A socket, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Connects to an upstream, in the time that it has for that.
pub(super) async fn connect(
    upstream: &Upstream,
    lookups: &Lookups,
    metrics: &Metrics,
) -> Result<Box<dyn Socket>, Ended> {
    let patience = upstream.patience.connect;
    let connecting = connect_by(upstream, lookups, metrics, Instant::now() + patience);
    match timeout(patience, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(Ended::Timeout("connecting", patience)),
    }
}

async fn connect_by(
    upstream: &Upstream,
    lookups: &Lookups,
    metrics: &Metrics,
    deadline: Instant,
) -> Result<Box<dyn Socket>, Ended> {
    let url = &upstream.url;
    let failed = |error: io::Error| Ended::Connect(error.to_string());
    let found = lookups.find(&url.host, url.port, metrics).await;
    let found = found.map_err(|_| Ended::Connect("its name leads nowhere".to_owned()))?;
    let is_allowed =
        |address: &SocketAddr| upstream.allow_private || is_public(plain(address.ip()));
    let allowed: Vec<_> = found.iter().copied().filter(is_allowed).collect();
    if allowed.is_empty() && !found.is_empty() {
        return Err(Ended::Address);
    }
    let socket = first(&allowed, deadline).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    match &upstream.tls {
        Some(tls) => {
            let socket = tls.connect(&url.host, socket).await.map_err(failed)?;
            Ok(Box::new(socket))
        }
        None => Ok(Box::new(socket)),
    }
}

/// Connects to the first address that answers; each has its part of the time that is left.
async fn first(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name leads nowhere");
    let addresses = &addresses[..addresses.len().min(UPSTREAM_ADDRESSES_MAX)];
    for (index, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let now = Instant::now();
        let part: Duration = deadline.saturating_duration_since(now) / others;
        match timeout_at(now + part, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// An address of IPv4 as such, however it is written.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
