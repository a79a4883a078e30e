//! The binary itself: what it prints, what it refuses, how it ends, and that no token is in what it says.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets};
use tempfile::TempDir;

use crate::support::{PATIENCE, Peer, free_port, until};

/// What these tests are about. Who starts it does so with a [`Launch`].
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cloakroom");

/// A command that runs in an empty directory of its own, so that a server keeps its files there unless it is told where.
pub struct Launch {
    command: Command,
    home: TempDir,
}

impl Launch {
    /// Of this program, which hears nothing and is heard.
    pub fn of(program: impl AsRef<OsStr>) -> Launch {
        let home = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(program);
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Launch { command, home }
    }

    /// The command, and the directory, which is gone when that is dropped.
    pub fn into_parts(self) -> (Command, TempDir) {
        (self.command, self.home)
    }
}

impl Deref for Launch {
    type Target = Command;

    fn deref(&self) -> &Command {
        &self.command
    }
}

impl DerefMut for Launch {
    fn deref_mut(&mut self) -> &mut Command {
        &mut self.command
    }
}

/// The binary with these arguments.
pub fn command(arguments: &[&str]) -> Launch {
    let mut launch = Launch::of(PROGRAM);
    launch.args(arguments);
    launch
}

/// A running server with the addresses it has printed; ended when dropped.
pub struct Binary {
    child: Child,
    /// Where it runs, which is its `dir` unless it was told another.
    pub home: TempDir,
    pub resp: SocketAddr,
    pub http: SocketAddr,
}

/// What a server prints of its two doors.
pub const PLAIN: [&str; 2] = ["(resp)", "(http)"];

impl Binary {
    /// One on free ports, without a log of sign-outs.
    pub fn start(arguments: &[&str]) -> Binary {
        Binary::with(&[&["--port", "0", "--http-port", "0", "--fence-log", "no"], arguments].concat())
    }

    /// One with these arguments and no others.
    pub fn with(arguments: &[&str]) -> Binary {
        Binary::of(command(arguments), PLAIN)
    }

    /// One on free ports that a line of shell starts: `exec "$@"` runs it.
    pub fn through(shell: &str, arguments: &[&str]) -> Binary {
        let mut shelled = Launch::of("sh");
        shelled.args(["-c", shell, "sh", PROGRAM, "--port", "0", "--http-port", "0"]).args(arguments);
        Binary::of(shelled, PLAIN)
    }

    /// One that this command starts, whose doors are these.
    pub fn of(launch: Launch, doors: [&str; 2]) -> Binary {
        let (mut command, home) = launch.into_parts();
        let mut child = command.spawn().expect("a binary");
        let mut lines = BufReader::new(child.stdout.as_mut().expect("its output")).lines();
        let [resp, http] = doors.map(|door| -> SocketAddr {
            let line = lines.next().expect("a line for each door").expect("text");
            let address = line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(door));
            address.unwrap_or_else(|| panic!("{line} is not {door}")).trim().parse().expect("an address")
        });
        Binary { child, home, resp, http }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A number of `/proc/<pid>/status` in bytes, as `VmRSS:` or `VmHWM:`.
    pub fn memory(&self, row: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let row = status.lines().find_map(|line| line.strip_prefix(row)).expect("a row");
        row.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a process").count()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }

    /// Sends a signal by the shell's own `kill`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("a kill").success());
    }

    /// Waits for its end: the exit code and everything it said on standard error.
    pub fn ended(mut self) -> (Option<i32>, String) {
        // Clients alone may have five seconds of it.
        let patience = Instant::now() + 2 * PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() > patience => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut said = String::new();
        self.child.stderr.take().expect("its errors").read_to_string(&mut said).expect("text");
        (status.code(), said)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs to the end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).output().expect("a binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What it says on standard error when it does not start.
pub fn refused(arguments: &[&str]) -> String {
    let (code, _, said) = run(arguments);
    assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {code:?} {said}");
    said
}

#[test]
fn port_zero_picks_one_and_prints_it() {
    let binary = Binary::start(&[]);
    Peer::connect(binary.resp).send("PING\r\n").hears("+PONG\r\n");
    let mut http = Peer::connect(binary.http);
    http.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(http.rest().starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_port_in_use_is_one_line_with_its_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let (code, _, said) = run(&["--port", &port, "--http-port", "0"]);
    assert_eq!(code, Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&port) && said.contains("in use") && said.contains("choose another port"), "{said}");
}

#[test]
fn a_bad_setting_is_one_line_and_another_exit_code() {
    for arguments in [&["--port", "many"][..], &["--prot", "1"], &["/nowhere/redis.conf"], &["--upstream", "ftp://x"]] {
        let (code, _, said) = run(arguments);
        assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let (code, help, _) = run(&["--help"]);
    assert!(code == Some(0) && help.contains("--upstream") && help.contains("CLOAKROOM_MAXMEMORY"));
    assert_eq!(run(&["--version"]), (Some(0), format!("cloakroom {}\n", env!("CARGO_PKG_VERSION")), String::new()));
}

#[test]
fn an_upstream_that_is_down_at_start_is_said_and_no_reason_to_stay_down() {
    let (nobody, _kept) = free_port();
    let (home, upstream) = (tempfile::tempdir().expect("a directory"), format!("http://{nobody}"));
    let log = home.path().join("log");
    let binary = Binary::start(&["--upstream", &upstream, "--logfile", log.to_str().expect("a plain path")]);
    Peer::connect(binary.resp).send("PING\r\n").hears("+PONG\r\n");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("it is said", || said().contains("the upstream does not answer yet"));
    assert!(said().contains(&nobody.to_string()), "{}", said());
    binary.signal("TERM");
    assert_eq!(binary.ended().0, Some(0));
}

#[test]
fn another_protocol_on_a_port_runs_nothing_and_is_logged_once_for_its_address() {
    const TLS: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\x03 a hello\n";
    const TLS_ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
    const HTTP: &[u8] = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET coat red\r\n";
    const CURL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:6379\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
    const RESP: &[u8] = b"*3\r\n$3\r\nSET\r\n$4\r\ncoat\r\n$3\r\nred\r\n";
    for (sent, answer, on_resp, protocol) in [
        (HTTP, "".as_bytes(), true, "HTTP"),
        (CURL, b"-ERR wrong number of arguments for 'get' command\r\n", true, "HTTP"),
        (TLS, TLS_ALERT, true, "TLS"),
        (RESP, b"-ERR this is the HTTP port", false, "RESP"),
        (TLS, TLS_ALERT, false, "TLS"),
    ] {
        let binary = Binary::start(&[]);
        for _ in 0..3 {
            let mut peer = Peer::connect(if on_resp { binary.resp } else { binary.http });
            let heard = peer.send(sent).rest();
            assert!(heard.starts_with(answer) && heard.is_empty() == answer.is_empty(), "{protocol}: {heard:?}");
        }
        Peer::connect(binary.resp).send("DBSIZE\r\n").hears(":0\r\n");
        binary.signal("TERM");
        let (_, said) = binary.ended();
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("refused")).collect();
        let [line] = lines[..] else { panic!("{protocol}: {said}") };
        assert!(line.contains("WARN") && line.contains("127.0.0.1") && line.contains(protocol), "{line}");
        // Nor does it come back under another name.
        assert!(!said.contains("protocol error"), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_when_it_serves_and_when_it_ends() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("notify");
    let file = UnixDatagram::bind(&path).expect("a socket");
    let abstract_name = format!("cloakroom-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
    let nameless = UnixDatagram::bind_addr(&address).expect("a socket");
    for (socket, name) in [(file, path.display().to_string()), (nameless, format!("@{abstract_name}"))] {
        socket.set_read_timeout(Some(PATIENCE)).expect("a patience");
        let mut launch = command(&["--port", "0", "--http-port", "0", "--fence-log", "no"]);
        launch.env("NOTIFY_SOCKET", name);
        let binary = Binary::of(launch, PLAIN);
        let mut heard = [0; 64];
        let mut hear = || socket.recv(&mut heard).map(|len| String::from_utf8_lossy(&heard[..len]).into_owned());
        assert_eq!(hear().expect("a word"), "READY=1");
        Peer::connect(binary.resp).send("PING\r\n").hears("+PONG\r\n");
        binary.signal("TERM");
        assert_eq!(hear().expect("a word"), "STOPPING=1");
        assert_eq!(binary.ended().0, Some(0));
    }
}

#[test]
fn nonsense_from_an_address_is_logged_once() {
    let binary = Binary::start(&[]);
    for _ in 0..3 {
        let heard = Peer::connect(binary.resp).send("*x\r\n").rest();
        assert!(heard.starts_with(b"-ERR Protocol error"), "{heard:?}");
    }
    binary.signal("TERM");
    let (_, said) = binary.ended();
    assert_eq!(said.matches("protocol error").count(), 1, "{said}");
}

#[test]
fn shutdown_and_signals_end_it_well() {
    for way in ["TERM", "INT"] {
        let binary = Binary::start(&[]);
        binary.signal(way);
        assert_eq!(binary.ended().0, Some(0), "{way}");
    }
    let binary = Binary::start(&[]);
    Peer::connect(binary.resp).send("SHUTDOWN NOSAVE\r\n");
    assert_eq!(binary.ended().0, Some(0));
}

#[test]
fn what_is_said_of_a_request_names_its_trace() {
    let upstream = super::faulty::Faulty::start();
    upstream.behave(super::faulty::Mode::Broken500);
    let binary = Binary::start(&["--upstream", &format!("http://{}", upstream.addr), "--profile", "nextauth"]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (path, parent) in [("session", format!("00-{trace}-b7ad6b7169203331-01")), ("session", "00-bad".to_owned())] {
        let mut http = Peer::connect(binary.http);
        http.send(format!(
            "GET /api/auth/{path} HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token=alice.1\r\n\
             traceparent: {parent}\r\nConnection: close\r\n\r\n"
        ));
        assert!(!http.rest().is_empty());
    }
    binary.signal("TERM");
    let (_, said) = binary.ended();
    let failed: Vec<&str> = said.lines().filter(|line| line.contains("Session source failed")).collect();
    assert!(!failed.is_empty() && failed[0].contains(trace), "{said}");
    assert!(!said.contains("00-bad"), "{said}");
}

#[test]
fn a_log_of_objects_has_nothing_else_and_says_what_was_started_and_where() {
    let (mut child, _home) = {
        let (mut command, home) = command(&["--port", "0", "--http-port", "0", "--log-format", "json"]).into_parts();
        (command.spawn().expect("it starts"), home)
    };
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut said = Vec::new();
    while said.iter().filter(|line: &&String| line.contains("listening on")).count() < 2 {
        said.push(lines.next().expect("more to come").expect("UTF-8"));
    }
    child.kill().expect("ended");
    child.wait().expect("ended");
    let mut out = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("UTF-8");
    assert_eq!(out, "");
    assert!(said.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{said:?}");
    let name = format!("cloakroom {}, process {}", env!("CARGO_PKG_VERSION"), child.id());
    assert!(said.iter().any(|line| line.contains(&name)), "{said:?}");
}

#[test]
fn an_upstream_that_fails_is_a_line_and_not_one_for_each_check() {
    const CHECKS: usize = 40;
    let upstream = super::faulty::Faulty::start();
    upstream.behave(super::faulty::Mode::Broken500);
    let started = Instant::now();
    let binary = Binary::start(&["--upstream", &format!("http://{}", upstream.addr), "--profile", "nextauth"]);
    for at in 0..CHECKS {
        let mut http = Peer::connect(binary.http);
        http.send(format!(
            "GET /api/auth/session HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token=alice.{at}\r\nConnection: close\r\n\r\n"
        ));
        assert!(!http.rest().is_empty());
    }
    binary.signal("TERM");
    let lines = binary.ended().1.matches("Session source failed").count();
    let most = 1 + started.elapsed().as_secs() as usize / 10;
    assert!((1..=most).contains(&lines), "{lines} lines for {CHECKS} failures");
}

#[test]
fn a_secret_that_is_not_the_applications_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "not the application's\n").expect("a file");
    let secret = secret.to_str().expect("UTF-8");
    let ring = Keyring::new(
        Profile::NextAuth,
        "next-auth.session-token",
        &Secrets::new(["the application's"]).expect("a secret"),
    );
    let token = ring.encode(Claims::read(br#"{"name":"alice"}"#).expect("claims"), 1_700_000_000, 3600, [7; DICE]);
    let binary = Binary::start(&["--source", "nextauth", "--profile", "nextauth", "--secret-file", secret]);
    for _ in 0..2 {
        let mut http = Peer::connect(binary.http);
        http.send(format!(
            "GET /api/auth/session HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token={token}\r\nConnection: close\r\n\r\n"
        ));
        assert!(http.rest().ends_with(b"{}"));
    }
    binary.signal("TERM");
    let said = binary.ended().1;
    assert_eq!(said.matches("is opened by no secret in secret-file").count(), 1, "{said}");
    assert!(!said.contains(&token), "{said}");
}

#[test]
fn a_token_is_in_nothing_that_the_server_says() {
    const CANARY: &str = "c4n4ry-c4n4ry-c4n4ry";
    let binary = Binary::start(&["--slowlog-log-slower-than", "0", "--loglevel", "debug"]);
    let mut watcher = Peer::connect(binary.resp);
    watcher.send("MONITOR\r\n").hears("+OK\r\n");
    let mut client = Peer::connect(binary.resp);
    let key = format!("auth:session:{CANARY}");
    for line in [
        format!("SET {key} {{}} EX 5"),
        format!("GET {key}"),
        format!("EXPIRE {key} 5"),
        format!("NOSUCH {key}"),
        format!("GET {key} {key}"),
        format!("KEYS *{key}*"),
    ] {
        client.send(format!("{line}\r\n"));
    }
    client.send("DEL nothing\r\n");
    let mut http = Peer::connect(binary.http);
    http.send(format!(
        "GET /api/auth/session HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token={CANARY}\r\nConnection: close\r\n\r\n"
    ));
    assert!(http.rest().starts_with(b"HTTP/1.1 200 OK\r\n"));
    client.send(format!("DEL {key}\r\nSET {key} late\r\n"));
    client.send(
        "KEYS *\r\nSCAN 0 COUNT 1000\r\nRANDOMKEY\r\nSLOWLOG GET 128\r\nINFO everything\r\nCLIENT LIST\r\nQUIT\r\n",
    );
    let heard = client.rest();
    assert!(heard.len() > 4_000, "only {} bytes were heard", heard.len());
    let mut metrics = Peer::connect(binary.http);
    metrics.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let counted = metrics.rest();
    // Who asks to leave has no news after that, also none that is on its way.
    let watched = watcher.up_to("\"QUIT\"\r\n");
    assert!(String::from_utf8_lossy(&watched).contains("auth:session:~"), "MONITOR showed nothing");
    binary.signal("TERM");
    let (_, said) = binary.ended();
    assert!(!said.is_empty());
    for (what, bytes) in [("replies", heard), ("/metrics", counted), ("MONITOR", watched), ("logs", said.into_bytes())]
    {
        assert!(!String::from_utf8_lossy(&bytes).contains("c4n4ry"), "a token in {what}");
    }
}
