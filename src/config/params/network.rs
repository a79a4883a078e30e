//! Where clients come in, and who may.

use super::super::field::Field as _;
use super::super::param::{Change, Home, Kind, Lines, Param};
use super::super::values::{Binds, ClientAuth, Mode, Permission, PubsubDefault, TlsPort, TlsVersions};
use super::INT_MAX;

pub(super) const ROWS: &[Param] = &[
    Param {
        name: "port",
        kind: Kind::Int(0, 65535),
        default: "6379",
        doc: "Port for Redis clients. 0 picks a free one and prints it; beside tls-port or unixsocket 0 means none.",
        home: field!(port),
        ..Param::NETWORK
    },
    Param {
        name: "bind",
        kind: Kind::Form("addresses", |text| listed(text, 1)),
        default: "127.0.0.1",
        lines: Lines::Words,
        doc: "Addresses for Redis clients. Several are separated by spaces; one with a dash before it (-::1) may be \
              missing on this machine, and * means all of IPv4.",
        home: field!(bind),
        ..Param::NETWORK
    },
    Param {
        name: "http-port",
        kind: Kind::Int(0, 65535),
        default: "8379",
        doc: "Port for HTTP: session checks, sign-outs, /metrics. 0 picks a free one and prints it; beside http-tls-port \
              or http-unixsocket 0 means none.",
        home: field!(http_port),
        ..Param::NETWORK
    },
    Param {
        name: "http-bind",
        kind: Kind::Form("addresses", |text| listed(text, 0)),
        lines: Lines::Words,
        doc: "Addresses for HTTP; empty for the same as bind.",
        home: field!(http_bind),
        ..Param::NETWORK
    },
    Param {
        name: "unixsocket",
        kind: Kind::Text,
        doc: "Path of a Unix socket for Redis clients on this machine; empty for none.",
        home: field!(unixsocket),
        ..Param::NETWORK
    },
    Param {
        name: "unixsocketperm",
        kind: Kind::Form("octal number", plain::<Mode>),
        default: "0",
        doc: "Permissions of that socket, such as 770; 0 for what the umask leaves.",
        home: field!(unixsocketperm),
        ..Param::NETWORK
    },
    Param {
        name: "http-unixsocket",
        kind: Kind::Text,
        doc: "Path of a Unix socket for HTTP, for a proxy on this machine; empty for none.",
        home: field!(http_unixsocket),
        ..Param::NETWORK
    },
    Param {
        name: "http-unixsocketperm",
        kind: Kind::Form("octal number", plain::<Mode>),
        default: "0",
        doc: "Permissions of that socket, such as 770; 0 for what the umask leaves.",
        home: field!(http_unixsocketperm),
        ..Param::NETWORK
    },
    Param {
        name: "tls-port",
        kind: Kind::Form("port", plain::<TlsPort>),
        default: "0",
        doc: "Port for Redis clients over TLS; 0 for none, any picks a free one and prints it.",
        home: field!(tls_port),
        ..Param::NETWORK
    },
    Param {
        name: "http-tls-port",
        kind: Kind::Form("port", plain::<TlsPort>),
        default: "0",
        doc: "Port for HTTPS, with the same certificate; 0 for none, any picks a free one and prints it.",
        home: field!(http_tls_port),
        ..Param::NETWORK
    },
    Param {
        name: "tls-cert-file",
        kind: Kind::Text,
        change: Change::Live,
        doc: "File with the server's certificate and those that vouch for it, in PEM. SIGHUP and CONFIG SET read it \
              anew.",
        home: field!(tls_cert_file),
        ..Param::NETWORK
    },
    Param {
        name: "tls-key-file",
        kind: Kind::Text,
        change: Change::Live,
        doc: "File with the certificate's private key, in PEM.",
        home: field!(tls_key_file),
        ..Param::NETWORK
    },
    Param {
        name: "tls-ca-cert-file",
        kind: Kind::Text,
        change: Change::Live,
        doc: "File with the certificates by which those of clients are checked, in PEM.",
        home: field!(tls_ca_cert_file),
        ..Param::NETWORK
    },
    Param {
        name: "tls-ca-cert-dir",
        kind: Kind::Text,
        change: Change::Live,
        doc: "Folder with such files.",
        home: field!(tls_ca_cert_dir),
        ..Param::NETWORK
    },
    Param {
        name: "tls-auth-clients",
        kind: Kind::Choice(ClientAuth::NAMES),
        default: "yes",
        change: Change::Live,
        doc: "Whether Redis clients over TLS must show a certificate. HTTPS never asks for one.",
        home: field!(tls_auth_clients),
        ..Param::NETWORK
    },
    Param {
        name: "tls-protocols",
        kind: Kind::Form("versions", plain::<TlsVersions>),
        lines: Lines::Words,
        change: Change::Live,
        doc: "Versions of TLS that are spoken, TLSv1.2 and TLSv1.3; empty for both.",
        home: field!(tls_protocols),
        ..Param::NETWORK
    },
    Param {
        name: "requirepass",
        kind: Kind::Secret,
        change: Change::Live,
        doc: "Password that Redis clients must give; empty for none.",
        home: field!(requirepass),
        ..Param::NETWORK
    },
    Param {
        name: "aclfile",
        kind: Kind::Text,
        doc: "File with the users that may log in, one line each: user alice on >password ~app:* +@all. ACL LOAD reads \
              it again, ACL SAVE writes it; empty for none.",
        home: field!(aclfile),
        ..Param::NETWORK
    },
    Param {
        name: "acl-pubsub-default",
        kind: Kind::Choice(PubsubDefault::NAMES),
        default: "resetchannels",
        change: Change::Live,
        doc: "Which channels a new user may use.",
        home: field!(acl_pubsub_default),
        ..Param::NETWORK
    },
    Param {
        name: "protected-mode",
        kind: Kind::Bool,
        default: "yes",
        change: Change::Live,
        doc: "Refuses to start without a password on addresses that others can reach.",
        home: field!(protected_mode),
        ..Param::NETWORK
    },
    Param {
        name: "admin-token",
        kind: Kind::Secret,
        change: Change::Live,
        doc: "Token that /metrics, /admin/ and the live page ask for, as a bearer's or as a password. Empty: they answer \
              this machine alone, and nothing that came through a proxy.",
        home: field!(admin_token),
        ..Param::NETWORK
    },
    Param {
        name: "rest-token",
        kind: Kind::Secret,
        change: Change::Live,
        doc: "Token of the REST door, which takes Redis commands over HTTP. It is spoken to as Upstash's REST API, with \
              @upstash/redis or curl, and the token is a bearer's. Empty: there is no such door.",
        home: field!(rest.token),
        ..Param::NETWORK
    },
    Param {
        name: "rest-readonly-token",
        kind: Kind::Secret,
        change: Change::Live,
        doc: "Another token of the REST door, for commands that only read. What walks over all keys, runs scripts or \
              subscribes is refused too. Empty: there is none.",
        home: field!(rest.readonly_token),
        ..Param::NETWORK
    },
    Param {
        name: "rest-path",
        kind: Kind::Form("path", rest_path),
        default: "/redis",
        doc: "Where on the HTTP port the REST door is. Clients are given http://host:8379/redis as its address.",
        home: field!(rest.path),
        ..Param::NETWORK
    },
    Param {
        name: "rest-user",
        kind: Kind::Text,
        default: "default",
        change: Change::Live,
        doc: "User whose rights who shows the rest-token has. The rest-readonly-token gives of them what only reads.",
        home: field!(rest.user),
        ..Param::NETWORK
    },
    Param {
        name: "enable-debug-command",
        kind: Kind::Choice(Permission::NAMES),
        default: "no",
        doc: "Who may use DEBUG: nobody, anybody, or clients on this machine.",
        home: field!(enable_debug_command),
        ..Param::NETWORK
    },
    Param {
        name: "enable-protected-configs",
        kind: Kind::Choice(Permission::NAMES),
        default: "no",
        doc: "Who may change protected settings (dir, dbfilename) with CONFIG SET.",
        home: field!(enable_protected_configs),
        ..Param::NETWORK
    },
    Param {
        name: "timeout",
        kind: Kind::Int(0, INT_MAX),
        default: "3600",
        change: Change::Live,
        doc: "Seconds after which an idle Redis client is closed; 0 for never. One that has said nothing yet has ten. \
              Subscribers, MONITOR and who waits for an element stay. With Redis' own default, 0, who takes all of \
              maxclients and says nothing keeps them.",
        home: field!(timeout),
        ..Param::NETWORK
    },
    Param {
        name: "tcp-keepalive",
        kind: Kind::Int(0, INT_MAX),
        default: "300",
        change: Change::Live,
        doc: "Seconds between TCP keep-alive probes; 0 for none.",
        home: field!(tcp_keepalive),
        ..Param::NETWORK
    },
    Param {
        name: "tcp-backlog",
        kind: Kind::Int(0, INT_MAX),
        default: "4096",
        doc: "Connections the kernel may hold until they are accepted, as far as the system lets it. One more is dropped, and \
              its client tries again after a second. Redis' own default is 511.",
        home: field!(tcp_backlog),
        ..Param::NETWORK
    },
    Param {
        name: "workers",
        kind: Kind::Int(0, 1024),
        default: "0",
        doc: "Threads that serve clients; 0 for one per core.",
        home: field!(workers),
        ..Param::NETWORK
    },
];

/// The plain form of a value that reads what it shows.
fn plain<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, String> {
    Ok(text.parse::<T>()?.to_string())
}

/// A path below the root, and none of those that are the server's own.
fn rest_path(text: &str) -> Result<String, String> {
    const OWN: [&str; 8] = ["api", ".well-known", "admin", "healthz", "readyz", "metrics", "live", "story"];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let first = text.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if first.is_empty() || text.ends_with('/') || text.contains("//") || !text.bytes().all(plain) {
        return Err("argument must be a path such as /redis".to_owned());
    }
    if OWN.contains(&first) {
        return Err(format!("/{first} is a path of the server's own"));
    }
    Ok(text.to_owned())
}

/// Addresses, at least so many.
fn listed(text: &str, least: usize) -> Result<String, String> {
    let binds: Binds = text.parse()?;
    if binds.0.len() < least {
        return Err("argument must be one or more IP addresses".to_owned());
    }
    Ok(binds.to_string())
}
