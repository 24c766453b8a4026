//! A hub as a process of its own: the real binary on free ports.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{self, Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// A running hub; it is killed when this is dropped.
pub(crate) struct Hub {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
    said: Said,
    /// What it printed at its start.
    printed: String,
    config: Option<PathBuf>,
}

/// What a process says on standard error, collected as it comes.
struct Said {
    text: Arc<Mutex<String>>,
    /// Disconnected when the process has ended.
    ended: mpsc::Receiver<()>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its exit code; none if a signal killed it.
    pub(crate) code: Option<i32>,
    /// All that it said on standard error.
    pub(crate) said: String,
}

impl Hub {
    /// Starts a hub with these flags, on free ports of loopback unless they say where.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::launch(flags, None, &[])
    }

    /// Starts a hub with these flags and these variables, and no others.
    pub(crate) fn with_variables(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::launch(flags, None, variables)
    }

    /// Starts a hub with these flags and a configuration file of this text.
    pub(crate) fn configured(toml: &str, flags: &[&str]) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanfare-test-{}-{number}.toml", process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, toml).unwrap();
        Self::launch(flags, Some(path), &[])
    }

    fn launch(flags: &[&str], config: Option<PathBuf>, variables: &[(&str, &str)]) -> Self {
        let mut command = command(flags);
        command.envs(variables.iter().copied());
        for listener in ["--listen", "--admin-listen"] {
            if !flags.contains(&listener) {
                command.args([listener, "127.0.0.1:0"]);
            }
        }
        if let Some(path) = &config {
            command.arg("--config").arg(path);
        }
        let mut child = command.spawn().unwrap();
        let said = Said::by(child.stderr.take().unwrap());
        let (public, admin, printed) = announced(child.stdout.take().unwrap(), &said);
        Self { child, public, admin, said, printed, config }
    }

    /// The address of the public listener.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    /// The address of the operators' listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on standard output when it started.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.so_far()
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> String {
        self.config.as_ref().unwrap().display().to_string()
    }

    /// Gives it another configuration file and has it read that.
    pub(crate) fn reconfigure(&self, toml: &str) {
        fs::write(self.config.as_ref().unwrap(), toml).unwrap();
        self.hang_up();
    }

    /// Has it read its settings again.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Kills it without a word, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, which something else has brought about.
    pub(crate) fn wait(&mut self) -> Exit {
        self.said.end(&mut self.child)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(path) = &self.config {
            drop(fs::remove_file(path));
        }
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "helps whoever looks at a failed test")]
            {
                eprintln!("the hub said: {}", self.said.so_far());
            }
        }
    }
}

/// Runs the binary with exactly these arguments, to its end: for starts that are refused.
pub(crate) fn run(arguments: &[&str]) -> Exit {
    let mut child = command(arguments).spawn().unwrap();
    let said = Said::by(child.stderr.take().unwrap());
    said.end(&mut child)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads the two addresses that a start prints.
fn announced(stdout: ChildStdout, said: &Said) -> (SocketAddr, SocketAddr, String) {
    let mut stdout = BufReader::new(stdout);
    let (mut public, mut admin, mut printed) = (None, None, String::new());
    // The addresses come before the last line, which tells of connections.
    while !printed.contains(" connections at most (") {
        let from = printed.len();
        let read = stdout.read_line(&mut printed).unwrap();
        if read == 0 {
            // What it says last tells why.
            said.ended.recv_timeout(DEADLINE).unwrap_err();
            panic!("the hub did not start: {}", said.so_far());
        }
        let line = printed[from..].trim_end();
        public = public.or_else(|| line.strip_prefix("  hub      http://")?.parse().ok());
        admin = admin.or_else(|| line.strip_prefix("  admin    http://")?.parse().ok());
    }
    (public.unwrap(), admin.unwrap(), printed)
}

impl Said {
    fn by(mut stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let (alive, ended) = mpsc::channel();
        let collected = Arc::clone(&text);
        thread::spawn(move || {
            let _alive = alive;
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                let mut text = collected.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { text, ended }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the end of the process.
    fn end(&self, child: &mut Child) -> Exit {
        let ended = self.ended.recv_timeout(2 * DEADLINE);
        let is_over = ended == Err(mpsc::RecvTimeoutError::Disconnected);
        if !is_over {
            drop(child.kill());
        }
        assert!(is_over, "the process does not end; it said: {}", self.so_far());
        Exit { code: child.wait().unwrap().code(), said: self.so_far() }
    }
}
