//! What is published, as server-sent events: the words of each message behind one another, with commas between them.

use super::written::Written;

/// Writes arrays of texts and numbers, which come whole, as an event each. What is no UTF-8 is replaced. A line of an event
/// is a line of its text, as the format has it.
pub fn events(replies: &[u8]) -> Vec<u8> {
    let (mut reader, mut out) = (Written { rest: replies }, String::new());
    while let Some(rest) = reader.rest.strip_prefix(b"*") {
        reader.rest = rest;
        let count = reader.number();
        let mut words: Vec<&[u8]> = Vec::new();
        for _ in 0..count {
            let Some((kind, rest)) = reader.rest.split_first() else { break };
            reader.rest = rest;
            words.push(match kind {
                b'$' => {
                    let length = usize::try_from(reader.number()).unwrap_or(0);
                    reader.bytes(length)
                }
                _ => reader.line(),
            });
        }
        let text = String::from_utf8_lossy(&words.join(&b","[..])).replace("\r\n", "\n").replace('\r', "\n");
        text.split('\n').for_each(|line| {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        });
        out.push('\n');
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_event_and_its_lines_are_the_events() {
        let of = |replies: &str| String::from_utf8(events(replies.as_bytes())).expect("text");
        assert_eq!(of("*3\r\n$9\r\nsubscribe\r\n$4\r\nchat\r\n:1\r\n"), "data: subscribe,chat,1\n\n");
        assert_eq!(
            of(
                "*3\r\n$7\r\nmessage\r\n$4\r\nchat\r\n$5\r\nhello\r\n*3\r\n$7\r\nmessage\r\n$4\r\nchat\r\n$7\r\na\r\nb\n*c\r\n"
            ),
            "data: message,chat,hello\n\ndata: message,chat,a\ndata: b\ndata: *c\n\n"
        );
        assert_eq!(of("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$0\r\n\r\n"), "data: pmessage,*,c,\n\n");
        assert_eq!(events(b"*1\r\n$2\r\n\xff\r\r\n"), "data: \u{fffd}\ndata: \n\n".as_bytes());
        assert_eq!(of(""), "");
    }
}
