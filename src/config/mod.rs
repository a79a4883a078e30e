//! All settings, and the one table they come from.
//!
//! The table, `PARAMS`, is the truth: flags, environment variables, TOML keys, redis.conf directives, CONFIG GET and SET,
//! `--help` and docs/settings.md, which says what each does, are computed from its rows. Reading files and
//! arguments is done elsewhere; nothing here does I/O, and no refusal or `Debug` output shows a secret.
//!
//! ```
//! use cloakroom::config::Config;
//!
//! let mut config = Config::default();
//! config.set("maxmemory", "64mb")?;
//! assert_eq!(config.get("maxmemory").as_deref(), Some("67108864"));
//! # Ok::<(), cloakroom::config::Refusal>(())
//! ```

mod compact;
mod compat;
mod doors;
mod field;
mod lazily;
mod namespace;
mod nearest;
mod otlp;
mod param;
mod params;
mod reference;
mod rewrite;
mod source;
mod toml;
mod values;
mod verify;
#[cfg_attr(doc, doc(hidden))]
pub mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::clock::Ttl;

pub use namespace::Namespace;
pub use source::{BASE_PATH, Nobody};
pub use verify::{ClaimHeader, ClaimHeaders};

#[cfg_attr(doc, doc(hidden))]
pub use {
    compact::Compact,
    doors::Rest,
    lazily::Lazily,
    namespace::Namespaces,
    nearest::{nearest_of, slip_of},
    otlp::{Otlp, OtlpAttributes, OtlpHeaders},
    param::{Change, Group, Kind, Lines, Param, env_name},
    params::PARAMS,
    reference::{REFERENCE_BEGIN, REFERENCE_END, reference, reference_in},
    rewrite::render_redis_conf,
    source::{SessionClaims, SessionNobody},
    toml::{defaults_toml, in_force_toml, masked},
    values::{
        Bind, Binds, BufferLimit, BufferLimits, ClientAuth, FenceLogging, LogFormat, LogLevel, MemoryShare, Mode,
        Permission, Policy, Profile, PubsubDefault, SessionError, SessionSource, TlsPort, TlsVersions, Upstream,
        UpstreamHost,
    },
    verify::{Redirect, Verify},
};

/// The settings of one server, by the names and in the words of docs/settings.md. `Debug` shows what differs from the
/// defaults, secrets covered.
///
/// ```
/// use cloakroom::Config;
///
/// let mut config = Config::default();
/// config.set("requirepass", "a-password")?;
/// config.set("session-ttl", "10s")?;
/// let shown = format!("{config:?}");
/// assert!(shown.contains("***") && !shown.contains("a-password"));
///
/// let refused = config.set("session-ttl", "soon").unwrap_err();
/// assert!(refused.to_string().contains("session-ttl"));
/// # Ok::<(), cloakroom::config::Refusal>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Config {
    /// `port`
    pub(crate) port: u16,
    /// `bind`
    pub(crate) bind: Binds,
    /// `http-port`
    pub(crate) http_port: u16,
    /// `http-bind`; empty for the same as `bind`, see [`Config::http_addresses`].
    pub(crate) http_bind: Binds,
    /// `unixsocket`; empty for none.
    pub(crate) unixsocket: String,
    /// `unixsocketperm`; 0 for what the umask leaves.
    pub(crate) unixsocketperm: Mode,
    /// `http-unixsocket`; empty for none.
    pub(crate) http_unixsocket: String,
    /// `http-unixsocketperm`; 0 for what the umask leaves.
    pub(crate) http_unixsocketperm: Mode,
    /// `tls-port`
    pub(crate) tls_port: TlsPort,
    /// `http-tls-port`
    pub(crate) http_tls_port: TlsPort,
    /// `tls-cert-file`; empty for none.
    pub(crate) tls_cert_file: String,
    /// `tls-key-file`; empty for none.
    pub(crate) tls_key_file: String,
    /// `tls-ca-cert-file`; empty for none.
    pub(crate) tls_ca_cert_file: String,
    /// `tls-ca-cert-dir`; empty for none.
    pub(crate) tls_ca_cert_dir: String,
    /// `tls-auth-clients`
    pub(crate) tls_auth_clients: ClientAuth,
    /// `tls-protocols`; none named for all there are.
    pub(crate) tls_protocols: TlsVersions,
    /// `requirepass`; empty for none.
    pub(crate) requirepass: String,
    /// `aclfile`; empty for none.
    pub(crate) aclfile: String,
    /// `acl-pubsub-default`
    pub(crate) acl_pubsub_default: PubsubDefault,
    /// `protected-mode`
    pub(crate) protected_mode: bool,
    /// `admin-token`; empty for none.
    pub(crate) admin_token: String,
    /// `rest-token` and those that begin with `rest-`.
    pub(crate) rest: Rest,
    /// `enable-debug-command`
    pub(crate) enable_debug_command: Permission,
    /// `enable-protected-configs`
    pub(crate) enable_protected_configs: Permission,
    /// `timeout`, in seconds; 0 for never.
    pub(crate) timeout: u32,
    /// `tcp-keepalive`, in seconds; 0 for none.
    pub(crate) tcp_keepalive: u32,
    /// `tcp-backlog`
    pub(crate) tcp_backlog: u32,
    /// `workers`; 0 for one per core.
    pub(crate) workers: u32,
    /// `maxmemory`, in bytes; 0 for unlimited.
    pub(crate) maxmemory: u64,
    /// Whether nobody has said how much that is, or `auto`.
    pub(crate) maxmemory_auto: bool,
    /// What `auto` comes to on this machine; 0 where that is not known. It is no setting: see [`Config::found_memory`].
    pub(crate) maxmemory_found: u64,
    /// `maxmemory-clients`
    pub(crate) maxmemory_clients: MemoryShare,
    /// `maxmemory-policy`
    pub(crate) maxmemory_policy: Policy,
    /// `maxmemory-samples`
    pub(crate) maxmemory_samples: u32,
    /// `tracking-table-max-keys`
    pub(crate) tracking_table_max_keys: usize,
    /// `lfu-log-factor`
    pub(crate) lfu_log_factor: u32,
    /// `lfu-decay-time`, in minutes.
    pub(crate) lfu_decay_time: u32,
    /// `hash-max-listpack-entries` and its like.
    pub(crate) compact: Compact,
    /// What is freed little by little.
    pub(crate) lazily: Lazily,
    /// Whether a flush that does not say so is freed by somebody else.
    pub(crate) lazy_flush: bool,
    /// `databases`
    pub(crate) databases: usize,
    /// `namespace`; `session-prefix` and `session-ttl` are those of the namespace of sessions.
    pub(crate) namespaces: Namespaces,
    /// `upstream`
    pub(crate) upstream: Option<Upstream>,
    /// `source`; what `auto` comes to tells [`Config::session_source`].
    pub(crate) source: SessionSource,
    /// `secret-file`; empty for none.
    pub(crate) secret_file: String,
    /// `session-claims`
    pub(crate) session_claims: SessionClaims,
    /// `upstream-timeout`
    pub(crate) upstream_timeout: Ttl,
    /// `upstream-body-limit`, in bytes.
    pub(crate) upstream_body_limit: u64,
    /// `upstream-connections`
    pub(crate) upstream_connections: u32,
    /// `upstream-host`
    pub(crate) upstream_host: UpstreamHost,
    /// `profile`
    pub(crate) profile: Profile,
    /// `session-cookie`; empty for the profile's own.
    pub(crate) session_cookie: String,
    /// `base-path`, with a slash before it and none behind it.
    pub(crate) base_path: String,
    /// `session-path`; empty for the profile's own.
    pub(crate) session_path: String,
    /// `session-signout-path`; empty for the profile's own.
    pub(crate) session_signout_path: String,
    /// `session-nobody`; empty for the profile's own.
    pub(crate) session_nobody: SessionNobody,
    /// `session-stale`
    pub(crate) session_stale: Ttl,
    /// `session-error`
    pub(crate) session_error: SessionError,
    /// `session-revoke`
    pub(crate) session_revoke: bool,
    /// `session-max-age`
    pub(crate) session_max_age: Ttl,
    /// `verify` and those that begin with `verify-`.
    pub(crate) verify: Verify,
    /// `fence-log`
    pub(crate) fence_log: FenceLogging,
    /// `maxclients`
    pub(crate) maxclients: u32,
    /// `http-maxclients`
    pub(crate) http_maxclients: u32,
    /// `proto-max-bulk-len`, in bytes.
    pub(crate) proto_max_bulk_len: u64,
    /// `client-query-buffer-limit`, in bytes.
    pub(crate) client_query_buffer_limit: u64,
    /// `client-output-buffer-limit`
    pub(crate) client_output_buffer_limit: BufferLimits,
    /// `loglevel`
    pub(crate) loglevel: LogLevel,
    /// `logfile`; empty for standard error.
    pub(crate) logfile: String,
    /// `log-format`
    pub(crate) log_format: LogFormat,
    /// `metrics`
    pub(crate) metrics: bool,
    /// Those that begin with `otlp-`.
    pub(crate) otlp: Otlp,
    /// `metrics`
    /// `slowlog-log-slower-than`, in microseconds; negative for never.
    pub(crate) slowlog_log_slower_than: i64,
    /// `slowlog-max-len`
    pub(crate) slowlog_max_len: usize,
    /// `acllog-max-len`
    pub(crate) acllog_max_len: usize,
    /// `latency-monitor-threshold`, in milliseconds; 0 for off.
    pub(crate) latency_monitor_threshold: u64,
    /// `latency-tracking`
    pub(crate) latency_tracking: bool,
    /// `latency-tracking-info-percentiles`, separated by spaces.
    pub(crate) latency_percentiles: String,
    /// `save`: pairs of seconds and changes; empty for none.
    pub(crate) save: String,
    /// `dir`
    pub(crate) dir: String,
    /// `dbfilename`
    pub(crate) dbfilename: String,
    /// `rdbcompression`
    pub(crate) rdbcompression: bool,
    /// `rdbchecksum`
    pub(crate) rdbchecksum: bool,
    /// `rdb-key-save-delay`, in microseconds.
    pub(crate) rdb_key_save_delay: i64,
    /// `stop-writes-on-bgsave-error`
    pub(crate) stop_writes: bool,
    /// `shutdown-on-sigint`: `default`, or words among which `save` or `nosave` may be.
    pub(crate) shutdown_on_sigint: String,
    /// `shutdown-on-sigterm`, likewise.
    pub(crate) shutdown_on_sigterm: String,
    /// `busy-reply-threshold`, in milliseconds; 0 for never.
    pub(crate) busy_reply_threshold: u64,
    /// `notify-keyspace-events`, in Redis' order; empty for none.
    pub(crate) notify_keyspace_events: String,
    /// The users of a redis.conf: the words behind `user`, each a name and its rules. They are no setting either.
    pub(crate) users: Vec<Vec<String>>,
    /// The file the settings were read from, if any. It is no setting itself: CONFIG REWRITE writes it.
    pub(crate) config_file: Option<PathBuf>,
    /// Values of rows that nothing here acts on.
    kept: BTreeMap<&'static str, String>,
}

/// Why a setting was not changed. Its text is Redis' answer to CONFIG SET.
///
/// ```
/// use cloakroom::{Config, config::Refusal};
///
/// let mut config = Config::default();
/// assert_eq!(config.set("colour", "blue"), Err(Refusal::Unknown("colour".to_owned())));
/// assert!(matches!(config.set("port", "many"), Err(Refusal::Value(name, _)) if name == "port"));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such setting; the name as given.
    Unknown(String),
    /// The setting's name and the reason; the value is not repeated.
    Value(String, String),
}

impl Refusal {
    /// The bare reason, for messages of other forms.
    ///
    /// ```
    /// # use cloakroom::Config;
    /// let refused = Config::default().set("colour", "blue").unwrap_err();
    /// assert_eq!(refused.reason(), "there is no such setting");
    /// ```
    pub fn reason(&self) -> &str {
        match self {
            Refusal::Unknown(_) => "there is no such setting",
            Refusal::Value(_, reason) => reason,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown(name) => {
                write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Refusal::Value(name, reason) => {
                write!(f, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The row that answers to a name, in any case.
#[cfg_attr(doc, doc(hidden))]
pub fn find(name: &str) -> Option<&'static Param> {
    PARAMS.iter().find(|param| param.answers_to(name))
}

impl Config {
    /// Sets one value, as a file, a flag or a program may before the server starts. Names are taken in any case.
    ///
    /// ```
    /// # use cloakroom::Config;
    /// let mut config = Config::default();
    /// config.set("maxmemory", "64mb")?;
    /// assert!(config.set("maxmemory", "much").is_err());
    /// assert_eq!(config.get("maxmemory").as_deref(), Some("67108864"), "as it was");
    /// # Ok::<(), cloakroom::config::Refusal>(())
    /// ```
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let param = find(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        param.set(self, value).map_err(|reason| Refusal::Value(name.to_ascii_lowercase(), reason))
    }

    /// Sets the values of one CONFIG SET: all of them, or none and the first thing that is wrong. Returns the rows
    /// whose values have changed, for those who act on them. `local` says that the client is on this machine.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_live(&mut self, pairs: &[(&str, &str)], local: bool) -> Result<Vec<&'static Param>, Refusal> {
        let mut rows = Vec::with_capacity(pairs.len());
        for (i, (name, value)) in pairs.iter().enumerate() {
            let param = find(name).ok_or_else(|| Refusal::Unknown((*name).to_owned()))?;
            let refuse = |reason: &str| Err(Refusal::Value((*name).to_owned(), reason.to_owned()));
            match param.change {
                Change::Live => {}
                Change::Protected if self.enable_protected_configs.allows(local) => {}
                Change::Protected => return refuse("can't set protected config"),
                // Tools write back all they have read; what changes nothing does no harm.
                Change::AtStart if param.kind.read(value).is_ok_and(|plain| plain == param.get(self)) => {}
                Change::AtStart => return refuse("can't set immutable config"),
            }
            if pairs[..i].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return refuse("duplicate parameter");
            }
            rows.push(param);
        }
        let mut changed = self.clone();
        for (param, (name, value)) in rows.iter().zip(pairs) {
            let refuse = |reason| Refusal::Value(name.to_ascii_lowercase(), reason);
            param.set(&mut changed, value).map_err(refuse)?;
        }
        rows.retain(|param| param.get(self) != param.get(&changed));
        *self = changed;
        Ok(rows)
    }

    /// The value of a setting, as CONFIG GET shows it: secrets too. `None` if there is no such setting.
    ///
    /// ```
    /// # use cloakroom::Config;
    /// let config = Config::default();
    /// assert_eq!(config.get("port").as_deref(), Some("6379"));
    /// assert_eq!(config.get("colour"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<String> {
        find(name).map(|param| param.get(self))
    }

    /// Names and values of all settings whose name fits, other names included, hidden ones not.
    ///
    /// ```
    /// # use cloakroom::Config;
    /// let ports = Config::default().matching(|name| name == "port" || name == "http-port");
    /// assert_eq!(ports, [("port", "6379".to_owned()), ("http-port", "8379".to_owned())]);
    /// ```
    pub fn matching(&self, fits: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let shown = PARAMS.iter().filter(|param| !param.is_hidden());
        let names = shown.flat_map(|param| param.names().map(move |name| (param, name)));
        names.filter(|(_, name)| fits(name)).map(|(param, name)| (name, param.get(self))).collect()
    }

    /// The namespace of sessions.
    #[cfg_attr(doc, doc(hidden))]
    pub fn session(&self) -> &Namespace {
        match self.namespaces.named(Namespace::SESSION) {
            Some(session) => session,
            None => unreachable!("a namespace can be changed but not removed"),
        }
    }

    /// Tells how much `maxmemory auto` is here, in bytes.
    #[cfg_attr(doc, doc(hidden))]
    pub fn found_memory(&mut self, bytes: u64) {
        self.maxmemory_found = bytes;
        if self.maxmemory_auto {
            self.maxmemory = bytes;
        }
    }

    /// Whether these settings make sense together; the reason if not, with its cure. Asked before the server starts.
    ///
    /// ```
    /// # use cloakroom::Config;
    /// let mut config = Config::default();
    /// assert_eq!(config.check(), Ok(()));
    /// config.set("tls-port", "6380")?;
    /// assert!(config.check().is_err_and(|why| why.contains("tls-cert-file")));
    /// # Ok::<(), cloakroom::config::Refusal>(())
    /// ```
    pub fn check(&self) -> Result<(), String> {
        // Where users are named, only they can tell whether anybody may come in.
        if self.users.is_empty() && self.aclfile.is_empty() {
            self.check_doors(!self.requirepass.is_empty())?;
        }
        self.check_ports()?;
        self.check_source()?;
        if self.kept.get("tls-key-file-pass").is_some_and(|password| !password.is_empty()) {
            return Err("tls-key-file-pass: keys that are encrypted are not read: write the key to a file of its own \
                        without a password (openssl pkey -in key.pem -out plain.pem) that only this server may read"
                .to_owned());
        }
        if self.uses_tls() && (self.tls_cert_file.is_empty() || self.tls_key_file.is_empty()) {
            return Err("TLS needs a certificate and its key: set tls-cert-file and tls-key-file".to_owned());
        }
        let has_authorities = !(self.tls_ca_cert_file.is_empty() && self.tls_ca_cert_dir.is_empty());
        if self.tls_port.is_on() && self.tls_auth_clients != ClientAuth::No && !has_authorities {
            return Err("tls-auth-clients needs something to check certificates by: set tls-ca-cert-file or \
                        tls-ca-cert-dir, or tls-auth-clients no if clients have none"
                .to_owned());
        }
        Ok(())
    }

    /// Adds a user: a name and its rules.
    #[cfg_attr(doc, doc(hidden))]
    pub fn add_user(&mut self, words: &[String]) -> Result<(), String> {
        let name = words.first().ok_or("user: a name is missing")?;
        if self.users.iter().any(|user| user.first() == Some(name)) {
            return Err(format!("Duplicate user {name}: a user can be defined only once"));
        }
        self.users.push(words.to_vec());
        Ok(())
    }

    /// The file of users, which counts from the working directory that `dir` names.
    #[cfg_attr(doc, doc(hidden))]
    pub fn acl_path(&self) -> Option<PathBuf> {
        (!self.aclfile.is_empty()).then(|| self.directory().join(&self.aclfile))
    }

    /// `dir`, where the server's own files are.
    #[cfg_attr(doc, doc(hidden))]
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(&self.dir)
    }

    /// The file that snapshots are kept in.
    #[cfg_attr(doc, doc(hidden))]
    pub fn snapshot_path(&self) -> PathBuf {
        self.directory().join(&self.dbfilename)
    }

    /// The pairs of `save`: so many seconds after the last snapshot, if there were so many changes.
    #[cfg_attr(doc, doc(hidden))]
    pub fn save_points(&self) -> Vec<(u64, u64)> {
        let numbers: Vec<u64> = self.save.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers.as_chunks().0.iter().map(|[seconds, changes]| (*seconds, *changes)).collect()
    }

    /// What no row has filled in yet.
    fn blank() -> Config {
        Config {
            port: 0,
            bind: Binds::default(),
            http_port: 0,
            http_bind: Binds::default(),
            unixsocket: String::new(),
            unixsocketperm: Mode(0),
            http_unixsocket: String::new(),
            http_unixsocketperm: Mode(0),
            tls_port: TlsPort::Off,
            http_tls_port: TlsPort::Off,
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            tls_ca_cert_file: String::new(),
            tls_ca_cert_dir: String::new(),
            tls_auth_clients: ClientAuth::Yes,
            tls_protocols: TlsVersions::default(),
            requirepass: String::new(),
            aclfile: String::new(),
            acl_pubsub_default: PubsubDefault::ResetChannels,
            protected_mode: false,
            admin_token: String::new(),
            rest: Rest::default(),
            enable_debug_command: Permission::No,
            enable_protected_configs: Permission::No,
            timeout: 0,
            tcp_keepalive: 0,
            tcp_backlog: 0,
            workers: 0,
            maxmemory: 0,
            maxmemory_auto: false,
            maxmemory_found: 0,
            maxmemory_clients: MemoryShare::Bytes(0),
            maxmemory_policy: Policy::NoEviction,
            maxmemory_samples: 0,
            tracking_table_max_keys: 0,
            lfu_log_factor: 0,
            lfu_decay_time: 0,
            compact: Compact::default(),
            lazily: Lazily::default(),
            lazy_flush: false,
            databases: 0,
            namespaces: Namespaces::default(),
            upstream: None,
            source: SessionSource::Auto,
            secret_file: String::new(),
            session_claims: SessionClaims::default(),
            upstream_timeout: Ttl(0),
            upstream_body_limit: 0,
            upstream_connections: 0,
            upstream_host: UpstreamHost::Auto,
            profile: Profile::Auto,
            session_cookie: String::new(),
            base_path: String::new(),
            session_path: String::new(),
            session_signout_path: String::new(),
            session_nobody: SessionNobody::default(),
            session_stale: Ttl(0),
            session_error: SessionError::Empty,
            session_revoke: false,
            session_max_age: Ttl(0),
            verify: Verify::default(),
            fence_log: FenceLogging::No,
            maxclients: 0,
            http_maxclients: 0,
            proto_max_bulk_len: 0,
            client_query_buffer_limit: 0,
            client_output_buffer_limit: BufferLimits::NONE,
            loglevel: LogLevel::Notice,
            logfile: String::new(),
            log_format: LogFormat::Text,
            metrics: false,
            otlp: Otlp::default(),
            slowlog_log_slower_than: 0,
            slowlog_max_len: 0,
            acllog_max_len: 0,
            latency_monitor_threshold: 0,
            latency_tracking: false,
            latency_percentiles: String::new(),
            save: String::new(),
            dir: String::new(),
            dbfilename: String::new(),
            rdbcompression: false,
            rdbchecksum: false,
            rdb_key_save_delay: 0,
            stop_writes: false,
            shutdown_on_sigint: String::new(),
            shutdown_on_sigterm: String::new(),
            busy_reply_threshold: 0,
            notify_keyspace_events: String::new(),
            users: Vec::new(),
            config_file: None,
            kept: BTreeMap::new(),
        }
    }
}

impl Default for Config {
    /// Every row's default.
    fn default() -> Config {
        let mut config = Config::blank();
        for param in PARAMS {
            if let Err(reason) = param.set(&mut config, param.default) {
                unreachable!("the default of {}: {reason}", param.name);
            }
        }
        config
    }
}

impl fmt::Debug for Config {
    /// What differs from the defaults, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Config::default();
        let mut out = f.debug_map();
        for param in PARAMS {
            let value = param.get(self);
            if value != param.get(&default) {
                let shown = if param.is_secret() { "***" } else { value.as_str() };
                out.entry(&param.name, &shown);
            }
        }
        out.finish()
    }
}

impl Permission {
    /// Whether a client may, given whether it is on this machine.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Permission::No => false,
            Permission::Yes => true,
            Permission::Local => local,
        }
    }
}

fn show_bool(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests;
