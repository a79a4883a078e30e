//! The subcommands, through the binary as people call it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use cloakroom::config::PARAMS;
use serde_json::Value;

use crate::binary::{Binary, Launch, PROGRAM, command, run};
use crate::faulty::Faulty;
use crate::support::{Peer, Redis, free_port};

/// What stands in the list of `cloakroom help`.
const NAMES: [&str; 13] = [
    "serve",
    "check",
    "config",
    "get",
    "signout",
    "stats",
    "top",
    "bench",
    "import",
    "export",
    "completions",
    "man",
    "help",
];

/// Runs to the end with this on standard input.
pub fn run_with(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let (mut command, _home) = command(arguments).into_parts();
    let mut child = command.stdin(Stdio::piped()).spawn().expect("a binary");
    // It may have ended without reading.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn help_lists_all_and_a_wrong_name_is_told_the_right_one() {
    let (_, list, _) = run(&["help"]);
    let (_, long, _) = run(&["--help"]);
    for name in NAMES {
        let row = |line: &&str| line.trim_start().split(' ').next() == Some(name);
        assert!(list.lines().any(|line| row(&line)) && long.lines().any(|line| row(&line)), "{name}");
        let (code, help, _) = run(&["help", name]);
        assert!(code == Some(0) && help.contains("Usage: "), "{name}: {help}");
        if name != "help" && name != "serve" {
            assert_eq!(run(&[name, "--help"]).0, Some(0), "{name}");
        }
    }
    for (arguments, cure) in [
        (&["chekc"][..], "did you mean check?"),
        (&["help", "imprt"], "did you mean import?"),
        (&["config", "--prot", "1"], "did you mean --port?"),
        (&["bench", "--client", "1"], "did you mean --clients?"),
        (&["bench", "--ratio", "x"], "such as 10:1"),
        (&["bench", "--url", "x"], "such as http://"),
        (&["get"], "TOKEN"),
        (&["completions", "tcsh"], "bash"),
    ] {
        let (code, said, errors) = run(arguments);
        assert_eq!((code, said.as_str(), errors.lines().count()), (Some(2), "", 1), "{arguments:?}: {errors}");
        assert!(errors.contains(cure), "{errors}");
    }
}

#[test]
fn serve_is_what_is_done_without_a_name() {
    let binary = Binary::with(&["serve", "--port", "0", "--http-port", "0"]);
    Peer::connect(binary.resp).send("PING\r\n").hears("+PONG\r\n");
    binary.signal("TERM");
    assert_eq!(binary.ended().0, Some(0));
}

/// What `check` finds, and its exit code.
pub fn checked(arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let (code, said, errors) = run(&[&["check", "--json"], arguments].concat());
    assert_eq!(errors, "");
    let said = json(&said);
    assert_eq!(code, Some(i32::from(said["problems"] != 0)), "{said:#}");
    (code, said["findings"].as_array().expect("a list").clone())
}

/// The level of the finding that says this, with its cure.
#[track_caller]
pub fn level<'a>(found: &'a [Value], about: &str, says: &str) -> &'a str {
    let has = |finding: &&Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        text("about").starts_with(about) && (text("what").contains(says) || text("cure").contains(says))
    };
    let found_one = found.iter().find(has).unwrap_or_else(|| panic!("nothing of {about} says {says}: {found:#?}"));
    assert!(found_one["level"] == "ok" || found_one["cure"] != "", "without a cure: {found_one}");
    found_one["level"].as_str().expect("a level")
}

#[test]
fn check_finds_who_is_at_the_ports() {
    let (free, _kept): (Vec<_>, Vec<_>) = (0..2).map(|_| free_port()).unzip();
    let [port, http] = [0, 1].map(|at| free[at].port().to_string());
    let (code, found) = checked(&["--port", &port, "--http-port", &http]);
    assert_eq!((code, level(&found, "port", "is free"), level(&found, "http-port", "is free")), (Some(0), "ok", "ok"));
    let (silent, redis) = (TcpListener::bind("127.0.0.1:0").expect("a port"), Redis::start(&[]));
    let silent = silent.local_addr().expect("its address").port().to_string();
    let theirs = redis.addr.port().to_string();
    let (code, found) = checked(&["--port", &theirs, "--http-port", &silent]);
    assert_eq!(code, Some(1));
    assert_eq!((level(&found, "port", "Redis "), level(&found, "http-port", "is in use")), ("problem", "problem"));
    let own = Binary::start(&["--requirepass", "a-password-of-its-own"]);
    let (resp, http) = (own.resp.port().to_string(), own.http.port().to_string());
    let (_, found) = checked(&["--port", &resp, "--http-port", &http, "--requirepass", "a-password-of-its-own"]);
    assert_eq!(
        (level(&found, "port", "cloakroom 0."), level(&found, "http-port", "cloakroom")),
        ("warning", "warning")
    );
    let (code, found) = checked(&["--port", &resp, "--http-port", "0"]);
    assert_eq!((code, level(&found, "port", "password")), (Some(1), "problem"));
    own.signal("TERM");
    let (_, said) = own.ended();
    assert!(!said.contains("WARN"), "it was spoken to as clients do: {said}");
}

#[test]
fn check_finds_settings_files_and_hazards() {
    let free = ["--port", "0", "--http-port", "0"];
    let with = |more: &[&str]| checked(&[&free[..], more].concat());
    let (code, said, _) = run(&["check", "--port", "0", "--http-port", "0"]);
    assert!(code == Some(0) && said.ends_with("all is well\n") && !said.contains('\x1b'), "{said}");
    for (more, about, says, wanted) in [
        (&["--port", "x"][..], "settings", "--port 'x'", "problem"),
        (&["--prot", "1"], "settings", "did you mean --port?", "problem"),
        (&["--source", "upstream"], "settings", "set upstream", "problem"),
        (&["--bind", "0.0.0.0"], "settings", "set requirepass", "problem"),
        (&["--dir", "/nowhere/at/all"], "dir", "mkdir -p", "problem"),
        (&["--http-tls-port", "any", "--tls-cert-file", "a", "--tls-key-file", "b"], "certificates", "a", "problem"),
        (&["--source", "nextauth", "--secret-file", "none"], "secret-file", "none", "problem"),
        (&["--aclfile", "none"], "users", "none", "problem"),
        (&["--maxmemory", "100000gb"], "maxmemory", "more than there is", "problem"),
        (&["--maxmemory", "0"], "maxmemory", "set maxmemory auto", "warning"),
        (&["--maxmemory", "64mb"], "maxmemory", "64.0 MB", "ok"),
        (&["--maxclients", "4294967295"], "open files", "ulimit", "warning"),
        (&["--bind", "0.0.0.0", "--protected-mode", "no"], "bind", "set requirepass", "problem"),
        (&["--requirepass", "12345"], "requirepass", "openssl rand", "warning"),
        (&["--requirepass", "12345"], "requirepass", "CLOAKROOM_REQUIREPASS", "warning"),
        (&["--appendonly", "yes"], "settings", "without effect", "warning"),
    ] {
        // Without a limit of descriptors four billion clients are none too many.
        if about == "open files" && !cfg!(target_os = "linux") {
            continue;
        }
        let (code, found) = with(more);
        assert_eq!(level(&found, about, says), wanted, "{more:?}");
        assert_eq!(code, Some(i32::from(found.iter().any(|finding| finding["level"] == "problem"))));
        assert!(!found.iter().any(|finding| finding.to_string().contains("12345")));
    }
}

#[test]
fn check_finds_a_snapshot_that_would_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("UTF-8");
    let binary = Binary::start(&["--dir", dir]);
    Peer::connect(binary.resp)
        .send("SET auth:session:t0ken {} EX 600\r\nSET k v\r\nSAVE\r\n")
        .hears("+OK\r\n+OK\r\n+OK\r\n");
    drop(binary);
    let found = |wanted: &str, says: &str| {
        let (_, found) = checked(&["--port", "0", "--http-port", "0", "--dir", dir]);
        assert_eq!(level(&found, "snapshot", says), wanted, "{found:?}");
    };
    found("ok", "2 entries");
    let (file, key) = (folder.path().join("cloakroom.rdb"), folder.path().join("cloakroom.key"));
    let whole = std::fs::read(&file).expect("a snapshot");
    std::fs::write(&file, &whole[..whole.len() - 4]).expect("written");
    found("problem", "not loaded");
    std::fs::write(&file, "no snapshot").expect("written");
    found("problem", "no RDB file");
    std::fs::write(&file, &whole).expect("written");
    std::fs::remove_file(key).expect("there is a key");
    found("problem", "named by another key");
}

/// An application that answers `GET` by path, until it is dropped.
struct App {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
}

impl App {
    /// One whose answer to a request is made by this: status, body, further lines of the head.
    fn start(answer: impl Fn(&str) -> (u16, &'static str, String) + Send + 'static) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, ends) = (listener.local_addr().expect("its address"), Arc::new(AtomicBool::new(false)));
        let ended = ends.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let (status, body, more) = answer(&String::from_utf8_lossy(&head).to_ascii_lowercase());
                let len = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len}\r\nconnection: close\r\n\
                     {more}\r\n{body}"
                );
            }
        });
        App { address, ends }
    }

    /// NextAuth or Auth.js, by its empty session and its cookies' name; `secure` tells by the request whether for https.
    fn next(empty: &'static str, name: &'static str, secure: fn(&str) -> bool) -> App {
        App::start(move |head| match head.split(' ').nth(1) {
            Some("/api/auth/session") => (200, empty, String::new()),
            Some("/api/auth/csrf") => {
                let prefix = if secure(head) { "__Host-" } else { "" };
                (
                    200,
                    r#"{"csrfToken":"x"}"#,
                    format!("set-cookie: {prefix}{name}.csrf-token=x%7Cy; Path=/; HttpOnly\r\n"),
                )
            }
            _ => (404, "no", String::new()),
        })
    }

    fn checked(&self, more: &[&str]) -> (Option<i32>, Vec<Value>) {
        let url = format!("http://{}", self.address);
        checked(&[&["--port", "0", "--http-port", "0", "--upstream", &url], more].concat())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

#[test]
fn check_asks_the_upstream_whether_it_is_nextauth_and_for_which_cookies() {
    let https = |head: &str| head.contains("x-forwarded-proto: https");
    for (empty, name, secure, says) in [
        ("{}", "next-auth", (|_: &str| false) as fn(&str) -> bool, "set NEXTAUTH_URL to https://"),
        ("null", "authjs", |_: &str| true, "__Secure-authjs.session-token"),
        ("{}", "next-auth", https, "X-Forwarded-Proto says https"),
    ] {
        let app = App::next(empty, name, secure);
        let (code, found) = app.checked(&[]);
        assert_eq!((code, level(&found, "upstream", "200"), level(&found, "cookies", says)), (Some(0), "ok", "ok"));
    }
    let app = App::next("null", "authjs", https);
    let (code, found) = app.checked(&["--profile", "nextauth"]);
    assert_eq!((code, level(&found, "cookies", "set profile authjs or auto")), (Some(1), "problem"));
    let (_, found) = app.checked(&["--session-cookie", "sid"]);
    assert_eq!(level(&found, "session-cookie", "leave session-cookie out"), "warning");
    let (_, found) =
        checked(&["--port", "0", "--http-port", "0", "--upstream", &format!("http://{}/shop", app.address)]);
    assert_eq!(level(&found, "upstream", "has no /api/auth/session"), "problem");
}

#[test]
fn check_asks_other_services_their_own_question() {
    let kratos = || {
        App::start(|head| match head.split(' ').nth(1) {
            Some("/sessions/whoami") => (401, r#"{"error":{"code":401}}"#, String::new()),
            _ => (404, "no", String::new()),
        })
    };
    let (code, found) = kratos().checked(&["--profile", "kratos"]);
    assert_eq!((code, level(&found, "upstream", "answers session checks with 401")), (Some(0), "ok"));
    assert!(!found.iter().any(|finding| finding["about"] == "cookies"), "{found:?}");
    let (code, found) = kratos().checked(&["--profile", "better-auth"]);
    assert_eq!((code, level(&found, "upstream", "has no /api/auth/get-session")), (Some(1), "problem"));
    let (code, found) = kratos().checked(&["--profile", "generic", "--session-path", "/sessions/whoami"]);
    assert_eq!((code, level(&found, "upstream", "answers session checks with 401")), (Some(0), "ok"));
    let app = App::start(|_| (200, r#"{"user":{"name":"somebody"}}"#, String::new()));
    let (code, found) = app.checked(&["--profile", "supabase"]);
    assert_eq!((code, level(&found, "upstream", "not as supabase does to who is not signed in")), (Some(1), "problem"));
}

#[test]
fn check_tells_clocks_apart_and_what_is_no_nextauth() {
    let shifted = |seconds: i64| {
        App::start(move |_| {
            let now = SystemTime::now();
            let by = Duration::from_secs(seconds.unsigned_abs());
            let then = if seconds < 0 { now - by } else { now + by };
            (200, "{}", format!("date: {}\r\n", httpdate::fmt_http_date(then)))
        })
    };
    for (seconds, wanted, says) in [(0, "ok", "same"), (90, "warning", "ahead of"), (-90, "warning", "behind")] {
        let app = shifted(seconds);
        assert_eq!(level(&app.checked(&[]).1, "clock", says), wanted);
    }
    for (status, body, more, says, wanted) in [
        (200, "<html>", "", "neither {} nor null", "problem"),
        (307, "", "location: /signin\r\n", "leads on to /signin", "problem"),
        (429, "", "", "rate limiter", "warning"),
        (500, "", "", "AUTH_TRUST_HOST", "problem"),
        (200, "{}", "x-session-source: cache\r\n", "is a cloakroom", "problem"),
    ] {
        let app = App::start(move |_| (status, body, more.to_owned()));
        assert_eq!(level(&app.checked(&[]).1, "upstream", says), wanted, "{status}");
    }
    let (nobody, _kept) = free_port();
    let nobody = format!("http://{nobody}");
    let (code, found) = checked(&["--port", "0", "--http-port", "0", "--upstream", &nobody]);
    assert_eq!((code, level(&found, "upstream", "cannot be reached")), (Some(1), "problem"));
}

#[test]
fn a_session_is_asked_for_and_ended_and_its_token_never_shown() {
    const TOKEN: &str = "c4n4ry-t0ken";
    let server = Binary::start(&[]);
    let (url, redis) = (format!("http://{}", server.http), format!("redis://{}", server.resp));
    let put = || {
        let line = format!("SET auth:session:{TOKEN} '{{\"user\":{{\"name\":\"ada\"}}}}' EX 600\r\n");
        Peer::connect(server.resp).send(line).hears("+OK\r\n");
    };
    put();
    for way in [["--url", &url], ["--redis", &redis]] {
        let (code, said, errors) = run_with(&["get", "-", way[0], way[1]], &format!("{TOKEN}\n"));
        assert_eq!((code, json(&said)["user"]["name"].as_str(), errors.as_str()), (Some(0), Some("ada"), ""));
    }
    // A whole header does as well, and so does another cookie's name.
    let (code, ..) = run_with(&["get", "-", "--url", &url], &format!("Cookie: authjs.session-token={TOKEN}"));
    assert_eq!(code, Some(0));
    let (code, ..) = run_with(&["get", "-", "--url", &url, "--cookie", "authjs.session-token"], TOKEN);
    assert_eq!(code, Some(0));
    // The environment says where it is.
    let (mut own, _home) = command(&["get", TOKEN]).into_parts();
    let output = own.env("CLOAKROOM_HTTP_PORT", server.http.port().to_string()).output().expect("a binary");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.contains("others on this machine see it"), "{errors}");
    assert!(!errors.contains(TOKEN));

    let (code, said, errors) = run_with(&["signout", "-", "--url", &url], TOKEN);
    assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), "signed out here; it is refused for 30 d 0 h\n", ""));
    let (code, said, errors) = run_with(&["get", "-", "--url", &url], TOKEN);
    assert!(code == Some(3) && said.is_empty() && errors.contains("nobody is signed in"), "{errors}");
    let (code, ..) = run_with(&["signout", "-", "--redis", &redis], "another");
    assert_eq!(code, Some(0));
    let (code, _, errors) = run_with(&["get", "-", "--redis", &redis], "another");
    assert!(code == Some(3) && errors.contains("nothing is stored"), "{errors}");
    for input in ["", "\n", "a\x01b"] {
        assert_eq!(run_with(&["get", "-", "--url", &url], input).0, Some(2), "{input:?}");
    }
    let (nobody, _kept) = free_port();
    let nobody = format!("http://{nobody}");
    let (code, _, errors) = run_with(&["get", "-", "--url", &nobody], TOKEN);
    assert!(
        code == Some(1) && errors.contains("is cloakroom running there?") && errors.lines().count() == 1,
        "{errors}"
    );
}

#[test]
fn a_leaked_token_is_ended_though_the_application_goes_on_taking_it() {
    const TOKEN: &str = "c4n4ry-t0ken.1";
    let upstream = Faulty::start();
    let server = Binary::start(&["--upstream", &format!("http://{}", upstream.addr), "--admin-token", "open"]);
    let url = format!("http://{}", server.http);
    let out = |admin: &str, input: &str| {
        let (mut command, _home) = command(&["signout", "-", "--url", &url]).into_parts();
        let command = command.env("CLOAKROOM_ADMIN_TOKEN", admin).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a binary");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(run_with(&["get", "-", "--url", &url], TOKEN).0, Some(0));
    let (code, said, errors) = out("", TOKEN);
    assert!(code == Some(1) && said.is_empty() && errors.contains("CLOAKROOM_ADMIN_TOKEN"), "{errors}");
    assert_eq!(run_with(&["get", "-", "--url", &url], TOKEN).0, Some(0));
    let signed_out = (Some(0), "signed out here; it is refused for 400 d 0 h\n".to_owned(), String::new());
    assert_eq!(out("open", TOKEN), signed_out);
    let unknown = (Some(0), "nothing was known of it here; it is refused for 30 d 0 h\n".to_owned(), String::new());
    assert_eq!(out("open", "Cookie: a=b; next-auth.session-token=other.1"), unknown);
    for token in [TOKEN, "other.1"] {
        assert_eq!(run_with(&["get", "-", "--url", &url], token).0, Some(3), "{token}");
    }
    let (code, _, errors) = out("open", &"x".repeat(20_000));
    assert!(code == Some(2) && errors.contains("nobody was signed out"), "{errors}");
}

#[test]
fn a_session_of_another_profile_is_shown_as_its_clients_show_it() {
    let app = App::start(|head| {
        let is_alice = head.contains("authorization: bearer t0ken\r\n");
        match (head.split(' ').nth(1), is_alice) {
            (Some("/auth/v1/user"), true) => (200, r#"{"id":"7","email":"alice@shop.example"}"#, String::new()),
            _ => (401, r#"{"code":401}"#, String::new()),
        }
    });
    let server = Binary::start(&["--profile", "supabase", "--upstream", &format!("http://{}", app.address)]);
    let url = format!("http://{}", server.http);
    let get = |input: &str| {
        let (mut command, _home) = command(&["get", "-", "--url", &url]).into_parts();
        let mut child = command.env("CLOAKROOM_PROFILE", "supabase").stdin(Stdio::piped()).spawn().expect("a binary");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("an end");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for input in ["t0ken", "Authorization: Bearer t0ken"] {
        let (code, said) = get(input);
        assert_eq!((code, json(&said)["email"].as_str()), (Some(0), Some("alice@shop.example")), "{input}");
    }
    assert_eq!(get("another"), (Some(3), String::new()));
}

#[test]
fn figures_are_told_once_and_each_second() {
    let server = Binary::start(&["--admin-token", "an-admin-token"]);
    let (url, redis) = (format!("http://{}", server.http), format!("redis://{}", server.resp));
    Peer::connect(server.resp).send("SET coat 1\r\n").hears("+OK\r\n");
    let (code, _, errors) = run(&["stats", "--url", &url]);
    assert!(code == Some(1) && errors.contains("CLOAKROOM_ADMIN_TOKEN") && errors.lines().count() == 1, "{errors}");
    let (mut told, _home) = command(&["stats", "--json", "--url", &url]).into_parts();
    let output = told.env("CLOAKROOM_ADMIN_TOKEN", "an-admin-token").output().expect("a binary");
    let by_http = json(&String::from_utf8_lossy(&output.stdout));
    let by_redis = json(&run(&["stats", "--json", "--redis", &redis]).1);
    for figures in [&by_http, &by_redis] {
        assert_eq!(
            (&figures["keys"], &figures["version"]),
            (&1.into(), &env!("CARGO_PKG_VERSION").into()),
            "{figures:#}"
        );
        assert_eq!(figures["sessions"]["hits"], 0, "{figures:#}");
        assert!(figures["used_memory"].as_u64() > Some(0) && figures["commands"].as_u64() > Some(0), "{figures:#}");
    }
    let (code, page, _) = run(&["stats", "--redis", &redis]);
    assert!(code == Some(0) && page.contains("hit ratio") && !page.contains('\x1b'), "{page}");
    let (code, lines, _) = run(&["top", "--count", "1", "--redis", &redis]);
    assert!(code == Some(0) && lines.lines().count() == 2 && lines.contains("checks/s"), "{lines}");
    let theirs = Redis::start(&[]);
    let (code, _, errors) = run(&["stats", "--redis", &format!("redis://{}", theirs.addr)]);
    assert!(code == Some(1) && errors.contains("another Redis"), "{errors}");
}

#[test]
fn a_terminal_is_taken_and_given_back_and_has_colours_unless_nobody_wants_them() {
    let server = Binary::start(&[]);
    let line = format!("{PROGRAM} top --count 1 --url http://{}", server.http);
    for (no_color, is_bold) in [("", true), ("1", false)] {
        let (mut terminal, _home) = Launch::of("script").into_parts();
        terminal.args(["-qec", &line, "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm");
        let output = terminal.output().expect("script is there; tests/tools.sh gets it");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("\x1b[?1049h") && shown.trim_end().ends_with("\x1b[?1049l"), "{shown:?}");
        assert!(shown.contains("this second") && shown.contains("\x1b[1m") == is_bold, "{shown:?}");
    }
}

#[test]
fn bench_measures_a_server_of_its_own_and_a_running_one() {
    let (code, said, errors) = run(&["bench", "--seconds", "1", "--clients", "4", "--json"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let loads = json(&said);
    assert_eq!(loads.as_array().map(Vec::len), Some(2), "{loads:#}");
    for load in loads.as_array().expect("a list") {
        assert!(load["operations"].as_u64() > Some(0) && load["errors"] == 0, "{load:#}");
        let latency = |name: &str| load["latency_micros"][name].as_f64().expect("a number");
        assert!(latency("p50") <= latency("p99.9") && latency("p99.9") <= latency("max"), "{load:#}");
    }
    let server = Binary::start(&["--requirepass", "sesame"]);
    let redis = format!("redis://:sesame@{}/2", server.resp);
    let (code, said, _) =
        run(&["bench", "--seconds", "1", "--clients", "3", "--pipeline", "8", "--ratio", "1:1", "--redis", &redis]);
    assert!(code == Some(0) && said.contains("GET and SET 1:1, 3 clients, pipeline 8"), "{said}");
    assert!(
        said.contains("p99.9") && said.contains('█') && !said.contains('\x1b') && !said.contains("errors"),
        "{said}"
    );
    let mut peer = Peer::connect(server.resp);
    peer.send("AUTH sesame\r\nSELECT 2\r\nDBSIZE\r\n").hears("+OK\r\n+OK\r\n:0\r\n");
    let url = format!("http://{}", server.http);
    let (code, said, _) = run(&["bench", "--seconds", "1", "--clients", "2", "--url", &url]);
    assert!(code == Some(0) && said.contains("session checks without a cookie"), "{said}");
    let (code, _, errors) = run(&["bench", "--redis", &format!("redis://{}", server.resp)]);
    assert!(code == Some(1) && errors.contains("NOAUTH") && errors.contains("user:password@"), "{errors}");
}

#[test]
fn config_prints_a_file_that_changes_nothing_and_where_each_value_is_from() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("all.toml");
    let path = path.to_str().expect("letters");
    let (code, text, _) = run(&["config", "--defaults"]);
    assert_eq!(code, Some(0));
    std::fs::write(path, text).expect("written");
    let (fresh, read) = (json(&run(&["config", "--json"]).1), json(&run(&["config", path, "--json"]).1));
    for param in PARAMS.iter().filter(|param| !param.is_hidden()) {
        assert_eq!(fresh[param.name]["value"], read[param.name]["value"], "{}", param.name);
        assert_eq!(fresh[param.name]["from"], "default");
        assert!(read[param.name]["from"].as_str().is_some_and(|from| from.starts_with(path)), "{}", param.name);
    }
    let (_, said, _) = run(&["check", path, "--port", "0", "--http-port", "0"]);
    assert!(said.ends_with("all is well\n"), "passwords that are not set are no secrets: {said}");
    let (mut own, _home) = command(&["config", "--port", "7000", "--requirepass", "opensesame"]).into_parts();
    let output = own.env("CLOAKROOM_HTTP_PORT", "7001").output().expect("a binary");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        |name: &str| said.lines().find(|line| line.starts_with(&format!("{name} = "))).expect("a line").to_owned();
    assert!(line("port").ends_with("# flag --port") && line("port").starts_with("port = 7000 "), "{said}");
    assert!(
        line("http-port").ends_with("# env CLOAKROOM_HTTP_PORT") && line("workers").ends_with("# default"),
        "{said}"
    );
    assert!(line("requirepass").contains("\"***\"") && !said.contains("opensesame"), "{said}");
}

#[test]
fn completions_and_the_man_page_name_every_flag() {
    let flags = || {
        PARAMS.iter().filter(|param| !param.is_hidden()).map(|param| param.name).chain(["config", "clients", "ratio"])
    };
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, text, _) = run(&["completions", shell]);
        assert!(code == Some(0) && NAMES.iter().all(|name| text.contains(name)), "{shell}");
        assert!(flags().all(|flag| text.contains(flag)), "{shell}");
    }
    let (_, bash, _) = run(&["completions", "bash"]);
    let mut shell = std::process::Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    shell.stdin.take().expect("its input").write_all(bash.as_bytes()).expect("it reads");
    assert!(shell.wait().expect("an end").success());

    let (code, page, _) = run(&["man"]);
    assert!(code == Some(0) && page.lines().any(|line| line.starts_with(".TH cloakroom 1")), "{page}");
    let plain = page.replace("\\-", "-");
    for flag in flags() {
        assert!(plain.contains(&format!("--{flag}")), "{flag}");
    }
    for name in NAMES {
        assert!(page.contains(&format!("CLOAKROOM {}", name.to_uppercase())), "{name}");
    }
    // The formatter has nothing to warn of.
    let mut groff = std::process::Command::new("groff")
        .args(["-man", "-Tascii", "-ww"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("groff is there; tests/tools.sh gets it");
    let mut input = groff.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || input.write_all(page.as_bytes()));
    let output = groff.wait_with_output().expect("an end");
    writer.join().expect("no panic").expect("it reads");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{warnings}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("maxmemory"));
}
