//! Files of settings: a clear error or settings, and settings that are written down read back the same.

use std::ffi::OsString;
use std::io::Write as _;

use cloakroom::config::{PARAMS, render_redis_conf};
use cloakroom::net::settings::{Loaded, Stop, load};

fn read(ending: &str, text: &[u8]) -> Result<Loaded, Stop> {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().expect("a file");
    file.write_all(text).expect("room");
    load([OsString::from(file.path())], [])
}

/// One case.
pub fn run(input: &[u8]) {
    // Other files are not looked for: an input that names one would depend on the machine.
    if input.windows(7).any(|word| word.eq_ignore_ascii_case(b"include")) {
        return;
    }
    let Some((&kind, text)) = input.split_first() else { return };
    let loaded = match read(if kind & 1 == 0 { ".conf" } else { ".toml" }, text) {
        Ok(loaded) => loaded,
        Err(Stop::Problem(problem)) => {
            assert!(!problem.contains('\n') && problem.len() < 2000, "{problem}");
            return;
        }
        Err(Stop::Answer(_) | Stop::Help { .. }) => return,
    };
    let written = render_redis_conf("", &loaded.config);
    let again = match read(".conf", written.as_bytes()) {
        Ok(again) => again.config,
        Err(stop) => panic!("{stop:?}\n{written}"),
    };
    for param in PARAMS {
        assert_eq!(param.get(&again), param.get(&loaded.config), "{}\n{written}", param.name);
    }
}
