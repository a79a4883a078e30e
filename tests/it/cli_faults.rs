//! The subcommands where what they print goes nowhere, and where who answers is no server of theirs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rcgen::{BasicConstraints, IsCa};

use super::binary::{Binary, Launch, PROGRAM, command, run};
use super::support::{Running, until};
use super::tls::Office;

#[test]
fn who_reads_no_further_ends_it_and_is_no_failure() {
    let server = Binary::start(&[]);
    let (mut top, _home) = command(&["top", "--url", &format!("http://{}", server.http)]).into_parts();
    let mut top = top.spawn().expect("a binary");
    let mut lines = BufReader::new(top.stdout.take().expect("its output")).lines();
    assert!(lines.next().expect("a line").expect("text").contains("checks/s"));
    drop(lines);
    until("it has ended", || top.try_wait().expect("a child").is_some());
    let output = top.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_disk_that_is_full_is_told_of_and_ends_no_server() {
    let server = Binary::start(&[]);
    let (url, full) = (format!("http://{}", server.http), || std::fs::File::create("/dev/full").expect("a device"));
    for arguments in
        [&["stats", "--url", &url][..], &["config", "--defaults"], &["man"], &["top", "--count", "9", "--url", &url]]
    {
        let (mut command, _home) = command(arguments).into_parts();
        let output = command.stdout(full()).output().expect("a binary");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write to standard output") && said.lines().count() == 1, "{arguments:?} {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
    let (mut command, home) = command(&["--port", "0", "--http-port", "0", "--unixsocket", "redis.sock"]).into_parts();
    let mut server = command.stdout(full()).spawn().expect("a binary");
    let mut heard = [0; 7];
    until("it serves", || {
        UnixStream::connect(home.path().join("redis.sock"))
            .and_then(|mut stream| stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut heard)))
            .is_ok()
    });
    assert_eq!(&heard, b"+PONG\r\n");
    server.kill().and_then(|()| server.wait()).expect("a child");
}

#[test]
fn what_a_server_says_moves_no_terminal_and_a_line_that_is_cut_is_a_connection_that_was() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let redis = format!("redis://{}", listener.local_addr().expect("an address"));
    for (answer, says) in [("-ERR \x1b[31mred\x07 \u{9b}x\r\n", "ERR \u{fffd}[31mred"), ("+O", "closed the connection")]
    {
        let said = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.read(&mut [0; 1000]);
                stream.write_all(answer.as_bytes()).expect("it listens");
            });
            let (code, _, said) = run(&["stats", "--redis", &redis]);
            assert_eq!(code, Some(1));
            said
        });
        assert!(said.contains(says) && !said.trim_end().contains(char::is_control), "{said:?}");
    }
}

#[test]
fn what_a_wrong_port_says_is_said_and_what_helps_against_a_wrong_certificate() {
    let (server, office) = (Binary::start(&[]), Office::open());
    let secure = office.serve(&[]);
    // One that vouches for itself, as people make them first.
    office.sign_as("own", &["localhost"], |asked| asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let (cert, key, ca) = (office.text("own.pem"), office.text("own.key"), office.text("ca.pem"));
    let own = Running::start(&[("http-tls-port", "any"), ("tls-cert-file", &cert), ("tls-key-file", &key)]);
    let redis = format!("redis://{}", server.http);
    let (plain, https) = (format!("http://{}", secure.http), format!("https://localhost:{}", secure.http.port()));
    let vouched = format!("https://localhost:{}", own.http.port());
    for (arguments, says) in [
        (&["bench", "--redis", &redis][..], "this is the HTTP port"),
        (&["stats", "--url", &plain], "this port speaks TLS"),
        (&["signout", "--url", &plain, "a-token"], "this port speaks TLS"),
        (&["bench", "--url", &https, "--seconds", "1"], "--cacert names a file"),
        (&["stats", "--url", &vouched, "--cacert", &ca], "basicConstraints=CA:FALSE"),
    ] {
        let (code, _, errors) = run(arguments);
        assert!(code == Some(1) && errors.contains(says), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_screen_of_few_rows_keeps_the_first_and_breaks_no_line() {
    let server = Binary::start(&[]);
    let line = format!("stty rows 6 cols 20; {PROGRAM} top --count 1 --url http://{}", server.http);
    let (mut terminal, _home) = Launch::of("script").into_parts();
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let output = terminal.output().expect("script is there; tests/tools.sh gets it");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let page = shown.rsplit("\x1b[H").next().unwrap_or_default();
    assert_eq!(page.matches('\n').count(), 5, "{shown:?}");
    assert!(page.contains("cloakroom ") && !page.contains("q ends this"), "{shown:?}");
    let (off, on) = (shown.find("\x1b[?7l"), shown.rfind("\x1b[?7h"));
    assert!(off.is_some() && off < on, "{shown:?}");
}
