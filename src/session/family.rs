//! What is known of one login beside its body: the record of a family, and how names join and leave it.
//!
//! The record lies in a store that no command reaches, under the family's name. It holds the newest session cookie as
//! the source sent it, because a request with an older token is to be given it; this is the one place where a token is
//! kept as it is, and it is kept no longer than the family is.

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::answer::Header;
use super::cache::{Core, Flights};
use super::cookie::{Change, Side, Tokens};
use crate::clock::{Millis, Ttl};
use crate::store::{Look, NameBuf};

/// How long a token stays linked to its family at least after a fill has named it: NextAuth's own client asks again when a tab
/// gets the focus, and tabs that slept longer may as well ask the source.
pub(super) const FAMILY_WINDOW: Ttl = Ttl::seconds(60);

/// Tokens of one family that are kept by name: as many as a minute's fills and updates add, three each, five times a second.
/// Nobody who asks that often should find that the first ones are forgotten at a sign-out.
const MEMBERS_MAX: usize = 1024;

/// A token of a family by its stored name, and how long it counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub name: NameBuf,
    pub until: Millis,
    /// Whether an update has come since: what the source answers this token is no longer what the session is.
    pub behind: bool,
}

/// A record as it lies in the store. Nearly all fit without an allocation.
pub(super) type Block = SmallVec<[u8; 1536]>;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub status: u16,
    /// Header lines of the last answer that may be shown again.
    pub headers: Vec<Header>,
    /// Its body, to be shown while the source fails; empty if nothing may be.
    pub body: Bytes,
    /// Until when that body is fresh, until when it may be shown while the source fails, and when the session ends.
    pub fresh_until: Millis,
    pub stale_until: Millis,
    pub expires: Millis,
    /// Which of two cookies the source has read.
    pub used: Option<Side>,
    /// The newest token and the `set-cookie` lines that make it so.
    pub newest: Option<NameBuf>,
    pub cookies: Vec<Bytes>,
    /// Whether there was an update: from then on only members that came after it are up to date.
    pub updated: bool,
    pub members: Vec<Member>,
    /// The name of the list of the user's families; empty if nobody knows whose it is.
    pub user: NameBuf,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            status: 200,
            headers: Vec::new(),
            body: Bytes::new(),
            fresh_until: Millis(0),
            stale_until: Millis(0),
            expires: Millis::NEVER,
            used: None,
            newest: None,
            cookies: Vec::new(),
            updated: false,
            members: Vec::new(),
            user: NameBuf::new(),
        }
    }
}

impl Record {
    /// Names a member until then, or names it again.
    pub fn add_member(&mut self, name: &NameBuf, now: Millis, until: Millis) {
        let behind = self.is_behind(name) && self.members.iter().any(|member| member.name == *name);
        self.members.retain(|member| member.until > now && member.name != *name);
        if self.members.len() == MEMBERS_MAX {
            self.members.remove(0);
        }
        self.members.push(Member { name: name.clone(), until, behind });
    }

    /// Notes an update: all tokens that are known now are behind.
    pub fn update(&mut self) {
        self.updated = true;
        self.members.iter_mut().for_each(|member| member.behind = true);
    }

    /// Whether this token is from before an update.
    pub fn is_behind(&self, name: &NameBuf) -> bool {
        self.updated && !self.members.iter().any(|member| member.name == *name && !member.behind)
    }

    fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.body.len());
        out.put_u64(self.fresh_until.0);
        out.put_u64(self.stale_until.0);
        out.put_u64(self.expires.0);
        out.put_u16(self.status);
        out.put_u8(self.used.map_or(0, |side| side as u8 + 1));
        out.put_u8(u8::from(self.updated));
        put(&mut out, self.newest.as_deref().unwrap_or_default());
        put(&mut out, &self.body);
        out.put_u32(self.headers.len() as u32);
        for (name, value) in &self.headers {
            put(&mut out, name);
            put(&mut out, value);
        }
        out.put_u32(self.cookies.len() as u32);
        self.cookies.iter().for_each(|line| put(&mut out, line));
        out.put_u32(self.members.len() as u32);
        for member in &self.members {
            out.put_u64(member.until.0);
            out.put_u8(u8::from(member.behind));
            put(&mut out, &member.name);
        }
        put(&mut out, &self.user);
        out.freeze()
    }

    /// Reads what `write` wrote. All bytes are shares of the one block. Without members and user if they are not asked for.
    fn read(block: Bytes, with_members: bool) -> Option<Record> {
        let view = View::read(&block)?;
        let share = |bytes: &[u8]| block.slice_ref(bytes);
        let mut from = view.members;
        let count = if with_members { from.u32()? } else { 0 };
        let member = |_| {
            let (until, [behind]) = (Millis(from.u64()?), from.array()?);
            Some(Member { until, behind: behind == 1, name: NameBuf::from_slice(from.bytes()?) })
        };
        let members = (0..count).map(member).collect::<Option<_>>()?;
        let user = if with_members { NameBuf::from_slice(from.bytes()?) } else { NameBuf::new() };
        Some(Record {
            status: view.status,
            headers: view.headers().map(|(name, value)| (share(name), share(value))).collect(),
            body: share(view.body),
            fresh_until: view.fresh_until,
            stale_until: view.stale_until,
            expires: view.expires,
            used: view.used,
            newest: (!view.newest.is_empty()).then(|| NameBuf::from_slice(view.newest)),
            cookies: view.cookies().map(share).collect(),
            updated: view.updated,
            members,
            user,
        })
    }
}

/// A record as it may lie on disk: without the newest cookie, which is a token, and with times moved by so many
/// milliseconds. What lies beside records has neither and stays as it is; `None` if it is not what it should be.
pub fn for_disk(key: &[u8], block: &[u8], shift: i64) -> Option<Bytes> {
    match key.first() {
        Some(&RECORD) => {}
        // Made anew within seconds, and signed; over within seconds.
        Some(&BADGE | &PAUSE) => return None,
        Some(&USER) => return super::users::shifted(block, shift),
        _ => return Some(Bytes::copy_from_slice(block)),
    }
    let mut record = Record::read(Bytes::copy_from_slice(block), true)?;
    record.newest = None;
    record.cookies.clear();
    let times = [&mut record.fresh_until, &mut record.stale_until, &mut record.expires];
    for at in times.into_iter().chain(record.members.iter_mut().map(|member| &mut member.until)) {
        if *at != Millis::NEVER {
            at.0 = at.0.saturating_add_signed(shift);
        }
    }
    Some(record.write())
}

pub(super) fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// A record where it lies: what a hit needs of it is borrowed, so that it costs no allocation.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub status: u16,
    pub body: &'a [u8],
    pub used: Option<Side>,
    fresh_until: Millis,
    stale_until: Millis,
    expires: Millis,
    updated: bool,
    newest: &'a [u8],
    headers: Reader<'a>,
    cookies: Reader<'a>,
    members: Reader<'a>,
}

impl<'a> View<'a> {
    pub fn read(block: &'a [u8]) -> Option<View<'a>> {
        let mut from = Reader(block);
        let (fresh_until, stale_until, expires) = (Millis(from.u64()?), Millis(from.u64()?), Millis(from.u64()?));
        let status = u16::from_be_bytes(from.array()?);
        let [used, updated] = from.array()?;
        let used = [None, Some(Side::Plain), Some(Side::Secure)].get(usize::from(used)).copied().flatten();
        let (newest, body) = (from.bytes()?, from.bytes()?);
        let headers = from;
        for _ in 0..from.u32()? {
            from.bytes()?;
            from.bytes()?;
        }
        let cookies = from;
        for _ in 0..from.u32()? {
            from.bytes()?;
        }
        let updated = updated == 1;
        Some(View {
            status,
            body,
            used,
            fresh_until,
            stale_until,
            expires,
            updated,
            newest,
            headers,
            cookies,
            members: from,
        })
    }

    /// Header lines of the last answer that may be shown again.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut from = self.headers;
        let count = from.u32().unwrap_or(0);
        (0..count).map_while(move |_| Some((from.bytes()?, from.bytes()?)))
    }

    /// The `set-cookie` lines that make the newest token what it is.
    pub fn cookies(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut from = self.cookies;
        let count = from.u32().unwrap_or(0);
        (0..count).map_while(move |_| from.bytes())
    }

    /// Whether this token is not the newest of its family.
    pub fn is_superseded(&self, key: &[u8]) -> bool {
        !self.newest.is_empty() && self.newest != key
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// What the keys of records and notes begin with.
const RECORD: u8 = 0;
const NOTE: u8 = 1;
/// And that of what is told to proxies.
const BADGE: u8 = 2;
/// And that of a user's logins.
pub(super) const USER: u8 = 3;
/// And that of why a source that fails is let alone.
const PAUSE: u8 = 4;

/// The key of a family's record. The zero byte keeps it out of every namespace, whose prefixes are text.
fn record_key(family: &[u8]) -> NameBuf {
    key_of(RECORD, family)
}

pub(super) fn key_of(mark: u8, name: &[u8]) -> NameBuf {
    let mut key = NameBuf::new();
    key.push(mark);
    key.extend_from_slice(name);
    key
}

/// The key of what is told to proxies of a family.
pub(super) fn badge_key(family: &[u8]) -> NameBuf {
    key_of(BADGE, family)
}

/// The key of a note that says which family a fenced name is of.
fn note_key(name: &[u8]) -> NameBuf {
    key_of(NOTE, name)
}

impl Core {
    /// Until when what is named now counts as one of its family. What is stored of a login must not outlive the links to it: the
    /// browser has the newest token, and a sign-out with that must know the others.
    pub fn linked_until(&self, now: Millis) -> Millis {
        let kept = self.settings().ttl.0.saturating_add(self.stale_length().0);
        now + FAMILY_WINDOW.max(Ttl(kept))
    }

    fn read_record(&self, family: &[u8], with_members: bool, now: Millis) -> Option<Record> {
        let block = self.families.peek(&record_key(family), now, |value| value.string().map(Bytes::copy_from_slice))?;
        Record::read(block.ok()?, with_members)
    }

    /// A copy of a family's record as it lies in the store, for [`View::read`].
    pub fn record_block(&self, family: &[u8], now: Millis) -> Option<Block> {
        let copy = |value: crate::store::Value<'_>| value.string().map(Block::from_slice).ok();
        self.families.peek(&record_key(family), now, copy)?
    }

    /// What is known of a family, without its members.
    pub fn record(&self, family: &[u8], now: Millis) -> Option<Record> {
        self.read_record(family, false, now)
    }

    /// What is known of a family.
    pub fn whole_record(&self, family: &[u8], now: Millis) -> Option<Record> {
        self.read_record(family, true, now)
    }

    /// Keeps what is known of a family as long as anything in it may be of use.
    pub fn save_record(&self, family: &[u8], record: &Record, now: Millis) {
        let until = record.stale_until.max(self.linked_until(now));
        let block = record.write();
        // The key is in no namespace, so nothing can refuse it.
        let kept = self.families.write(&record_key(family), &block, now, |slot, fresh| slot.put(fresh.until(until)));
        debug_assert!(kept.is_ok());
        if !record.user.is_empty() {
            self.enlist(&record.user, family, until, now);
        }
    }

    /// The family of a name, and whether the name is a link to it. A fence takes the place of a link, so for fenced
    /// names there is a note.
    pub fn family_of(&self, name: &NameBuf, now: Millis) -> (NameBuf, bool) {
        let family = self.answers.canonical(name, now);
        if family != *name {
            return (family, true);
        }
        let noted = self.is_fenced(name, now).then(|| self.note(name, now)).flatten();
        noted.unwrap_or((family, false))
    }

    fn note(&self, name: &NameBuf, now: Millis) -> Option<(NameBuf, bool)> {
        self.families.peek(&note_key(name), now, |value| {
            let (linked, family) = value.string().ok()?.split_first()?;
            Some((NameBuf::from_slice(family), *linked == 1))
        })?
    }

    /// Notes which family a name is of that is about to be fenced.
    pub fn note_family(&self, name: &NameBuf, family: &NameBuf, until: Millis, now: Millis) {
        if name != family {
            let (_, linked) = self.family_of(name, now);
            let note = [&[u8::from(linked)], family.as_slice()].concat();
            let kept = self.families.write(&note_key(name), &note, now, |slot, fresh| slot.put(fresh.until(until)));
            debug_assert!(kept.is_ok());
        }
    }

    /// Notes why the source, which fails, is not to be asked about a family until then.
    pub fn pause(&self, family: &[u8], why: &str, until: Millis, now: Millis) {
        let key = key_of(PAUSE, family);
        let kept = self.families.write(&key, why.as_bytes(), now, |slot, fresh| slot.put(fresh.until(until)));
        debug_assert!(kept.is_ok());
    }

    /// The source has answered: it may be asked again.
    pub fn resume(&self, family: &[u8], now: Millis) {
        self.families.forget(&key_of(PAUSE, family), now);
    }

    /// Why the source is not to be asked about a family now, if it is not.
    pub fn paused(&self, family: &[u8], now: Millis) -> Option<String> {
        let why = |value: crate::store::Value<'_>| Some(String::from_utf8_lossy(value.string().ok()?).into_owned());
        self.families.peek(&key_of(PAUSE, family), now, why)?
    }

    /// Forgets the note on a name whose fence has fallen.
    pub fn drop_note(&self, name: &NameBuf, now: Millis) {
        self.families.forget(&note_key(name), now);
    }

    /// Forgets what is known of a family beside its entries.
    pub fn drop_record(&self, family: &[u8], now: Millis) {
        self.families.with(&record_key(family), now, |slot| slot.remove());
    }

    /// Lets a name stand for a family. Only a name that nobody has joins: a token that is already somebody's is not
    /// made another's by what a source says, and one that two families are given is from then on nobody's. The engine's
    /// lock is held, which `_flights` shows; so names cannot point at each other in a circle.
    pub fn join(&self, family: &NameBuf, name: &NameBuf, flights: &Flights, now: Millis) -> bool {
        if name == family {
            return true;
        }
        let owner = self.answers.canonical(name, now);
        let free = owner == *family
            || (owner == *name
                && self.answers.look(name, now, |_| ()) == Look::Absent
                && !flights.contains_key(name)
                && self.record(name, now).is_none());
        if !free {
            if owner != *name {
                self.answers.forget(name, now);
            }
            return false;
        }
        self.answers.add_alias(name, family, self.linked_until(now), now)
    }

    /// Ties the token that an answer sets to this family for its end alone: a sign-out of the one fences the other, and
    /// nothing else is shared. It may be the next token of this login or the first of another.
    pub fn tie(&self, family: &NameBuf, tokens: &Tokens, change: &Change, now: Millis) {
        let Some(next) = self.names.next(&self.answers, tokens, change) else { return };
        let (Some(own), Some(new)) = (tokens.key(), next.key()) else { return };
        let other = self.answers.canonical(new, now);
        if other == *family {
            return;
        }
        let mut record = self.whole_record(family, now).unwrap_or_default();
        let mut theirs = self.whole_record(&other, now).unwrap_or_default();
        let until = self.linked_until(now);
        let known: Vec<NameBuf> = record.members.iter().map(|member| member.name.clone()).collect();
        for name in known.iter().chain([family, own]) {
            theirs.add_member(name, now, until);
        }
        next.names().iter().for_each(|name| record.add_member(name, now, until));
        self.save_record(family, &record, now);
        self.save_record(&other, &theirs, now);
    }

    /// Forgets what was answered, and voids what is under way; the family and its newest cookie stay.
    pub fn invalidate(&self, family: &NameBuf, flights: &mut Flights, now: Millis) {
        self.answers.forget(family, now);
        flights.remove(family);
        if let Some(mut record) = self.whole_record(family, now) {
            for member in &record.members {
                flights.remove(&member.name);
            }
            record.body = Bytes::new();
            self.save_record(family, &record, now);
        }
    }

    /// Ends a family without a fence: each of its tokens is asked for anew. But if a command has signed it out, whose
    /// fence lies under the family's name alone, the fence goes with each token that is parted from it.
    pub fn disband(&self, family: &NameBuf, flights: &mut Flights, now: Millis) {
        self.invalidate(family, flights, now);
        let fence = match self.answers.look(family, now, |_| ()) {
            Look::Fenced(until) => Some(until),
            _ => None,
        };
        for member in self.whole_record(family, now).into_iter().flat_map(|record| record.members) {
            if member.name == *family || self.answers.canonical(&member.name, now) != *family {
                continue;
            }
            match fence {
                Some(until) => self.answers.fence(&member.name, 0, until, now),
                None => drop(self.answers.forget(&member.name, now)),
            }
        }
        self.drop_record(family, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut record = Record {
            status: 203,
            headers: vec![(Bytes::from_static(b"vary"), Bytes::from_static(b"rsc"))],
            body: Bytes::from_static(b"{\"user\":{}}"),
            fresh_until: Millis(7),
            stale_until: Millis(8),
            expires: Millis(9),
            used: Some(Side::Secure),
            newest: Some(NameBuf::from_slice(b"auth:session:~n")),
            cookies: vec![Bytes::from_static(b"a=b"), Bytes::from_static(b"c=; Max-Age=0")],
            updated: true,
            members: Vec::new(),
            user: NameBuf::from_slice(b"auth:session:~u"),
        };
        record.add_member(&NameBuf::from_slice(b"auth:session:~m"), Millis(3), Millis(9));
        assert_eq!(Record::read(record.write(), true), Some(record.clone()));
        record.members.clear();
        assert_eq!(Record::read(record.write(), true), Some(record));
        assert_eq!(Record::read(Record::default().write(), true), Some(Record::default()));
        assert_eq!(Record::read(Bytes::from_static(b"short"), true), None);
    }

    #[test]
    fn no_token_goes_to_disk_and_times_are_moved() {
        let mut record = Record {
            expires: Millis(500),
            newest: Some(NameBuf::from_slice(b"auth:session:~n")),
            cookies: vec![Bytes::from_static(b"next-auth.session-token=s3cret")],
            ..Record::default()
        };
        record.add_member(&NameBuf::from_slice(b"auth:session:~m"), Millis(0), Millis(700));
        let block = for_disk(&record_key(b"f"), &record.write(), 1_000).expect("a record");
        assert!(memchr::memmem::find(&block, b"s3cret").is_none());
        let kept = Record::read(block, true).expect("a record");
        assert_eq!((kept.expires, kept.members[0].until), (Millis(1_500), Millis(1_700)));
        assert_eq!((kept.newest, kept.cookies.len()), (None, 0));
        assert_eq!(for_disk(&record_key(b"f"), b"broken", 0), None);
        assert_eq!(for_disk(&badge_key(b"f"), b"told", 0), None);
        assert_eq!(for_disk(&note_key(b"n"), b"\x01f", 9).as_deref(), Some(&b"\x01f"[..]));
    }

    #[test]
    fn members_leave_when_their_time_is_over_and_never_pile_up() {
        let mut record = Record::default();
        for at in 0..2_000_u16 {
            record.add_member(&NameBuf::from_slice(&at.to_be_bytes()), Millis(0), Millis(700));
        }
        assert_eq!(record.members.len(), MEMBERS_MAX);
        record.add_member(&NameBuf::from_slice(b"late"), Millis(700), Millis(900));
        assert_eq!(record.members.len(), 1);
    }
}
