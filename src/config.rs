//! stub
use crate::clock::Ttl;
/// A named cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// n
    pub name: String,
    /// p
    pub prefix: Vec<u8>,
    /// t
    pub ttl: Ttl,
    /// s
    pub secret: bool,
    /// f
    pub fence: bool,
    /// j
    pub jitter: f64,
}
impl Namespace {
    /// The predefined.
    pub fn predefined() -> Vec<Namespace> {
        vec![Namespace {
            name: "SESSION".into(),
            prefix: b"auth:session:".to_vec(),
            ttl: Ttl::seconds(5),
            secret: true,
            fence: true,
            jitter: 0.0,
        }]
    }
}
