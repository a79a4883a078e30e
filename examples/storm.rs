//! A login storm, with and without a cloakroom: `cargo run --release --example storm`.
//!
//! An application whose session check takes 50 to 100 ms and whose rate limiter (a fixed window per address) guards
//! `/api/auth/*` is visited by browsers. Each signs in and opens some pages within five seconds; on every page several
//! components check the session at once. First the browsers go to the application directly, then through a cloakroom
//! in front of it. A sign-in succeeds when it is answered and every check after it shows the user.
//!
//! The same seed makes the same visitors and the same delays, so that two runs differ by the machine alone.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Arg, Command, value_parser};
use cloakroom::config::Config;
use cloakroom::net::server::{Server, Way};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

/// How long a browser's visit takes, and the limiter's window.
const VISIT: Duration = Duration::from_secs(5);

/// Within this the browsers arrive.
const ARRIVAL: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Copy)]
struct Plan {
    users: u64,
    pages: u64,
    checks: u64,
    limit: u64,
}

fn main() -> Result<(), Failure> {
    let number = |name: &'static str, default: &'static str, most: u64, help: &'static str| {
        let range = value_parser!(u64).range(1..=most);
        Arg::new(name).long(name).default_value(default).value_parser(range).help(help)
    };
    let given = Command::new("storm")
        .about("A login storm against a rate-limited application, directly and through a cloakroom")
        .arg(number("users", "60", 300, "Browsers that visit"))
        .arg(number("pages", "6", 20, "Pages that a browser opens at most"))
        .arg(number("checks", "5", 20, "Session checks on a page, all at once"))
        .arg(number("limit", "25", 1_000_000, "Requests that the limiter grants an address in five seconds"))
        .get_matches();
    let of = |name| given.get_one::<u64>(name).copied().unwrap_or(1);
    let plan = Plan { users: of("users"), pages: of("pages"), checks: of("checks"), limit: of("limit") };

    println!(
        "{} browsers, 1 to {} pages each, {} checks a page; the application takes 50 to 100 ms and grants {} requests \
         in 5 s\n",
        plan.users, plan.pages, plan.checks, plan.limit
    );
    let direct = storm(plan, "directly", |application| Ok((application, None)))?;
    let through = storm(plan, "through cloakroom", |application| {
        let mut config = Config::default();
        for (name, value) in [("port", "0"), ("http-port", "0"), ("upstream", &format!("http://{application}"))] {
            config.set(name, value)?;
        }
        let server = Server::bind(config)?;
        let door = *server.addresses(Way::Http).first().ok_or("no HTTP door")?;
        let engine = server.engine().clone();
        let running = std::thread::spawn(move || server.run());
        let end: Box<dyn FnOnce()> = Box::new(move || {
            engine.shut_down();
            if !matches!(running.join(), Ok(Ok(()))) {
                eprintln!("the server did not end well");
            }
        });
        Ok((door, Some(end)))
    })?;

    let share = |result: &Outcome| format!("{:.0} %", 100.0 * result.signed_in as f64 / plan.users as f64);
    println!("{:<36}{:>12}{:>20}", "", "directly", "through cloakroom");
    let row = |name: &str, show: &dyn Fn(&Outcome) -> String| {
        println!("{name:<36}{:>12}{:>20}", show(&direct), show(&through));
    };
    row("sign-ins that succeed", &share);
    row("session checks", &|result| result.took.len().to_string());
    row("answers 429 to browsers", &|result| result.refused.to_string());
    row("requests that reach the application", &|result| result.calls.to_string());
    row("answers 429 by the application", &|result| result.limited.to_string());
    row("a check takes, p50", &|result| millis(&result.took, 50));
    row("a check takes, p99", &|result| millis(&result.took, 99));
    Ok(())
}

fn millis(sorted: &[Duration], percent: usize) -> String {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or("-".into(), |took| format!("{:.1} ms", took.as_secs_f64() * 1000.0))
}

/// What came of one storm.
struct Outcome {
    signed_in: u64,
    refused: u64,
    calls: u64,
    limited: u64,
    /// Of each check, in order of length.
    took: Vec<Duration>,
}

type Ender = Option<Box<dyn FnOnce()>>;

/// Starts an application of its own, puts in front of it what is to be put there, and lets the browsers in.
fn storm(
    plan: Plan,
    name: &'static str,
    front: impl FnOnce(SocketAddr) -> Result<(SocketAddr, Ender), Failure>,
) -> Result<Outcome, Failure> {
    let application = Arc::new(Application { limit: plan.limit, calls: AtomicU64::new(0), limited: AtomicU64::new(0) });
    let address = application.clone().start()?;
    let (door, end) = front(address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcome = LocalSet::new().block_on(&runtime, visits(plan, name, door))?;
    drop(runtime);
    if let Some(end) = end {
        end();
    }
    outcome.calls = application.calls.load(Ordering::Relaxed);
    outcome.limited = application.limited.load(Ordering::Relaxed);
    Ok(outcome)
}

async fn visits(plan: Plan, name: &'static str, door: SocketAddr) -> Result<Outcome, Failure> {
    let pages = (0..plan.users).map(|user| Browser::pages(user, plan)).sum::<u64>();
    // Drawn on a terminal only.
    let bar = ProgressBar::new(pages * plan.checks);
    bar.set_style(ProgressStyle::with_template("{msg:18} {wide_bar} {pos}/{len} checks")?);
    bar.set_message(name);
    let mut visits = tokio::task::JoinSet::new();
    for user in 0..plan.users {
        visits.spawn_local(Browser::new(user, door).visit(plan, bar.clone()));
    }
    let mut outcome = Outcome { signed_in: 0, refused: 0, calls: 0, limited: 0, took: Vec::new() };
    while let Some(visit) = visits.join_next().await {
        let visit = visit?;
        outcome.signed_in += u64::from(visit.succeeded);
        outcome.refused += visit.refused;
        outcome.took.extend(visit.took);
    }
    bar.finish_and_clear();
    outcome.took.sort_unstable();
    Ok(outcome)
}

// ---- browsers -------------------------------------------------------------------------------------------------

/// One browser, with the cookies it holds and the connections it keeps.
struct Browser {
    user: u64,
    door: SocketAddr,
    cookie: RefCell<String>,
    lanes: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    refused: Cell<u64>,
}

struct Visit {
    succeeded: bool,
    refused: u64,
    took: Vec<Duration>,
}

impl Browser {
    fn new(user: u64, door: SocketAddr) -> Browser {
        let (cookie, lanes) = (RefCell::default(), RefCell::default());
        Browser { user, door, cookie, lanes, refused: Cell::new(0) }
    }

    /// How many pages this user opens.
    fn pages(user: u64, plan: Plan) -> u64 {
        1 + dice(user) % plan.pages
    }

    async fn visit(self, plan: Plan, bar: ProgressBar) -> Visit {
        let pages = Browser::pages(self.user, plan);
        sleep(ARRIVAL * (dice(self.user + 1_000_000) % 1000) as u32 / 1000).await;
        let credentials = format!("user={}", self.user);
        let signed_in = self.ask(Method::POST, "/api/auth/callback/credentials", credentials).await;
        let mut succeeded = matches!(signed_in, Ok((200, _))) && !self.cookie.borrow().is_empty();
        let name = format!("\"user-{}\"", self.user);
        let browser = Rc::new(self);
        let mut took = Vec::new();
        for _ in 0..pages {
            let mut checks = tokio::task::JoinSet::new();
            for _ in 0..plan.checks {
                let browser = browser.clone();
                checks.spawn_local(async move {
                    let started = Instant::now();
                    let answer = browser.ask(Method::GET, "/api/auth/session", String::new()).await;
                    (answer.ok(), started.elapsed())
                });
            }
            while let Some(Ok((answer, time))) = checks.join_next().await {
                // What next-auth's client makes of it: any status but 200 is signed out.
                succeeded &= answer.is_some_and(|(status, body)| status == 200 && body.contains(&name));
                took.push(time);
                bar.inc(1);
            }
            sleep((VISIT - ARRIVAL) / pages as u32).await;
        }
        Visit { succeeded, refused: browser.refused.get(), took }
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<(u16, String), Failure> {
        let lane = self.lanes.borrow_mut().pop().filter(|lane| !lane.is_closed());
        let mut lane = match lane {
            Some(lane) => lane,
            None => {
                let io = TokioIo::new(TcpStream::connect(self.door).await?);
                let (lane, connection) = hyper::client::conn::http1::handshake(io).await?;
                tokio::task::spawn_local(async move { drop(connection.await) });
                lane
            }
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "app.example")
            // As the proxy at the edge would say it.
            .header("x-forwarded-for", format!("10.0.{}.{}", self.user / 250, self.user % 250));
        let cookie = self.cookie.borrow().clone();
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        lane.ready().await?;
        let answer = lane.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = answer.status().as_u16();
        for line in answer.headers().get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()) {
            if let Some(pair) = line.split(';').next().filter(|pair| pair.starts_with(COOKIE)) {
                self.cookie.replace(pair.to_owned());
            }
        }
        let body = answer.into_body().collect().await?.to_bytes();
        self.lanes.borrow_mut().push(lane);
        self.refused.set(self.refused.get() + u64::from(status == 429));
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

// ---- the application ------------------------------------------------------------------------------------------

const COOKIE: &str = "next-auth.session-token=";

/// An application with NextAuth's habits: each check makes a new token.
struct Application {
    limit: u64,
    calls: AtomicU64,
    limited: AtomicU64,
}

/// Requests of each address in the window that began then.
type Windows = RefCell<HashMap<String, (Instant, u64)>>;

impl Application {
    /// Starts it on a thread of its own, which lasts as long as the program.
    fn start(self: Arc<Self>) -> Result<SocketAddr, Failure> {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || -> std::io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                // The program may have ended already.
                let _ = tell.send(listener.local_addr()?);
                let windows = Rc::new(Windows::default());
                loop {
                    let (stream, _) = listener.accept().await?;
                    let (application, windows) = (self.clone(), windows.clone());
                    let service = service_fn(move |request| {
                        let (application, windows) = (application.clone(), windows.clone());
                        async move { Ok::<_, Infallible>(application.answer(&windows, request).await) }
                    });
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tokio::task::spawn_local(async move { drop(connection.await) });
                }
            })
        });
        Ok(told.recv()?)
    }

    async fn answer(&self, windows: &Windows, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let address = text("x-forwarded-for").split(',').next().unwrap_or_default().to_owned();
        if self.is_over(windows, address) {
            self.limited.fetch_add(1, Ordering::Relaxed);
            let mut answer = json(r#"{"error":"Too many requests"}"#.to_owned(), None);
            *answer.status_mut() = hyper::StatusCode::TOO_MANY_REQUESTS;
            return answer;
        }
        let token = text("cookie").strip_prefix(COOKIE).and_then(|token| token.split_once('.'));
        let user = token.map(|(user, _)| user.to_owned());
        sleep(Duration::from_millis(50 + dice(call) % 51)).await;
        match (request.uri().path(), user) {
            ("/api/auth/session", Some(user)) => {
                let body = format!(r#"{{"user":{{"name":"user-{user}"}},"expires":"2099-01-01T00:00:00.000Z"}}"#);
                json(body, Some(format!("{user}.{call}")))
            }
            ("/api/auth/session", None) => json("{}".to_owned(), None),
            _ => {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let user = String::from_utf8_lossy(&body).replace("user=", "");
                json(r#"{"url":"/dashboard"}"#.to_owned(), Some(format!("{user}.{call}")))
            }
        }
    }

    fn is_over(&self, windows: &Windows, address: String) -> bool {
        let now = Instant::now();
        let mut windows = windows.borrow_mut();
        let window = windows.entry(address).or_insert((now, 0));
        if now - window.0 >= VISIT {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 > self.limit
    }
}

fn json(body: String, token: Option<String>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    let cookie = token.map(|token| format!("{COOKIE}{token}; Path=/; HttpOnly; SameSite=Lax"));
    if let Some(Ok(cookie)) = cookie.map(hyper::header::HeaderValue::try_from) {
        answer.headers_mut().insert("set-cookie", cookie);
    }
    answer
}

/// A number that looks random and is always the same (SplitMix64).
fn dice(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
