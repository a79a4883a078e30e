//! More than there is room for: `cargo bench --bench pressure`. Three times `maxmemory` in values of four sizes, ten
//! thousand clients with full buffers, and the same without `maxmemory` inside a control group, where whoever takes more
//! than it may is killed. Prints what the process took at most, and what it kept.

mod load;

use std::path::{Path, PathBuf};
use std::process::Command;

use load::Server;

const CAP: u64 = 128 << 20;
const CLIENTS: usize = 10_000;
/// What each of them leaves behind.
const BUFFER: usize = 32 * 1024;

fn main() {
    println!(
        "| limit | pressure | RSS at most | of the limit | evicted keys | refused writes | cut clients | logins left |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let plain = || {
        let mut command = cloakroom();
        command.args(["--maxmemory", "128mb"]);
        Server::start(command)
    };
    suite("maxmemory 128mb", plain);
    match Group::new() {
        Some(group) => suite("control group of 128 MB", || Server::start(group.command())),
        None => println!("\nno control group can be made here: that part is left out"),
    }
}

fn suite(limit: &str, start: impl Fn() -> Server) {
    for (size, name) in [(64, "64 B"), (1024, "1 KB"), (1 << 20, "1 MB"), (4 << 20, "4 MB")] {
        let mut server = start();
        server.sign_in();
        let (_, refused) = server.fill(size, 3 * CAP);
        row(limit, &format!("384 MB of {name}"), &mut server, refused);
    }
    let mut server = start();
    server.sign_in();
    server.fill(1024, CAP);
    let crowd = server.crowd(CLIENTS, BUFFER, 32);
    row(limit, &format!("{} full buffers of 32 KB", crowd.len()), &mut server, 0);
}

fn row(limit: &str, pressure: &str, server: &mut Server, refused: u64) {
    if !server.lives() {
        println!("| {limit} | {pressure} | KILLED |");
        return;
    }
    let most = server.bytes("VmHWM");
    println!(
        "| {limit} | {pressure} | {:.0} MB | {:.0} % | {} | {refused} | {} | {} % |",
        most as f64 / f64::from(1 << 20),
        most as f64 * 100.0 / CAP as f64,
        server.info("evicted_keys"),
        server.info("evicted_clients"),
        server.logins_left(),
    );
}

fn cloakroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.args(["--port", "0", "--http-port", "0", "--fence-log", "no", "--loglevel", "nothing"]);
    command.args(["--maxclients", "20000"]);
    command
}

/// A control group of this process' own, in which the server runs; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |line: &str| Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned());
        let of = |controller: &str| groups.lines().find(|line| line.contains(controller)).and_then(path);
        let made = |parent: PathBuf, file: &str| {
            let group = Group(parent.join(format!("cloakroom-pressure-{}", std::process::id())));
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(group.0.join(file), CAP.to_string()).ok()?;
            // Without swap, where that is accounted for.
            let _ = std::fs::write(group.0.join("memory.swap.max"), "0");
            Some(group)
        };
        let first =
            of(":memory:").and_then(|own| made(Path::new("/sys/fs/cgroup/memory").join(own), "memory.limit_in_bytes"));
        first.or_else(|| made(Path::new("/sys/fs/cgroup").join(of("0::")?), "memory.max"))
    }

    fn command(&self) -> Command {
        let server = cloakroom();
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        command.args(["-c", &enter, "sh"]).arg(server.get_program()).args(server.get_args());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty once its last server has ended.
        let _ = std::fs::remove_dir(&self.0);
    }
}
