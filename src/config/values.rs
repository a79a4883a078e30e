//! Values of settings that are more than a number or a text. Each reads what it shows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::param::{bytes, integer};

/// An enum whose variants have names: the enum, its list of names, how it reads and shows them.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The names of all of them, in Redis' order where Redis has them.
            pub const NAMES: &[&str] = &[$($text),+];

            /// The name in settings.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(format!("argument(s) must be one of the following: {}", $name::NAMES.join(", "))),
                }
            }
        }
    };
}

choice! {
    /// What may go when `maxmemory` is reached.
    Policy {
        /// Any key, least recently or least often used first, whichever serves better; those of namespaces marked
        /// `login` only when nothing else is left.
        LoginsLast = "logins-last",
        /// Keys with a TTL, least recently used first.
        VolatileLru = "volatile-lru",
        /// Keys with a TTL, least often used first.
        VolatileLfu = "volatile-lfu",
        /// Keys with a TTL, at random.
        VolatileRandom = "volatile-random",
        /// Keys with a TTL, soonest deadline first.
        VolatileTtl = "volatile-ttl",
        /// Any key, least recently used first.
        AllkeysLru = "allkeys-lru",
        /// Any key, least often used first.
        AllkeysLfu = "allkeys-lfu",
        /// Any key, at random.
        AllkeysRandom = "allkeys-random",
        /// Nothing: writes are refused.
        NoEviction = "noeviction",
    }
}

choice! {
    /// How much is logged.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// What a person looking for a fault wants.
        Verbose = "verbose",
        /// What a person running a server wants.
        Notice = "notice",
        /// Only what is wrong.
        Warning = "warning",
        /// Nothing.
        Nothing = "nothing",
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Which library or service answers behind the session door; it decides paths, cookie names and the empty answer.
    Profile {
        /// Whichever the cookies of a request belong to.
        Auto = "auto",
        /// NextAuth v4.
        NextAuth = "nextauth",
        /// Auth.js, NextAuth v5.
        AuthJs = "authjs",
        /// better-auth.
        BetterAuth = "better-auth",
        /// Ory Kratos.
        Kratos = "kratos",
        /// Supabase's auth server, GoTrue.
        Supabase = "supabase",
        /// Any other, as `session-path` and its neighbours tell.
        Generic = "generic",
    }
}

choice! {
    /// Which host the upstream is asked for.
    UpstreamHost {
        /// Its own over TLS and of other profiles than NextAuth's, else the client's.
        Auto = "auto",
        /// That which the client has asked for.
        Client = "client",
        /// The upstream's own.
        Upstream = "upstream",
    }
}

choice! {
    /// What a session check is answered from where the store knows nothing.
    SessionSource {
        /// The upstream if there is one, else the tokens themselves if there is a secret, else the store alone.
        Auto = "auto",
        /// The application behind `upstream`.
        Upstream = "upstream",
        /// NextAuth's tokens, decoded here with the secrets in `secret-file`.
        NextAuth = "nextauth",
        /// Nothing: the application writes sessions as a Redis client.
        Store = "store",
    }
}

choice! {
    /// What a session check gets when the upstream fails and no good value is left.
    SessionError {
        /// An empty session, as for somebody signed out.
        Empty = "empty",
        /// The failure itself.
        Pass = "pass",
    }
}

/// Bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// So many; 0 for no limit.
    Bytes(u64),
    /// So many hundredths.
    Percent(u64),
}

impl MemoryShare {
    /// The bytes that it is, given `maxmemory`; 0 for no limit.
    pub fn of(self, maxmemory: u64) -> u64 {
        match self {
            MemoryShare::Bytes(bytes) => bytes,
            MemoryShare::Percent(percent) => maxmemory / 100 * percent,
        }
    }
}

impl std::str::FromStr for MemoryShare {
    type Err = String;

    /// Reads what `Kind::MemoryOrPercent` has made plain.
    fn from_str(text: &str) -> Result<MemoryShare, String> {
        let number = |text: &str| text.parse().map_err(|_| "argument must be a memory or percent value".to_owned());
        match text.strip_suffix('%') {
            Some(percent) => number(percent).map(MemoryShare::Percent),
            None => number(text).map(MemoryShare::Bytes),
        }
    }
}

impl std::fmt::Display for MemoryShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MemoryShare::Bytes(bytes) => write!(f, "{bytes}"),
            MemoryShare::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

choice! {
    /// Whether sign-outs outlast the process.
    FenceLogging {
        /// Where the directory can be written to.
        Auto = "auto",
        /// Or else the server does not start.
        Yes = "yes",
        /// They end with it.
        No = "no",
    }
}

choice! {
    /// Which channels a user has of whom no rule says.
    PubsubDefault {
        /// None.
        ResetChannels = "resetchannels",
        /// All.
        AllChannels = "allchannels",
    }
}

choice! {
    /// Who may use a dangerous command or setting.
    Permission {
        /// Nobody.
        No = "no",
        /// Anybody who may run commands.
        Yes = "yes",
        /// Clients on this machine.
        Local = "local",
    }
}

choice! {
    /// Whether clients over TLS show certificates.
    ClientAuth {
        /// They must.
        Yes = "yes",
        /// They are not asked.
        No = "no",
        /// They may; what they show must be good.
        Optional = "optional",
    }
}

/// The port of a door that few have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPort {
    /// There is no such door (`0`).
    #[default]
    Off,
    /// Any that is free (`any`).
    Any,
    /// This one.
    At(u16),
}

impl TlsPort {
    /// Whether there is such a door.
    pub fn is_on(self) -> bool {
        self != TlsPort::Off
    }

    /// The port to ask the system for; 0 for any.
    pub fn number(self) -> u16 {
        match self {
            TlsPort::Off | TlsPort::Any => 0,
            TlsPort::At(port) => port,
        }
    }
}

impl fmt::Display for TlsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsPort::Any => f.write_str("any"),
            port => write!(f, "{}", port.number()),
        }
    }
}

impl FromStr for TlsPort {
    type Err = String;

    fn from_str(text: &str) -> Result<TlsPort, String> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(TlsPort::Any);
        }
        match integer(text).map(u16::try_from) {
            Some(Ok(0)) => Ok(TlsPort::Off),
            Some(Ok(port)) => Ok(TlsPort::At(port)),
            Some(Err(_)) => Err("argument must be between 0 and 65535 inclusive".to_owned()),
            None => Err("argument must be a port, 0 for none or any".to_owned()),
        }
    }
}

/// Versions of TLS, as `tls-protocols` lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsVersions {
    /// Whether TLS 1.2 is named.
    pub v1_2: bool,
    /// Whether TLS 1.3 is named.
    pub v1_3: bool,
}

impl fmt::Display for TlsVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.v1_2, self.v1_3) {
            (true, true) => "TLSv1.2 TLSv1.3",
            (true, false) => "TLSv1.2",
            (false, true) => "TLSv1.3",
            (false, false) => "",
        })
    }
}

impl FromStr for TlsVersions {
    type Err = String;

    fn from_str(text: &str) -> Result<TlsVersions, String> {
        let mut versions = TlsVersions::default();
        for word in text.split_ascii_whitespace() {
            match word.to_ascii_lowercase().as_str() {
                "tlsv1.2" => versions.v1_2 = true,
                "tlsv1.3" => versions.v1_3 = true,
                "tlsv1" | "tlsv1.0" | "tlsv1.1" => {
                    return Err("only TLSv1.2 and TLSv1.3 are spoken: older versions are not safe".to_owned());
                }
                _ => return Err("argument must be TLSv1.2, TLSv1.3 or both".to_owned()),
            }
        }
        Ok(versions)
    }
}

/// Permissions of a file, written in octal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o}", self.0)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Mode).ok_or_else(|| "Invalid socket file permissions".to_owned())
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: IpAddr,
    /// Whether the server starts without it when the machine does not have it (written `-::1`).
    pub optional: bool,
}

/// The addresses of one door, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binds(pub Vec<Bind>);

/// More addresses than this are a mistake; Redis draws the same line.
const BINDS_MAX: usize = 16;

impl fmt::Display for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, bind) in self.0.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            let dash = if bind.optional { "-" } else { "" };
            write!(f, "{space}{dash}{}", bind.address)?;
        }
        Ok(())
    }
}

impl FromStr for Binds {
    type Err = String;

    fn from_str(text: &str) -> Result<Binds, String> {
        let binds: Vec<Bind> = text.split_ascii_whitespace().map(bind).collect::<Result<_, _>>()?;
        if binds.len() > BINDS_MAX {
            return Err("Too many bind addresses specified.".to_owned());
        }
        Ok(Binds(binds))
    }
}

fn bind(word: &str) -> Result<Bind, String> {
    let (optional, name) = match word.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, word),
    };
    let address = match name {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        name => name
            .parse()
            .map_err(|_| "argument must be IP addresses such as 127.0.0.1, ::1 or * (-::1 if it may be missing)")?,
    };
    Ok(Bind { address, optional })
}

/// The application behind the session doors: `http://host:port/base` or `https://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Whether it is spoken to over TLS.
    pub is_secure: bool,
    /// The port; 80, or 443 over TLS, where the URL names none.
    pub port: u16,
    /// What goes before `/api/auth`: empty, or a path that begins with a slash and ends without one.
    pub base: String,
}

impl Upstream {
    /// `host:port` as a Host header has it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The same without the port where the scheme tells it, as browsers send it.
    pub fn host_header(&self) -> String {
        let mut host = self.authority();
        if self.port == if self.is_secure { 443 } else { 80 } {
            host.truncate(host.rfind(':').unwrap_or(host.len()));
        }
        host
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Upstream, String> {
        const FORM: &str = "argument must be a URL such as http://127.0.0.1:3000";
        let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let (is_secure, rest) = match text {
            _ if starts("https://") => (true, &text["https://".len()..]),
            _ if starts("http://") => (false, &text["http://".len()..]),
            _ => return Err(FORM.to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a URL with a user name or password is not accepted".to_owned());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or(FORM)?;
                host.parse::<Ipv6Addr>().map_err(|_| FORM)?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(FORM)?,
            None if port.is_empty() && is_secure => 443,
            None if port.is_empty() => 80,
            None => return Err(FORM.to_owned()),
        };
        let host_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(host_ok) {
            return Err(FORM.to_owned());
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains(['?', '#']) {
            return Err("the path of the URL must be a plain path, without query or fragment".to_owned());
        }
        Ok(Upstream { host: host.to_owned(), is_secure, port, base: path.trim_end_matches('/').to_owned() })
    }
}

/// How much unread output a client may leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes at which the client is cut at once; 0 for never.
    pub hard: u64,
    /// Bytes that may stand no longer than `seconds`; 0 for any.
    pub soft: u64,
    /// How long `soft` may be exceeded.
    pub seconds: u64,
}

/// The limits of the three classes of clients that Redis tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// Clients that send commands and read replies.
    pub normal: BufferLimit,
    /// Replicas. There are none here.
    pub replica: BufferLimit,
    /// Clients that have subscribed.
    pub pubsub: BufferLimit,
}

impl BufferLimits {
    /// Reads `class hard soft seconds …` over these limits; classes that are not named stay.
    pub(super) fn merge(self, text: &str) -> Result<BufferLimits, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut limits = self;
        for words in words.chunks(4) {
            let limit = match words[0].to_ascii_lowercase().as_str() {
                "normal" => &mut limits.normal,
                "slave" | "replica" => &mut limits.replica,
                "pubsub" => &mut limits.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
            };
            let seconds = integer(words[3]).and_then(|seconds| u64::try_from(seconds).ok());
            let (Some(hard), Some(soft), Some(seconds)) = (bytes(words[1]), bytes(words[2]), seconds) else {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned());
            };
            *limit = BufferLimit { hard, soft, seconds };
        }
        Ok(limits)
    }

    /// What nobody has set: nothing is limited.
    pub(super) const NONE: BufferLimits = {
        let limit = BufferLimit { hard: 0, soft: 0, seconds: 0 };
        BufferLimits { normal: limit, replica: limit, pubsub: limit }
    };
}

impl fmt::Display for BufferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BufferLimits { normal, replica, pubsub } = self;
        write!(f, "normal {} {} {}", normal.hard, normal.soft, normal.seconds)?;
        // Redis shows the old name, and clients look for it.
        write!(f, " slave {} {} {}", replica.hard, replica.soft, replica.seconds)?;
        write!(f, " pubsub {} {} {}", pubsub.hard, pubsub.soft, pubsub.seconds)
    }
}

/// Classes of keyspace events in the order in which Redis shows them; `K`, `E` and `m` stand apart from `A`.
const EVENTS: &str = "g$lshzxetdn";

/// The letters of `notify-keyspace-events`, in Redis' order, with `A` where it stands for them.
pub(super) fn events(text: &str) -> Result<String, String> {
    const REFUSAL: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    if let Some(_odd) = text.chars().find(|c| !"AKEm".contains(*c) && !EVENTS.contains(*c)) {
        return Err(REFUSAL.to_owned());
    }
    // What `A` covers: all but new keys, misses, and the two doors.
    let covered = |c: char| text.contains(c) || (text.contains('A') && c != 'n');
    let mut plain = String::new();
    if EVENTS.chars().filter(|c| *c != 'n').all(covered) {
        plain.push('A');
        // Redis forgets to show `n` beside `A`; a rewritten file would lose it.
        plain.extend(text.contains('n').then_some('n'));
    } else {
        plain.extend(EVENTS.chars().filter(|c| covered(*c)));
    }
    plain.extend("KEm".chars().filter(|c| text.contains(*c)));
    Ok(plain)
}

/// Pairs of seconds and changes, as `save` has them; empty for none.
pub(super) fn save_points(text: &str) -> Result<String, String> {
    const REFUSAL: &str = "Invalid save parameters";
    let words: Vec<&str> = text.split_ascii_whitespace().filter(|word| *word != "\"\"").collect();
    let good = |(i, word): (usize, &&str)| {
        word.parse::<i64>().is_ok_and(|value| value >= if i.is_multiple_of(2) { 1 } else { 0 })
    };
    if !words.len().is_multiple_of(2) || !words.iter().enumerate().all(good) {
        return Err(REFUSAL.to_owned());
    }
    Ok(words.join(" "))
}

/// The name of a file without its directory.
pub(super) fn file_name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("dbfilename can't be empty or a directory".to_owned()),
        text if text.contains('/') => Err("dbfilename can't be a path, just a filename".to_owned()),
        text if text.contains('\0') => Err("argument must not contain a NUL byte".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Percentiles for latency figures; empty for none.
pub(super) fn percentiles(text: &str) -> Result<String, String> {
    let mut plain = Vec::new();
    for word in text.split_ascii_whitespace() {
        let value: f64 = word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters".to_owned())?;
        if !(0.0..=100.0).contains(&value) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
        }
        plain.push(value.to_string());
    }
    Ok(plain.join(" "))
}

/// A setting that has to stay empty, because what it asks for is not here.
pub(super) fn nothing(text: &str) -> Result<String, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("no one") {
        Ok(String::new())
    } else {
        Err("argument must be empty: this server replicates from nobody".to_owned())
    }
}
