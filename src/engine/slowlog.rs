//! Commands that took long, newest first.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Charge, Charges};

/// Words of a command that are kept, as in Redis: enough to recognise it.
const WORDS_MAX: usize = 32;
/// One slow command.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Its number, counting all that were ever slow.
    pub id: u64,
    /// When it ran, in seconds of Unix time.
    pub at: u64,
    /// Microseconds it took.
    pub micros: u64,
    /// Its words, cut to what is kept, tokens already replaced.
    pub words: Vec<Vec<u8>>,
    /// Where its client came from.
    pub addr: String,
    /// What its client calls itself.
    pub name: Vec<u8>,
}

/// The log.
pub struct Slowlog {
    state: Mutex<State>,
    charges: Arc<Charges>,
}

#[derive(Default)]
struct State {
    /// Commands that were ever slow.
    count: u64,
    kept: VecDeque<Slow>,
}

impl Slow {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        let words = self.words.iter().map(|word| size_of::<Vec<u8>>() + word.len()).sum::<usize>();
        size_of::<Slow>() + words + self.addr.len() + self.name.len()
    }
}

impl Slowlog {
    /// An empty log.
    pub(super) fn new(charges: Arc<Charges>) -> Slowlog {
        Slowlog { state: Mutex::default(), charges }
    }

    /// Keeps a command; the oldest goes when there are more than `max`.
    pub fn push(&self, mut slow: Slow, max: usize) {
        let mut state = self.state.lock();
        slow.id = state.count;
        state.count += 1;
        self.charges.change(Charge::Slowlog, 0, slow.size());
        state.kept.push_front(slow);
        self.cut_to(max, &mut state);
    }

    /// The newest ones.
    pub fn newest(&self, count: usize) -> Vec<Slow> {
        self.state.lock().kept.iter().take(count).cloned().collect()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.state.lock().kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all; the numbers go on.
    pub fn clear(&self) {
        self.truncate(0);
    }

    /// Keeps fewer, when the setting says so.
    pub fn truncate(&self, max: usize) {
        self.cut_to(max, &mut self.state.lock());
    }

    fn cut_to(&self, max: usize, state: &mut State) {
        while state.kept.len() > max
            && let Some(oldest) = state.kept.pop_back()
        {
            self.charges.change(Charge::Slowlog, oldest.size(), 0);
        }
    }

    /// Bytes of a word that are kept, as in Redis.
    pub const WORD_MAX: usize = 128;

    /// A word of which so many bytes were left out, the way Redis words it.
    pub fn cut_word(word: Cow<'_, [u8]>, left_out: usize) -> Cow<'_, [u8]> {
        match left_out {
            0 => word,
            more => Cow::Owned([&word, format!("... ({more} more bytes)").as_bytes()].concat()),
        }
    }

    /// Keeps no more words than are kept, the way Redis words it.
    pub fn cut<'a>(words: impl ExactSizeIterator<Item = Cow<'a, [u8]>>) -> Vec<Vec<u8>> {
        let count = words.len();
        let kept = if count > WORDS_MAX { WORDS_MAX - 1 } else { count };
        let mut cut: Vec<Vec<u8>> = words.take(kept).map(Cow::into_owned).collect();
        if kept < count {
            cut.push(format!("... ({} more arguments)", count - kept).into_bytes());
        }
        cut
    }
}
