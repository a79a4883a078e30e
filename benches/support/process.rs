//! Servers as processes: started on a core of their own, watched through /proc, killed by their number when dropped.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The core that servers get, and the one for whoever loads them.
pub const SERVER_CORE: usize = 0;
/// See [`SERVER_CORE`].
pub const LOAD_CORE: usize = 1;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);

/// Clock ticks a second in /proc: Linux counts in hundredths for user space on every machine.
const TICKS: u64 = 100;

/// Processes of one server that are looked at; none has more than two.
const FAMILY_MAX: usize = 16;

/// Where a program is, if it is installed.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let standard = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(standard).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether servers and load can be kept on different cores.
pub fn can_pin() -> bool {
    installed("taskset").is_some() && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > LOAD_CORE)
}

/// A command that runs on the servers' core where that is possible.
pub fn on_server_core(program: &std::path::Path) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program);
    command
}

/// Moves this thread to a core where that is possible.
pub fn pin_this_thread(core: Option<usize>) {
    let Some(core) = core.filter(|_| can_pin()) else { return };
    let Ok(own) = fs::read_link("/proc/thread-self") else { return };
    let Some(thread) = own.file_name() else { return };
    let moved = Command::new("taskset").args(["-cp", &core.to_string()]).arg(thread).stdout(Stdio::null()).status();
    if !moved.is_ok_and(|status| status.success()) {
        eprintln!("cannot move the load to core {core}; figures will be noisy");
    }
}

/// A port on which nobody listens just now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// How many files this process may hold open, and so connections.
pub fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

/// A server that runs as a process.
pub struct Process {
    child: Child,
    /// Held so that the server can go on writing.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it, silent unless it has something to say on standard error.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Process { child, stdout })
    }

    /// Waits for the line that says where it listens, and for what.
    pub fn listens(&mut self, door: &str) -> io::Result<SocketAddr> {
        let mut line = String::new();
        while let Some(stdout) = &mut self.stdout {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                break;
            }
            let mut words = line.split_whitespace().skip_while(|word| *word != "on").skip(1);
            if let Some(address) = words.next().and_then(|word| word.parse().ok())
                && line.contains(door)
            {
                return Ok(address);
            }
        }
        Err(io::Error::other("the server ended before it listened"))
    }

    /// Waits until somebody listens on a port.
    pub fn answers(&mut self, port: u16) -> io::Result<SocketAddr> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended: {status}")));
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(address);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not listen"))
    }

    /// Its number, for programs that look into it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far, with that of its children: some servers serve from a second process.
    pub fn cpu(&self) -> io::Result<Duration> {
        self.family().into_iter().map(cpu_of).sum()
    }

    /// Bytes of memory it holds, and its children.
    pub fn resident(&self) -> io::Result<u64> {
        self.family().into_iter().map(resident_of).sum()
    }

    /// Its number and those of its children and theirs.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while at < family.len().min(FAMILY_MAX) {
            for thread in fs::read_dir(format!("/proc/{}/task", family[at])).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            at += 1;
        }
        family
    }
}

fn cpu_of(process: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name in parentheses; user and system time are the 14th and 15th field of the whole line.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Option<u64> = fields.skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum();
    let ticks = ticks.ok_or_else(|| io::Error::other("an unreadable /proc/PID/stat"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

fn resident_of(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| io::Error::other("an unreadable /proc/PID/status"))? * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for what has ended by itself; the number is ours until it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
