//! INFO: the server in Redis' sections and field names, for monitors and for clients' ready checks.
//!
//! It never fails: what the system does not tell is zero. Fields about what is not here (replicas, files, scripts)
//! are there with the value of a server that does not use them, because tools read them unconditionally.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec, all, connection};
use crate::clock::Millis;
use crate::engine::{Charge, Engine, Topic};
use crate::error::Result;
use crate::metrics::STEPS;
use crate::resp::Args;
use crate::store::{Stats, Store};

pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: "INFO",
    run: info,
    arity: Arity::AtLeast(1),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::DANGEROUS),
    usage: "[section [section ...]]",
    tips: tips::SHARDS_DIFFER,
    summary: "Returns information and statistics about the server.",
    group: Group::Server,
    ..Spec::BASE
}];

/// A section: its title, whether it is shown unasked, and its lines.
struct Section {
    title: &'static str,
    by_default: bool,
    write: fn(&Ctx<'_>, &mut Lines),
}

const fn section(title: &'static str, write: fn(&Ctx<'_>, &mut Lines)) -> Section {
    Section { title, by_default: true, write }
}

const SECTIONS: &[Section] = &[
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", stats),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| {}),
    Section { by_default: false, ..section("Commandstats", command_stats) },
    section("Errorstats", error_stats),
    Section { by_default: false, ..section("Latencystats", latency_stats) },
    section("Cluster", |_, lines| lines.field("cluster_enabled", 0)),
    section("Keyspace", keyspace),
    section("Expiry", expiry),
];

/// The text under way.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn title(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "# {title}\r\n");
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let asked = |name: &str| (1..args.len()).any(|at| args.is(at, name));
    let all = asked("all") || asked("everything");
    let default = args.len() == 1 || asked("default");
    let mut lines = Lines::default();
    for section in SECTIONS {
        let alias = section.title == "Modules" && asked("module_list");
        if all || section.by_default && default || asked(section.title) || alias {
            lines.title(section.title);
            (section.write)(ctx, &mut lines);
        }
    }
    for (title, rows) in ctx.engine.reports() {
        if all || default || asked(title) || title == "Sessions" && asked("session") {
            lines.title(title);
            rows.into_iter().for_each(|(name, _, value)| lines.field(name, value));
        }
    }
    ctx.reply.verbatim("txt", &lines.0);
    Ok(())
}

fn server(ctx: &Ctx<'_>, lines: &mut Lines) {
    let engine = ctx.engine;
    let up = ctx.now.since(engine.started).0 / 1000;
    let release = engine.machine().release();
    let name = if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS };
    let path = |path: Option<&std::path::Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
    lines.field("redis_version", connection::REDIS_VERSION);
    lines.field("cloakroom_version", env!("CARGO_PKG_VERSION"));
    lines.field("redis_git_sha1", "00000000");
    lines.field("redis_git_dirty", 0);
    lines.field("redis_build_id", 0);
    lines.field("redis_mode", "standalone");
    lines.field("os", format!("{name} {release} {}", std::env::consts::ARCH));
    lines.field("arch_bits", usize::BITS);
    lines.field("monotonic_clock", "POSIX clock_gettime");
    lines.field("multiplexing_api", "epoll");
    lines.field("process_id", std::process::id());
    lines.field("process_supervised", "no");
    lines.field("run_id", &engine.run_id);
    lines.field("tcp_port", engine.port());
    lines.field("server_time_usec", engine.clock.wall_micros());
    lines.field("uptime_in_seconds", up);
    lines.field("uptime_in_days", up / 86_400);
    let hz = engine.with_config(|config| config.get("hz")).unwrap_or_default();
    lines.field("hz", &hz);
    lines.field("configured_hz", &hz);
    lines.field("lru_clock", (ctx.now.0 / 1000) & 0x00ff_ffff);
    lines.field("executable", path(std::env::current_exe().ok().as_deref()));
    lines.field("config_file", engine.with_config(|config| path(config.config_file.as_deref())));
    lines.field("io_threads_active", 0);
}

fn clients(ctx: &Ctx<'_>, lines: &mut Lines) {
    let peers = ctx.engine.clients.all();
    let most = |of: fn(&crate::engine::Peer) -> u64| peers.iter().map(|peer| of(peer)).max().unwrap_or(0);
    lines.field("connected_clients", peers.len());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", ctx.engine.hot.max_clients());
    lines.field("client_recent_max_input_buffer", most(|peer| peer.query_buffer[1].load(Ordering::Relaxed).into()));
    lines.field("client_recent_max_output_buffer", most(|peer| peer.output_buffer.load(Ordering::Relaxed).into()));
    lines.field("blocked_clients", peers.iter().filter(|peer| peer.held.load(Ordering::Relaxed)).count());
    let watching: Vec<usize> = peers.iter().map(|peer| peer.pending().watched).filter(|watched| *watched > 0).collect();
    lines.field("watching_clients", watching.len());
    lines.field("total_watched_keys", watching.iter().sum::<usize>());
    lines.field("tracking_clients", ctx.engine.tracking.tracked().clients);
    lines.zeros(&["clients_in_timeout_table", "total_blocking_keys", "total_blocking_keys_on_nokey"]);
}

fn memory(ctx: &Ctx<'_>, lines: &mut Lines) {
    let engine = ctx.engine;
    let (used, peak) = (engine.used_memory(), engine.peak_memory());
    let (resident, total) = engine.machine().memory();
    let (pending, freed) = engine.lazily_freed();
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", resident);
    lines.bytes("used_memory_peak", peak);
    lines.field("used_memory_peak_perc", format!("{:.2}%", share(used, peak) * 100.0));
    let overhead = overhead(engine);
    let dataset = used.saturating_sub(overhead);
    lines.field("used_memory_overhead", overhead);
    lines.zeros(&["used_memory_startup"]);
    lines.field("used_memory_dataset", dataset);
    lines.field("used_memory_dataset_perc", format!("{:.2}%", share(dataset, used) * 100.0));
    lines.bytes("total_system_memory", total);
    let (charges, scripts) = (engine.charges(), engine.scripts.sizes().0);
    let (lua, texts) = (charges.of(Charge::Lua), charges.of(Charge::Texts));
    lines.bytes("used_memory_lua", lua);
    lines.field("used_memory_vm_eval", lua);
    lines.field("used_memory_scripts_eval", texts);
    lines.field("number_of_cached_scripts", scripts);
    let (libraries, functions) = engine.functions.libraries().counts();
    lines.field("number_of_functions", functions);
    lines.field("number_of_libraries", libraries);
    lines.field("used_memory_vm_functions", engine.functions.interpreter_bytes());
    lines.bytes("used_memory_vm_total", lua);
    lines.field("used_memory_functions", engine.functions.bytes());
    lines.bytes("used_memory_scripts", lua + texts + engine.functions.bytes() as u64);
    lines.bytes("maxmemory", engine.hot.maxmemory());
    lines.field("maxmemory_auto", u8::from(engine.with_config(|config| config.maxmemory_auto)));
    lines.field("maxmemory_clients", engine.hot.clients_max());
    lines.field("maxmemory_policy", engine.hot.policy().name());
    lines.field("mem_fragmentation_ratio", format!("{:.2}", share(resident, used)));
    lines.field("mem_fragmentation_bytes", resident as i64 - used as i64);
    lines.zeros(&["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"]);
    lines.field("mem_clients_slaves", 0);
    lines.field("mem_clients_normal", charges.clients());
    for (name, charge) in [
        ("mem_clients_input", Charge::Input),
        ("mem_clients_output", Charge::Output),
        ("mem_clients_mail", Charge::Mail),
        ("mem_clients_queued", Charge::Queued),
        ("mem_clients_labels", Charge::Labels),
        ("mem_clients_blocked", Charge::Blocked),
        ("mem_http", Charge::Http),
        ("mem_slowlog", Charge::Slowlog),
        ("mem_acllog", Charge::AclLog),
    ] {
        lines.field(name, charges.of(charge));
    }
    lines.field("mem_pubsub", engine.pubsub.bytes());
    lines.field("mem_tracking", engine.tracking.bytes());
    lines.field("mem_waste", engine.waste());
    lines.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    lines.field("mem_allocator", super::memory::ALLOCATOR);
    lines.field("active_defrag_running", 0);
    lines.field("lazyfree_pending_objects", pending);
    lines.field("lazyfreed_objects", freed);
}

/// Bytes in use that are no entries'.
pub(super) fn overhead(engine: &Engine) -> u64 {
    engine.charges().total()
}

fn persistence(ctx: &Ctx<'_>, lines: &mut Lines) {
    let snapshots = &ctx.engine.snapshots;
    let standing = snapshots.standing().clone();
    let [done, total] = &snapshots.progress;
    let running = standing.began.is_some();
    let of_running = |count: &AtomicU64| if running { count.load(Ordering::Relaxed) } else { 0 };
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let wall = ctx.engine.clock.wall_micros() / 1_000_000;
    // The ready check of some clients reads this one alone. Clients are let in when all is read.
    lines.zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    lines.field("current_fork_perc", "0.00");
    lines.field("current_save_keys_processed", of_running(done));
    lines.field("current_save_keys_total", of_running(total));
    lines.field("rdb_changes_since_last_save", ctx.engine.changes_made().saturating_sub(standing.covered));
    lines.field("rdb_bgsave_in_progress", u8::from(running));
    lines.field("rdb_last_save_time", standing.last_good);
    lines.field("rdb_last_bgsave_status", if standing.failed { "err" } else { "ok" });
    lines.field("rdb_last_bgsave_time_sec", seconds(standing.took));
    lines.field("rdb_current_bgsave_time_sec", seconds(standing.began.map(|began| wall.saturating_sub(began))));
    lines.field("rdb_saves", standing.saves);
    lines.zeros(&["rdb_last_cow_size"]);
    lines.field("rdb_last_load_keys_expired", standing.loaded[1]);
    lines.field("rdb_last_load_keys_loaded", standing.loaded[0]);
    lines.zeros(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    lines.field("aof_last_write_status", "ok");
    lines.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
}

fn stats(ctx: &Ctx<'_>, lines: &mut Lines) {
    let sums = ctx.engine.metrics.sums();
    let now = ctx.engine.rates();
    let mut seen = Stats::default();
    ctx.engine.all_stores().for_each(|store| seen += store.stats());
    lines.field("total_connections_received", sums.connections);
    lines.field("total_commands_processed", sums.commands);
    lines.field("instantaneous_ops_per_sec", now.commands);
    lines.field("total_net_input_bytes", sums.input_bytes);
    lines.field("total_net_output_bytes", sums.output_bytes);
    lines.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    lines.field("instantaneous_input_kbps", format!("{:.2}", now.input));
    lines.field("instantaneous_output_kbps", format!("{:.2}", now.output));
    lines.field("instantaneous_input_repl_kbps", "0.00");
    lines.field("instantaneous_output_repl_kbps", "0.00");
    lines.field("rejected_connections", sums.rejected_connections);
    lines.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    lines.field("expired_keys", seen.expired);
    lines.field("expired_stale_perc", "0.00");
    lines.zeros(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
    lines.field("evicted_keys", seen.evicted);
    lines.field("evicted_clients", sums.evicted_clients);
    lines.zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    lines.field("keyspace_hits", seen.hits);
    lines.field("keyspace_misses", seen.misses);
    lines.field("pubsub_channels", ctx.engine.pubsub.topics(Topic::Channel));
    lines.field("pubsub_patterns", ctx.engine.pubsub.topics(Topic::Pattern));
    lines.field("pubsubshard_channels", ctx.engine.pubsub.topics(Topic::Shard));
    lines.zeros(&["latest_fork_usec", "total_forks"]);
    lines.zeros(&["migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits"]);
    lines.zeros(&["active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    lines.zeros(&["total_active_defrag_time", "current_active_defrag_time"]);
    let tracked = ctx.engine.tracking.tracked();
    lines.field("tracking_total_keys", tracked.keys);
    lines.field("tracking_total_items", tracked.items);
    lines.field("tracking_total_prefixes", tracked.prefixes);
    lines.zeros(&["unexpected_error_replies"]);
    lines.field("total_error_replies", sums.errors);
    lines.field("dump_payload_sanitizations", 0);
    lines.field("total_reads_processed", sums.reads);
    lines.field("total_writes_processed", sums.writes);
    lines.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    lines.field("client_query_buffer_limit_disconnections", sums.query_limit_disconnections);
    lines.field("client_output_buffer_limit_disconnections", sums.output_limit_disconnections);
    lines.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    lines.field("acl_access_denied_auth", sums.auth_failures);
    lines.field("acl_access_delayed_auth", sums.delayed_logins);
    lines.field("acl_access_denied_cmd", sums.denied_commands);
    lines.field("acl_access_denied_key", sums.denied_keys);
    lines.field("acl_access_denied_channel", sums.denied_channels);
}

fn replication(ctx: &Ctx<'_>, lines: &mut Lines) {
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("master_failover_state", "no-failover");
    lines.field("master_replid", ctx.engine.replication_id());
    lines.field("master_replid2", "0".repeat(40));
    lines.field("master_repl_offset", 0);
    lines.field("second_repl_offset", -1);
    lines.zeros(&["repl_backlog_active"]);
    let size = ctx.engine.with_config(|config| config.get("repl-backlog-size")).unwrap_or_default();
    lines.field("repl_backlog_size", size);
    lines.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(ctx: &Ctx<'_>, lines: &mut Lines) {
    let used = ctx.engine.machine().processor();
    let ([user, system], [child_user, child_system]) = (used.process, used.children);
    let [main_user, main_system] = used.main_thread;
    for (name, seconds) in [
        ("used_cpu_sys", system),
        ("used_cpu_user", user),
        ("used_cpu_sys_children", child_system),
        ("used_cpu_user_children", child_user),
        ("used_cpu_sys_main_thread", main_system),
        ("used_cpu_user_main_thread", main_user),
    ] {
        lines.field(name, format!("{seconds:.6}"));
    }
}

fn command_stats(ctx: &Ctx<'_>, lines: &mut Lines) {
    for found in all().flat_map(|found| std::iter::once(found).chain(found.subcommands())) {
        let [calls, micros, rejected, failed] = ctx.engine.metrics.command(found.number);
        if calls + rejected + failed > 0 {
            let each = share(micros, calls);
            let value = format!(
                "calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
            );
            lines.field(&format!("cmdstat_{}", found.full_name()), value);
        }
    }
}

fn error_stats(ctx: &Ctx<'_>, lines: &mut Lines) {
    for (code, count) in ctx.engine.metrics.codes() {
        lines.field(&format!("errorstat_{code}"), format!("count={count}"));
    }
}

/// Percentiles from the distribution of each command: the end of the step in which they lie.
fn latency_stats(ctx: &Ctx<'_>, lines: &mut Lines) {
    let (is_shown, percentiles) =
        ctx.engine.with_config(|config| (config.latency_tracking, config.latency_percentiles.clone()));
    let percentiles = || percentiles.split(' ').filter_map(|name| Some((name, name.parse::<f64>().ok()? / 100.0)));
    if !is_shown || percentiles().next().is_none() {
        return;
    }
    for found in all().flat_map(|found| std::iter::once(found).chain(found.subcommands())) {
        let steps = ctx.engine.metrics.distribution(found.number);
        let total = steps.last().copied().unwrap_or(0);
        if total == 0 {
            continue;
        }
        let values: Vec<String> =
            percentiles().map(|(name, part)| format!("p{name}={}.000", percentile(&steps, part))).collect();
        lines.field(&format!("latency_percentiles_usec_{}", found.full_name()), values.join(","));
    }
}

/// The end of the step of microseconds in which that part of all lies.
fn percentile(steps: &[u64; STEPS], part: f64) -> u64 {
    let total = steps[STEPS - 1] as f64;
    1 << steps.iter().position(|count| *count as f64 >= (total * part).max(1.0)).unwrap_or(0)
}

/// What dies of time, when, and how late it was reclaimed. To readers it is gone at its deadline, however late that is.
fn expiry(ctx: &Ctx<'_>, lines: &mut Lines) {
    let engine = ctx.engine;
    let (_, seen) = engine.keyspace_totals();
    let expiring: usize = engine.keyspaces().map(|store| store.count().1).sum();
    let next = engine.all_stores().map(Store::next_due).min().unwrap_or(Millis::NEVER);
    lines.field("active_expire", u8::from(engine.expires_actively()));
    lines.field("keys_with_deadline", expiring);
    lines.field("expired_keys", seen.expired);
    lines.field("next_reminder_ms", if next == Millis::NEVER { -1 } else { next.since(ctx.now).0 as i64 });
    let (steps, _) = engine.metrics.lags();
    let is_any = steps[STEPS - 1] > 0;
    lines.field("lag_samples", steps[STEPS - 1]);
    for (name, part) in [("50", 0.5), ("99", 0.99), ("99.9", 0.999), ("100", 1.0)] {
        lines.field(&format!("lag_p{name}_usec"), if is_any { percentile(&steps, part) } else { 0 });
    }
}

fn keyspace(ctx: &Ctx<'_>, lines: &mut Lines) {
    for db in 0..ctx.engine.databases() {
        let (keys, expires) = Store::count(ctx.engine.store(db));
        if keys > 0 {
            lines.field(&format!("db{db}"), format!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}

/// One number as a part of another; zero of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Bytes as Redis writes them for people.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::*;

    fn titles(text: &str) -> Vec<String> {
        text.split("# ").skip(1).map(|part| part.split_whitespace().next().unwrap_or("").to_lowercase()).collect()
    }

    #[test]
    fn sections_are_chosen_by_name() {
        let mut t = Transcript::start();
        t.say("PING");
        let mut told = |line: &str| titles(&t.say(line).text());
        let default = told("INFO");
        assert_eq!(default[0], "server");
        assert!(!default.contains(&"commandstats".into()) && default.contains(&"errorstats".into()));
        assert_eq!(told("INFO default"), default);
        assert_eq!(told("INFO commandSTATS cpu"), ["cpu", "commandstats"]);
        assert_eq!(told("INFO all").len(), SECTIONS.len());
        assert_eq!(told("INFO cpu everything cpu").len(), SECTIONS.len());
        assert_eq!(told("INFO module_list"), ["modules"]);
        t.say("INFO nosuch").hears("$0 ");
        t.say("HELLO 3");
        t.say("INFO cluster").hears("=34 txt:# Cluster cluster_enabled:0 ");
    }

    #[test]
    fn counters_are_told() {
        let mut t = Transcript::start();
        t.say("ECHO");
        t.say("PING");
        t.say("PING 1 2");
        let text = t.say("INFO everything").text();
        for line in [
            " loading:0 ",
            "cmdstat_ping:calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1 ",
            "cmdstat_echo:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0 ",
            "errorstat_ERR:count=2 ",
            "total_error_replies:2 ",
            "latency_percentiles_usec_ping:p50=1.000,p99=1.000,p99.9=1.000 ",
            "connected_clients:1 ",
            "role:master ",
            "redis_version:7.2.5 ",
            "maxmemory_policy:logins-last ",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn percentiles_are_those_asked_for() {
        let mut t = Transcript::start();
        t.say("PING");
        t.say("CONFIG SET latency-tracking-info-percentiles \"0.0 50.0 100.0\"").hears("+OK");
        let text = t.say("INFO latencystats").text();
        assert!(text.contains("latency_percentiles_usec_ping:p0=1.000,p50=1.000,p100=1.000 "), "{text}");
        t.say("CONFIG SET latency-tracking no").hears("+OK");
        let text = t.say("INFO latencystats").text();
        assert!(!text.contains("latency_percentiles_usec"), "{text}");
    }

    #[test]
    fn expiry_is_told() {
        let mut t = Transcript::start();
        let told = t.say("INFO expiry").text();
        assert!(told.contains("keys_with_deadline:0 expired_keys:0 next_reminder_ms:-1 lag_samples:0 "), "{told}");
        t.say("SET a x PX 500");
        t.say("SET stays x");
        t.engine.metrics.block(0).lag.took(900);
        let told = t.say("INFO EXPIRY").text();
        assert!(told.contains("active_expire:1 keys_with_deadline:1 "), "{told}");
        assert!(told.contains("lag_samples:1 lag_p50_usec:1024 lag_p99_usec:1024 "), "{told}");
        let next = told.split("next_reminder_ms:").nth(1).and_then(|rest| rest.split(' ').next());
        let next = next.and_then(|next| next.parse::<i64>().ok()).expect("a number");
        assert!((1..=5000).contains(&next), "{told}");
        t.wait(crate::clock::Ttl(5000));
        t.sweep();
        let told = t.say("INFO expiry").text();
        assert!(told.contains("keys_with_deadline:0 expired_keys:1 next_reminder_ms:-1 "), "{told}");
    }

    #[test]
    fn a_report_is_a_section() {
        let mut t = Transcript::start();
        t.engine.add_report("Session", || vec![("session_fills", "Fills.", 7)]);
        t.say("INFO session").hears("$28 # Session session_fills:7 ");
        assert_eq!(titles(&t.say("INFO").text()).last().map(String::as_str), Some("session"));
        t.engine.add_report("Sessions", || vec![("hits", "Hits.", 1)]);
        assert_eq!(titles(&t.say("INFO session").text()), ["session", "sessions"]);
    }

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!([0, 1023, 1024, 1 << 20, 25_276_510_208].map(human), ["0B", "1023B", "1.00K", "1.00M", "23.54G"]);
    }

    #[test]
    fn what_the_machine_says_is_shown() {
        let mut t = Transcript::start();
        let info = t.say("INFO everything").text();
        for row in [
            "os:Linux 6.1 ",
            "used_memory_rss:3145728 used_memory_rss_human:3.00M",
            "total_system_memory:8589934592 ",
            "used_cpu_sys:0.250000 used_cpu_user:1.500000 ",
            "used_cpu_sys_main_thread:0.125000 used_cpu_user_main_thread:0.500000",
        ] {
            assert!(info.contains(row), "{row} in {info}");
        }
    }
}
