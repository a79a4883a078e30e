//! Whole files of a snapshot: what comes in pieces reads as what comes at once, what is read is written as the same, and
//! each value is one or is refused.

use cloakroom::rdb::file::{Next, Part, Reader, Writer};
use cloakroom::rdb::seal;

use super::commands::Desk;

/// The longest string that is taken.
const MOST: usize = 1 << 16;
/// Parts that are read of one input.
const PARTS_MAX: usize = 200;

/// All parts, as text that can be compared, and what ended them. `step` is how many bytes come at a time.
fn read(bytes: &[u8], step: usize, mut each: impl FnMut(&Part<'_>)) -> (usize, String) {
    let (mut reader, mut at, mut end) = (Reader::new(MOST), 0, step.min(bytes.len()));
    for count in 0..PARTS_MAX {
        loop {
            match reader.next(&bytes[at..end], end == bytes.len()) {
                Ok(Next::More) => {
                    assert!(end < bytes.len(), "more than all is asked for");
                    end = bytes.len().min(end + step);
                }
                Ok(Next::Part(len, part)) => {
                    assert!(len <= end - at);
                    each(&part);
                    if part == Part::End {
                        return (count, "end".into());
                    }
                    at += len;
                    break;
                }
                Err(flaw) => return (count, flaw.to_string()),
            }
        }
    }
    (PARTS_MAX, "enough".into())
}

/// One case: how many bytes come at a time, and the file.
pub fn run(input: &[u8]) {
    let Some((&step, file)) = input.split_first() else { return };
    if file.len() > 8192 {
        return;
    }
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let mut desk = Desk::new();
    let mut writer = Writer::new(step & 1 == 1, step & 2 == 2);
    let mut written = Vec::new();
    let ended = read(file, file.len(), |part| {
        whole.push(format!("{part:?}"));
        let Part::Entry { key, deadline, kind, content } = part else { return };
        let mut payload = [&[*kind], *content].concat();
        seal(&mut payload);
        if desk.send(&[b"RESTORE", key, b"0", &payload, b"REPLACE"]).starts_with(b"+OK") {
            let dumped = desk.send(&[b"DUMP", key]).to_vec();
            let line = dumped.windows(2).position(|pair| pair == b"\r\n").expect("a line");
            writer.entry(key, *deadline, &dumped[line + 2..dumped.len() - 2 - 10]);
            written.push((key.to_vec(), *deadline));
        }
    });
    let again = read(file, usize::from(step).max(1), |part| pieces.push(format!("{part:?}")));
    assert_eq!((&ended, whole), (&again, pieces), "in pieces of {step}");
    desk.validate();
    writer.end();
    let mut back = Vec::new();
    let ended = writer.take(|bytes| {
        read(bytes, bytes.len(), |part| {
            if let Part::Entry { key, deadline, .. } = part {
                back.push((key.to_vec(), *deadline));
            }
        })
    });
    assert!(ended.1 == "end" || ended.1 == "enough", "what was written is not read: {}", ended.1);
    assert_eq!(back[..], written[..back.len()]);
}
