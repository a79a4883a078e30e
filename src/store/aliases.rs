//! Aliases and fences: what lies under a name and no command sees.
//!
//! An alias lets a rotated token stand for the name of its family. A fence keeps a name shut after a sign-out, so that
//! what began before it cannot put the session back. Both are entries with a deadline like any other; who needs them,
//! and when, is the session engine's affair.

use super::entry::Kind;
use super::slot::FenceHere;
use super::{HOPS_MAX, NameBuf, Place, Store};
use crate::clock::{Millis, Ttl};

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Lets a name stand for another until `until`. What lies there is replaced; a fence is not, and `false` says so.
    /// A name is never made to stand for itself.
    pub fn add_alias(&self, name: &[u8], target: &[u8], until: Millis, now: Millis) -> bool {
        let (mut name_buf, mut target_buf) = (NameBuf::new(), NameBuf::new());
        let place = self.place(name, &mut name_buf);
        let target = self.place(target, &mut target_buf).name;
        self.enter(&place, 0, now, |slot| {
            let open = slot.admits().is_ok();
            if open && place.name != target {
                slot.put_hidden(Kind::Alias, target, until);
            }
            open
        })
    }

    /// The name that this one stands for, itself if it is no alias.
    pub fn canonical(&self, name: &[u8], now: Millis) -> NameBuf {
        let mut name = NameBuf::from_slice(self.place(name, &mut NameBuf::new()).name);
        for _ in 0..HOPS_MAX {
            let Some(target) = self.alias(&self.named(&name), now) else { break };
            name = target;
        }
        name
    }

    /// The name that a live alias stands for. Only fenced namespaces have aliases, so all other keys pay nothing.
    fn alias(&self, place: &Place<'_>, now: Millis) -> Option<NameBuf> {
        place.rule.and_then(|rule| rule.fence)?;
        self.cells().get(place.shard())?.shard.lock().alias(place.kept(), place.name, now)
    }

    /// Removes what lies under exactly this name, alias or not, and refuses writes there until `until`, or longer when
    /// another fence asks for it. The ticket says whose fence it is.
    pub fn fence(&self, name: &[u8], ticket: u64, until: Millis, now: Millis) {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| {
            slot.announce_end();
            slot.shut(ticket, until);
        });
    }

    /// The same without a ticket: nobody lifts it, and the mark, less than 2^63, can be read again.
    pub fn fence_marked(&self, name: &[u8], mark: u64, until: Millis, now: Millis) {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| {
            slot.announce_end();
            slot.shut_marked(mark, until);
        });
    }

    /// The fence that stands under exactly this name.
    pub fn fence_of(&self, name: &[u8], now: Millis) -> Option<FenceHere> {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| slot.fence())
    }

    /// Takes away the fence under exactly this name, whoever has laid it; `false` if there is none.
    pub fn unfence(&self, name: &[u8], now: Millis) -> bool {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| slot.open_up())
    }

    /// Takes a ticket back; with the last one, the fence under exactly this name falls. `true`: it has fallen. A fence
    /// that a removal asked for falls only by itself.
    pub fn lift(&self, name: &[u8], ticket: u64, now: Millis) -> bool {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| slot.unshut(ticket))
    }

    /// Removes what lies under exactly this name, alias or not, without laying a fence. A fence that is there stays.
    pub fn forget(&self, name: &[u8], now: Millis) -> bool {
        self.enter(&self.place(name, &mut NameBuf::new()), 0, now, |slot| {
            slot.announce_end();
            slot.forget()
        })
    }

    /// How many aliases and fences there are, those that have died and are not yet reclaimed included.
    pub fn hidden(&self) -> usize {
        self.cells().iter().map(|cell| cell.shard.lock().hidden()).sum()
    }

    /// How long a key takes no writes after a command removed it; `None` outside of fenced namespaces.
    pub fn fence_length(&self, key: &[u8]) -> Option<Ttl> {
        self.place(key, &mut NameBuf::new()).rule.and_then(|rule| rule.fence)
    }
}
