//! Whether the collector takes what the server will send it. Without one the server is as good, so nothing here is a problem.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Findings;
use crate::config::Config;
use crate::net::client::{Http, Site, Trust};
use crate::net::probe::{METRICS_PATH, otlp_lines};

/// What is found is said of this setting.
const ABOUT: &str = "otlp-endpoint";

/// A set of metrics without any.
const NOTHING: &[u8] = br#"{"resourceMetrics":[]}"#;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What helps where TLS fails.
const CERTIFICATE: &str =
    "its certificate must be for that name and good by the system's roots, or by those in SSL_CERT_FILE";

/// The usual port of OTLP over gRPC.
const GRPC: u16 = 4317;

pub(super) fn look(found: &mut Findings, config: &Config) {
    let Some(url) = &config.otlp.endpoint else { return };
    let Ok(http) = Http::new(&Site::of(url, &Trust::default())) else {
        return found.warn(ABOUT, "no collector can be asked from here", "try again");
    };
    let is_wide = url.host != "localhost" && !url.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !url.is_secure && is_wide && !config.otlp.headers.lines().is_empty() {
        found.warn(
            "otlp-headers",
            format!("they cross the network to {url} in the clear"),
            "take its https:// address",
        );
    }
    let cure = match url.port {
        GRPC => "4317 is the port of OTLP over gRPC as a rule: set the one of OTLP over HTTP, which is 4318",
        _ => "start the collector with OTLP over HTTP, or set otlp-endpoint to where it is",
    };
    let headers = otlp_lines(&config.otlp.headers);
    match http.post_json(METRICS_PATH, headers, Bytes::from_static(NOTHING), PATIENCE) {
        Ok(answer) if answer.status().is_success() => found.ok(ABOUT, format!("{url} takes metrics")),
        Ok(answer) if matches!(answer.status().as_u16(), 401 | 403) => found.warn(
            ABOUT,
            format!("{url}{METRICS_PATH} answers with {}", answer.status().as_u16()),
            "set otlp-headers to what it knows senders by",
        ),
        Ok(answer) => found.warn(ABOUT, format!("{url}{METRICS_PATH} answers with {}", answer.status().as_u16()), cure),
        Err(failure) => match http.trouble() {
            Some(_) => found.warn(ABOUT, format!("{url} is there, but TLS fails"), CERTIFICATE),
            None => found.warn(ABOUT, format!("{url} takes no metrics ({})", failure.word()), cure),
        },
    }
}
