//! A server under pressure: more data than it may keep, and clients that leave full buffers behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Threads that write at once.
const WRITERS: usize = 4;

/// Bytes of requests that are sent before their answers are read.
const PIPELINE: usize = 256 * 1024;

/// What logins are called, and how many there are. The predefined namespace of this prefix is marked so.
const LOGINS: usize = 1000;

/// A server in a process of its own, ended when dropped.
pub struct Server {
    child: Child,
    pub resp: SocketAddr,
}

impl Server {
    /// Starts a command that becomes the server.
    pub fn start(mut command: Command) -> Server {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a server");
        let mut lines = BufReader::new(child.stdout.as_mut().expect("its output")).lines();
        let line = lines.next().expect("a line for the door").expect("text");
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        Server { resp: address.expect("an address"), child }
    }

    /// Bytes of a row of its status, `VmRSS` or `VmHWM`; 0 where there is no /proc.
    pub fn bytes(&self, row: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A number that INFO shows.
    pub fn info(&self, name: &str) -> u64 {
        let text = ask(self.resp, "INFO everything");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Signs people in.
    pub fn sign_in(&self) {
        let mut client = connect(self.resp).expect("a server");
        let lines: String = (0..LOGINS).map(|number| format!("SET sess:{number} login EX 86400\r\n")).collect();
        client.write_all(lines.as_bytes()).expect("a server that reads");
        expect(&mut client, "+OK\r\n".repeat(LOGINS).as_bytes());
    }

    /// How many are left of them, in hundredths.
    pub fn logins_left(&self) -> usize {
        let names: String = (0..LOGINS).map(|number| format!(" sess:{number}")).collect();
        let text = ask(self.resp, &format!("EXISTS{names}"));
        let count = text.lines().next().and_then(|line| line.strip_prefix(':')?.parse::<usize>().ok());
        count.expect("a number") * 100 / LOGINS
    }

    /// Writes values of a size until so many bytes were written; how many were taken, and how many refused.
    pub fn fill(&self, size: usize, total: u64) -> (u64, u64) {
        let rounds = total / size as u64 / WRITERS as u64;
        let address = self.resp;
        let write = |writer: usize| move || write_values(address, writer, size, rounds);
        let writers: Vec<_> = (0..WRITERS).map(|writer| std::thread::spawn(write(writer))).collect();
        let counts = writers.into_iter().map(|writer| writer.join().expect("a writer"));
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Clients that leave so many bytes of a request unfinished; every other one asks `asks` times for as many bytes, if
    /// it is to ask at all, and reads nothing. They stay until what is given back is dropped.
    pub fn crowd(&self, count: usize, bytes: usize, asks: usize) -> Vec<TcpStream> {
        let mut setup = connect(self.resp).expect("a server");
        let value = vec![b'v'; bytes];
        let _ = setup.write_all(&set(b"large", &value));
        let mut clients = Vec::new();
        for number in 0..count {
            let Some(mut client) = narrow(self.resp) else { break };
            let request = match number % 2 * asks {
                0 => [format!("*3\r\n$3\r\nSET\r\n$5\r\nnever\r\n${}\r\n", 4 * bytes).as_bytes(), &value].concat(),
                asks => b"GET large\r\n".repeat(asks),
            };
            // It may be cut in the middle, which is what this is about.
            let _ = client.write_all(&request);
            clients.push(client);
        }
        clients
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client for which the system keeps little, so that what it does not read stays with the server.
fn narrow(address: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    socket.connect_timeout(&address.into(), PATIENCE).ok()?;
    let client = TcpStream::from(socket);
    client.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
    Some(client)
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let client = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    client.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(client)
}

/// Asks one thing and reads to the end of the connection.
fn ask(address: SocketAddr, line: &str) -> String {
    let mut client = connect(address).expect("a server");
    client.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).expect("a server that reads");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an answer");
    text
}

fn expect(client: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).expect("an answer");
    assert!(heard == expected, "{}", String::from_utf8_lossy(&heard));
}

fn set(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut request = format!("*3\r\n$3\r\nSET\r\n${}\r\n", key.len()).into_bytes();
    request.extend_from_slice(key);
    request.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n");
    request
}

fn write_values(address: SocketAddr, writer: usize, size: usize, rounds: u64) -> (u64, u64) {
    let client = connect(address).expect("a server");
    let mut answers = BufReader::new(client.try_clone().expect("a socket"));
    let mut client = client;
    let (value, at_once) = (vec![b'x'; size], (PIPELINE / size).clamp(1, 512) as u64);
    let (mut taken, mut refused, mut done) = (0, 0, 0);
    while done < rounds {
        let batch = at_once.min(rounds - done);
        let requests: Vec<u8> =
            (0..batch).flat_map(|number| set(format!("k:{writer}:{}", done + number).as_bytes(), &value)).collect();
        client.write_all(&requests).expect("a server that reads");
        for _ in 0..batch {
            let mut line = String::new();
            answers.read_line(&mut line).expect("an answer");
            match line.as_str() {
                "+OK\r\n" => taken += 1,
                _ if line.starts_with("-OOM ") => refused += 1,
                other => panic!("{other}"),
            }
        }
        done += batch;
    }
    (taken, refused)
}
