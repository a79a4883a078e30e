//! Commands that took long, newest first.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Words of a command that are kept, and bytes of a word, as in Redis: enough to recognise it.
const WORDS_MAX: usize = 32;
const WORD_MAX: usize = 128;

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
#[derive(Default)]
pub struct Slowlog {
    state: Mutex<(u64, VecDeque<Slow>)>,
}

impl Slowlog {
    /// Keeps a command; the oldest goes when there are more than `max`.
    pub fn push(&self, mut slow: Slow, max: usize) {
        let mut state = self.state.lock();
        slow.id = state.0;
        state.0 += 1;
        state.1.push_front(slow);
        state.1.truncate(max);
    }

    /// The newest ones.
    pub fn newest(&self, count: usize) -> Vec<Slow> {
        self.state.lock().1.iter().take(count).cloned().collect()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.state.lock().1.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all; the numbers go on.
    pub fn clear(&self) {
        self.state.lock().1.clear();
    }

    /// Keeps fewer, when the setting says so.
    pub fn truncate(&self, max: usize) {
        self.state.lock().1.truncate(max);
    }

    /// Cuts words to what is kept, the way Redis words it.
    pub fn cut<'a>(words: impl ExactSizeIterator<Item = std::borrow::Cow<'a, [u8]>>) -> Vec<Vec<u8>> {
        let count = words.len();
        let kept = if count > WORDS_MAX { WORDS_MAX - 1 } else { count };
        let mut cut: Vec<Vec<u8>> = words
            .take(kept)
            .map(|word| match word.len().checked_sub(WORD_MAX) {
                Some(more @ 1..) => [&word[..WORD_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
                _ => word.into_owned(),
            })
            .collect();
        if kept < count {
            cut.push(format!("... ({} more arguments)", count - kept).into_bytes());
        }
        cut
    }
}
