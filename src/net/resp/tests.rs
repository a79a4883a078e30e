//! What a client weighs, and what it leaves behind.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::engine::Peer;
use crate::resp::Limits;

#[test]
fn an_idle_client_weighs_less_than_a_kilobyte() {
    fn size<F>(_: fn(std::net::TcpStream, Watch, Scratch) -> F) -> usize {
        size_of::<F>()
    }
    // The allocator has 256 bytes for it, or else 320, and to be aligned takes 7.
    assert!(size(serve) + 7 <= 256, "a future of {} bytes", size(serve));
    // 192, or else 224. What is shared has two counters before it.
    assert!(size_of::<Peer>() + 16 + 7 <= 192, "a peer of {} bytes", size_of::<Peer>());
    // The rest are tokio's: the task, 128 bytes, and the socket's readiness, 256; and the place in the list of
    // clients, about 40.
}

#[test]
fn what_a_panic_leaves_behind_is_not_the_next_clients() {
    let scratch: Scratch = Rc::new(RefCell::new(Buffers::default()));
    {
        let buffers = &mut *scratch.borrow_mut();
        buffers.output.extend_from_slice(b"+secret\r\n");
        assert_eq!(buffers.parser.parse(b"*2\r\n$4\r\n", &Limits::default()), Ok(None));
    }
    let buffers = &mut *Buffers::lend(&scratch);
    assert!(buffers.output.is_empty());
    assert_eq!(buffers.parser.parse(b"PING\r\n", &Limits::default()), Ok(Some(6)));
}
