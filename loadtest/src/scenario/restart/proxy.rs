//! A proxy before the hub, started from a recipe as operators would use it.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::server::{end, free_address};

/// A proxy that a recipe is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum ProxyKind {
    /// HAProxy
    Haproxy,
    /// nginx
    Nginx,
}

impl std::fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        })
    }
}

/// What stands in a recipe for the hub and for the proxy.
const HUB: &str = "127.0.0.1:8080";
const PROXY: &str = "0.0.0.0:80";
/// How long a proxy may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Proxy {
    /// Starts one before `hub`; returns once it accepts connections.
    pub(super) fn start(kind: ProxyKind, recipe: &Path, hub: SocketAddr) -> io::Result<Self> {
        let address = free_address()?;
        let directory = std::env::temp_dir().join(format!("fanfare-{kind}-{}", address.port()));
        fs::create_dir_all(&directory)?;
        let text = fs::read_to_string(recipe).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", recipe.display()))
        })?;
        let path = directory.join("recipe");
        fs::File::create(&path)?.write_all(render(&text, address, hub, &directory)?.as_bytes())?;
        let mut command = Command::new(kind.to_string());
        match kind {
            ProxyKind::Haproxy => command.arg("-db").arg("-f").arg(&path),
            ProxyKind::Nginx => {
                command.arg("-p").arg(&directory).arg("-e").arg(directory.join("early"));
                command.arg("-c").arg(&path).args(["-g", "daemon off;"])
            }
        };
        let said = fs::File::create(directory.join("said"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{kind}: {error}; is it installed?"))
        })?;
        let mut proxy = Self { address, child, directory };
        proxy.await_listener()?;
        Ok(proxy)
    }

    fn await_listener(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while let Err(error) = TcpStream::connect(self.address) {
            if self.child.try_wait()?.is_some() || began.elapsed() > START_PATIENCE {
                let said = fs::read_to_string(self.directory.join("said")).unwrap_or_default();
                return Err(io::Error::other(format!("the proxy: {error}\n{said}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing can be done about one that is gone already, or about files that stay.
        let _gone = end(&mut self.child);
        let _stays = fs::remove_dir_all(&self.directory);
    }
}

/// The recipe with other addresses, and without directories of the system.
fn render(
    recipe: &str,
    address: SocketAddr,
    hub: SocketAddr,
    directory: &Path,
) -> io::Result<String> {
    if let Some(missing) = [HUB, PROXY].iter().find(|name| !recipe.contains(*name)) {
        return Err(io::Error::other(format!("the recipe does not name {missing}")));
    }
    let directory = format!("{}/", directory.display());
    Ok(recipe
        .replace(HUB, &hub.to_string())
        .replace(PROXY, &address.to_string())
        .replace("/run/", &directory)
        .replace("/var/log/nginx/", &directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_changed_only_where_it_has_to() {
        let recipe = "listen 0.0.0.0:80;\npid /run/x;\nserver 127.0.0.1:8080;\nkeep this;\n";
        let [proxy, hub] = [81, 82].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let made = render(recipe, proxy, hub, Path::new("/tmp/at")).unwrap();
        let expected = "listen 127.0.0.1:81;\npid /tmp/at/x;\nserver 127.0.0.1:82;\nkeep this;\n";
        assert_eq!(made, expected);
        assert!(render("server 127.0.0.1:8080;", proxy, hub, Path::new("/")).is_err());
    }
}
