//! Finding the addresses of an upstream's name.
//!
//! Policy: a lookup of the system cannot be ended, and holds a thread until it returns. So there
//! are so many at once, those that nobody waits for any more included; who finds no place waits for
//! one, no longer than connecting may take.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    limits::UPSTREAM_LOOKUPS_MAX,
    metrics::{Metrics, Reached},
};

/// Lookups that are under way, and those that wait to be.
pub(super) struct Lookups {
    /// A place for each that is under way; it comes back when the lookup does.
    places: Arc<Semaphore>,
    find: Arc<Find>,
}

/// Finds the addresses of a host and a port, however long that takes.
pub(super) type Find = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Lookups {
    pub(super) fn new(find: Arc<Find>) -> Self {
        Self { places: Arc::new(Semaphore::new(UPSTREAM_LOOKUPS_MAX)), find }
    }

    /// How many are under way.
    pub(super) fn taken(&self) -> usize {
        UPSTREAM_LOOKUPS_MAX - self.places.available_permits()
    }

    /// Finds the addresses of a host and a port.
    pub(super) async fn find(
        &self,
        host: &str,
        port: u16,
        metrics: &Metrics,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if self.places.available_permits() == 0 {
            metrics.reached(Reached::UpstreamLookups);
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (find, host) = (Arc::clone(&self.find), host.to_owned());
        let looking = spawn_blocking(move || {
            // Here and not with who waits: they may have left.
            let _place = place;
            find(&host, port)
        });
        looking.await.map_err(io::Error::other)?
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Self::new(Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())))
    }
}
