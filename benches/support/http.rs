//! As much of HTTP/1.1 as a load generator needs: answers with a Content-Length, one after another on a connection.
//! It allocates nothing, so that allocations of the server can be counted around it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of the largest answer that is expected.
pub const ROOM: usize = 16 * 1024;

/// The longest that an answer may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the body of a whole answer begins and ends; `None` while it is not all there.
pub fn answer(bytes: &[u8]) -> io::Result<Option<std::ops::Range<usize>>> {
    let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let lines = || bytes[..head].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if !bytes.starts_with(b"HTTP/1.1 200") {
        let first = lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("not a 200: {}", String::from_utf8_lossy(first))));
    }
    const NAME: &[u8] = b"content-length:";
    let length = lines().find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let number = |line: &[u8]| std::str::from_utf8(line[NAME.len()..].trim_ascii()).ok()?.parse::<usize>().ok();
    let Some(length) = length.and_then(number) else {
        return Err(io::Error::other("an answer without Content-Length"));
    };
    let body = head + 4..head + 4 + length;
    if body.end > ROOM {
        return Err(io::Error::other(format!("an answer of {} bytes", body.end)));
    }
    Ok((body.end <= bytes.len()).then_some(body))
}

/// A connection that waits for each answer.
pub struct Client {
    stream: TcpStream,
    room: Box<[u8; ROOM]>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream, room: Box::new([0; ROOM]) })
    }

    /// Sends a request and gives the body of its answer.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.send(request)?;
        self.receive()
    }

    /// Sends a request whose answer is read later.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// Waits for the answer to what was sent, and gives its body.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        let mut len = 0;
        loop {
            len += more(self.stream.read(&mut self.room[len..])?)?;
            if let Some(body) = answer(&self.room[..len])? {
                return Ok(&self.room[body]);
            }
        }
    }

    /// Sends requests and reads as many bytes as the replies must have; anything else is an error.
    pub fn say(&mut self, requests: &[u8], replies: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests)?;
        let mut len = 0;
        while len < replies.len() {
            let end = ROOM.min(replies.len() - len);
            let got = more(self.stream.read(&mut self.room[..end])?)?;
            expect(&self.room[..got], &replies[len..len + got])?;
            len += got;
        }
        Ok(())
    }
}

/// What was read; nothing means that the server has closed.
pub fn more(got: usize) -> io::Result<usize> {
    if got == 0 {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
    } else {
        Ok(got)
    }
}

/// An error that shows the beginning of what came in place of what should.
pub fn expect(got: &[u8], wanted: &[u8]) -> io::Result<()> {
    if got == wanted {
        return Ok(());
    }
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    Err(io::Error::other(format!("got {:?} in place of {:?}", shown(got), shown(wanted))))
}
