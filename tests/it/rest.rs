//! The REST door: who is let in, what commands are answered, and what they leave behind, which is nothing.

use std::io::{Read, Write};
use std::time::Duration;

use super::browser::{Answer, ask, send};
use super::http::metric;
use super::scripts::UNTIL_NAMED;
use super::support::{PATIENCE, Peer, Running, until, within};

const TOKEN: (&str, &str) = ("Authorization", "Bearer sesame");

fn open(settings: &[(&str, &str)]) -> Running {
    Running::start(&[&[("rest-token", "sesame")], settings].concat())
}

fn post(server: &Running, path: &str, body: &str) -> (u16, String) {
    let answer = ask(server.http, "POST", path, &[TOKEN], body);
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status, answer.body)
}

/// What one command is answered.
fn said(server: &Running, body: &str) -> String {
    post(server, "/redis", body).1
}

#[test]
fn nobody_comes_in_without_the_token() {
    let closed = Running::start(&[]);
    let answer = ask(closed.http, "POST", "/redis", &[("Authorization", "Bearer ")], r#"["PING"]"#);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("set rest-token"), "{}", answer.body);

    let server = open(&[]);
    let wrong = r#"{"error":"WRONGPASS invalid or missing auth token"}"#;
    for headers in
        [&[][..], &[("Authorization", "Bearer sesam")], &[("Authorization", "Bearer")], &[("Authorization", "sesame")]]
    {
        let answer = ask(server.http, "POST", "/redis", headers, r#"["SET","a",1]"#);
        assert_eq!((answer.status, answer.body.as_str()), (401, wrong), "{headers:?}");
    }
    assert_eq!(ask(server.http, "GET", "/redis/set/a/1?_token=sesam", &[], "").status, 401);
    assert_eq!(metric(&server, "auth_failures_total"), 2);
    assert_eq!(said(&server, r#"["EXISTS","a"]"#), r#"{"result":0}"#);
    let answer = ask(server.http, "GET", "/redis/echo/hello?_token=sesame", &[], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"result":"hello"}"#));
    // No page of another site may read any of it, and none is promised to.
    let asked = ask(server.http, "OPTIONS", "/redis", &[TOKEN, ("Origin", "https://evil.example")], "");
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (405, ""));
    // Another token from now on, none at all, and another path for none of them.
    server.engine.configure(&[("rest-token", "other")], true).expect("a setting");
    assert_eq!(post(&server, "/redis", r#"["PING"]"#).0, 401);
    server.engine.configure(&[("rest-token", "")], true).expect("a setting");
    assert_eq!(post(&server, "/redis", r#"["PING"]"#).0, 404);
}

#[test]
fn commands_come_in_bodies_and_in_paths() {
    let server = open(&[]);
    let mut redis = server.client();
    assert_eq!(post(&server, "/redis", r#"["SET","k","v","EX",100]"#), (200, r#"{"result":"OK"}"#.to_owned()));
    let (status, told) = post(&server, "/redis/", r#"["TTL","k"]"#);
    assert!(status == 200 && [r#"{"result":100}"#, r#"{"result":99}"#].contains(&told.as_str()), "{told}");
    redis.send("GET k\r\n").hears("$1\r\nv\r\n");
    let got = |method: &str, path: &str, body: &str| ask(server.http, method, path, &[TOKEN], body).body;
    assert_eq!(got("GET", "/redis/get/k", ""), r#"{"result":"v"}"#);
    assert_eq!(got("POST", "/redis/set/a%2Fb?EX=50", "{\"x\": [1]}"), r#"{"result":"OK"}"#);
    redis.send("GET a/b\r\n").hears("$10\r\n{\"x\": [1]}\r\n");
    let left = redis.send("TTL a/b\r\n").up_to("\r\n");
    assert!([&b":50\r\n"[..], b":49\r\n"].contains(&left.as_slice()), "{}", left.escape_ascii());
    assert_eq!(got("PUT", "/redis/append/k", "w"), r#"{"result":2}"#);
    assert_eq!(got("POST", "/redis/incr/n", ""), r#"{"result":1}"#);
    let head = ask(server.http, "HEAD", "/redis/get/k", &[TOKEN], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let encoded = [TOKEN, ("Upstash-Encoding", "base64")];
    assert_eq!(ask(server.http, "GET", "/redis/get/k", &encoded, "").body, r#"{"result":"dnc="}"#);
    let raw = [TOKEN, ("Upstash-Response-Format", "resp2")];
    let answer = ask(server.http, "POST", "/redis/pipeline", &raw, r#"[["GET","k"],["LLEN","k"],["INCR","n"]]"#);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert!(
        answer.body.starts_with("$2\r\nvw\r\n-WRONGTYPE") && answer.body.ends_with("\r\n:2\r\n"),
        "{}",
        answer.body
    );
}

#[test]
fn what_is_wrong_is_400_with_redis_own_words() {
    let server = open(&[]);
    for (path, body, text) in [
        ("", r#"["GET"]"#, "ERR wrong number of arguments for 'get' command"),
        ("", r#"["NOSUCH","x"]"#, "ERR unknown command 'NOSUCH', with args beginning with: 'x' "),
        (
            "",
            r#"["EVALSHA","ffffffffffffffffffffffffffffffffffffffff",0]"#,
            "NOSCRIPT No matching script. Please use EVAL.",
        ),
        ("", r#"{"GET":"a"}"#, "ERR failed to parse command"),
        ("", "[]", "ERR empty command"),
        ("/pipeline", r#"["GET","a"]"#, "ERR failed to parse pipeline request"),
        ("/pipeline", "[]", "ERR empty pipeline request"),
        ("/multi-exec", "", "ERR failed to parse pipeline request"),
        ("", r#"["MONITOR"]"#, "ERR 'monitor' needs a connection, and a request over HTTP has none"),
    ] {
        let json = serde_json::json!({ "error": text }).to_string();
        assert_eq!(post(&server, &format!("/redis{path}"), body), (400, json), "{body}");
    }
    assert_eq!(server.engine.clients.len(), 0);
}

#[test]
fn a_pipeline_goes_on_behind_an_error_and_a_transaction_is_whole_or_nothing() {
    let server = open(&[]);
    let (status, body) =
        post(&server, "/redis/pipeline", r#"[["SET","a","x"],["INCR","a"],["SELECT",1],["SET","b",1],["DBSIZE"]]"#);
    let wrong = r#"{"error":"ERR value is not an integer or out of range"}"#;
    let ok = r#"{"result":"OK"}"#;
    assert_eq!((status, body), (200, format!(r#"[{ok},{wrong},{ok},{ok},{{"result":1}}]"#)));
    // The next request is in database 0 again.
    assert_eq!(said(&server, r#"["EXISTS","b"]"#), r#"{"result":0}"#);

    let (status, body) = post(&server, "/redis/multi-exec", r#"[["SET","n",1],["INCR","a"],["INCRBY","n",9]]"#);
    assert_eq!((status, body), (200, format!(r#"[{ok},{wrong},{{"result":10}}]"#)));
    let (status, body) = post(&server, "/redis/multi-exec", r#"[["SET","n",2],["GET"],["INCR","n"]]"#);
    let why =
        "EXECABORT Transaction discarded because of previous errors. ERR wrong number of arguments for 'get' command";
    assert_eq!((status, body), (400, serde_json::json!({ "error": why }).to_string()));
    let (status, body) = post(&server, "/redis/multi-exec", r#"[["SET","n",2],["WATCH","a"]]"#);
    assert!(status == 400 && body.contains("EXECABORT") && body.contains("'watch' needs a connection"), "{body}");
    assert_eq!(said(&server, r#"["GET","n"]"#), r#"{"result":"10"}"#);
    // Many, so that others have their turn in between.
    let many: Vec<String> = (0..1000).map(|_| r#"["INCR","many"]"#.to_owned()).collect();
    let (_, body) = post(&server, "/redis/pipeline", &format!("[{}]", many.join(",")));
    assert!(body.starts_with(r#"[{"result":1},"#) && body.ends_with(r#",{"result":1000}]"#), "{body}");
}

#[test]
fn rights_are_those_of_the_user_and_guesses_are_counted_with_the_others() {
    let server = open(&[("requirepass", "secret"), ("rest-user", "web")]);
    let mut admin = server.client();
    admin.send("AUTH secret\r\n").hears("+OK\r\n");
    // As long as there is no such user.
    assert_eq!(post(&server, "/redis", r#"["PING"]"#).0, 401);
    admin.send("ACL SETUSER web on >x ~app:* +@string\r\n").hears("+OK\r\n");
    assert_eq!(said(&server, r#"["SET","app:1","x"]"#), r#"{"result":"OK"}"#);
    for denied in [r#"["GET","other"]"#, r#"["FLUSHALL"]"#, r#"["EVAL","return 1",0]"#] {
        let (status, body) = post(&server, "/redis", denied);
        assert!(status == 400 && body.contains("NOPERM"), "{body}");
    }
    admin.send("ACL SETUSER web off\r\n").hears("+OK\r\n");
    assert_eq!(post(&server, "/redis", r#"["PING"]"#).0, 401);
    // The token is no password of Redis clients, and takes the place of one here.
    server.engine.configure(&[("rest-user", "default")], true).expect("a setting");
    assert_eq!(said(&server, r#"["GET","app:1"]"#), r#"{"result":"x"}"#);
}

#[test]
fn a_client_is_seen_as_long_as_its_request_takes() {
    let server = open(&[]);
    let (mut watcher, mut redis) = (server.client(), server.client());
    watcher.send("MONITOR\r\n").hears("+OK\r\n");
    assert_eq!(said(&server, r#"["SET","seen","x"]"#), r#"{"result":"OK"}"#);
    let line = String::from_utf8_lossy(&watcher.up_to("\r\n")).into_owned();
    assert!(line.contains("[0 127.0.0.1:") && line.contains(r#""SET" "seen" "x""#), "{line}");

    redis.send("CLIENT PAUSE 60000 WRITE\r\n").hears("+OK\r\n");
    let mut asked = send(server.http, "POST", "/redis", &[TOKEN], r#"["SET","seen","y"]"#);
    until("it is listed", || said(&server, r#"["CLIENT","LIST"]"#).matches("lib-name=rest").count() == 2);
    redis.send("CLIENT UNPAUSE\r\n").hears("+OK\r\n");
    assert_eq!(Answer::read(&mut asked).body, r#"{"result":"OK"}"#);
    until("it has left", || server.engine.clients.len() == 2);
    until("nothing is held", || server.engine.charges().of(cloakroom::engine::Charge::Input) == 0);
}

#[test]
fn a_pause_holds_it_and_the_end_of_the_pause_lets_it_go() {
    let server = open(&[]);
    let mut redis = server.client();
    redis.send("CLIENT PAUSE 60000 WRITE\r\n").hears("+OK\r\n");
    let mut held = send(server.http, "POST", "/redis", &[TOKEN], r#"["SET","a","held"]"#);
    until("it is held", || server.engine.clients.len() == 2);
    assert_eq!(said(&server, r#"["GET","a"]"#), r#"{"result":null}"#);
    redis.send("CLIENT UNPAUSE\r\n").hears("+OK\r\n");
    assert_eq!(Answer::read(&mut held).body, r#"{"result":"OK"}"#);
}

#[test]
fn a_script_that_takes_long_lets_others_go_on_and_ends_though_its_asker_left() {
    let server = open(&[("busy-reply-threshold", "20"), ("workers", "1"), ("enable-debug-command", "yes")]);
    let mut redis = server.client();
    redis.send("DEBUG SET-DISABLE-DENY-SCRIPTS 1\r\n").hears("+OK\r\n");
    // It goes on until somebody calls himself so.
    let script = format!("redis.call('SET', 'half', 1) {UNTIL_NAMED} redis.call('SET', 'whole', 1)");
    let script = serde_json::json!(["EVAL", script, 0]).to_string();
    let asked = send(server.http, "POST", "/redis", &[TOKEN], &script);
    until("others hear so", || said(&server, r#"["PING"]"#).contains("BUSY"));
    drop(asked);
    redis.send("HELLO 2 SETNAME enough\r\n");
    until("it has ended", || said(&server, r#"["MGET","half","whole"]"#) == r#"{"result":["1","1"]}"#);
    let endless = send(server.http, "POST", "/redis", &[TOKEN], r#"["EVAL","while true do end",0]"#);
    until("others hear so", || said(&server, r#"["PING"]"#).contains("BUSY"));
    assert_eq!(said(&server, r#"["SCRIPT","KILL"]"#), r#"{"result":"OK"}"#);
    let mut endless = endless;
    assert!(Answer::read(&mut endless).body.contains("killed by user"));
}

#[test]
fn bodies_have_a_limit_before_they_are_read() {
    let server = open(&[("client-query-buffer-limit", "1mb")]);
    let mut stream = send(server.http, "GET", "/redis/ping", &[TOKEN], "");
    assert_eq!(Answer::read(&mut stream).status, 200);
    let long = format!(r#"["SET","k","{}"]"#, "x".repeat(1 << 20));
    let (status, body) = post(&server, "/redis", &long);
    assert!(status == 413 && body.contains("max request size exceeded"), "{body}");
    // One that says nothing of its length.
    let head = "POST /redis HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    // Who has said nothing for 300 ms is not heard out any longer.
    let told = within(Duration::from_millis(250), || -> std::io::Result<Vec<u8>> {
        let mut stream = std::net::TcpStream::connect(server.http)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        for _ in 0..40 {
            stream.write_all(chunk.as_bytes())?;
        }
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    assert_eq!(Answer::parse(&told.expect("a server that hears it out")).status, 413);
    until("nothing is held", || server.engine.charges().of(cloakroom::engine::Charge::Input) == 0);
    let long = format!(r#"["SET","k","{}"]"#, "x".repeat(1_000_000));
    assert_eq!(said(&server, &long), r#"{"result":"OK"}"#);
    // 70 answers of a megabyte are too many for one.
    let all: Vec<&str> = std::iter::repeat_n(r#"["GET","k"]"#, 70).collect();
    let mut stream = send(server.http, "POST", "/redis/pipeline", &[TOKEN], &format!("[{}]", all.join(",")));
    // To make 64 MB takes some seconds on a slow machine.
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let answer = Answer::read(&mut stream);
    assert!(answer.status == 400 && answer.body.contains("longer than 64 MB"), "{}", answer.status);
    until("nothing is held", || server.engine.charges().of(cloakroom::engine::Charge::Http) < 100_000);
}

#[test]
fn the_door_is_where_the_settings_say() {
    let server = open(&[("rest-path", "/kv/v1")]);
    assert_eq!(post(&server, "/kv/v1/pipeline", r#"[["PING"]]"#), (200, r#"[{"result":"PONG"}]"#.to_owned()));
    for path in ["/redis", "/kv", "/kv/v1x", "/kv/v10/ping"] {
        assert_eq!(ask(server.http, "POST", path, &[TOKEN], r#"["PING"]"#).status, 404, "{path}");
    }
    let mut config = cloakroom::config::Config::default();
    for path in ["", "/", "redis", "/redis/", "/a//b", "/metrics", "/api/auth", "/a b", "/a?b"] {
        assert!(config.set("rest-path", path).is_err(), "{path}");
    }
}

#[test]
fn a_token_that_only_reads_changes_nothing() {
    let server = open(&[("rest-readonly-token", "look")]);
    assert_eq!(said(&server, r#"["SET","k","v"]"#), r#"{"result":"OK"}"#);
    let look = |path: &str, body: &str| {
        let answer = ask(server.http, "POST", path, &[("Authorization", "Bearer look")], body);
        (answer.status, answer.body)
    };
    assert_eq!(look("/redis", r#"["GET","k"]"#), (200, r#"{"result":"v"}"#.to_owned()));
    let no = |name: &str| {
        format!(r#"{{"error":"NOPERM this user has no permissions to run the '{name}' command or its subcommand"}}"#)
    };
    assert_eq!(look("/redis", r#"["SET","k","w"]"#), (400, no("set")));
    assert_eq!(look("/redis/del/k", ""), (400, no("del")));
    assert_eq!(look("/redis/keys/*", ""), (400, no("keys")));
    assert_eq!(look("/redis/subscribe/chat", ""), (400, no("subscribe")));
    assert_eq!(
        look("/redis/pipeline", r#"[["GET","k"],["INCR","n"]]"#),
        (200, format!(r#"[{{"result":"v"}},{}]"#, no("incr")))
    );
    let (status, body) = look("/redis/multi-exec", r#"[["GET","k"],["INCR","n"]]"#);
    assert!(status == 400 && body.contains("EXECABORT") && body.contains("NOPERM"), "{body}");
    assert_eq!(look("/redis/multi-exec", r#"[["GET","k"]]"#), (200, r#"[{"result":"v"}]"#.to_owned()));
    assert_eq!(said(&server, r#"["EXISTS","n"]"#), r#"{"result":0}"#);
    // It is no other token than its own, and its rights are within those of the user.
    assert_eq!(ask(server.http, "POST", "/redis", &[("Authorization", "Bearer ")], r#"["PING"]"#).status, 401);
    server.client().send("ACL SETUSER web on nopass ~app:* +@read\r\n").hears("+OK\r\n");
    server.engine.configure(&[("rest-user", "web"), ("rest-token", "")], true).expect("settings");
    assert!(look("/redis", r#"["GET","k"]"#).1.contains("NOPERM"));
    assert_eq!(look("/redis", r#"["GET","app:k"]"#).0, 200);
    assert_eq!(post(&server, "/redis", r#"["PING"]"#).0, 401);
}

/// Who listens to a path of the door, behind the head of the answer.
fn listen(server: &Running, path: &str) -> Peer {
    let mut peer = Peer::connect(server.http);
    peer.send(format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n\r\n[]"
    ));
    let head = hear(&mut peer, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream\r\n"), "{head}");
    peer
}

/// Everything up to this.
fn hear(peer: &mut Peer, end: &str) -> String {
    String::from_utf8(peer.up_to(end)).expect("text")
}

#[test]
fn what_is_published_comes_as_events() {
    let server = open(&[]);
    let mut chat = listen(&server, "/redis/subscribe/chat/a%2Fb");
    assert!(hear(&mut chat, "data: subscribe,a/b,2\n\n").contains("data: subscribe,chat,1\n\n"));
    let mut all = listen(&server, "/redis/PSUBSCRIBE/c*?_token=ignored");
    hear(&mut all, "data: psubscribe,c*,1\n\n");
    assert_eq!(said(&server, r#"["CLIENT","LIST","TYPE","pubsub"]"#).matches("lib-name=rest").count(), 2);
    assert_eq!(said(&server, r#"["PUBLISH","chat","hello, you"]"#), r#"{"result":2}"#);
    hear(&mut chat, "data: message,chat,hello, you\n\n");
    hear(&mut all, "data: pmessage,c*,chat,hello, you\n\n");
    assert_eq!(said(&server, r#"["PUBLISH","a/b","one\ntwo"]"#), r#"{"result":1}"#);
    hear(&mut chat, "data: message,a/b,one\ndata: two\n\n");
    // Between two messages there is a sign of life, by which proxies know that it is worth keeping.
    hear(&mut all, ":\n\n");
    // Who leaves is not in the way of who comes.
    drop(chat);
    until("the listener is gone", || said(&server, r#"["PUBLISH","a/b","x"]"#) == r#"{"result":0}"#);
    let listeners = || said(&server, r#"["CLIENT","LIST","TYPE","pubsub"]"#).matches("lib-name=rest").count();
    until("it is off the list", || listeners() == 1);
    // One that is killed hears its end, and so does everybody when the server ends.
    assert_eq!(said(&server, r#"["CLIENT","KILL","TYPE","pubsub"]"#), r#"{"result":1}"#);
    hear(&mut all, "0\r\n\r\n");
    let mut last = listen(&server, "/redis/subscribe/chat");
    hear(&mut last, "data: subscribe,chat,1\n\n");
    server.engine.shut_down();
    assert!(last.rest().ends_with(b"0\r\n\r\n"));
}

#[test]
fn who_may_not_listen_is_told_so_and_who_reads_nothing_is_cut() {
    let server = open(&[("client-output-buffer-limit", "pubsub 256kb 0 0")]);
    server.client().send("ACL SETUSER web on nopass ~* +@all resetchannels &news\r\n").hears("+OK\r\n");
    assert_eq!(
        post(&server, "/redis/subscribe", "").1,
        r#"{"error":"ERR wrong number of arguments for 'subscribe' command"}"#
    );
    assert_eq!(ask(server.http, "HEAD", "/redis/subscribe/chat", &[TOKEN], "").status, 400);
    let mut stalled = listen(&server, "/redis/subscribe/chat");
    hear(&mut stalled, "data: subscribe,chat,1\n\n");
    let large = format!(r#"["PUBLISH","chat","{}"]"#, "x".repeat(100_000));
    until("it is cut", || said(&server, &large) == r#"{"result":0}"#);
    until("its place is free", || said(&server, r#"["PUBSUB","CHANNELS"]"#) == r#"{"result":[]}"#);
    server.engine.configure(&[("rest-user", "web")], true).expect("a setting");
    let (status, body) = post(&server, "/redis/subscribe/chat", "");
    assert!(status == 400 && body.contains("NOPERM"), "{body}");
    hear(&mut listen(&server, "/redis/subscribe/news"), "data: subscribe,news,1\n\n");
}
