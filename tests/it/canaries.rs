//! Passwords and tokens planted wherever one can stand, and looked for wherever the server tells of what it saw.

use std::io::Write as _;

use super::binary::Binary;
use super::support::{Peer, free_port};

/// What each planted word has in it. Upper and lower case are as they were sent.
const MARK: &str = "C4n4ry";

/// Everything that a client hears until it has quit.
fn hear(address: std::net::SocketAddr, password: &str, lines: &[String]) -> Vec<u8> {
    let mut client = Peer::connect(address);
    client.send(format!("AUTH {password}\r\n")).hears("+OK\r\n");
    for line in lines {
        client.send(format!("{line}\r\n"));
    }
    client.send("QUIT\r\n").rest()
}

#[test]
fn no_password_and_no_token_is_told() {
    let [main, bob, next] = ["m41n", "b0b", "n3xt"].map(|name| format!("{MARK}-{name}"));
    let token = |number: usize| format!("{MARK}-token-{number}-0123456789abcdef");
    let key = |number: usize| format!("auth:session:{}", token(number));
    let mut file = tempfile::Builder::new().suffix(".conf").tempfile().expect("a file");
    writeln!(file, "requirepass {main}\nuser bob on >{bob} ~* &* +@all\nloglevel debug\nslowlog-log-slower-than 0\nenable-debug-command yes")
        .expect("room");
    let path = file.path().to_str().expect("a path").to_owned();
    let (nobody, _kept) = free_port();
    let upstream = format!("http://{nobody}");
    let binary = Binary::with(&[&path, "--port", "0", "--http-port", "0", "--upstream", &upstream]);
    let mut watcher = Peer::connect(binary.resp);
    watcher.send(format!("AUTH {main}\r\n")).hears("+OK\r\n").send("MONITOR\r\n").hears("+OK\r\n");

    // Logging in, rightly and wrongly, before and after.
    for line in [
        format!("AUTH {MARK}-wrong"),
        format!("AUTH bob {MARK}-wrong"),
        format!("AUTH a b {MARK}-wrong"),
        format!("HELLO 3 AUTH bob {MARK}-wrong"),
        format!("HELLO 9 AUTH bob {bob}"),
        format!("GET {}", key(0)),
    ] {
        let heard = Peer::connect(binary.resp).send(format!("{line}\r\nQUIT\r\n")).rest();
        assert!(!String::from_utf8_lossy(&heard).contains(MARK), "{line}: {}", String::from_utf8_lossy(&heard));
    }
    // Protocol errors, which are logged.
    for bytes in [format!("*1\r\n${MARK}\r\n"), format!("*2\r\n$4\r\nAUTH\r\n{MARK}\r\n"), format!("AUTH \"{MARK}\r\n")]
    {
        Peer::connect(binary.resp).send(bytes).rest();
    }
    let acting: Vec<String> = [
        format!("HELLO 2 AUTH bob {bob}"),
        format!("ACL SETUSER eve on >{MARK}-eve ~* +@all"),
        format!("ACL SETUSER eve <{MARK}-not-hers"),
        format!("ACL SETUSER eve #{MARK}"),
        format!("ACL SETUSER eve \"(+get >{MARK})\""),
        format!("ACL SETUSER eve (+get >{MARK}"),
        format!("CONFIG SET requirepass {MARK} maxmemory nonsense"),
        format!("CONFIG SET requirepass {MARK} requirepass {MARK}"),
        format!("CONFIG SET maxclients 1000 requirepass {next}"),
        format!("SET {} {{}} EX 100", key(1)),
        format!("GETEX {} EX nonsense", key(1)),
        format!("LPUSH {} a", key(1)),
        format!("NOSUCH {}", key(1)),
        format!("OBJECT NOSUCH {}", key(1)),
        format!("RENAME {} {}", key(2), key(3)),
        format!("EVAL \"return redis.call('lpush', KEYS[1], 1)\" 1 {}", key(1)),
        format!("EVAL \"return redis.pcall('nosuch', KEYS[1])\" 1 {}", key(1)),
        format!("MULTI\r\nGET {}\r\nEXEC", key(1)),
        format!("WATCH {}", key(1)),
        format!("CLIENT TRACKING ON BCAST PREFIX {}", key(1)),
        format!("MEMORY USAGE {}", key(1)),
        format!("DEBUG OBJECT {}", key(1)),
        format!("DEL {}", key(1)),
    ]
    .into();
    let replies = hear(binary.resp, &main, &acting);
    assert!(replies.len() > 600, "{}", String::from_utf8_lossy(&replies));

    let asks = [
        format!("GET /api/auth/session HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token={}", token(4)),
        format!("GET /api/auth/session?token={} HTTP/1.1\r\nHost: x", token(4)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}", token(4), token(4)),
        format!("GET /api/auth/session HTTP/1.1\r\nHost: x\r\nCookie: next-auth.session-token={}\nX: y", token(4)),
        format!("GET /api/auth/session HTTP/1.1\r\nHost: {}\r\nHost: {}", token(4), token(4)),
        format!(
            "POST /api/auth/signout HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nCookie: next-auth.session-token={}",
            token(4)
        ),
        format!("{} / HTTP/9.9\r\nHost: x", token(4)),
    ];
    for ask in &asks {
        let heard = Peer::connect(binary.http).send(format!("{ask}\r\nConnection: close\r\n\r\n")).rest();
        assert!(!String::from_utf8_lossy(&heard).contains(MARK), "{ask}: {}", String::from_utf8_lossy(&heard));
    }
    // A sign-out that the upstream does not hear of, which is kept on the disk.
    let form = "csrfToken=good";
    let sign_out = format!(
        "POST /api/auth/signout HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Cookie: next-auth.csrf-token=good%7C5f3e; next-auth.session-token={}\r\nConnection: close\r\n\r\n{form}",
        form.len(),
        token(5)
    );
    let signed_out = Peer::connect(binary.http).send(sign_out).rest();
    assert!(signed_out.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&signed_out));
    // Panics in the middle of a request that has a token, and in a transaction that had one before.
    for lines in
        [format!("DEBUG PANIC {}", key(6)), format!("MULTI\r\nGET {}\r\nDEBUG PANIC {}\r\nEXEC", key(6), key(6))]
    {
        let mut client = Peer::connect(binary.resp);
        client.send(format!("AUTH {next}\r\n")).hears("+OK\r\n");
        // What came with it in one piece is not answered either.
        assert_eq!(client.send(format!("{lines}\r\nPING\r\n")).rest(), b"");
    }
    let metrics =
        Peer::connect(binary.http).send("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").rest();

    // CONFIG GET requirepass tells it, as in Redis, and CONFIG REWRITE has to write it; everything else keeps silent.
    let asking: Vec<String> = [
        &format!("SET {} {{}} EX 100", key(7)),
        "SAVE",
        &format!("CONFIG SET admin-token {MARK}-operator rest-token {MARK}-rest otlp-headers x-key={MARK}-key"),
        &format!("CONFIG SET otlp-headers {MARK}"),
        &format!("CONFIG SET otlp-headers host={MARK}"),
        "CONFIG REWRITE",
        "SLOWLOG GET 1000",
        "CLIENT LIST",
        "INFO everything",
        "LATENCY LATEST",
        "LATENCY DOCTOR",
        "ACL LOG",
        "ACL LIST",
        "ACL GETUSER bob",
        "ACL GETUSER eve",
        "ACL USERS",
        "CONFIG GET *mem*",
        "CONFIG GET user*",
        "COMMAND LIST",
        "KEYS *",
        "SCAN 0 COUNT 1000",
        "RANDOMKEY",
        "MEMORY DOCTOR",
        "PUBSUB CHANNELS",
        "FUNCTION LIST WITHCODE",
    ]
    .map(str::to_owned)
    .into();
    let told = hear(binary.resp, &next, &asking);
    assert!(told.len() > 10_000, "only {} bytes were told", told.len());
    // Who asks to leave has no news after that, also none that is on its way.
    let watched = watcher.up_to("\"FUNCTION\" \"LIST\" \"WITHCODE\"\r\n");
    assert!(String::from_utf8_lossy(&watched).contains("auth:session:~"), "MONITOR showed nothing");
    binary.signal("TERM");
    let home = binary.home.path().to_owned();
    let kept = ["cloakroom.rdb", "cloakroom.fences", "cloakroom.key"].map(|file| {
        let bytes = std::fs::read(home.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        (file, bytes)
    });
    let (_, said) = binary.ended();
    assert_eq!(said.matches("panicked at src/command/debug.rs").count(), 2, "{said}");
    // Settings are written so that a start from them is the same; users have hashes alone, as in Redis.
    let rewritten = std::fs::read_to_string(file.path()).expect("settings");
    let mut shown: Vec<&str> = rewritten.lines().filter(|line| line.contains(MARK)).collect();
    shown.sort_unstable();
    let tokens = [
        format!("admin-token {MARK}-operator"),
        format!("otlp-headers x-key={MARK}-key"),
        format!("requirepass {next}"),
        format!("rest-token {MARK}-rest"),
    ];
    assert_eq!(shown, tokens);
    assert!(rewritten.lines().any(|line| line.starts_with("user bob ") && line.contains("\"#")), "{rewritten}");
    for (what, bytes) in kept.into_iter().chain([
        ("a reply", replies),
        ("what a sign-out is told", signed_out),
        ("what was asked for", told),
        ("/metrics", metrics),
        ("MONITOR", watched),
        ("the log", said.into_bytes()),
    ]) {
        let text = String::from_utf8_lossy(&bytes);
        let shown: Vec<&str> = text.lines().filter(|line| line.contains(MARK)).collect();
        assert!(shown.is_empty(), "{what} has {shown:#?}");
    }
}

#[test]
fn users_are_saved_with_hashes_alone() {
    let mut file = tempfile::Builder::new().suffix(".acl").tempfile().expect("a file");
    writeln!(file, "user default on >{MARK}-main ~* &* +@all\nuser bob on >{MARK}-bob ~* +@all").expect("room");
    let binary = Binary::start(&["--aclfile", file.path().to_str().expect("a path")]);
    let lines = [format!("ACL SETUSER eve on >{MARK}-eve >{MARK}-two ~* +@all"), "ACL SAVE".into(), "ACL LIST".into()];
    let told = hear(binary.resp, &format!("{MARK}-main"), &lines);
    assert!(!String::from_utf8_lossy(&told).contains(MARK), "{}", String::from_utf8_lossy(&told));
    let saved = std::fs::read_to_string(file.path()).expect("users");
    assert!(!saved.contains(MARK) && saved.matches(" #").count() == 4, "{saved}");
    hear(binary.resp, &format!("eve {MARK}-two"), &["ACL LOAD".into()]);
}

#[test]
fn a_setting_that_is_refused_does_not_tell_its_secret() {
    for lines in [
        format!("requirepass {MARK} {MARK}"),
        format!("user bob on >{MARK} (>{MARK})"),
        format!("user bob on >{MARK} ~* nonsense"),
        format!("upstream http://user:{MARK}@127.0.0.1:1/?x"),
        format!("masterauth \"{MARK}"),
    ] {
        let mut file = tempfile::Builder::new().suffix(".conf").tempfile().expect("a file");
        writeln!(file, "{lines}").expect("room");
        let said = super::binary::refused(&[file.path().to_str().expect("a path"), "--port", "0", "--http-port", "0"]);
        assert!(!said.contains(MARK), "{lines}: {said}");
    }
}
