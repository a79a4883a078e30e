//! Scripts that take long, over sockets: whoever else comes to the server, by whichever worker, hears so and may end them.

use std::io::Read;
use std::time::{Duration, Instant};

use super::browser::check;
use super::faulty::Faulty;
use super::http::before;
use super::support::{PATIENCE, Peer, Running, until};

/// Milliseconds after which a script takes long here.
const LONG: (&str, &str) = ("busy-reply-threshold", "20");

/// A script that is done when somebody has called himself so. It is allowed what scripts are not.
pub const UNTIL_NAMED: &str = "while not string.find(redis.call('CLIENT','LIST'),'name=enough') do end";

/// Servers of one worker, which runs the script and serves all others, and of two.
fn servers() -> impl Iterator<Item = Running> {
    ["1", "2"].into_iter().map(|workers| Running::start(&[("workers", workers), LONG, ("enable-debug-command", "yes")]))
}

fn line(peer: &mut Peer) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        peer.0.read_exact(&mut byte).expect("a whole line");
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// Asks until a script takes long.
fn until_busy(peer: &mut Peer) {
    let begun = Instant::now();
    while !line(peer.send("GET a\r\n")).starts_with("-BUSY ") {
        assert!(begun.elapsed() < PATIENCE, "no script takes long");
    }
}

/// Asks until none does; what GET says then.
fn until_free(peer: &mut Peer) -> String {
    let begun = Instant::now();
    loop {
        let heard = line(peer.send("GET a\r\n"));
        if !heard.starts_with("-BUSY ") {
            return if heard == "$-1" { heard } else { line(peer) };
        }
        assert!(begun.elapsed() < PATIENCE, "the script goes on");
    }
}

/// Says HELLO, which is allowed at any time.
fn hello(peer: &mut Peer, how: &str) {
    peer.send(format!("HELLO {how}\r\nUNWATCH\r\n"));
    while line(peer) != "+OK" {}
}

/// A client of each worker, and a script that one of them has begun.
fn stuck(server: &Running, script: &str) -> (Peer, [Peer; 2]) {
    let (mut stuck, mut others) = (server.client(), [server.client(), server.client()]);
    stuck.send("DEBUG SET-DISABLE-DENY-SCRIPTS 1\r\n").hears("+OK\r\n");
    stuck.send(format!("PING\r\nEVAL \"{script}\" 0\r\nPING\r\n")).hears("+PONG\r\n");
    others.iter_mut().for_each(until_busy);
    (stuck, others)
}

#[test]
fn everybody_hears_that_a_script_takes_long_and_may_end_it() {
    for server in servers() {
        for script in [
            "while true do end",
            "while true do pcall(redis.pcall, 'nonsense') end",
            "local f = function() while true do redis.call('PING') end end while true do pcall(f) end",
            "coroutine.wrap(function() while true do pcall(coroutine.yield) end end)() while true do end",
        ] {
            let (mut stuck, mut others) = stuck(&server, script);
            let mut newcomers = [server.client(), server.client()];
            for peer in others.iter_mut().chain(&mut newcomers) {
                // All in one batch, refused or not; a transaction that was refused half its commands does not run.
                peer.send("SET a 1\r\nEVAL 'return 1' 0\r\n");
                assert!(line(peer).starts_with("-BUSY ") && line(peer).starts_with("-BUSY "));
                hello(peer, "3");
                peer.send("RESET\r\nMULTI\r\nSET a 1\r\nEXEC\r\n").hears("+RESET\r\n+OK\r\n");
                assert!(line(peer).starts_with("-BUSY "));
                assert!(line(peer).starts_with("-EXECABORT "));
            }
            newcomers[0].send("SCRIPT KILL\r\n").hears("+OK\r\n");
            assert!(line(&mut stuck).starts_with("-ERR Script killed by user"));
            stuck.hears("+PONG\r\n");
            assert!(others.iter_mut().all(|peer| until_free(peer) == "$-1"));
            stuck.send("EVAL 'return 7' 0\r\nSCRIPT KILL\r\n").hears(":7\r\n-NOTBUSY ");
        }
    }
}

/// What is done for a script in Rust has no lines at which somebody could look.
#[test]
fn a_script_takes_long_and_may_be_ended_where_it_is_no_lua_that_runs() {
    for server in servers() {
        // Tables in tables, so often that no limit of memory comes first.
        let tree = "local t = {} for i = 1, 14 do local n = {} for j = 1, 1000 do n[j] = t end t = n end";
        for then in ["return t", "cmsgpack.pack(t)", "for i = 1, 1e9 do pcall(cmsgpack.pack, t) end"] {
            let (mut stuck, [mut one, mut other]) = stuck(&server, &format!("{tree} {then}"));
            other.send("SCRIPT KILL\r\n").hears("+OK\r\n");
            assert!(line(&mut stuck).starts_with("-ERR Script killed by user"));
            stuck.hears("+PONG\r\n");
            assert_eq!(until_free(&mut one), "$-1");
        }
    }
}

#[test]
fn a_script_that_has_written_is_ended_with_the_server_alone() {
    for server in servers() {
        let (mut stuck, mut others) = stuck(&server, "redis.call('SET','a','1') while true do end");
        for peer in &mut others {
            assert!(line(peer.send("SCRIPT KILL\r\n")).starts_with("-UNKILLABLE "));
        }
        // It is not there yet for others.
        until_busy(&mut others[0]);
        others[1].send("SHUTDOWN NOSAVE\r\n");
        assert!(String::from_utf8_lossy(&stuck.rest()).starts_with("-ERR Script killed"));
        server.stop();
    }
}

#[test]
fn the_server_ends_while_a_script_runs_that_does_not_take_long_yet() {
    let server = Running::start(&[("workers", "1"), ("busy-reply-threshold", "60000")]);
    let mut stuck = server.client();
    stuck.send("PING\r\nEVAL 'while true do end' 0\r\n");
    std::thread::sleep(Duration::from_millis(30));
    server.stop();
}

#[test]
fn a_script_goes_on_when_its_client_leaves() {
    for server in servers() {
        let (mut stuck, [mut one, other]) = stuck(&server, &format!("{UNTIL_NAMED} redis.call('SET','a','done')"));
        stuck.send("PING\r\n");
        drop((stuck, other));
        std::thread::sleep(Duration::from_millis(30));
        until_busy(&mut one);
        hello(&mut one, "2 SETNAME enough");
        assert_eq!(until_free(&mut one), "done");
    }
}

#[test]
fn a_transaction_with_a_script_may_take_long_as_well() {
    for server in servers() {
        let (mut stuck, mut others) = (server.client(), [server.client(), server.client()]);
        stuck.send("MULTI\r\nPING\r\nEVAL 'while true do end' 0\r\nDEBUG SLEEP 0.02\r\nPING\r\nEXEC\r\nPING\r\n");
        stuck.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        others.iter_mut().for_each(until_busy);
        others[1].send("SCRIPT KILL\r\n").hears("+OK\r\n");
        stuck.hears("*4\r\n+PONG\r\n-ERR Script killed by user");
        line(&mut stuck);
        stuck.hears("+OK\r\n+PONG\r\n+PONG\r\n");
    }
}

#[test]
fn who_waits_for_a_key_has_what_a_script_leaves_there() {
    for server in servers() {
        let mut waiting = server.client();
        waiting.send("PING\r\nBLPOP list 0\r\n").hears("+PONG\r\n");
        let script = format!("redis.call('RPUSH','list','half') {UNTIL_NAMED} redis.call('LPUSH','list','whole')");
        let (mut stuck, [mut one, mut other]) = stuck(&server, &script);
        hello(&mut other, "2");
        until_busy(&mut other);
        hello(&mut one, "2 SETNAME enough");
        waiting.hears("*2\r\n$4\r\nlist\r\n$5\r\nwhole\r\n");
        stuck.hears("$-1\r\n+PONG\r\n");
    }
}

/// What they ask is not what scripts work with: nobody waits at the door because a script has gone astray.
#[test]
fn sessions_are_checked_while_a_script_takes_long() {
    for workers in ["1", "2"] {
        let upstream = Faulty::start();
        let server = before(upstream.addr, &[("workers", workers), LONG]);
        assert_eq!(check(server.http, "alice.1").header("x-session-source"), "nextauth");
        let (mut stuck, mut others) = (server.client(), [server.client(), server.client()]);
        stuck.send("EVAL 'while true do end' 0\r\n");
        others.iter_mut().for_each(until_busy);
        // As many as there are workers, and more.
        for _ in 0..3 {
            assert_eq!(check(server.http, "alice.1").header("x-session-source"), "cache");
        }
        for token in ["bob.1", "carol.1"] {
            assert_eq!(check(server.http, token).header("x-session-source"), "nextauth");
            assert_eq!(check(server.http, token).header("x-session-source"), "cache");
        }
        until_busy(&mut others[0]);
        others[1].send("SCRIPT KILL\r\n").hears("+OK\r\n");
        stuck.hears("-ERR Script killed by user");
    }
}

/// The clock stands still for a script and for a transaction. The janitor's, which does not, takes nothing away under them.
#[test]
fn what_a_script_or_a_transaction_works_with_does_not_die_under_it() {
    let server = Running::start(&[("workers", "2")]);
    const DAWDLE: &str = "for number = 1, 300000 do end";
    // One of each worker, of which one is the janitor's.
    for mut client in [server.client(), server.client()] {
        for _ in 0..20 {
            let script = format!("redis.call('SET','a','1','PX','1') {DAWDLE} return redis.call('EXISTS','a')");
            client.send(format!("EVAL \"{script}\" 0\r\n")).hears(":1\r\n");
            client.send(format!("MULTI\r\nSET a 1 PX 1\r\nEVAL \"{DAWDLE}\" 0\r\nEXISTS a\r\nEXEC\r\n"));
            client.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n$-1\r\n:1\r\n");
        }
    }
}

/// As in a transaction: others go on meanwhile, and the reply comes when the time is over.
#[test]
fn who_sleeps_in_a_script_has_slept_when_it_is_answered() {
    let server = Running::start(&[("enable-debug-command", "yes")]);
    let mut client = server.client();
    client.send("DEBUG SET-DISABLE-DENY-SCRIPTS 1\r\n").hears("+OK\r\n");
    let script = "redis.call('SET','a','1','PX','1') redis.call('DEBUG','SLEEP','0.01') redis.call('DEBUG','SLEEP','0.01') \
                  return redis.call('EXISTS','a')";
    let begun = Instant::now();
    client.send(format!("EVAL \"{script}\" 0\r\n")).hears(":1\r\n");
    assert!(begun.elapsed() >= Duration::from_millis(20), "{:?}", begun.elapsed());
    client.send("EXISTS a\r\n").hears(":0\r\n");
}

/// A script that works for so many seconds of the process's CPU, of which no more than two pass in a second of two cores.
fn works(seconds: f32) -> String {
    format!("local ends = os.clock() + {seconds} while os.clock() < ends do end")
}

fn until_running(server: &Running) {
    until("a script runs", || server.engine.scripts.is_running());
}

#[test]
fn time_goes_on_for_who_waits_behind_a_script() {
    let server = Running::start(&[("busy-reply-threshold", "0")]);
    let [mut one, mut other] = [server.client(), server.client()];
    // On a slow machine it may be dead before it is watched.
    until("a key that lives is watched", || {
        one.send("SET k v PX 300\r\n").hears("+OK\r\n");
        let mut lives = [0; 14];
        other.send("UNWATCH\r\nWATCH k\r\nEXISTS k\r\n").0.read_exact(&mut lives).expect("an answer");
        lives == *b"+OK\r\n+OK\r\n:1\r\n"
    });
    other.send("MULTI\r\nGET k\r\n").hears("+OK\r\n+QUEUED\r\n");
    let before = server.engine.clock.wall_micros() / 1000;
    // It takes 400 ms at least, longer than the key lives.
    one.send(format!("EVAL \"{}\" 0\r\nGET k\r\nSET lock x PX 1100\r\nPEXPIRETIME lock\r\n", works(0.8)));
    until_running(&server);
    other.send("EXEC\r\n").hears("*-1\r\n");
    one.hears("$-1\r\n$-1\r\n+OK\r\n:");
    let mut deadline = [0; 13];
    one.0.read_exact(&mut deadline).expect("a time in milliseconds");
    let deadline: u64 = std::str::from_utf8(&deadline).ok().and_then(|text| text.parse().ok()).expect("a number");
    assert!(deadline >= before + 400 + 1100, "the lock was born before the script had ended");
}

#[test]
fn nobody_is_served_in_the_middle_of_a_script_when_others_leave() {
    let server = Running::start(&[("busy-reply-threshold", "0")]);
    let [mut waiter, leaver, another, mut writer] = std::array::from_fn(|_| server.client());
    let mut leavers = [leaver, another];
    waiter.send("BLPOP victim 0\r\n");
    for leaver in &mut leavers {
        leaver.send("BLPOP other 0\r\n");
    }
    until("three wait", || server.engine.clients.all().iter().filter(|peer| peer.flags() == "b").count() == 3);
    let script = format!(
        "redis.call('RPUSH', 'victim', 'x') {} local n = redis.call('LLEN', 'victim') redis.call('DEL', 'victim') return n",
        works(1.0)
    );
    writer.send(format!("EVAL \"{script}\" 0\r\n"));
    until_running(&server);
    drop(leavers);
    writer.hears(":1\r\n").send("RPUSH victim y\r\n").hears(":1\r\n");
    waiter.hears("*2\r\n$6\r\nvictim\r\n$1\r\ny\r\n");
}
