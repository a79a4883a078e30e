//! Events that took longer than `latency-monitor-threshold`, as LATENCY shows them.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Samples kept of each event, as in Redis.
const SAMPLES_MAX: usize = 160;

/// The samples of one event: (second of Unix time, milliseconds), newest last, one a second.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The samples.
    pub samples: VecDeque<(u64, u64)>,
    /// The longest ever.
    pub max: u64,
}

/// All events.
#[derive(Default)]
pub struct Latency {
    events: Mutex<BTreeMap<&'static str, Event>>,
}

impl Latency {
    /// Notes that an event took so long.
    pub fn note(&self, name: &'static str, second: u64, millis: u64) {
        let mut events = self.events.lock();
        let event = events.entry(name).or_default();
        event.max = event.max.max(millis);
        match event.samples.back_mut() {
            Some((last, longest)) if *last == second => *longest = millis.max(*longest),
            _ => event.samples.push_back((second, millis)),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    /// All events by name.
    pub fn events(&self) -> Vec<(&'static str, Event)> {
        self.events.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// One event.
    pub fn event(&self, name: &[u8]) -> Option<Event> {
        self.events.lock().iter().find(|(other, _)| other.as_bytes() == name).map(|(_, event)| event.clone())
    }

    /// Forgets these events, or all when none is named; tells how many there were.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| {
            !names.is_empty() && !names.iter().any(|other| name.as_bytes().eq_ignore_ascii_case(other))
        });
        before - events.len()
    }
}
