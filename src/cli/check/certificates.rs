//! Whether clients would take the certificates: from when until when they are valid, and for which names.

use std::time::{Duration, SystemTime};

use super::Findings;
use crate::config::Config;
use crate::net::probe::{self, Certificate};

/// How long before its end a certificate is spoken of: whoever renews them by a machine does so a month before, so that
/// something has failed by then, and there is time to look what.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Names that are shown.
const SHOWN: usize = 5;

pub(super) fn look(found: &mut Findings, config: &Config) {
    let file = &config.tls_cert_file;
    for (at, certificate) in probe::certificates(config).iter().enumerate() {
        let which = match at {
            0 => file.clone(),
            at => format!("{file}, the authority in place {}", at + 1),
        };
        validity(found, certificate, &which, at == 0);
        if at == 0 && certificate.names.is_empty() {
            found.problem(
                "certificates",
                format!("{which} is for no name: clients take none that has only a common name"),
                "have it made with subjectAltName (openssl req -addext subjectAltName=DNS:host.example)",
            );
        }
    }
}

fn validity(found: &mut Findings, certificate: &Certificate, which: &str, is_own: bool) {
    let now = SystemTime::now();
    let (begins, ends) = (httpdate::fmt_http_date(certificate.begins), httpdate::fmt_http_date(certificate.ends));
    const AGAIN: &str = "then kill -HUP or CONFIG SET tls-cert-file has it read again";
    if certificate.begins > now {
        found.problem(
            "certificates",
            format!("{which} is not valid before {begins}"),
            "set the clock by NTP if it is wrong, or use the one from before",
        );
    } else if certificate.ends < now {
        found.problem("certificates", format!("{which} has expired: {ends}"), format!("renew it; {AGAIN}"));
    } else if certificate.ends < now + SOON {
        let days = certificate.ends.duration_since(now).unwrap_or_default().as_secs() / (24 * 60 * 60);
        found.warn(
            "certificates",
            format!("{which} expires in {days} days: {ends}"),
            format!("renew it, and look why nothing has; {AGAIN}"),
        );
    } else if is_own {
        let mut names = certificate.names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if certificate.names.len() > SHOWN {
            names.push_str(", …");
        }
        found.ok("certificates", format!("{which} is for {names}, until {ends}"));
    }
}
