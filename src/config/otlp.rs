//! What is sent to a collector of OpenTelemetry's: the settings that begin with `otlp-`.

use super::Upstream;
use crate::clock::Ttl;

/// The settings of OTLP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Otlp {
    /// `otlp-endpoint`
    pub endpoint: Option<Upstream>,
    /// `otlp-interval`
    pub interval: Ttl,
}
