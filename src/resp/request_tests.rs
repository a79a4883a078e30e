//! What the parser promises, and what it refuses.

use proptest::prelude::*;

use super::*;

type Request = Vec<Vec<u8>>;

/// Parses `bytes` as a client's whole stream that arrives in pieces ending at `cuts`, the way a reader would: with what
/// is left over from the request before at the front. The requests, then the error if there was one.
fn in_pieces(bytes: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Request>, Option<String>) {
    let mut parser = Parser::new();
    let mut requests = Vec::new();
    let mut start = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let arrived = &bytes[start..cut.max(start)];
            match parser.parse(arrived, limits) {
                Ok(Some(used)) => {
                    requests.push(parser.args(arrived).iter().map(<[u8]>::to_vec).collect());
                    start += used;
                    parser.rest();
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error.to_string())),
            }
        }
    }
    (requests, None)
}

fn whole(bytes: &[u8]) -> (Vec<Request>, Option<String>) {
    in_pieces(bytes, &[], &Limits::default())
}

/// The words of the first request in `bytes`, shown as text.
fn words(bytes: &[u8]) -> Vec<String> {
    let (requests, error) = whole(bytes);
    assert_eq!(error, None);
    let first = requests.first().expect("a whole request");
    first.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Why `bytes` are refused.
fn refusal(bytes: &[u8]) -> String {
    refusal_within(bytes, &Limits::default())
}

fn refusal_within(bytes: &[u8], limits: &Limits) -> String {
    let (_, error) = in_pieces(bytes, &[], limits);
    let error = error.unwrap_or_else(|| panic!("{:?} was taken", bytes.escape_ascii().to_string()));
    error.strip_prefix("Protocol error: ").expect("a protocol error").to_owned()
}

fn waits(bytes: &[u8]) -> bool {
    whole(bytes) == (vec![], None)
}

fn command(list: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", list.len()).into_bytes();
    for word in list {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn an_array_of_bulk_strings_is_a_request() {
    assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$4\r\ncoat\r\n"), ["GET", "coat"]);
    assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), ["GET", ""]);
    assert_eq!(words(b"*1\r\n$4\r\na\r\nb\r\n"), ["a\r\nb"]);
    assert_eq!(words(&command(&[&[b'x'; 100_000]]))[0].len(), 100_000);
}

#[test]
fn pipelined_requests_come_one_by_one() {
    let mut parser = Parser::new();
    let bytes = b"*1\r\n$4\r\nPING\r\nGET a\r\n*0\r\n*1\r\n$4\r\nQU";
    let mut start = 0;
    for expected in [&["PING"][..], &["GET", "a"], &[]] {
        let rest = &bytes[start..];
        let used = parser.parse(rest, &Limits::default()).expect("no error").expect("a whole request");
        let args: Vec<_> = parser.args(rest).iter().collect();
        assert_eq!(args, expected.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        start += used;
        assert!(!parser.is_midway());
    }
    assert_eq!(parser.parse(&bytes[start..], &Limits::default()), Ok(None));
    assert!(parser.is_midway());
    assert_eq!(parser.needs(), 4);
}

#[test]
fn empty_requests_are_skipped() {
    for bytes in [&b"*0\r\n"[..], b"*-1\r\n", b"*-10\r\n", b"\r\n", b"\n", b" \t \r\n"] {
        assert_eq!(words(bytes), [""; 0], "{}", bytes.escape_ascii());
    }
}

#[test]
fn an_integer_in_the_array_is_a_word() {
    assert_eq!(words(b"*2\r\n:3600\r\n$1\r\na\r\n"), ["3600", "a"]);
    assert_eq!(words(b"*1\r\n:-5\r\n"), ["-5"]);
    assert_eq!(refusal(b"*1\r\n:x\r\n"), "expected '$', got ':'");
}

#[test]
fn a_line_of_text_is_a_request() {
    assert_eq!(words(b"SET a 1\r\n"), ["SET", "a", "1"]);
    assert_eq!(words(b"  SET\ta  1 \n"), ["SET", "a", "1"]);
    assert_eq!(words(b"SET \"a b\" 'c d'\r\n"), ["SET", "a b", "c d"]);
    assert_eq!(
        words(&[br#"SET "\x41\n\r\t\b\a\"\\\q\x4" 'it\'s \n'"#, &b"\r\n"[..]].concat()),
        ["SET", "A\n\r\t\u{8}\u{7}\"\\qx4", "it's \\n"]
    );
    assert_eq!(words(b"SET \"\" ''\r\n"), ["SET", "", ""]);
    assert_eq!(words(b"a\"b c\" d\r\n"), ["ab c", "d"]);
    assert_eq!(words(b"a\x0bb \x0b c\r\n"), ["a\u{b}b", "c"]);
}

#[test]
fn quotes_must_close_and_end_the_word() {
    for bytes in [&b"GET \"a\r\n"[..], b"GET 'a\r\n", b"GET \"a\"b\r\n", b"GET 'a'b\r\n", b"GET \"a\\\r\n"] {
        assert_eq!(refusal(bytes), "unbalanced quotes in request");
    }
}

#[test]
fn what_is_no_request_is_refused_in_redis_words() {
    for (bytes, text) in [
        (&b"*9223372036854775807\r\n"[..], "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*-0\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$-2\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$1x\r\n", "invalid bulk length"),
        (b"*1\r\n$00\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\n\x01\r\n", "expected '$', got '?'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\n\r\n", "expected '$', got ' '"),
        // The byte after `\r` is skipped unseen, as Redis does; the next one then cannot begin a word.
        (b"*1\r$4\r\nPING\r\n", "expected '$', got '4'"),
    ] {
        assert_eq!(refusal(bytes), text, "{}", bytes.escape_ascii());
    }
    assert!(waits(b"*-2"));
    assert_eq!(words(b"*-2\r\n"), [""; 0]);
}

#[test]
fn a_line_has_an_end() {
    let endless = |head: &str| [head.as_bytes(), &[b'1'; 65_537]].concat();
    assert_eq!(refusal(&endless("")), "too big inline request");
    assert_eq!(refusal(&endless("*")), "too big mbulk count string");
    assert_eq!(refusal(&endless("*1\r\n$")), "too big bulk count string");
    assert!(waits(&[b'1'; 65_536]));
    let mut longest = vec![b'a'; 65_536];
    longest.push(b'\n');
    assert_eq!(words(&longest)[0].len(), 65_536);
    assert_eq!(refusal(b"\x16\x03\x01\x00\x01"), "NUL byte in inline request");
}

#[test]
fn a_request_is_flat() {
    assert_eq!(refusal(&b"*1\r\n".repeat(1_000_000)), "expected '$', got '*'");
    for aggregate in ["%1", "~1", ">1", "|1"] {
        assert_eq!(words(format!("{aggregate}\r\n").as_bytes()), [aggregate], "an unknown command");
        let within = format!("*1\r\n{aggregate}\r\n");
        assert!(refusal(within.as_bytes()).starts_with("expected '$', got"));
    }
}

#[test]
fn the_two_bytes_after_a_bulk_string_are_not_looked_at() {
    assert_eq!(words(b"*1\r\n$1\r\naXX"), ["a"]);
    assert!(waits(b"*1\r\n$1\r\naX"));
    assert_eq!(words(b"*2\r\n$1\r\naXX$1\r\nbYY"), ["a", "b"]);
}

#[test]
fn who_has_not_logged_in_gets_little_room() {
    let stranger = Limits { authenticated: false, ..Limits::default() };
    assert_eq!(refusal_within(b"*11\r\n", &stranger), "unauthenticated multibulk length");
    assert_eq!(refusal_within(b"*1\r\n$16385\r\n", &stranger), "unauthenticated bulk length");
    let hello = command(&[[b'p'; 4_000].as_slice(); 10]);
    let each: Vec<usize> = (0..hello.len()).collect();
    for cuts in [&[][..], &each] {
        let (requests, error) = in_pieces(&hello, cuts, &stranger);
        assert_eq!((requests.len(), error), (1, None));
    }

    // As a whole, however it is cut into words, and however it arrives.
    let large = command(&[[b'p'; 16_384].as_slice(); 3]);
    let each: Vec<usize> = (0..large.len()).collect();
    for cuts in [&[][..], &each] {
        let error = in_pieces(&large, cuts, &stranger).1.expect("too large");
        assert_eq!(error, "Protocol error: unauthenticated bulk length");
    }
    assert_eq!(refusal_within(&[b'a'; 50_000], &stranger), "too big inline request");
    let late =
        [&b"*10\r\n$16000\r\n"[..], &[b'p'; 16_002], b"$16000\r\n", &[b'p'; 16_002], b"$", &[b'1'; 20_000]].concat();
    assert_eq!(refusal_within(&late, &stranger), "too big bulk count string");
    assert!(in_pieces(&late, &[], &Limits::default()).1.is_none(), "who has logged in may");
}

#[test]
fn a_stranger_needs_no_more_room_than_64_kb_wherever_its_request_stops() {
    let stranger = Limits { authenticated: false, ..Limits::default() };
    let request = command(&[[b'p'; 12_000].as_slice(); 4]);
    let mut parser = Parser::new();
    for end in 1..request.len() {
        assert_eq!(parser.parse(&request[..end], &stranger), Ok(None));
        assert!(end + parser.needs() <= RESERVE_MIN, "{} after {end} bytes", parser.needs());
    }
}

#[test]
fn a_request_is_bounded_as_a_whole() {
    let limits = Limits { request: 1000, ..Limits::default() };
    let text = "request exceeds client-query-buffer-limit";
    assert_eq!(refusal_within(b"*2\r\n$991\r\n", &limits), text);
    assert_eq!(in_pieces(&command(&[&[b'a'; 900]]), &[], &limits).1, None);
    assert_eq!(refusal_within(&command(&[[b'a'; 600].as_slice(); 2]), &limits), text);
}

#[test]
fn an_announced_size_allocates_nothing() {
    let mut parser = Parser::new();
    for announced in [&b"*1048576\r\n"[..], b"*1\r\n$536870912\r\n", b"*1048576\r\n$536870912\r\n"] {
        assert_eq!(parser.parse(announced, &Limits::default()), Ok(None));
        assert!(parser.heap() <= 64, "{} bytes", parser.heap());
        assert!(parser.needs() <= RESERVE_MIN);
        parser = Parser::new();
    }
}

#[test]
fn room_for_a_bulk_string_grows_with_what_has_arrived() {
    let mut parser = Parser::new();
    let mut bytes = b"*1\r\n$10000000\r\n".to_vec();
    loop {
        match parser.parse(&bytes, &Limits::default()).expect("no error") {
            Some(used) => break assert_eq!(used, bytes.len()),
            None => {
                assert!(parser.needs() > 0 && parser.needs() <= bytes.len().max(RESERVE_MIN));
                bytes.resize(bytes.len() + parser.needs(), b'x');
            }
        }
    }
}

#[test]
fn a_guess_at_the_key_is_right_for_most_and_harmless_for_the_rest() {
    let set = command(&[b"SET", b"coat", b"blue", b"EX", b"5"]);
    assert_eq!(guess_key(&set), Some((&b"coat"[..], 4)));
    assert_eq!(guess_key(&command(&[b"GET", b"coat"])), Some((&b"coat"[..], 0)));
    for end in 0..set.len() {
        assert!(guess_key(&set[..end]).is_none_or(|(key, len)| key == b"coat" && (len == 0 || len == 4)));
    }
    for bytes in [&b""[..], b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$99999999\r\nGET", b"*2\r\n$-1\r\n$3\r\nabc"]
    {
        assert_eq!(guess_key(bytes), None);
    }
}

#[test]
fn a_megabyte_byte_by_byte_is_linear_work() {
    let bytes = command(&[b"SET", b"coat", &[b'v'; 1 << 20]]);
    let (mut at_once, mut trickled) = (Parser::new(), Parser::new());
    assert_eq!(at_once.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    for end in 1..bytes.len() {
        assert_eq!(trickled.parse(&bytes[..end], &Limits::default()), Ok(None));
    }
    assert_eq!(trickled.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    // One step for each call, and the few bytes of headers.
    assert!(trickled.steps <= bytes.len() + 64, "{} steps", trickled.steps);
    assert!(at_once.steps <= 64, "{} steps", at_once.steps);
    assert_eq!(trickled.args(&bytes)[2].len(), 1 << 20);
}

#[test]
fn a_million_words_are_linear_work_and_leave_nothing_behind() {
    let bytes = command(&vec![b"w".as_slice(); 1_000_000]);
    let mut parser = Parser::new();
    for end in (0..bytes.len()).step_by(1000) {
        assert_eq!(parser.parse(&bytes[..end], &Limits::default()), Ok(None));
    }
    assert_eq!(parser.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    assert_eq!(parser.args(&bytes).len(), 1_000_000);
    assert!(parser.steps <= 2 * bytes.len(), "{} steps", parser.steps);
    assert!(parser.heap() <= 4 * bytes.len());
    parser.rest();
    assert_eq!(parser.heap(), 0);
}

#[test]
fn an_endless_line_byte_by_byte_is_linear_work() {
    let mut parser = Parser::new();
    let line = [b'*'; 65_536];
    for end in 1..=line.len() {
        assert_eq!(parser.parse(&line[..end], &Limits::default()), Ok(None));
    }
    assert!(parser.steps <= 2 * line.len() + 64, "{} steps", parser.steps);
}

#[test]
fn rest_keeps_what_a_request_in_progress_needs() {
    let bytes = command(&[b"w".as_slice(); 1000]);
    let mut parser = Parser::new();
    assert_eq!(parser.parse(&bytes[..3000], &Limits::default()), Ok(None));
    parser.rest();
    assert_eq!(parser.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    assert_eq!(parser.args(&bytes).len(), 1000);
}

#[test]
fn words_can_outlive_the_buffer() {
    let bytes = command(&[b"SET", b"", b"v"]);
    let mut parser = Parser::new();
    assert_eq!(parser.parse(&bytes, &Limits::default()), Ok(Some(bytes.len())));
    let args = parser.args(&bytes);
    let kept = Words::from(args);
    assert_eq!(kept, Words::from_iter([&b"SET"[..], b"", b"v"]));
    assert!(kept.args().iter().eq(args.iter()));
    assert!(kept.args().iter().rev().eq([&b"v"[..], b"", b"SET"]));
    assert_eq!(kept.args().get(3), None);
    assert_eq!(&kept.args().tail(2)[0], b"v");
    assert!(kept.args().tail(4).is_empty());
}

/// One request or one piece of nonsense.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        8 => prop::collection::vec(word, 1..6).prop_map(|list| command(&list.iter().map(Vec::as_slice).collect::<Vec<_>>())),
        2 => "[a-z\"' \\\\x]{0,12}\r?\n".prop_map(String::into_bytes),
        2 => prop::sample::select(vec!["*0\r\n", "*-1\r\n", "*2\r\n:12\r\n$1\r\na\r\n", "*1\r$1\r\n", "*1\r\n$12345678901\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => "[*$:0-9a\r\n]{1,12}".prop_map(String::into_bytes),
        1 => "\\*[1-3]\r\n[*$:\\-0-9a\r\n]{1,12}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn how_a_stream_is_split_changes_nothing(
        pieces in prop::collection::vec(piece(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let each: Vec<usize> = (0..stream.len()).collect();
        let expected = whole(&stream);
        prop_assert_eq!(&in_pieces(&stream, &cuts, &Limits::default()), &expected);
        prop_assert_eq!(&in_pieces(&stream, &each, &Limits::default()), &expected);
    }

    #[test]
    fn what_was_sent_is_what_is_read(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40)) {
        let bytes = command(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(whole(&bytes), (vec![list], None));
    }
}
