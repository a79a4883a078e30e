//! Which name was meant by one that nobody knows.

use super::{PARAMS, Param};

/// Letters that a finger gets wrong. No setting that Redis or Valkey have, and this server has not, is so near to one of
/// its own.
const SLIP_MAX: usize = 2;

/// A longer name is no slip of the finger, and the distance costs its square.
const NAME_MAX: usize = 64;

/// The setting of which this name is a misspelling: who means `requirepass` must not run without a password.
#[cfg_attr(doc, doc(hidden))]
pub fn slip_of(name: &str) -> Option<&'static str> {
    let names = PARAMS.iter().filter(|param| !param.is_hidden()).flat_map(Param::names);
    // Of three letters two are nearly all.
    closest(name, names).filter(|(changes, _)| *changes <= SLIP_MAX.min(name.len() / 3)).map(|(_, near)| near)
}

/// The candidate with the fewest letters to change, when those are about a third of the name or less.
#[cfg_attr(doc, doc(hidden))]
pub fn nearest_of<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, candidates).filter(|(changes, _)| *changes * 3 <= name.len() + 2).map(|(_, near)| near)
}

/// The candidate with the fewest letters to change, and how many those are.
fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    if name.len() > NAME_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    candidates
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .min_by_key(|(changes, _)| *changes)
}

/// How many bytes to insert, drop or change to make one name of the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let nearest = |name: &str| nearest_of(name, ["maxmemory", "http-port", "upstream", "hz"].into_iter());
        assert_eq!(nearest("maxmemmory"), Some("maxmemory"));
        assert_eq!(nearest("HTTP_PORT"), Some("http-port"));
        assert_eq!(nearest("upstraem"), Some("upstream"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(&"m".repeat(100_000)), None);
    }

    #[test]
    fn what_a_finger_gets_wrong_is_a_slip() {
        for (name, meant) in
            [("requirepas", "requirepass"), ("MAX_MEMORY", "maxmemory"), ("bindd", "bind"), ("prt", "port")]
        {
            assert_eq!(slip_of(name), Some(meant), "{name}");
        }
        // Settings of Redis and Valkey that are not had here, those that come nearest to some that are.
        for name in
            ["appenddirname", "oom-score-adj", "repl-diskless-load", "io-threads-do-reads", "aof-timestamp-enabled"]
        {
            assert_eq!(slip_of(name), None, "{name}");
        }
        assert_eq!(slip_of("vm"), None);
    }
}
