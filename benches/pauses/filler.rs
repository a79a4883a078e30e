//! Entries to fill servers with, and how they get there: pipelined, as fast as the server takes them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::histogram::Histogram;
use crate::support::http::expect;
use crate::support::process::{LOAD_CORE, installed, pin_this_thread};
use crate::support::words::{self, Dice, KEY, PLAIN, VALUE};

use super::probe::Questions;

/// Requests of a batch.
pub const BATCH: usize = 64;

/// Batches under way: the server finds the next one when it has answered the last.
const WINDOW: usize = 2;

/// Different questions of a prober: enough to be spread over everything.
const QUESTIONS: usize = 50_000;

/// The longest that an answer may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What entries look like.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A key of fifteen bytes and a value of thirty-two.
    Small,
    /// The key and the value of a session.
    Session,
}

impl Shape {
    fn key(self, number: u64) -> String {
        match self {
            Shape::Small => small_key(number),
            Shape::Session => words::key(PLAIN, number, KEY),
        }
    }

    fn value(self) -> String {
        match self {
            Shape::Small => "x".repeat(32),
            Shape::Session => words::value(VALUE),
        }
    }

    /// GETs of entries that are there, chosen at random.
    pub fn questions(self, numbers: Range<u64>) -> Questions {
        let mut dice = Dice::new(7);
        let count = (numbers.end - numbers.start) as usize;
        let get = |_| words::request(&["GET", &self.key(numbers.start + dice.below(count) as u64)]);
        Questions { requests: (0..QUESTIONS.min(count)).map(get).collect(), reply: words::bulk(&self.value()) }
    }

    /// GETs of entries that are not there.
    pub fn idle_questions(self, numbers: Range<u64>) -> Questions {
        Questions { reply: b"$-1\r\n".to_vec(), ..self.questions(numbers) }
    }
}

/// The key of fifteen bytes of this number.
pub fn small_key(number: u64) -> String {
    format!("entry:{number:09}")
}

/// Lets every other thread on this core go first: whoever fills must not make those wait who measure.
pub fn give_way() {
    let (Some(chrt), Ok(own)) = (installed("chrt"), std::fs::read_link("/proc/thread-self")) else { return };
    let Some(thread) = own.file_name() else { return };
    let moved = Command::new(chrt).args(["--idle", "--pid", "0"]).arg(thread).stderr(Stdio::null()).status();
    if !moved.is_ok_and(|status| status.success()) {
        eprintln!("the filler cannot give way to the prober; figures will be noisy");
    }
}

/// Writes entries. `expiry` is what SET says of the deadline.
pub fn fill(address: SocketAddr, shape: Shape, numbers: Range<u64>, expiry: [&str; 2]) -> io::Result<()> {
    let [option, value] = expiry;
    fill_each(address, shape, numbers, option, |_| value.to_owned())
}

/// The same with a deadline for each number: `option` is SET's word for it.
pub fn fill_each(
    address: SocketAddr,
    shape: Shape,
    numbers: Range<u64>,
    option: &str,
    until: impl FnMut(u64) -> String + Send,
) -> io::Result<()> {
    on_load_core(|| send(address, shape, numbers, option, until)).map(drop)
}

/// The same while somebody measures, who goes first: counts how long each batch takes.
pub fn fill_beside(address: SocketAddr, shape: Shape, numbers: Range<u64>, expiry: [&str; 2]) -> io::Result<Histogram> {
    let [option, value] = expiry;
    on_load_core(|| {
        give_way();
        send(address, shape, numbers, option, |_| value.to_owned())
    })
}

fn on_load_core<R: Send>(fill: impl FnOnce() -> io::Result<R> + Send) -> io::Result<R> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_this_thread(Some(LOAD_CORE));
            fill()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the filler panicked")))
    })
}

fn send(
    address: SocketAddr,
    shape: Shape,
    mut numbers: Range<u64>,
    option: &str,
    mut until: impl FnMut(u64) -> String,
) -> io::Result<Histogram> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (value, ok) = (shape.value(), b"+OK\r\n".repeat(BATCH));
    let mut samples = Histogram::new();
    let mut batch = Vec::new();
    let mut input = vec![0; ok.len()];
    let mut under_way = VecDeque::new();
    loop {
        batch.clear();
        let mut count = 0;
        for number in numbers.by_ref().take(BATCH) {
            batch.extend(words::request(&["SET", &shape.key(number), &value, option, &until(number)]));
            count += 1;
        }
        if count > 0 {
            under_way.push_back((Instant::now(), count));
            stream.write_all(&batch)?;
        }
        if (count == 0 || under_way.len() == WINDOW)
            && let Some((began, count)) = under_way.pop_front()
        {
            let wanted = ok.len() / BATCH * count;
            stream.read_exact(&mut input[..wanted])?;
            expect(&input[..wanted], &ok[..wanted])?;
            samples.record(began.elapsed());
        }
        if count == 0 && under_way.is_empty() {
            return Ok(samples);
        }
    }
}
