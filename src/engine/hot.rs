//! The settings that requests look at, readable without a lock.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::config::{BufferLimit, Config, Policy};
use crate::resp::request::Limits;

/// Bytes that one reply may have in any case: what a script may hold however little there is.
const REPLY_MIN: u64 = 8 << 20;

/// Bytes that one reply may have at most: a value of the largest size that there is, and what belongs to it.
const REPLY_MAX: u64 = (512 << 20) + REPLY_MIN;

/// Plain copies of settings, each changed only by CONFIG SET.
#[derive(Default)]
pub struct Hot {
    acllog_max: AtomicUsize,
    maxmemory: AtomicU64,
    clients_max: AtomicU64,
    policy: AtomicU8,
    samples: AtomicUsize,
    slower_than: AtomicI64,
    slowlog_max: AtomicUsize,
    latency_threshold: AtomicU64,
    noted_from: AtomicU64,
    bulk: AtomicUsize,
    request: AtomicUsize,
    /// Hard, soft and seconds, of those who subscribe to nothing and of those who do.
    output: [[AtomicU64; 3]; 2],
    reply_max: AtomicUsize,
    gathered_max: AtomicUsize,
    timeout: AtomicU64,
    keepalive: AtomicU64,
    max_clients: AtomicUsize,
    max_http_clients: AtomicUsize,
    busy_after: AtomicU64,
}

impl Hot {
    pub(super) fn set(&self, config: &Config) {
        let order = Ordering::Relaxed;
        self.acllog_max.store(config.acllog_max_len, order);
        self.maxmemory.store(config.maxmemory, order);
        self.clients_max.store(config.maxmemory_clients.of(config.maxmemory), order);
        let policy = POLICIES.iter().position(|policy| *policy == config.maxmemory_policy).unwrap_or(0);
        self.policy.store(policy as u8, order);
        self.samples.store(config.maxmemory_samples as usize, order);
        self.slower_than.store(config.slowlog_log_slower_than, order);
        self.slowlog_max.store(config.slowlog_max_len, order);
        self.latency_threshold.store(config.latency_monitor_threshold, order);
        let slow = u64::try_from(config.slowlog_log_slower_than).unwrap_or(u64::MAX);
        let late = match config.latency_monitor_threshold {
            0 => u64::MAX,
            threshold => threshold.saturating_mul(1000),
        };
        self.noted_from.store(slow.min(late), order);
        self.bulk.store(config.proto_max_bulk_len as usize, order);
        self.request.store(config.client_query_buffer_limit as usize, order);
        let output = config.client_output_buffer_limit;
        for (own, limit) in self.output.iter().zip([output.normal, output.pubsub]) {
            for (own, number) in own.iter().zip([limit.hard, limit.soft, limit.seconds]) {
                own.store(number, order);
            }
        }
        // A few words can ask for the same again and again; more of it would push out data.
        let bounded = |limit: u64| if limit == 0 { REPLY_MAX } else { limit.clamp(REPLY_MIN, REPLY_MAX) };
        let gathered = bounded(config.maxmemory / 4);
        self.gathered_max.store(gathered as usize, order);
        self.reply_max.store(gathered.min(bounded(output.normal.hard)) as usize, order);
        self.timeout.store(u64::from(config.timeout), order);
        self.keepalive.store(u64::from(config.tcp_keepalive), order);
        self.max_clients.store(config.maxclients as usize, order);
        self.max_http_clients.store(config.http_maxclients as usize, order);
        self.busy_after.store(config.busy_reply_threshold, order);
    }

    /// `acllog-max-len`
    pub fn acllog_max(&self) -> usize {
        self.acllog_max.load(Ordering::Relaxed)
    }

    /// `maxmemory`; 0 for none.
    pub fn maxmemory(&self) -> u64 {
        self.maxmemory.load(Ordering::Relaxed)
    }

    /// `maxmemory-clients` in bytes; 0 for none.
    pub fn clients_max(&self) -> u64 {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// `maxmemory-policy`
    pub fn policy(&self) -> Policy {
        POLICIES[usize::from(self.policy.load(Ordering::Relaxed))]
    }

    /// `maxmemory-samples`
    pub fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }

    /// `slowlog-log-slower-than`; `None` for never.
    pub fn slower_than(&self) -> Option<u64> {
        u64::try_from(self.slower_than.load(Ordering::Relaxed)).ok()
    }

    /// `slowlog-max-len`
    pub fn slowlog_max(&self) -> usize {
        self.slowlog_max.load(Ordering::Relaxed)
    }

    /// `latency-monitor-threshold`; 0 for off.
    pub fn latency_threshold(&self) -> u64 {
        self.latency_threshold.load(Ordering::Relaxed)
    }

    /// Microseconds from which on a command may be one for SLOWLOG or LATENCY.
    #[inline]
    pub fn noted_from(&self) -> u64 {
        self.noted_from.load(Ordering::Relaxed)
    }

    /// What a request may cost.
    pub fn limits(&self, authenticated: bool) -> Limits {
        Limits {
            bulk: self.bulk.load(Ordering::Relaxed),
            request: self.request.load(Ordering::Relaxed),
            authenticated,
            ..Limits::default()
        }
    }

    /// `proto-max-bulk-len`
    pub fn bulk_max(&self) -> usize {
        self.bulk.load(Ordering::Relaxed)
    }

    /// How much unread output a client may leave behind.
    pub fn output_limit(&self, is_subscriber: bool) -> BufferLimit {
        let [hard, soft, seconds] = &self.output[usize::from(is_subscriber)];
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        BufferLimit { hard: load(hard), soft: load(soft), seconds: load(seconds) }
    }

    /// Bytes that one reply of what reads may have: as many as `client-output-buffer-limit` lets a client leave unread, or a quarter of
    /// `maxmemory`, whichever is less, but for scripts and small servers no less than 8 MB.
    #[inline]
    pub fn reply_max(&self) -> usize {
        self.reply_max.load(Ordering::Relaxed)
    }

    /// Bytes that one command may gather before it writes them elsewhere: a quarter of `maxmemory`.
    pub fn gathered_max(&self) -> usize {
        self.gathered_max.load(Ordering::Relaxed)
    }

    /// `timeout` in seconds; 0 for never.
    pub fn timeout(&self) -> u64 {
        self.timeout.load(Ordering::Relaxed)
    }

    /// `busy-reply-threshold` in milliseconds; `None` for never.
    pub fn busy_after(&self) -> Option<u64> {
        Some(self.busy_after.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
    }

    /// `maxclients`
    pub fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    /// `http-maxclients`
    pub fn max_http_clients(&self) -> usize {
        self.max_http_clients.load(Ordering::Relaxed)
    }

    /// `tcp-keepalive` in seconds; 0 for none.
    pub fn keepalive(&self) -> u64 {
        self.keepalive.load(Ordering::Relaxed)
    }
}

/// All policies, so that one can be kept as its position.
const POLICIES: [Policy; 9] = [
    Policy::LoginsLast,
    Policy::NoEviction,
    Policy::AllkeysLru,
    Policy::AllkeysLfu,
    Policy::AllkeysRandom,
    Policy::VolatileLru,
    Policy::VolatileLfu,
    Policy::VolatileRandom,
    Policy::VolatileTtl,
];
