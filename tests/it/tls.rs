//! TLS on both doors, certificates that are made here, and what SIGHUP reads again.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::net::Patience;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::binary::{Binary, command};
use super::browser::Answer;
use super::faulty::Faulty;
use super::support::{PATIENCE, Peer, Running, until};

/// A folder with an authority and what it has signed.
pub struct Office {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Office {
    pub fn open() -> Office {
        let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), authority.self_signed(&key).expect("a certificate").pem())
            .expect("a file");
        let office = Office { folder, issuer: Issuer::new(authority, key) };
        office.sign("server", "first");
        office.sign("client", "client");
        office
    }

    /// Writes `file.pem` and `file.key` for this machine, under a name to tell them by.
    fn sign(&self, file: &str, name: &str) {
        self.sign_as(file, &["localhost", "127.0.0.1"], |asked| {
            asked.distinguished_name.push(DnType::CommonName, name);
        });
    }

    /// The same for these names, with what is changed about it.
    pub fn sign_as(&self, file: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut asked = CertificateParams::new(names).expect("names");
        change(&mut asked);
        let key = KeyPair::generate().expect("a key");
        let certificate = asked.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).expect("a file");
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("a file");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn text(&self, file: &str) -> String {
        self.path(file).to_str().expect("text").to_owned()
    }

    /// A server whose doors all speak TLS.
    pub fn serve(&self, settings: &[(&str, &str)]) -> Running {
        self.serve_with(Patience::default(), settings)
    }

    /// The same with this patience.
    fn serve_with(&self, patience: Patience, settings: &[(&str, &str)]) -> Running {
        let (cert, key, ca) = (self.text("server.pem"), self.text("server.key"), self.text("ca.pem"));
        let own = [
            ("tls-port", "any"),
            ("http-tls-port", "any"),
            ("tls-cert-file", cert.as_str()),
            ("tls-key-file", &key),
            ("tls-ca-cert-file", &ca),
            ("tls-auth-clients", "no"),
        ];
        Running::with_patience(patience, &[&own, settings].concat())
    }

    /// Shakes hands with a server, showing this certificate if any.
    fn connect(&self, to: SocketAddr, shown: Option<&str>) -> Client {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots(&self.path("ca.pem")));
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(file) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).expect("a key");
                config.with_client_auth_cert(chain(&self.path(&format!("{file}.pem"))), key).expect("a certificate")
            }
        };
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        Client(StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream))
    }
}

fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).expect("a file").collect::<Result<_, _>>().expect("certificates")
}

fn roots(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file) {
        roots.add(certificate).expect("an authority");
    }
    roots
}

/// A client over TLS.
struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.0.write_all(bytes.as_ref()).expect("a server that listens");
        self
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) -> &mut Client {
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&heard), expected);
        self
    }

    /// Everything to an end that is no fault: the server has said goodbye.
    #[track_caller]
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("a goodbye");
        rest
    }

    /// Whether the server lets it in.
    fn is_let_in(&mut self) -> bool {
        let mut heard = [0; 7];
        self.0.write_all(b"PING\r\n").is_ok() && self.0.read_exact(&mut heard).is_ok() && heard == *b"+PONG\r\n"
    }

    /// The certificate that the server has shown.
    fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().expect("a certificate")[0].clone().into_owned()
    }
}

#[test]
fn commands_large_and_small_pass_over_tls() {
    let office = Office::open();
    let server = office.serve(&[]);
    let mut client = office.connect(server.resp, None);
    client.send("PING\r\nPI").hears("+PONG\r\n");
    client.send("NG\r\n").hears("+PONG\r\n");
    // More than sockets take at once, both ways, and replies that are not read until all has been sent.
    let large = "x".repeat(3 << 20);
    client.send(format!("*3\r\n$3\r\nSET\r\n$4\r\ncoat\r\n${}\r\n{large}\r\n", large.len())).hears("+OK\r\n");
    client.send("GET coat\r\n".repeat(4));
    for _ in 0..4 {
        client.hears(&format!("${}\r\n{large}\r\n", large.len()));
    }
    client.send("CLIENT INFO\r\nQUIT\r\n");
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(rest.contains(" addr=127.0.0.1:") && rest.ends_with("\r\n+OK\r\n"), "{rest}");
    // What others push arrives without being asked for.
    let mut listener = office.connect(server.resp, None);
    listener.send("SUBSCRIBE news\r\n").hears("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    office.connect(server.resp, None).send("PUBLISH news hi\r\n").hears(":1\r\n");
    listener.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    server.stop();
    assert_eq!(listener.rest(), b"");
}

#[test]
fn clients_show_certificates_where_they_must() {
    let office = Office::open();
    let strange = Office::open();
    fs::copy(strange.path("client.pem"), office.path("strange.pem")).expect("a file");
    fs::copy(strange.path("client.key"), office.path("strange.key")).expect("a file");
    for (setting, none, good, bad) in
        [("yes", false, true, false), ("optional", true, true, false), ("no", true, true, true)]
    {
        let server = office.serve(&[("tls-auth-clients", setting)]);
        for (shown, is_let_in) in [(None, none), (Some("client"), good), (Some("strange"), bad)] {
            let mut client = office.connect(server.resp, shown);
            assert_eq!(client.is_let_in(), is_let_in, "{setting} {shown:?}");
        }
        // HTTPS never asks for one.
        let mut browser = office.connect(server.http, None);
        browser.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(Answer::parse(&browser.rest()).status, 200);
    }
}

#[test]
fn only_the_versions_that_are_named_are_spoken() {
    let office = Office::open();
    for (versions, spoken) in [("TLSv1.2", "TLSv1_2"), ("TLSv1.3", "TLSv1_3"), ("", "TLSv1_3")] {
        let server = office.serve(&[("tls-protocols", versions)]);
        let mut client = office.connect(server.resp, None);
        assert!(client.is_let_in());
        assert_eq!(format!("{:?}", client.0.conn.protocol_version().expect("a version")), spoken);
    }
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    let office = Office::open();
    let server = office.serve(&[]);
    let heard = Peer::connect(server.resp).send("PING\r\n").rest();
    assert!(heard.starts_with(b"-ERR this port speaks TLS"), "{}", String::from_utf8_lossy(&heard));
    let heard = Peer::connect(server.http).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    let answer = Answer::parse(&heard);
    assert_eq!((answer.status, answer.body.as_str()), (400, "this port speaks TLS: use https\n"));
    // Half a handshake ends nothing but itself.
    Peer::connect(server.resp).send([0x16, 3, 1, 0, 5, 1, 2]);
    Peer::connect(server.resp).send([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]).rest();
    assert!(office.connect(server.resp, None).is_let_in());
}

#[test]
fn a_session_check_over_https_says_so_to_the_upstream() {
    let office = Office::open();
    let upstream = Faulty::start();
    let url = format!("http://{}", upstream.addr);
    let server = office.serve(&[("upstream", &url)]);
    let mut browser = office.connect(server.http, None);
    let request = "GET /api/auth/session HTTP/1.1\r\nHost: shop.example\r\nCookie: next-auth.session-token=alice.1\r\n";
    for (close, source) in [("", "nextauth"), ("Connection: close\r\n", "cache")] {
        browser.send(format!("{request}{close}\r\n"));
        if close.is_empty() {
            let mut heard = Vec::new();
            while !heard.ends_with(b"}") {
                let mut some = [0; 4096];
                let len = browser.0.read(&mut some).expect("an answer");
                heard.extend_from_slice(&some[..len]);
            }
            assert_eq!(Answer::parse(&heard).header("x-session-source"), source);
        } else {
            assert_eq!(Answer::parse(&browser.rest()).header("x-session-source"), source);
        }
    }
    assert_eq!(upstream.last().header("x-forwarded-proto").as_deref(), Some("https"));
}

#[test]
fn what_cannot_be_used_is_one_line_with_its_cure() {
    let office = Office::open();
    let (cert, key, ca) = (office.text("server.pem"), office.text("server.key"), office.text("ca.pem"));
    let locked = office.text("locked.key");
    fs::write(&locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .expect("a file");
    let other = office.text("client.key");
    let tls = ["--port", "0", "--http-port", "0", "--tls-port", "any"];
    for (arguments, why) in [
        (&[][..], "set tls-cert-file and tls-key-file"),
        (&["--tls-cert-file", &cert, "--tls-key-file", &key], "tls-auth-clients no"),
        (
            &["--tls-cert-file", "/nowhere.pem", "--tls-key-file", &key, "--tls-ca-cert-file", &ca],
            "/nowhere.pem: No such",
        ),
        (
            &["--tls-cert-file", &key, "--tls-key-file", &key, "--tls-ca-cert-file", &ca],
            "there is no certificate in it",
        ),
        (
            &["--tls-cert-file", &cert, "--tls-key-file", &cert, "--tls-ca-cert-file", &ca],
            "there is no private key in it",
        ),
        (&["--tls-cert-file", &cert, "--tls-key-file", &locked, "--tls-ca-cert-file", &ca], "openssl pkey"),
        (&["--tls-cert-file", &cert, "--tls-key-file", &other, "--tls-ca-cert-file", &ca], "does not belong to"),
        (&["--tls-key-file-pass", "secret"], "openssl pkey"),
        (&["--tls-protocols", "TLSv1.1"], "only TLSv1.2 and TLSv1.3"),
    ] {
        let output = command(&[&tls, arguments].concat()).output().expect("a binary");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.lines().count() == 1 && said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains("secret"));
    }
}

// ---- who takes long ---------------------------------------------------------------------------------------------

/// The first bytes of a handshake, as a client sends them that is about to take part in one.
fn hello(office: &Office, to: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    office.connect(to, None).0.conn.write_tls(&mut bytes).expect("a hello");
    assert!(bytes.len() > 100);
    bytes
}

/// Whether a client gets in at a door and is served.
fn is_served(office: &Office, server: &Running, door: SocketAddr) -> bool {
    let mut client = office.connect(door, None);
    if door == server.resp {
        return client.is_let_in();
    }
    let mut heard = [0; 12];
    client.0.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
        && client.0.read_exact(&mut heard).is_ok()
        && heard == *b"HTTP/1.1 200"
}

#[test]
fn who_does_not_shake_hands_in_time_is_closed_and_leaves_its_place() {
    let office = Office::open();
    let short = Duration::from_millis(700);
    let patience = Patience { handshake: short, ..Patience::default() };
    let server = office.serve_with(patience, &[("maxclients", "5"), ("http-maxclients", "5")]);
    for door in [server.resp, server.http] {
        let hello = hello(&office, door);
        until("all places are free", || is_served(&office, &server, door));
        until("that one has gone", || server.engine.clients.is_empty());
        let began = Instant::now();
        // Nothing, the first byte, half a hello, a hello byte by byte, and a hello whose answer is never answered.
        let starts: [&[u8]; 5] = [b"", &hello[..1], &hello[..hello.len() / 2], &hello[..5], &hello];
        let mut slow: Vec<(usize, TcpStream)> = Vec::new();
        for (kind, start) in starts.into_iter().enumerate() {
            let mut peer = Peer::connect(door);
            peer.send(start).0.set_nonblocking(true).expect("a socket");
            slow.push((kind, peer.0));
        }
        // They have all places there are.
        let full = Peer::connect(door).rest();
        let full = String::from_utf8_lossy(&full);
        assert!(full.contains("max number of clients reached") || began.elapsed() > short, "{full:?}");
        let mut sent = 5;
        while !slow.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{slow:?} are still there");
            slow.retain_mut(|(kind, stream)| {
                if *kind == 3 && sent < hello.len() - 1 {
                    let _ = stream.write(&hello[sent..=sent]);
                    sent += 1;
                }
                let mut heard = [0; 4096];
                match stream.read(&mut heard) {
                    Ok(0) => false,
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                }
            });
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(began.elapsed() >= short && sent < hello.len() - 1, "{sent} of {}", hello.len());
        until("their places are free", || is_served(&office, &server, door));
    }
    assert_eq!(server.engine.metrics.sums().panics, 0);
}

#[test]
fn who_says_little_over_tls_has_no_longer_than_without() {
    let office = Office::open();
    let (short, long) = (Duration::from_millis(500), Duration::from_millis(1_200));
    let patience = Patience { first_byte: short, head: long, ..Patience::default() };
    let server = office.serve_with(patience, &[]);
    /// What comes after the handshake, once and then now and then; `None` for a piece of a record that never ends.
    type Says = (&'static [u8], Option<&'static [u8]>);
    let says: [(bool, Says); 6] = [
        (true, (b"", Some(b""))),
        (true, (b"*2\r\n$3\r\nGET\r\n$1000\r\n", Some(b"x"))),
        (true, (&[0x17, 3, 3, 0x20, 0, 1], None)),
        (false, (b"", Some(b""))),
        (false, (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ", Some(b"x"))),
        (false, (&[0x17, 3, 3, 0x20, 0, 1], None)),
    ];
    let began = Instant::now();
    let mut slow: Vec<(Client, Says)> = Vec::new();
    for (is_resp, says) in says {
        let mut client = office.connect(if is_resp { server.resp } else { server.http }, None);
        let Client(StreamOwned { conn, sock }) = &mut client;
        conn.complete_io(sock).expect("a handshake");
        match says {
            (start, Some(_)) => client.0.write_all(start).expect("a server"),
            (start, None) => client.0.sock.write_all(start).expect("a server"),
        }
        client.0.sock.set_nonblocking(true).expect("a socket");
        slow.push((client, says));
    }
    while !slow.is_empty() {
        assert!(began.elapsed() < 2 * PATIENCE, "{} are still there", slow.len());
        slow.retain_mut(|(client, (_, more))| {
            let _ = match more {
                Some(more) => client.0.write(more).map(drop),
                None => client.0.sock.write(b"x").map(drop),
            };
            let mut heard = [0; 4096];
            match client.0.read(&mut heard) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() >= long, "{:?}", began.elapsed());
    until("none is listed", || server.engine.clients.is_empty());
}

// ---- CONFIG SET --------------------------------------------------------------------------------------------------

#[test]
fn config_set_takes_certificates_all_or_nothing() {
    let office = Office::open();
    let server = office.serve(&[]);
    let mut admin = office.connect(server.resp, None);
    let shown = |door| {
        assert!(is_served(&office, &server, door));
        let mut client = office.connect(door, None);
        let Client(StreamOwned { conn, sock }) = &mut client;
        conn.complete_io(sock).expect("a handshake");
        client.certificate()
    };
    let first = shown(server.resp);
    office.sign("other", "second");
    let (cert, key) = (office.text("other.pem"), office.text("other.key"));
    let refused = |name: &str| {
        format!(
            "-ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. Check \
             server logs.\r\n"
        )
    };
    // A certificate without its key, a key without its certificate, what is not there, and a companion that is wrong.
    admin.send(format!("CONFIG SET tls-cert-file {cert}\r\n")).hears(&refused("tls-cert-file"));
    admin.send(format!("CONFIG SET maxmemory 64mb tls-key-file {key}\r\n")).hears(&refused("tls-key-file"));
    admin.send("CONFIG SET tls-ca-cert-file /nowhere tls-auth-clients yes\r\n").hears(&refused("tls-ca-cert-file"));
    let wrong = format!("CONFIG SET tls-cert-file {cert} tls-key-file {key} maxmemory nonsense\r\n");
    admin.send(wrong).hears("-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be");
    let before = office.text("server.pem");
    let mut asker = office.connect(server.resp, None);
    asker
        .send("CONFIG GET tls-cert-file\r\n")
        .hears(&format!("*2\r\n$13\r\ntls-cert-file\r\n${}\r\n{before}\r\n", before.len()));
    assert_eq!([shown(server.resp), shown(server.http)], [first.clone(), first.clone()]);

    let mut admin = office.connect(server.resp, None);
    admin.send(format!("CONFIG SET tls-cert-file {cert} tls-key-file {key}\r\n")).hears("+OK\r\n");
    let second = shown(server.resp);
    assert!(second != first && shown(server.http) == second);
    // The same names again: the files are new.
    office.sign("other", "third");
    assert_eq!(shown(server.resp), second);
    admin.send(format!("CONFIG SET tls-cert-file {cert}\r\n")).hears("+OK\r\n");
    assert!(![first, second].contains(&shown(server.resp)));
    // Whose certificates are good.
    let strange = Office::open();
    fs::copy(strange.path("client.pem"), office.path("strange.pem")).expect("a file");
    fs::copy(strange.path("client.key"), office.path("strange.key")).expect("a file");
    admin
        .send(format!("CONFIG SET tls-ca-cert-file {} tls-auth-clients yes\r\n", strange.text("ca.pem")))
        .hears("+OK\r\n");
    assert!(office.connect(server.resp, Some("strange")).is_let_in());
    assert!(!office.connect(server.resp, Some("client")).is_let_in());
    assert!(!office.connect(server.resp, None).is_let_in());
    admin.send("CONFIG SET tls-auth-clients no tls-protocols TLSv1.2\r\n").hears("+OK\r\n");
    let mut client = office.connect(server.resp, None);
    assert!(client.is_let_in());
    assert_eq!(format!("{:?}", client.0.conn.protocol_version().expect("a version")), "TLSv1_2");
    // Who was inside is so still.
    admin.send("PING\r\n").hears("+PONG\r\n");
}

#[test]
fn without_a_door_for_tls_nobody_reads_certificates() {
    let server = Running::start(&[]);
    server.client().send("CONFIG SET tls-cert-file /nowhere\r\n").hears("+OK\r\n");
}

// ---- SIGHUP -----------------------------------------------------------------------------------------------------

#[test]
fn a_hangup_takes_what_is_good_and_keeps_what_there_was_if_anything_is_not() {
    let office = Office::open();
    let (conf, log) = (office.path("cloakroom.conf"), office.path("log"));
    let write = |lines: &str| {
        let at = |file: &str| office.text(file);
        let text = format!(
            "port 0\nhttp-port 0\ntls-port any\nhttp-tls-port any\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\n\
             aclfile {}\nlogfile {}\n{lines}",
            at("server.pem"),
            at("server.key"),
            at("users.acl"),
            log.display()
        );
        fs::write(&conf, text).expect("a file");
    };
    // What the machine has is no change.
    write("");
    fs::write(office.path("users.acl"), "user default on nopass ~* &* +@all\nuser ada on >one ~* &* +@all\n")
        .expect("a file");
    let conf = conf.to_str().expect("text").to_owned();
    let binary = Binary::of(command(&[&conf]), ["(resp over tls)", "(https)"]);
    let said = || fs::read_to_string(&log).expect("a log");
    let mut hangups = 0;
    let mut hang_up = |what: &str| {
        hangups += 1;
        binary.signal("HUP");
        until("the word of a hangup", || said().matches("SIGHUP: ").count() == hangups);
        let said = said();
        let last = said.lines().rfind(|line| line.contains("SIGHUP: ")).unwrap_or_default();
        assert!(last.contains(what), "{last}");
    };
    let mut stays = office.connect(binary.resp, None);
    stays.send("AUTH ada one\r\nCONFIG SET maxmemory 32mb\r\nCONFIG SET timeout 77\r\n").hears("+OK\r\n+OK\r\n+OK\r\n");
    let first = stays.certificate();
    let shown = || {
        let mut client = office.connect(binary.resp, None);
        assert!(client.is_let_in());
        client.certificate()
    };
    assert_eq!(shown(), first);
    // Nothing is new: what CONFIG SET has changed stays.
    hang_up("no setting has changed; users; certificates");
    stays.send("CONFIG GET maxmemory\r\n").hears("*2\r\n$9\r\nmaxmemory\r\n$8\r\n33554432\r\n");
    // A new certificate, a setting and a user more; one that waits for a restart.
    office.sign("server", "second");
    fs::write(
        office.path("users.acl"),
        "user default on nopass ~* &* +@all\nuser ada on >one ~* &* +@all\nuser bob on >two ~* &* +@all\n",
    )
    .expect("a file");
    write("maxmemory 16mb\nworkers 3\n");
    hang_up("read again: maxmemory; users; certificates; changed only with a restart: workers");
    let second = shown();
    assert_ne!(second, first);
    office.connect(binary.resp, None).send("AUTH bob two\r\n").hears("+OK\r\n");
    stays
        .send("ACL WHOAMI\r\nCONFIG GET maxmemory\r\n")
        .hears("$3\r\nada\r\n*2\r\n$9\r\nmaxmemory\r\n$8\r\n16777216\r\n");
    stays.send("CONFIG GET timeout\r\n").hears("*2\r\n$7\r\ntimeout\r\n$2\r\n77\r\n");
    // Each of three faults keeps everything, also what is good beside it.
    office.sign("server", "third");
    write("maxmemory 8mb\nmaxclients many\n");
    hang_up("all stays as it was: ");
    write("maxmemory 8mb\nworkers 3\n");
    let users = fs::read(office.path("users.acl")).expect("a file");
    fs::write(office.path("users.acl"), "user bob on nonsense\n").expect("a file");
    hang_up("all stays as it was: ");
    fs::write(office.path("users.acl"), users).expect("a file");
    fs::write(office.path("server.key"), "no key").expect("a file");
    hang_up("there is no private key in it");
    assert_eq!(shown(), second);
    stays.send("CONFIG GET maxmemory\r\n").hears("*2\r\n$9\r\nmaxmemory\r\n$8\r\n16777216\r\n");
    office.sign("server", "fourth");
    hang_up("read again: maxmemory; users; certificates");
    assert_ne!(shown(), second);
    stays.send("CONFIG GET maxmemory\r\n").hears("*2\r\n$9\r\nmaxmemory\r\n$7\r\n8388608\r\n");
    // What CONFIG SET has named is what is read again.
    office.sign("other", "fifth");
    let (cert, key) = (office.text("other.pem"), office.text("other.key"));
    stays.send(format!("CONFIG SET tls-cert-file {cert} tls-key-file {key}\r\n")).hears("+OK\r\n");
    let fifth = shown();
    office.sign("other", "sixth");
    hang_up("; users; certificates");
    let sixth = shown();
    assert_ne!(sixth, fifth);
    assert_eq!(chain(&office.path("other.pem")), [sixth]);
    binary.signal("TERM");
    assert_eq!(binary.ended().0, Some(0));
}

// ---- upstream ---------------------------------------------------------------------------------------------------

#[test]
fn an_upstream_over_https_must_prove_who_it_is() {
    let office = Office::open();
    let application = office.serve(&[]);
    let url = format!("https://localhost:{}", application.http.port());
    let front = |roots: &Path| {
        let mut command = command(&["--port", "0", "--http-port", "0", "--upstream", &url]);
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        Binary::of(command, ["(resp)", "(http)"])
    };
    let ask = |front: &Binary, path: &str| super::browser::ask(front.http, "GET", path, &[], "").status;
    // The application is another cloakroom, which tells a request that came through one.
    let trusting = front(&office.path("ca.pem"));
    assert_eq!(ask(&trusting, "/api/auth/providers"), 508);
    assert_eq!(ask(&trusting, "/readyz"), 200);
    let strange = front(&Office::open().path("ca.pem"));
    assert_eq!(ask(&strange, "/api/auth/providers"), 503);
    // It is ready until it has tried.
    until("word of the upstream", || ask(&strange, "/readyz") == 503);
}
