//! The words of a request: where they lie, or with bytes of their own.

use std::ops::Index;

use super::request::split_line;

/// Where one word of a request lies in the bytes it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

/// Words of one request, still lying in the read buffer.
///
/// ```
/// use cloakroom::resp::Words;
///
/// let words = Words::of_line(b"SET coat 'dark blue'").expect("quotes that match");
/// let args = words.args();
/// assert_eq!((args.len(), &args[0], args.get(2), args.get(3)), (3, &b"SET"[..], Some(&b"dark blue"[..]), None));
/// ```
#[derive(Clone, Copy)]
pub struct Args<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) spans: &'a [Span],
}

/// Words of one request that own their bytes: a queued command, or one that no client sent.
///
/// ```
/// use cloakroom::resp::Words;
///
/// let words: Words = [&b"SET"[..], b"coat", b"\0\xff"].into_iter().collect();
/// assert_eq!(&words.args()[2], b"\0\xff");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: Vec<Span>,
}

impl<'a> Args<'a> {
    /// How many words there are, the command's name included.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert_eq!(words.args().len(), 3);
    /// ```
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no word at all.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert!(Words::new().args().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The word at `index`, if there is one.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert_eq!(words.args().get(1), Some(&b"coat"[..]));
    /// assert_eq!(words.args().get(3), None);
    /// ```
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        Some(self.slice(*self.spans.get(index)?))
    }

    /// All words in order.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert!(words.args().iter().skip(1).eq([&b"coat"[..], b"blue"]));
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let args = *self;
        self.spans.iter().map(move |&span| args.slice(span))
    }

    /// The words up to `to`; all when there are fewer.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert_eq!(words.args().head(2).len(), 2);
    /// assert_eq!(words.args().head(7).len(), 3);
    /// ```
    pub fn head(&self, to: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: &self.spans[..to.min(self.spans.len())] }
    }

    /// The words from `from` on; none when there are fewer.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert_eq!(&words.args().tail(1)[0], b"coat");
    /// assert!(words.args().tail(7).is_empty());
    /// ```
    pub fn tail(&self, from: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(from..).unwrap_or_default() }
    }

    /// So many words from `from` on, as far as there are any.
    #[cfg_attr(doc, doc(hidden))]
    pub fn slice_of(&self, from: usize, count: usize) -> Args<'a> {
        let spans = self.spans.get(from..).unwrap_or_default();
        Args { bytes: self.bytes, spans: &spans[..count.min(spans.len())] }
    }

    fn slice(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// The word at `index`, which the caller knows to be there.
    fn index(&self, index: usize) -> &[u8] {
        self.slice(self.spans[index])
    }
}

impl std::fmt::Debug for Args<'_> {
    /// How many; there may be a password among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Words {
    /// No words.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// let mut none = Words::new();
    /// none.push(b"PING");
    /// assert_eq!(none.args().len(), 1);
    /// ```
    pub fn new() -> Words {
        Words::default()
    }

    /// The words of a line, split as those of an inline request; `None` for quotes that do not match.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// let words = Words::of_line(br#"SET coat "blue\x21""#).expect("words");
    /// assert_eq!(&words.args()[2], b"blue!");
    /// assert!(Words::of_line(b"SET coat 'blue").is_none());
    /// ```
    pub fn of_line(line: &[u8]) -> Option<Words> {
        let mut words = Words::new();
        split_line(line, &mut words).map(|()| words)
    }

    /// Adds a word at the end.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// let mut words = Words::new();
    /// words.push(b"GET");
    /// words.push(b"coat");
    /// assert_eq!(words, Words::of_line(b"GET coat").expect("words"));
    /// ```
    pub fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.close();
    }

    /// The words, borrowed as those of any request.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert_eq!(&words.args()[0], b"SET");
    /// ```
    pub fn args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans }
    }

    /// Bytes that these words need at least.
    #[cfg_attr(doc, doc(hidden))]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// Whether there is no word.
    ///
    /// ```
    /// # use cloakroom::resp::Words;
    /// # let words = Words::of_line(b"SET coat blue").expect("words");
    /// assert!(Words::new().is_empty() && !words.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes that the words of a request would add.
    #[cfg_attr(doc, doc(hidden))]
    pub fn size_of(args: Args<'_>) -> usize {
        args.iter().map(|word| word.len() + size_of::<Span>()).sum()
    }

    /// Bytes of heap these words hold.
    #[cfg_attr(doc, doc(hidden))]
    pub fn heap(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }

    /// Ends the word whose bytes were written since the last one.
    pub(super) fn close(&mut self) {
        let start = self.spans.last().map_or(0, |span| span.end as usize);
        self.spans.push(Span::new(start, self.bytes.len()));
    }

    /// Forgets them, and keeps their room.
    #[cfg_attr(doc, doc(hidden))]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }
}

impl From<Args<'_>> for Words {
    fn from(args: Args<'_>) -> Words {
        let mut words = Words::new();
        words.spans.reserve_exact(args.len());
        words.bytes.reserve_exact(args.iter().map(<[u8]>::len).sum());
        args.iter().for_each(|word| words.push(word));
        words
    }
}

impl<'w> FromIterator<&'w [u8]> for Words {
    fn from_iter<I: IntoIterator<Item = &'w [u8]>>(list: I) -> Words {
        let mut words = Words::new();
        list.into_iter().for_each(|word| words.push(word));
        words
    }
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span { start: start as u32, end: end as u32 }
    }
}
