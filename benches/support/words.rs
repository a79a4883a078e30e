//! Keys, tokens, cookies and bodies of the sizes that sessions have, the same in every run.

/// Bytes of a session key with NextAuth's encrypted token in it.
pub const KEY: usize = 343;
/// Bytes of a session's value in the store.
pub const VALUE: usize = 300;
/// Bytes of a session's JSON over HTTP.
pub const BODY: usize = 277;

/// The namespace of sessions, whose keys are secret.
pub const SECRET: &str = "auth:session:";
/// Keys of the same length that are not.
pub const PLAIN: &str = "some:session:";

/// A small generator (xorshift64*): load must be spread, not unforeseeable.
pub struct Dice(u64);

impl Dice {
    /// A generator; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.roll()) * end as u128) >> 64) as usize
    }
}

/// The token of this number: base64url, as encrypted tokens are.
pub fn token(number: u64, len: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut dice = Dice::new(number + 1);
    (0..len).map(|_| char::from(LETTERS[(dice.roll() >> 58) as usize])).collect()
}

/// The key of this number, `len` bytes long, under a prefix.
pub fn key(prefix: &str, number: u64, len: usize) -> String {
    format!("{prefix}{}", token(number, len - prefix.len()))
}

/// A value of so many bytes.
pub fn value(len: usize) -> String {
    let text = r#"{"user":{"email":"user@example.org","image":"https://example.org/a.png"},"#;
    text.chars().cycle().take(len).collect()
}

/// The JSON of a session that is good for a long time.
pub fn body() -> String {
    let (head, tail) =
        (r#"{"user":{"email":"user@example.org","image":""#, r#""},"expires":"2099-01-01T00:00:00.000Z"}"#);
    let room = BODY - head.len() - tail.len();
    format!("{head}https://example.org/{:0>1$}{tail}", "", room - "https://example.org/".len())
}

/// A request of words, as Redis clients send it.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// The reply that carries a value.
pub fn bulk(value: &str) -> Vec<u8> {
    format!("${}\r\n{value}\r\n", value.len()).into_bytes()
}

/// A session check with a cookie of about 400 bytes, as a browser of a NextAuth app sends it.
pub fn check(token_number: u64) -> Vec<u8> {
    let (csrf, token) = (token(token_number ^ 0xc5f, 24), token(token_number, KEY - SECRET.len()));
    format!(
        "GET /api/auth/session HTTP/1.1\r\nhost: app.example.org\r\naccept: */*\r\n\
         cookie: next-auth.csrf-token={csrf}; next-auth.session-token={token}\r\n\r\n"
    )
    .into_bytes()
}
