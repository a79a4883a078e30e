//! Where a hit's time goes, as a picture: `docs/flame-resp.svg` for GETs over RESP and `docs/flame-http.svg` for session
//! checks.
//!
//! perf looks at the server's stack a thousand times a second while clients keep it busy. In the picture a box is a
//! function, as wide as its share of the samples, on top of the one that called it; the kernel's are of another
//! colour. Hovering tells names and shares. It needs Debian's linux-perf, and a kernel that lets one look.
//!
//! `cargo bench --bench flame -- 5` looks for five seconds instead of three.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use support::load::{self, Load, Pick, Reply, Requests};
use support::process::installed;
use support::servers::{self, Running};
use support::upstream::Upstream;
use support::words::{self, KEY, PLAIN, VALUE};

const KEYS: u64 = 20_000;
const CONNECTIONS: usize = 50;

/// Sizes in pixels, and the narrowest box that is worth drawing.
const WIDTH: f64 = 1200.0;
const ROW: usize = 17;
const NARROWEST: f64 = 0.8;
/// Stands behind the names of kernel functions.
const KERNEL: char = '\u{2009}';
/// Pixels of a letter, about.
const LETTER: f64 = 6.4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flame: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let seconds = std::env::args().skip(1).find(|word| word != "--bench").unwrap_or_else(|| "3".to_owned());
    let seconds: u64 = seconds.parse().map_err(|_| io::Error::other(format!("cannot read {seconds:?}")))?;
    let Some(perf) = installed("perf") else {
        println!("perf is NOT INSTALLED (linux-perf): nothing is drawn");
        return Ok(());
    };

    let server = servers::cloakroom("resp", &[])?;
    let value = words::value(VALUE);
    let fill =
        (0..KEYS as usize).map(|n| words::request(&["SET", &words::key(PLAIN, n as u64, KEY), &value, "EX", "600"]));
    load::fill(server.address, fill, b"+OK\r\n")?;
    let gets: Requests = (0..KEYS).map(|n| words::request(&["GET", &words::key(PLAIN, n, KEY)])).collect();
    let reply = words::bulk(&value);
    let root = look(&perf, &server, seconds, gets, Reply::Bytes(&reply))?;
    draw(&root, "GET hits over RESP, 50 clients, one request at a time", "flame-resp.svg")?;

    let upstream = Upstream::start(Duration::ZERO, None)?;
    let server = servers::cloakroom("http", &["--upstream", &upstream.url(), "--session-ttl", "3600s"])?;
    let checks: Requests = (0..KEYS / 20).map(words::check).collect();
    let body = words::body();
    let root = look(&perf, &server, seconds, checks, Reply::Body(body.as_bytes()))?;
    draw(&root, "session checks over HTTP, 50 clients, nearly all of them hits", "flame-http.svg")
}

/// A function under those that called it.
#[derive(Default)]
struct Frame {
    samples: u64,
    called: BTreeMap<String, Frame>,
}

/// Samples a server under load.
fn look(perf: &Path, server: &Running, seconds: u64, requests: Requests, reply: Reply<'_>) -> io::Result<Frame> {
    let file = std::env::temp_dir().join(format!("cloakroom-flame-{}.data", std::process::id()));
    let load = Load {
        address: server.address,
        connections: CONNECTIONS,
        depth: 1,
        duration: Duration::from_secs(seconds + 2),
        requests,
        pick: Pick::Random,
        reply,
    };
    let recorded = std::thread::scope(|scope| {
        let recording = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            Command::new(perf)
                .args(["record", "-F", "997", "--call-graph", "dwarf,16384", "-o"])
                .arg(&file)
                .args(["-p", &server.process.id().to_string(), "--", "sleep", &seconds.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        });
        load.run(|| server.process.cpu())?;
        recording.join().unwrap_or_else(|_| Err(io::Error::other("the recorder panicked")))
    });
    let read = recorded.and_then(|status| {
        if !status.success() {
            return Err(io::Error::other("perf cannot record here"));
        }
        Command::new(perf).args(["script", "--no-inline", "-F", "ip,sym,dso", "-i"]).arg(&file).output()
    });
    // What perf has written is large, and of no use to anybody else.
    let _ = std::fs::remove_file(&file);
    Ok(fold(&String::from_utf8_lossy(&read?.stdout)))
}

/// Stacks as perf prints them, the innermost function first and an empty line behind each, as one tree.
fn fold(script: &str) -> Frame {
    let mut root = Frame::default();
    let mut stack: Vec<String> = Vec::new();
    for line in script.lines().chain([""]) {
        if !line.trim().is_empty() {
            stack.push(name(line.trim()));
            continue;
        }
        if stack.is_empty() {
            continue;
        }
        root.samples += 1;
        let mut at = &mut root;
        // What cannot be told apart is not worth a box for each time it occurs.
        stack.dedup();
        for function in stack.drain(..).rev() {
            at = at.called.entry(function).or_default();
            at.samples += 1;
        }
    }
    root
}

/// A function's name without its address, its arguments' types and its hash; kernel functions are marked.
fn name(line: &str) -> String {
    let (_, symbol) = line.split_once(' ').unwrap_or(("", line));
    let (symbol, place) = symbol.rsplit_once(" (").unwrap_or((symbol, ""));
    let symbol = symbol.split("+0x").next().unwrap_or(symbol);
    let mut depth = 0usize;
    let mut short = String::new();
    for letter in symbol.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => short.push(letter),
            _ => {}
        }
    }
    // `<T as Trait>::method` is all in brackets but for its end.
    let short = if short.starts_with("::") { symbol.trim_start_matches('<') } else { short.as_str() };
    let short = short.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(short, |(name, _)| name);
    match place.starts_with("[k") {
        true => format!("{short}{KERNEL}"),
        false => short.to_owned(),
    }
}

fn draw(root: &Frame, what: &str, file: &str) -> io::Result<()> {
    if root.samples == 0 {
        return Err(io::Error::other("perf saw nothing"));
    }
    let all = root.samples as f64;
    let height = (depth(root, WIDTH / all) + 2) * ROW;
    let mut canvas = Canvas { boxes: String::new(), all, height };
    canvas.place(root, "", 0.0, 0);
    let title = format!("{what}: {all} samples, {:.0} % of them in the kernel", kernel_samples(root) / all * 100.0);
    let picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\"><style>text{{font:11px system-ui,sans-serif;fill:#1f2328}}rect{{stroke:#fff;stroke-width:.5}}\
         .u{{fill:#8fd3ba}}.k{{fill:#c4cbd3}}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"6\" y=\"13\" font-weight=\"600\">{}</text>\n{}</svg>\n",
        escaped(&title),
        canvas.boxes
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(file), picture)?;
    println!("{title}: drawn into docs/{file}");
    Ok(())
}

fn is_kernel(name: &str) -> bool {
    name.ends_with(KERNEL)
}

/// Samples whose outermost kernel function lies here or below.
fn kernel_samples(frame: &Frame) -> f64 {
    let samples = |(name, called): (&String, &Frame)| match is_kernel(name) {
        true => called.samples as f64,
        false => kernel_samples(called),
    };
    frame.called.iter().map(samples).sum()
}

/// Rows that boxes wide enough to be drawn take.
fn depth(frame: &Frame, scale: f64) -> usize {
    let wide = frame.called.values().filter(|called| called.samples as f64 * scale >= NARROWEST);
    wide.map(|called| depth(called, scale)).max().map_or(1, |below| below + 1)
}

struct Canvas {
    boxes: String,
    all: f64,
    height: usize,
}

impl Canvas {
    fn place(&mut self, frame: &Frame, name: &str, x: f64, level: usize) {
        let share = frame.samples as f64 / self.all;
        if share * WIDTH < NARROWEST {
            return;
        }
        if level > 0 {
            self.draw(name, share, x, self.height - level * ROW);
        }
        let mut x = x;
        for (name, called) in &frame.called {
            self.place(called, name, x, level + 1);
            x += called.samples as f64 / self.all * WIDTH;
        }
    }

    fn draw(&mut self, name: &str, share: f64, x: f64, y: usize) {
        let class = if is_kernel(name) { 'k' } else { 'u' };
        let (name, width) = (name.trim_end_matches(KERNEL), share * WIDTH);
        let shown = ((width - 6.0) / LETTER) as usize;
        let text = match shown {
            0..4 => String::new(),
            _ => {
                let short: String = name.chars().skip(name.chars().count().saturating_sub(shown)).collect();
                format!("<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 3.0, y + 12, escaped(&short))
            }
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            self.boxes,
            "<g><title>{} {:.1} %</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{}\"/>{text}</g>",
            escaped(name),
            share * 100.0,
            ROW - 1
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
