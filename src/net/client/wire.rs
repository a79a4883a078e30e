//! A client of a Redis server, as plain as can be: requests are sent, answers are read in their order.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::time::Duration;

use super::address::Address;
use super::line::{ASKS, Line, untrusted};
use crate::store::STRING_MAX;

/// How long a server may take to accept, and to say anything, where nobody says otherwise.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(60);
/// The longest line, the longest list and the deepest nesting that are read.
const LINE_MAX: u64 = 64 * 1024;
const LIST_MAX: i64 = 1 << 20;
const DEPTH_MAX: usize = 4;
/// A dump may be a little longer than the longest string.
const BULK_MAX: u64 = 2 * STRING_MAX as u64;

/// A connection.
pub struct Wire {
    input: BufReader<Line>,
    output: BufWriter<Line>,
    shown: Address,
    silence: Duration,
    cure: &'static str,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A line.
    Simple(String),
    /// A refusal, with its code.
    Error(String),
    /// A number.
    Int(i64),
    /// Bytes, or nothing.
    Bulk(Option<Vec<u8>>),
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// Nothing, or the error that it is.
    pub fn ok(self) -> Result<(), String> {
        match self {
            Reply::Error(why) => Err(why),
            _ => Ok(()),
        }
    }

    /// The cursor and the keys that SCAN answers.
    pub fn scanned(self) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
        let bulk = |reply: Reply| match reply {
            Reply::Bulk(Some(bytes)) => Ok(bytes),
            _ => Err("its answer to SCAN makes no sense".to_owned()),
        };
        match self {
            Reply::Error(why) => Err(why),
            Reply::List(parts) => {
                let mut parts = parts.into_iter();
                let (Some(cursor), Some(Reply::List(keys))) = (parts.next(), parts.next()) else {
                    return bulk(Reply::Int(0)).map(|_| Default::default());
                };
                Ok((bulk(cursor)?, keys.into_iter().map(bulk).collect::<Result<_, _>>()?))
            }
            other => bulk(other).map(|_| Default::default()),
        }
    }
}

/// Writes a request.
pub fn write_request(out: &mut impl io::Write, words: &[&[u8]]) -> io::Result<()> {
    write!(out, "*{}\r\n", words.len())?;
    for word in words {
        write!(out, "${}\r\n", word.len())?;
        out.write_all(word)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

impl Wire {
    /// Connects, logs in, and chooses the database. When the connection is lost later on, that is said with this cure.
    pub fn connect(address: &Address, cure: &'static str) -> Result<Wire, String> {
        Wire::connect_within(address, cure, CONNECT, SILENCE)
    }

    /// The same with times of one's own: until the server accepts, and until it says anything.
    pub fn connect_within(
        address: &Address,
        cure: &'static str,
        accepts: Duration,
        silence: Duration,
    ) -> Result<Wire, String> {
        let line = Line::open(&address.place, accepts, silence)?;
        let mut wire = Wire {
            input: BufReader::new(line.clone()),
            output: BufWriter::new(line),
            shown: Address { user: String::new(), password: String::new(), ..address.clone() },
            silence,
            cure,
        };
        if let Some(login) = address.login() {
            wire.ask(&login)?.ok().map_err(|why| address.trouble(&why))?;
        }
        if let Some(number) = address.database {
            wire.ask(&[b"SELECT", number.to_string().as_bytes()])?.ok().map_err(|why| address.trouble(&why))?;
        }
        Ok(wire)
    }

    /// An error that the server gave, and what helps.
    pub fn trouble(&self, why: &str) -> String {
        self.shown.trouble(why)
    }

    fn lost(&self, error: &io::Error) -> String {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it has closed the connection".to_owned(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("silent for {} seconds", self.silence.as_secs_f32())
            }
            _ => error.to_string(),
        };
        if what.contains(ASKS) {
            return format!("{}: {}", self.shown, untrusted(&what));
        }
        format!("{}: {what}: {}", self.shown, self.cure)
    }

    /// Asks one thing.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        self.send(words)?;
        self.flush()?;
        self.receive()
    }

    /// Sends a request, at the latest with the next flush.
    pub fn send(&mut self, words: &[&[u8]]) -> Result<(), String> {
        write_request(&mut self.output, words).map_err(|error| self.lost(&error))
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<(), String> {
        self.output.flush().map_err(|error| self.lost(&error))
    }

    /// The next answer.
    pub fn receive(&mut self) -> Result<Reply, String> {
        read(&mut self.input, 0).map_err(|error| self.lost(&error))
    }
}

fn read(input: &mut impl io::BufRead, depth: usize) -> io::Result<Reply> {
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "no answer of a Redis server");
    let mut line = Vec::new();
    input.take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\n") && (line.len() as u64) < LINE_MAX {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(nonsense)?;
    let (kind, text) = line.split_first().ok_or_else(nonsense)?;
    let text = String::from_utf8_lossy(text).into_owned();
    let number = || text.parse::<i64>().map_err(|_| nonsense());
    Ok(match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Int(number()?),
        b'$' => match u64::try_from(number()?) {
            Err(_) => Reply::Bulk(None),
            Ok(len) if len > BULK_MAX => return Err(nonsense()),
            Ok(len) => {
                // Memory is taken as bytes come, not as they are announced.
                let mut bytes = Vec::new();
                input.take(len + 2).read_to_end(&mut bytes)?;
                if bytes.len() as u64 != len + 2 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes.truncate(len as usize);
                Reply::Bulk(Some(bytes))
            }
        },
        b'*' => {
            let count = number()?;
            if count > LIST_MAX || depth == DEPTH_MAX {
                return Err(nonsense());
            }
            Reply::List((0..count).map(|_| read(input, depth + 1)).collect::<io::Result<_>>()?)
        }
        _ => return Err(nonsense()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_nonsense_is_not() {
        let of = |bytes: &[u8]| read(&mut &bytes[..], 0).map_err(|error| error.kind());
        assert_eq!(of(b"+OK\r\n"), Ok(Reply::Simple("OK".into())));
        assert_eq!(of(b"-ERR x\r\n").map(Reply::ok), Ok(Err("ERR x".into())));
        assert_eq!(of(b"$-1\r\n"), Ok(Reply::Bulk(None)));
        let scanned = of(b"*2\r\n$1\r\n7\r\n*1\r\n$2\r\n\r\n\r\n").expect("an answer").scanned();
        assert_eq!(scanned, Ok((b"7".to_vec(), vec![b"\r\n".to_vec()])));
        assert!(of(b"*0\r\n").expect("an answer").scanned().is_err());
        assert_eq!(of(b"$5\r\nabc"), Err(io::ErrorKind::UnexpectedEof));
        for cut in [&b""[..], b"+O", b"+OK\r", b"*2\r\n:1\r\n"] {
            assert_eq!(of(cut), Err(io::ErrorKind::UnexpectedEof));
        }
        assert_eq!(of(&[b'+'; LINE_MAX as usize]), Err(io::ErrorKind::InvalidData));
        for odd in [&b"HTTP/1.1 400\r\n"[..], b"$99999999999\r\n", b"*9999999\r\n", b":x\r\n", b"\r\n"] {
            assert_eq!(of(odd), Err(io::ErrorKind::InvalidData));
        }
        assert_eq!(of(&b"*1\r\n".repeat(9)), Err(io::ErrorKind::InvalidData));
    }
}
