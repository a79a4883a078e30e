//! More than there is room for. The process keeps to its budget whatever takes it, and logins are what goes last. The full
//! size is `cargo bench --bench pressure`.

use super::binary;
use super::support::{Running, until};

#[path = "../../benches/pressure/load.rs"]
mod load;

const CAP: u64 = 32 << 20;

/// What a process of a build for tests takes beside what is counted: code, stacks, what threads have at hand.
const BESIDE: u64 = 48 << 20;

fn start(maxmemory: u64, more: &[&str]) -> load::Server {
    let mut command = binary::command(&[]);
    command.args(["--port", "0", "--http-port", "0", "--fence-log", "no", "--loglevel", "nothing"]);
    command.args(["--maxmemory", &maxmemory.to_string()]).args(more);
    load::Server::start(command.into_parts().0)
}

#[test]
fn three_times_the_budget_in_values_of_any_size() {
    // Of small values fewer, which take as long as many large ones.
    for (size, cap) in [(64, CAP / 4), (1024, CAP / 2), (1 << 20, CAP)] {
        let mut server = start(cap, &[]);
        server.sign_in();
        let (taken, refused) = server.fill(size, if size == 64 { cap * 3 / 2 } else { 3 * cap });
        assert!(server.lives() && taken > 0);
        assert_eq!(refused, 0, "{size}");
        let used = server.info("used_memory");
        println!("{size}: {used} bytes in use, {} at most", server.bytes("VmHWM"));
        assert!(used <= cap + (2 << 20), "{size}: {used}");
        // Of large values the allocator keeps what one worker frees of another's for a while; below 64 MB nothing weighs that.
        let beside = if size > 1024 { BESIDE + cap } else { BESIDE };
        assert!(server.bytes("VmHWM") <= cap + beside, "{size}: {} at most", server.bytes("VmHWM"));
        assert!(server.info("evicted_keys") > 0);
        assert_eq!(server.logins_left(), 100, "{size}");
    }
}

#[test]
fn clients_with_full_buffers_are_cut_before_logins_go() {
    let mut server = start(CAP, &[]);
    server.sign_in();
    server.fill(1024, CAP / 2);
    let crowd = server.crowd(400, 256 * 1024, 8);
    assert!(server.lives() && crowd.len() == 400);
    println!("{} bytes at most, {} clients cut", server.bytes("VmHWM"), server.info("evicted_clients"));
    assert!(server.bytes("VmHWM") <= CAP + BESIDE, "{} at most", server.bytes("VmHWM"));
    assert!(server.info("evicted_clients") > 0);
    assert!(server.info("mem_clients_normal") <= CAP / 4 + (4 << 20));
    assert_eq!(server.logins_left(), 100);
    // All of it is given back with the clients.
    drop(crowd);
    until("clients are charged nothing", || server.info("mem_clients_normal") < 1 << 20);
}

#[test]
fn what_clients_leave_behind_makes_entries_go_but_no_login() {
    // Where clients may take all of it.
    let server = start(CAP, &["--maxmemory-clients", "0"]);
    server.sign_in();
    server.fill(1024, CAP / 2);
    let before = server.info("evicted_keys");
    let _crowd = server.crowd(50, 256 * 1024, 0);
    let held = || server.info("mem_clients_input");
    until("all of it has arrived", || held() >= 12 << 20);
    assert!(held() < CAP, "{}", held());
    server.fill(1024, 4 << 20);
    assert!(server.info("evicted_keys") > before + 1000);
    assert_eq!(server.logins_left(), 100);
}

#[test]
fn all_that_clients_hold_is_charged_and_given_back() {
    let server = Running::start(&[("slowlog-log-slower-than", "0")]);
    let charges = server.engine.charges();
    use cloakroom::engine::Charge;
    let idle = server.client();
    let mut queueing = server.client();
    queueing.send(format!("MULTI\r\nSET key {}\r\n", "x".repeat(10_000))).hears("+OK\r\n+QUEUED\r\n");
    let mut waiting = server.client();
    waiting.send(format!("BLPOP {} 0\r\n", "y".repeat(5_000)));
    let mut unfinished = server.client();
    unfinished.send(format!("*2\r\n$4\r\nECHO\r\n$100000\r\n{}", "z".repeat(70_000)));
    let mut scripting = server.client();
    scripting.send("EVAL \"return 1\" 0\r\n").hears(":1\r\n");
    for (what, least) in [
        (Charge::Queued, 10_000),
        (Charge::Blocked, 5_000),
        (Charge::Input, 70_000),
        (Charge::Lua, 10_000),
        (Charge::Texts, 8),
        (Charge::Slowlog, 100),
    ] {
        until(&format!("{least} bytes are charged for {what:?}"), || charges.of(what) >= least);
    }
    assert!(server.engine.used_memory() >= charges.total());
    drop((queueing, waiting, unfinished));
    scripting
        .send("SCRIPT FLUSH\r\nSLOWLOG RESET\r\nCONFIG SET slowlog-log-slower-than -1\r\n")
        .hears("+OK\r\n+OK\r\n+OK\r\n");
    scripting.send("SLOWLOG RESET\r\n").hears("+OK\r\n");
    until("nothing is charged", || charges.total() == 0);
    drop(idle);
}

#[test]
fn who_says_nothing_has_a_budget_and_who_says_zero_has_none() {
    let server = Running::start(&[]);
    let found = server.engine.hot.maxmemory();
    assert!(found > 1 << 20, "{found}");
    let mut client = server.client();
    let shown = format!("*2\r\n$9\r\nmaxmemory\r\n${}\r\n{found}\r\n", found.to_string().len());
    client.send("CONFIG GET maxmemory\r\n").hears(&shown);
    client.send("CONFIG SET maxmemory 0\r\n").hears("+OK\r\n");
    client.send("CONFIG GET maxmemory\r\n").hears("*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
    client.send("CONFIG SET maxmemory auto\r\nCONFIG GET maxmemory\r\n").hears("+OK\r\n").hears(&shown);
    let unlimited = Running::start(&[("maxmemory", "0")]);
    assert_eq!(unlimited.engine.hot.maxmemory(), 0);
}
