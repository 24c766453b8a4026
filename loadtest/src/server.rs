//! The server under load: started here, or one that runs already.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cpus::Cpus,
    endpoint::{Endpoint, Kind},
    metrics::Metrics,
    process::{self, Usage},
};

/// Which server to load and how to come by it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server to load; it is started here unless --url names one that runs
    #[arg(long, value_enum, default_value = "fanfare", global = true)]
    pub(crate) target: Kind,
    /// Where the server runs already, as IP:PORT
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub(crate) url: Option<SocketAddr>,
    /// The process whose CPU and memory are counted, with --url
    #[arg(long, requires = "url", global = true)]
    pub(crate) pid: Option<u32>,
    /// Where a hub that runs already answers its operators, with --url
    #[arg(long, value_name = "IP:PORT", requires = "url", global = true)]
    pub(crate) admin: Option<SocketAddr>,
    /// A bearer token for servers that ask for one
    #[arg(long, global = true)]
    pub(crate) token: Option<String>,
    /// The hub's binary; the one beside this program unless given
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) hub: Option<PathBuf>,
    /// An argument for the server that is started, such as --server-arg=--ring-events=4096
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, global = true)]
    pub(crate) server_arg: Vec<String>,
    /// The cores for the server, such as 0 or 0,2-3; half of them unless given
    #[arg(long, value_name = "LIST", global = true)]
    pub(crate) server_cpus: Option<Cpus>,
    /// The cores for this program; the other half unless given
    #[arg(long, value_name = "LIST", global = true)]
    pub(crate) client_cpus: Option<Cpus>,
}

/// How long a server may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// How often a server that starts or ends is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Connections that the baselines let the kernel queue, like the hub.
const BACKLOG: i32 = 4_096;

/// A server and what it uses.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    /// Where it answers its operators, if it is a hub and that is known.
    admin: Option<SocketAddr>,
    pid: Option<u32>,
    child: Option<Child>,
    directory: Option<PathBuf>,
}

impl ServerArgs {
    /// The cores of the server and of the generator.
    pub(crate) fn cpus(&self) -> io::Result<(Cpus, Cpus)> {
        let (server, client) = Cpus::halves()?;
        let server = self.server_cpus.clone().unwrap_or(server);
        Ok((server, self.client_cpus.clone().unwrap_or(client)))
    }

    /// The same with a setting for a hub that is started here, unless one was given.
    pub(crate) fn with_setting(mut self, flag: &str, value: impl std::fmt::Display) -> Self {
        let given = self.server_arg.iter().any(|arg| arg.split('=').next() == Some(flag));
        if self.target == Kind::Fanfare && !given {
            self.server_arg.push(format!("{flag}={value}"));
        }
        self
    }
}

impl Server {
    /// Starts the server, or takes the one that runs; returns once it accepts connections.
    /// `prefix` is what the names of channels begin with.
    pub(crate) fn start(args: &ServerArgs, prefix: &str) -> io::Result<Self> {
        let address = args.url.map_or_else(free_address, Ok)?;
        let (kind, token, prefix) = (args.target, args.token.clone(), prefix.to_owned());
        let endpoint = Endpoint { kind, address, token, prefix, query: String::new() };
        let (admin, pid) = (args.admin, args.pid);
        let mut server = Self { endpoint, admin, pid, child: None, directory: None };
        if args.url.is_none() {
            let directory = std::env::temp_dir().join(format!(
                "fanfare-loadtest-{}-{}",
                std::process::id(),
                address.port()
            ));
            fs::create_dir_all(&directory)?;
            server.directory = Some(directory);
            server.admin = (args.target == Kind::Fanfare).then(free_address).transpose()?;
            server.spawn(args)?;
        }
        server.await_listener()?;
        Ok(server)
    }

    /// Asks a server that was started here to end, and waits until it has.
    pub(crate) async fn drain(&mut self, patience: Duration) -> io::Result<()> {
        let Some(child) = &mut self.child else {
            return Err(io::Error::other("only a server that is started here can be drained"));
        };
        let pid = Pid::from_raw(child.id().cast_signed());
        kill_process(pid.ok_or(io::ErrorKind::InvalidInput)?, Signal::TERM)?;
        let began = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(io::Error::other(format!("the server ended: {status}")));
                }
                None if began.elapsed() > patience => {
                    return Err(io::Error::other(format!("it drains for more than {patience:?}")));
                }
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Starts a server that has ended again, where it was.
    pub(crate) fn restart(&mut self, args: &ServerArgs) -> io::Result<()> {
        self.spawn(args)?;
        self.await_listener()
    }

    /// Starts the process.
    fn spawn(&mut self, args: &ServerArgs) -> io::Result<()> {
        let (server_cpus, client_cpus) = args.cpus()?;
        let directory = self.directory.clone().unwrap_or_default();
        let mut command = command(args, self.endpoint.address, self.admin, &directory)?;
        let errors = fs::File::create(directory.join("stderr"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        server_cpus.enter()?;
        let child = command.spawn();
        client_cpus.enter()?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
        })?;
        self.pid = Some(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// What its processes use now; nothing is known of a server without `--pid`.
    pub(crate) fn usage(&self) -> io::Result<Option<Usage>> {
        self.pid.map(process::usage).transpose()
    }

    /// What a hub tells its operators now; none if where is not known.
    pub(crate) async fn metrics(&self) -> io::Result<Option<Metrics>> {
        match self.admin {
            Some(admin) => Metrics::scrape(admin).await.map(Some),
            None => Ok(None),
        }
    }

    /// The end of what a baseline that was started here said; none if it said nothing. They say
    /// there what they could not do, such as keep a subscriber.
    pub(crate) fn said(&self) -> Option<String> {
        let baseline =
            matches!(self.endpoint.kind, Kind::BareLoop | Kind::BareRelay | Kind::BareAccept);
        let directory = self.directory.as_ref().filter(|_| baseline)?;
        tail(&fs::read(directory.join("stderr")).ok()?)
    }

    fn await_listener(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while let Err(error) = TcpStream::connect(self.endpoint.address) {
            let exited = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if exited.is_some() || began.elapsed() > START_PATIENCE {
                let said = self.directory.as_ref().map(|directory| directory.join("stderr"));
                let said = said.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
                let (kind, address) = (self.endpoint.kind, self.endpoint.address);
                return Err(io::Error::other(format!("{kind} on {address}: {error}\n{said}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// How long a server with processes of its own may take to end them.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// What is shown at most of what a baseline said, in bytes.
const SAID_BYTES_MAX: usize = 2_000;

/// The end of what a server said.
fn tail(said: &[u8]) -> Option<String> {
    let tail = &said[said.len().saturating_sub(SAID_BYTES_MAX)..];
    let tail = String::from_utf8_lossy(tail).trim().to_owned();
    (!tail.is_empty()).then_some(tail)
}

/// Ends a server and the processes that it started: only itself can end those in order, and who is
/// killed cannot.
pub(crate) fn end(child: &mut Child) -> io::Result<()> {
    let pid = |pid: u32| Pid::from_raw(pid.cast_signed());
    let family = process::family(child.id());
    if let Some(child) = pid(child.id()).filter(|_| family.len() > 1) {
        kill_process(child, Signal::TERM)?;
    }
    let began = Instant::now();
    while family.len() > 1 && began.elapsed() < END_PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    for child in family.into_iter().skip(1).filter_map(pid) {
        // One that is gone already is what is wanted.
        let _gone = kill_process(child, Signal::KILL);
    }
    child.wait()?;
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a child that is gone already, or files that stay.
        if let Some(child) = &mut self.child {
            let _gone = end(child);
        }
        if let Some(directory) = &self.directory {
            let _stays = fs::remove_dir_all(directory);
        }
    }
}

/// An address of loopback that nobody listens on.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The command that starts a server.
fn command(
    args: &ServerArgs,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    directory: &Path,
) -> io::Result<Command> {
    let this = std::env::current_exe()?;
    let mut command = match args.target {
        Kind::Fanfare => {
            let beside = this.with_file_name("fanfare");
            let mut command = Command::new(args.hub.clone().unwrap_or(beside));
            command.args(["--listen", &address.to_string()]);
            command.args(admin.map(|admin| format!("--admin-listen={admin}")));
            command
        }
        Kind::Nchan => {
            let path = directory.join("nginx.conf");
            let workers = args.cpus()?.0.len().to_string();
            let conf = include_str!("../nchan.conf")
                .replace("ADDRESS", &address.to_string())
                .replace("WORKERS", &workers);
            fs::File::create(&path)?.write_all(conf.as_bytes())?;
            let mut command = Command::new("nginx");
            command.arg("-p").arg(directory).arg("-c").arg(path);
            command
        }
        Kind::Mercure => {
            return Err(io::Error::other("mercure is not started here: give --url and --token"));
        }
        baseline => {
            let mut command = Command::new(this);
            command.args([&baseline.to_string(), "--listen", &address.to_string()]);
            command
        }
    };
    command.args(&args.server_arg);
    Ok(command)
}

/// A listener for the baselines.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_is_shown() {
        assert_eq!(tail(b" \n"), None);
        assert_eq!(tail(b"dropped 3\n"), Some("dropped 3".to_owned()));
        let long = [vec![b'x'; 5_000], b"end".to_vec()].concat();
        let shown = tail(&long).unwrap();
        assert!(shown.len() == SAID_BYTES_MAX && shown.ends_with("xend"));
    }

    #[test]
    fn a_server_ends_with_the_processes_it_started() {
        let script = "trap '' TERM; sleep 60 & sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let began = Instant::now();
        while process::family(child.id()).len() < 3 && began.elapsed() < END_PATIENCE {
            std::thread::yield_now();
        }
        let family = process::family(child.id());
        assert_eq!(family.len(), 3);
        end(&mut child).unwrap();
        let is_running = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        // Those that are not our children are taken care of by another process.
        while family.iter().any(is_running) && began.elapsed() < 2 * END_PATIENCE {
            std::thread::yield_now();
        }
        assert!(!family.iter().any(is_running));
    }
}
