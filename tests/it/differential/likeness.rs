//! What may differ between Redis' replies and ours, and why. Everything else may not.

/// How alike two replies must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// The same bytes.
    Bytes,
    /// Integers this far apart at most: both servers read their own clock, one after the other, and a busy machine may be
    /// elsewhere in between.
    Near(i64),
    /// The same elements in any order: both tables are seeded at random.
    Elements,
    /// Both an error, the same one, or both none: which key, and where a scan stands, is each server's own affair.
    Kind,
    /// The same bytes, or what Redis says and we say is one of these pairs.
    BytesOr(&'static [(&'static str, &'static str)]),
    /// The same bytes but for the last line of a HELP, which Redis has reworded in 7.2.
    Help,
    /// The same beginning. An error that quotes a word which is no text: Redis sends the bytes as they are and stops at
    /// a zero, our errors are text.
    Beginning,
}

const RAW: &str = "$3\r\nraw\r\n";
const EMBSTR: &str = "$6\r\nembstr\r\n";
const INT: &str = "$3\r\nint\r\n";

/// Bytes of an error that must be the same even if it quotes something: more than `-ERR Unsupported`.
const ERROR_HEAD: usize = 20;

impl Likeness {
    pub fn of(words: &[Vec<u8>]) -> Likeness {
        let word = |at: usize| words.get(at).map_or(String::new(), |word| String::from_utf8_lossy(word).to_uppercase());
        match word(0).as_str() {
            "PTTL" | "PEXPIRETIME" => Likeness::Near(5_000),
            "TTL" | "EXPIRETIME" => Likeness::Near(5),
            "KEYS" => Likeness::Elements,
            "SCAN" if word(1) == "0" && word(2) == "COUNT" && word(3) == "10000" => Likeness::Elements,
            "SCAN" | "RANDOMKEY" => Likeness::Kind,
            "OBJECT" => match word(1).as_str() {
                // A string that was changed in place is `raw` in Redis for the rest of its life, here until it moves to
                // another key. An integer that INCRBYFLOAT has made is none to Redis.
                "ENCODING" => Likeness::BytesOr(&[(RAW, EMBSTR), (RAW, INT), (EMBSTR, INT)]),
                // Redis shares small integers, and says so.
                "REFCOUNT" => Likeness::BytesOr(&[(":2147483647\r\n", ":1\r\n")]),
                "HELP" => Likeness::Help,
                "IDLETIME" => Likeness::Near(5),
                _ if words.iter().any(|word| !word.is_ascii()) => Likeness::Beginning,
                _ => Likeness::Bytes,
            },
            _ if words.iter().any(|word| !word.is_ascii()) => Likeness::Beginning,
            _ => Likeness::Bytes,
        }
    }

    pub fn holds(self, theirs: &[u8], ours: &[u8]) -> bool {
        let is_error = |reply: &[u8]| reply.starts_with(b"-");
        let number = |reply: &[u8]| -> Option<i64> {
            std::str::from_utf8(reply).ok()?.strip_prefix(':')?.trim_end().parse().ok()
        };
        if theirs == ours {
            return true;
        }
        match self {
            Likeness::Bytes => false,
            Likeness::Near(far) => match (number(theirs), number(ours)) {
                (Some(theirs), Some(ours)) => theirs >= 0 && ours >= 0 && theirs.abs_diff(ours) <= far as u64,
                _ => false,
            },
            Likeness::Elements => !is_error(theirs) && !is_error(ours) && elements(theirs) == elements(ours),
            Likeness::Kind => {
                !is_error(theirs) && !is_error(ours) && (theirs[0], theirs[1] == b'-') == (ours[0], ours[1] == b'-')
            }
            Likeness::BytesOr(pairs) => {
                pairs.iter().any(|pair| (pair.0.as_bytes(), pair.1.as_bytes()) == (theirs, ours))
            }
            Likeness::Help => {
                let theirs = String::from_utf8_lossy(theirs).replace("    Prints this help.", "    Print this help.");
                theirs.as_bytes() == ours
            }
            Likeness::Beginning => is_error(theirs) && theirs.get(..ERROR_HEAD) == ours.get(..ERROR_HEAD),
        }
    }
}

/// The bulk strings of a reply in order of their bytes, and its length.
fn elements(reply: &[u8]) -> (usize, Vec<Vec<u8>>) {
    let mut found = Vec::new();
    let mut at = 0;
    while at < reply.len() {
        let line_end = at + line(&reply[at..]);
        let len = match reply[at] {
            b'$' => whole(&reply[at..]).expect("a whole reply"),
            _ => line_end - at,
        };
        found.push(reply[at..at + len].to_vec());
        at += len;
    }
    found.sort();
    (reply.len(), found)
}

/// Length of the first line, its end included.
fn line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// Length of the first reply if it is there as a whole.
pub fn whole(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok().and_then(|text| text.parse::<i64>().ok());
    let children = match bytes[0] {
        b'$' | b'=' => {
            let len = number().expect("a length");
            let len = if len < 0 { end } else { end + len as usize + 2 };
            return (bytes.len() >= len).then_some(len);
        }
        b'*' | b'~' | b'>' => number().expect("a count").max(0),
        b'%' => number().expect("a count") * 2,
        _ => 0,
    };
    let mut len = end;
    for _ in 0..children {
        len += whole(&bytes[len..])?;
    }
    Some(len)
}
