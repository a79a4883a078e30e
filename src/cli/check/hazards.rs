//! Who could come in that should not: addresses, passwords, and files that others may read.

use super::Findings;
use crate::config::{Bind, Config, PARAMS, Permission};
use crate::net::probe::is_readable_by_all;
use crate::net::settings::{Loaded, Origin};

/// Letters below which a password can be guessed by whoever may try often. Redis' own advice is a long one, as it takes
/// many tries a second; here those who guess are kept waiting.
const PASSWORD_MIN: usize = 16;

/// Different letters below which a long one is no better.
const LETTERS_MIN: usize = 6;

pub(super) fn look(found: &mut Findings, loaded: &Loaded) {
    let config = &loaded.config;
    let wide = config.bind.0.iter().find(|bind| is_wide(bind)).filter(|_| has_resp_port(config));
    let has_users = !config.users.is_empty() || !config.aclfile.is_empty();
    if let Some(bind) = wide {
        let place = format!("others reach Redis' port by {}", bind.address);
        match (config.requirepass.is_empty(), has_users) {
            (true, false) => {
                found.problem("bind", format!("{place}, and it asks for no password"), "set requirepass, or users")
            }
            _ if config.plain_port().is_some() => found.warn(
                "bind",
                format!("{place}, and passwords and sessions cross the network in the clear"),
                "set tls-port and port 0, unless the network is your own",
            ),
            _ => found.ok("bind", format!("{place}, over TLS and with a password")),
        }
        if config.enable_debug_command == Permission::Yes {
            found.warn("enable-debug-command", "everybody who logs in may use DEBUG", "set it to local or no");
        }
    } else {
        found.ok("bind", "Redis' port is for this machine alone");
    }
    if let Some(bind) = config.http_addresses().iter().find(|bind| is_wide(bind)) {
        match config.plain_http_port() {
            Some(_) => found.warn(
                "http-bind",
                format!(
                    "others reach the HTTP port by {}, where session cookies cross the network in the clear",
                    bind.address
                ),
                "put a proxy with TLS before it, or set http-tls-port and http-port 0",
            ),
            None => found.ok("http-bind", format!("others reach the HTTP port by {}, over TLS", bind.address)),
        }
    }
    for (name, secret, is_wide) in [
        ("requirepass", &config.requirepass, wide.is_some()),
        ("admin-token", &config.admin_token, config.http_addresses().iter().any(is_wide)),
        ("rest-token", &config.rest.token, config.http_addresses().iter().any(is_wide)),
        ("rest-readonly-token", &config.rest.readonly_token, config.http_addresses().iter().any(is_wide)),
    ] {
        strength(found, name, secret, is_wide);
    }
    for param in PARAMS.iter().filter(|param| param.is_secret() && !param.get(config).is_empty()) {
        match loaded.origin(param.name) {
            Some(Origin::Flag) => found.warn(
                param.name,
                "it stands on the command line, where others on this machine see it",
                format!("set {} in the environment, or write it into a file of settings", param.env()),
            ),
            Some(Origin::Line(file, _)) if is_readable_by_all(file) => found.warn(
                param.name,
                format!("it stands in {file}, which everybody on this machine may read"),
                format!("chmod 640 {file}"),
            ),
            _ => {}
        }
    }
    if !config.secret_file.is_empty() && is_readable_by_all(&config.secret_file) {
        let file = &config.secret_file;
        found.warn("secret-file", format!("everybody on this machine may read {file}"), format!("chmod 600 {file}"));
    }
}

fn is_wide(bind: &Bind) -> bool {
    !bind.address.is_loopback()
}

fn has_resp_port(config: &Config) -> bool {
    config.plain_port().is_some() || config.tls_port.is_on()
}

fn strength(found: &mut Findings, name: &str, secret: &str, is_wide: bool) {
    let mut letters: Vec<char> = secret.chars().collect();
    let len = letters.len();
    letters.sort_unstable();
    letters.dedup();
    if len == 0 || (len >= PASSWORD_MIN && letters.len() >= LETTERS_MIN) {
        return;
    }
    let what = if len < PASSWORD_MIN { "it is short" } else { "it has few different letters" };
    let cure = "take a random one: openssl rand -base64 24";
    let others = if is_wide { ", and others may try" } else { "" };
    found.warn(name, format!("{what}{others}"), cure);
}
