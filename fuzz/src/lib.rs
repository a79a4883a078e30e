//! What is fuzzed: one function for each target, from an input to a broken promise or nothing.
//!
//! The programs in `bin/` hand these to libFuzzer. `tests/fuzz.rs` of the project runs the kept inputs through the same
//! functions, so that what was found once is looked for in every test run, without a fuzzer.

pub mod acl;
pub mod commands;
pub mod cookies;
pub mod glob;
pub mod http;
pub mod jwt;
pub mod payloads;
pub mod rdb;
pub mod requests;
pub mod rest;
pub mod sessions;
pub mod settings;

/// A target: one input is one case.
pub type Target = fn(&[u8]);

/// All targets, under the names of their folders in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("acl", acl::run),
    ("commands", commands::run),
    ("cookies", cookies::run),
    ("glob", glob::run),
    ("http", http::run),
    ("jwt", jwt::run),
    ("payloads", payloads::run),
    ("rdb", rdb::run),
    ("requests", requests::run),
    ("rest", rest::run),
    ("sessions", sessions::run),
    ("settings", settings::run),
];
