//! How the settings that have a field of their own are read from text and shown.

use super::param::{read_span, show_span};
use super::values::{
    Binds, BufferLimits, ClientAuth, FenceLogging, LogFormat, LogLevel, MemoryShare, Mode, Permission, Policy, Profile,
    PubsubDefault, SessionError, SessionSource, TlsPort, TlsVersions, Upstream, UpstreamHost,
};
use super::{ClaimHeaders, Namespaces, OtlpAttributes, OtlpHeaders, Redirect, SessionClaims, SessionNobody, show_bool};
use crate::clock::Ttl;

/// A field that shows the plain form of its value and reads it back.
pub(super) trait Field {
    fn show(&self) -> String;
    fn read(&mut self, text: &str) -> Result<(), String>;
}

macro_rules! parsed {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn show(&self) -> String {
                self.to_string()
            }

            fn read(&mut self, text: &str) -> Result<(), String> {
                *self = text.parse().map_err(|refusal: <$type as std::str::FromStr>::Err| refusal.to_string())?;
                Ok(())
            }
        }
    )+};
}

parsed!(
    u16,
    u32,
    u64,
    usize,
    i64,
    String,
    Binds,
    Policy,
    LogLevel,
    LogFormat,
    Profile,
    PubsubDefault,
    SessionClaims,
    SessionError,
    UpstreamHost,
    SessionNobody,
    SessionSource,
    FenceLogging,
    MemoryShare,
    Permission,
    ClientAuth,
    TlsPort,
    TlsVersions,
    Mode,
    ClaimHeaders,
    OtlpAttributes,
    OtlpHeaders,
    Redirect
);

impl Field for bool {
    fn show(&self) -> String {
        show_bool(*self).to_owned()
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        *self = text == "yes";
        Ok(())
    }
}

impl Field for Ttl {
    fn show(&self) -> String {
        show_span(*self)
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        *self = span(text)?;
        Ok(())
    }
}

impl Field for Option<Upstream> {
    fn show(&self) -> String {
        self.as_ref().map(Upstream::to_string).unwrap_or_default()
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        *self = if text.is_empty() { None } else { Some(text.parse()?) };
        Ok(())
    }
}

impl Field for BufferLimits {
    fn show(&self) -> String {
        self.to_string()
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        *self = self.merge(text)?;
        Ok(())
    }
}

impl Field for Namespaces {
    fn show(&self) -> String {
        self.to_string()
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        *self = self.merge(text)?;
        Ok(())
    }
}

pub(super) fn span(text: &str) -> Result<Ttl, String> {
    read_span(text).ok_or_else(|| "argument must be a length of time with its unit".to_owned())
}
