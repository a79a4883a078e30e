//! The subcommands and servers over TLS, at Unix sockets, and gone for a while.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::binary::{Binary, Launch, PROGRAM, command, run};
use crate::cli::{checked, json, level, run_with};
use crate::support::{Peer, Redis, free_port};
use crate::tls::Office;

/// A real Redis that speaks TLS at another port too, with a password, and what keeps that port.
fn redis_over_tls(office: &Office) -> (Redis, String, socket2::Socket) {
    let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|file| office.text(file));
    let (addr, kept) = free_port();
    let port = addr.port().to_string();
    let tls = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let redis = Redis::start(&[&tls[..], &["--tls-auth-clients", "no", "--requirepass", "sesame"]].concat());
    (redis, format!("rediss://:sesame@localhost:{port}"), kept)
}

#[test]
fn a_redis_over_tls_is_copied_in_and_out_and_only_if_somebody_vouches_for_it() {
    let office = Office::open();
    office.sign_as("server", &["localhost"], |_| {});
    let (redis, theirs, _kept) = redis_over_tls(&office);
    let mut there = Peer::connect(redis.addr);
    there.send("AUTH sesame\r\nSET coat blue\r\nRPUSH hooks 1 2 3\r\nSET large x\r\nSETRANGE large 300000 y\r\n");
    there.hears("+OK\r\n+OK\r\n:3\r\n+OK\r\n:300001\r\n");
    let socket = office.text("own.sock");
    let own = office.serve(&[("unixsocket", socket.as_str()), ("databases", "16")]);
    let (secure, unix, ca) =
        (format!("rediss://localhost:{}", own.resp.port()), format!("unix://{socket}"), office.text("ca.pem"));
    let copied = |arguments: &[&str]| {
        let (code, said, errors) = run(arguments);
        assert_eq!((code, said.as_str(), errors.as_str()), (Some(0), "3 keys copied\n", ""), "{arguments:?}");
    };
    copied(&["import", &theirs, "--into", &secure, "--cacert", &ca]);
    copied(&["import", &theirs, "--into", &format!("{secure}/3"), "--insecure"]);
    copied(&["import", &theirs, "--into", &format!("redis+{unix}?db=4"), "--cacert", &ca]);
    copied(&["export", &format!("{theirs}/5"), "--from", &format!("{unix}?db=4"), "--cacert", &ca]);
    there.send("SELECT 5\r\nDBSIZE\r\nSTRLEN large\r\n").hears("+OK\r\n:3\r\n:300001\r\n");
    // The system's roots are others, and SSL_CERT_FILE names them.
    let (mut trusting, _home) =
        command(&["export", &format!("{theirs}/6"), "--from", &format!("{secure}/3")]).into_parts();
    let output = trusting.env("SSL_CERT_FILE", &ca).output().expect("a binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let strangers = Office::open();
    let strange = strangers.text("ca.pem");
    let plain = format!("rediss://:sesame@{}", redis.addr);
    for (url, more, cure) in [
        (&theirs, &["--cacert", &strange][..], "--cacert names a file"),
        (&theirs.replace("localhost", "127.0.0.1"), &["--cacert", &ca], "must be for that name"),
        (&theirs, &["--cacert", "/nowhere.pem"], "/nowhere.pem"),
        (&plain, &["--insecure"], "is TLS spoken there?"),
        (&theirs.replace("sesame", "wrong"), &["--insecure"], "put user and password"),
        (&"unix:///nowhere.sock".to_owned(), &[], "is a server running there?"),
        (&"unix://nowhere.sock".to_owned(), &[], "unix:///path/of/socket"),
    ] {
        let (code, _, errors) = run(&[&["import", url, "--into", &secure], more].concat());
        assert!(matches!(code, Some(1 | 2)) && errors.contains(cure) && errors.lines().count() == 1, "{url}: {errors}");
        assert!(!errors.contains("sesame"), "{errors}");
    }
}

#[test]
fn every_subcommand_reaches_a_server_over_tls_and_at_its_sockets() {
    let office = Office::open();
    let (resp, http) = (office.text("resp.sock"), office.text("http.sock"));
    let sockets = [("unixsocket", resp.as_str()), ("http-unixsocket", &http)];
    let server = office.serve(&[&sockets[..], &[("tls-auth-clients", "yes")]].concat());
    let (resp_port, http_port) = (server.resp.port(), server.http.port());
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|file| office.text(file));
    let shown = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let mut inside = UnixStream::connect(&resp).expect("a socket");
    inside.write_all(b"SET auth:session:tok '{\"user\":{\"name\":\"ada\"}}'\r\n").expect("a server");
    let mut heard = [0; 5];
    inside.read_exact(&mut heard).expect("an answer");
    assert_eq!(&heard, b"+OK\r\n");
    for (flag, url) in [
        ("--url", format!("https://localhost:{http_port}")),
        ("--url", format!("unix://{http}")),
        ("--redis", format!("rediss://localhost:{resp_port}")),
        ("--redis", format!("unix://{resp}")),
    ] {
        let with = |words: &[&'static str]| -> Vec<&str> { [words, &[flag, &url], &shown].concat() };
        let (code, said, errors) = run(&with(&["stats", "--json"]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{url}");
        assert_eq!(json(&said)["keys"], 1, "{url}");
        let (code, said, _) = run(&with(&["top", "--count", "1"]));
        assert!(code == Some(0) && said.lines().count() == 2, "{url}: {said}");
        let (code, said, errors) = run_with(&with(&["get", "-"]), "tok");
        assert_eq!((code, json(&said)["user"]["name"].as_str(), errors.as_str()), (Some(0), Some("ada"), ""), "{url}");
        assert_eq!(run_with(&with(&["signout", "-"]), "another").0, Some(0), "{url}");
        let (code, said, errors) = run(&with(&["bench", "--seconds", "1", "--clients", "2", "--json"]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{url}");
        let load = &json(&said)[0];
        assert!(load["operations"].as_u64() > Some(0) && load["errors"] == 0, "{url}: {load:#}");
    }
    // Who shows no certificate where one is asked for learns which flags show one.
    let (code, _, errors) = run(&["stats", "--redis", &format!("rediss://localhost:{resp_port}"), "--cacert", &ca]);
    assert!(code == Some(1) && errors.contains("--cert") && errors.lines().count() == 1, "{errors}");
    let (code, _, errors) = run(&["stats", "--url", &format!("https://localhost:{http_port}")]);
    assert!(code == Some(1) && errors.contains("--cacert") && errors.lines().count() == 1, "{errors}");
    assert_eq!(run(&["stats", "--cert", &cert]).0, Some(2));
}

/// What `top` needs of a server that comes back: the same port.
fn serve(port: &str) -> Binary {
    Binary::with(&["--port", "0", "--http-port", port, "--fence-log", "no"])
}

#[test]
fn top_says_that_a_server_is_gone_and_goes_on_when_it_is_back() {
    let (free, _kept) = free_port();
    let (port, url) = (free.port().to_string(), format!("http://{free}"));
    let server = serve(&port);
    let (mut watching, _home) = command(&["top", "--url", &url]).into_parts();
    let mut watching = watching.spawn().expect("a binary");
    let mut lines = BufReader::new(watching.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let mut errors = BufReader::new(watching.stderr.take().expect("its errors")).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.contains("checks/s")) && lines.next().is_some());
    server.kill();
    let gone = errors.next().expect("a word of it");
    assert!(gone.contains("is cloakroom running there?") && gone.contains("asked again"), "{gone}");
    let server = serve(&port);
    let back = errors.next().expect("a word of it");
    assert!(back.contains("is back: it was gone since ") && back.contains(" UTC, for "), "{back}");
    // What was told before is read off first.
    let mut told = 0;
    while told < 2 && lines.next().is_some() {
        told += 1;
    }
    assert_eq!(told, 2);
    drop(server);
    watching.kill().and_then(|()| watching.wait()).expect("a child");
    // One that ends while the server is gone has not done what was asked for.
    let (code, _, errors) = run(&["top", "--count", "1", "--url", &url]);
    assert!(code == Some(1) && errors.lines().count() == 1, "{errors}");
}

#[test]
fn top_has_it_on_the_screen_when_a_server_is_gone() {
    let (free, _kept) = free_port();
    let port = free.port().to_string();
    let server = serve(&port);
    let line = format!("{PROGRAM} top --url http://{free}");
    let (mut terminal, _home) = Launch::of("script").into_parts();
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::piped());
    let mut terminal = terminal.spawn().expect("script is there; tests/tools.sh gets it");
    let mut output = terminal.stdout.take().expect("its output");
    // The page that is drawn last begins at the top of the screen.
    let mut screen = String::new();
    let mut until = |holds: &dyn Fn(&str) -> bool| {
        loop {
            let page = screen.rsplit("\x1b[H").next().unwrap_or_default();
            if page.contains("q ends this") && holds(page) {
                return page.to_owned();
            }
            let mut some = [0; 4096];
            let read = output.read(&mut some).expect("a screen");
            assert!(read > 0, "it has ended: {screen:?}");
            screen.push_str(&String::from_utf8_lossy(&some[..read]));
        }
    };
    until(&|page| page.contains("this second"));
    server.kill();
    let gone = until(&|page| page.contains("gone since "));
    assert!(gone.contains("is cloakroom running there?") && gone.contains("last heard:"), "{gone:?}");
    let server = serve(&port);
    until(&|page| !page.contains("gone since ") && page.contains("this second"));
    terminal.stdin.take().expect("its input").write_all(b"q").expect("it reads");
    assert!(terminal.wait().expect("an end").success());
    drop(server);
}

#[test]
fn check_looks_at_certificates() {
    let office = Office::open();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let both = |file: &str| (office.text(&format!("{file}.pem")), office.text(&format!("{file}.key")));
    let check = |cert: &str, key: &str| {
        let tls = [
            "--port",
            "0",
            "--http-port",
            "0",
            "--http-tls-port",
            "any",
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            key,
        ];
        checked(&tls)
    };
    for (file, names, begins, ends, wanted, says) in [
        (
            "good",
            &["localhost", "127.0.0.1", "*.shop.example"][..],
            now - day,
            now + 90 * day,
            "ok",
            "127.0.0.1, *.shop.example, until",
        ),
        ("soon", &["localhost"], now - day, now + 5 * day + day / 2, "warning", "expires in 5 days"),
        ("expired", &["localhost"], now - 9 * day, now - day, "problem", "has expired"),
        ("early", &["localhost"], now + day, now + 90 * day, "problem", "is not valid before"),
        ("nameless", &[], now - day, now + 90 * day, "problem", "subjectAltName"),
    ] {
        office.sign_as(file, names, |asked| (asked.not_before, asked.not_after) = (begins.into(), ends.into()));
        let (cert, key) = both(file);
        let (code, found) = check(&cert, &key);
        assert_eq!(
            (level(&found, "certificates", says), code),
            (wanted, Some(i32::from(wanted == "problem"))),
            "{file}"
        );
    }
    // An authority in between counts as well.
    let (good, expired) = (both("good"), both("expired"));
    let chain = [&good.0, &expired.0].map(|file| std::fs::read_to_string(file).expect("a file")).concat();
    std::fs::write(office.path("chain.pem"), chain).expect("a file");
    let (_, found) = check(&office.text("chain.pem"), &good.1);
    assert_eq!(level(&found, "certificates", "the authority in place 2 has expired"), "problem");
    let (code, found) = check(&good.0, &expired.1);
    assert_eq!((code, level(&found, "certificates", "does not belong to")), (Some(1), "problem"));
    assert_eq!(level(&found, "certificates", "name the key"), "problem");
}
