//! The first line of a script, where it may say what it does: `#!lua flags=no-writes,allow-oom`.

/// All flags, in Redis' order.
pub(super) const FLAGS: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

/// What a script or a function has said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promises {
    /// It has a first line that says so; without one a script may do anything, and is checked as it goes.
    pub are_made: bool,
    /// It changes nothing.
    pub no_writes: bool,
    /// It runs when memory is short.
    pub allow_oom: bool,
}

/// What a script promises, and the text to compile: the line end of the first line stays, so that lines count on.
pub(super) fn read(body: &[u8]) -> Result<(Promises, &[u8]), String> {
    if !body.starts_with(b"#!") {
        return Ok((Promises::default(), body));
    }
    let Some(end) = body.iter().position(|byte| *byte == b'\n') else {
        return Err("Invalid script shebang".into());
    };
    let line = String::from_utf8_lossy(&body[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(format!("Unexpected engine in script shebang: {engine}"));
    }
    let mut promises = Promises { are_made: true, ..Promises::default() };
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(format!("Unknown lua shebang option: {word}"));
        };
        for flag in flags.split(',') {
            match flag {
                "no-writes" => promises.no_writes = true,
                "allow-oom" => promises.allow_oom = true,
                // About replicas and clusters, of which there are none.
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" | "" => {}
                // Upstash's own, which all scripts of @upstash/ratelimit begin with: to lock no more than the keys.
                "allow-key-locking" => {}
                _ => return Err(format!("Unexpected flag in script shebang: {flag}")),
            }
        }
    }
    Ok((promises, &body[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_it_does_in_its_first_line() {
        let promised = |no_writes, allow_oom| Promises { are_made: true, no_writes, allow_oom };
        assert_eq!(read(b"return 1"), Ok((Promises::default(), &b"return 1"[..])));
        assert_eq!(read(b"#!lua\nreturn 1"), Ok((promised(false, false), &b"\nreturn 1"[..])));
        assert_eq!(read(b"#!lua flags=no-writes,allow-oom \nx"), Ok((promised(true, true), &b"\nx"[..])));
        assert_eq!(read(b"#!lua flags=allow-key-locking\nx"), Ok((promised(false, false), &b"\nx"[..])));
        assert_eq!(read(b"#!lua"), Err("Invalid script shebang".into()));
        assert_eq!(read(b"#!luax\n"), Err("Unexpected engine in script shebang: #!luax".into()));
        assert_eq!(read(b"#!lua name=x\n"), Err("Unknown lua shebang option: name=x".into()));
        assert_eq!(read(b"#!lua flags=x\n"), Err("Unexpected flag in script shebang: x".into()));
    }
}
