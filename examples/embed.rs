//! The store inside a program of your own: no server, no runtime, no sockets.
//!
//! `cargo run --example embed --no-default-features` shows each way in, and checks what it shows.

use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
use cloakroom::command::Client;
use cloakroom::config::Namespace;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};
use cloakroom::session::{LookUp, Outcome, SessionCache, Settings, Source, SourceAnswer};
use cloakroom::store::Sweep;
use cloakroom::{Config, Error, Store};

fn main() -> Result<(), Error> {
    the_shortest_way()?;
    time_that_a_test_moves()?;
    named_caches()?;
    closures()?;
    several_keys_at_once()?;
    a_bound_of_memory()?;
    session_checks();
    redis_without_a_socket()
}

/// `put` and `fetch` ask the machine's clock and copy; `sweep_now` gives memory back.
fn the_shortest_way() -> Result<(), Error> {
    let store = Store::new();
    store.put(b"coat", b"blue", Ttl::seconds(60))?;
    let coat = store.fetch(b"coat");
    println!("fetch: {:?}", coat.as_deref().map(String::from_utf8_lossy));
    assert_eq!(coat.as_deref(), Some(&b"blue"[..]));

    // Whoever embeds the store decides when to sweep: here, and again at the instant that this returns.
    let next = store.sweep_now();
    println!("sweep_now: come back in {:?}", next.since(store.clock().now()).duration());
    assert!(next > store.clock().now());

    assert!(store.remove(b"coat"));
    assert!(store.fetch(b"coat").is_none() && store.is_empty());
    Ok(())
}

/// With a clock that only moves when it is told to, expiry is tested without waiting for it.
fn time_that_a_test_moves() -> Result<(), Error> {
    let clock = ManualClock::default();
    let store = Store::builder().clock(clock.clone()).build();
    store.put(b"coat", b"blue", Ttl::seconds(5))?;

    clock.advance(Ttl(4_999));
    assert!(store.fetch(b"coat").is_some());
    clock.advance(Ttl(1));
    assert!(store.fetch(b"coat").is_none(), "dead for readers at its very deadline");
    assert_eq!(store.len(), 1, "and reclaimed by the next sweep");
    assert_eq!(store.sweep_now(), Millis::NEVER);
    println!("manual clock: {} entries after 5 s, {} expired", store.len(), store.stats().expired);
    assert_eq!((store.len(), store.stats().expired), (0, 1));
    Ok(())
}

/// A namespace is a prefix with a TTL and a policy. `SESSION` is there already; others come from code or settings.
fn named_caches() -> Result<(), Error> {
    let clock = ManualClock::default();
    // Up to a fifth shorter, so that what was stored together is not asked for again all at once.
    let menus = Namespace { jitter: 0.2, ..Namespace::new("MENU", "menu:", Ttl::seconds(100)) };
    let mut namespaces = Namespace::predefined();
    namespaces.push(menus);
    let store = Store::builder().clock(clock.clone()).namespaces(namespaces).build();

    let sessions = store.cache(Namespace::SESSION).expect("predefined");
    sessions.put(b"a-token", b"{}")?;
    assert!(sessions.fetch(b"a-token").is_some());
    // The token itself is stored nowhere, only its hash.
    store.for_each(clock.now(), |value| {
        println!(
            "SESSION: a key of {} bytes for {:?}",
            value.name().len(),
            value.deadline().since(clock.now()).duration()
        );
        assert!(value.name().starts_with(b"auth:session:~"));
    });
    // Once it is removed, a late writer cannot put it back.
    assert!(sessions.remove(b"a-token"));
    assert_eq!(sessions.put(b"a-token", b"{}"), Err(Error::Fenced));

    let menu = store.cache("MENU").expect("given above");
    for day in 0..7_u8 {
        menu.put(&[day], b"soup")?;
    }
    clock.advance(Ttl::seconds(79));
    assert!((0..7_u8).all(|day| menu.fetch(&[day]).is_some()));
    clock.advance(Ttl::seconds(21));
    assert!((0..7_u8).all(|day| menu.fetch(&[day]).is_none()));
    println!("MENU: all died between 80 s and 100 s");
    Ok(())
}

/// Underneath, a closure sees the value where it lies, and time is an argument: ask your clock once and pass it on.
fn closures() -> Result<(), Error> {
    let store = Store::new();
    let now = store.clock().now();

    // The value is copied before the lock is taken.
    store.write(b"coat", b"blue", now, |slot, fresh| slot.put(fresh.until(now + Ttl::seconds(60))))?;

    // Nothing is copied here: the closure answers with what it needs.
    let len = store.get(b"coat", now, |value| value.string().map(<[u8]>::len).unwrap_or(0));
    println!("get: {len:?} bytes");
    assert_eq!(len, Some(4));

    // Read, decide and write under one lock; the deadline stays.
    let len = store.with(b"coat", now, |slot| slot.append(b" and warm"))?;
    let left = store.with(b"coat", now, |slot| slot.deadline()).map(|deadline| deadline.since(now));
    println!("with: now {len} bytes for {:?}", left.map(Ttl::duration));
    assert_eq!((len, left), (13, Some(Ttl::seconds(60))));

    // The time that is passed decides, so the future can be asked as well.
    assert!(store.get(b"coat", now + Ttl::seconds(60), |_| ()).is_none());
    // Nothing dies yet; a sweep tells when to come back, at the latest when something does.
    assert!(matches!(store.sweep(now), Sweep::Idle(next) if now < next && next <= now + Ttl::seconds(60)));
    Ok(())
}

/// Two keys under their locks, taken in an order that cannot deadlock.
fn several_keys_at_once() -> Result<(), Error> {
    let store = Store::new();
    let now = store.clock().now();
    store.put(b"hook:1", b"blue coat", Ttl::seconds(60))?;
    Store::with_all(&[(&store, b"hook:1"), (&store, b"hook:2")], now, |slots| {
        // First what could be refused, then the change.
        slots.at(1).admits()?;
        match slots.at(0).detach() {
            Some(coat) => slots.at(1).put_loose(coat),
            None => Ok(()),
        }
    })?;
    println!("with_all: moved, {} entry of {} bytes in all", store.len(), store.used_memory());
    assert!(store.fetch(b"hook:1").is_none() && store.fetch(b"hook:2").is_some());
    Ok(())
}

/// A cache that may not take more than so much: what was read lately stays.
fn a_bound_of_memory() -> Result<(), Error> {
    const BOUND: usize = 1 << 20;
    let store = Store::new();
    for number in 0..10_000_u32 {
        store.put(&number.to_be_bytes(), &[b'x'; 200], Ttl::seconds(60))?;
        store.shrink_to(BOUND);
    }
    println!("shrink_to: {} entries in {} bytes", store.len(), store.used_memory());
    assert!(store.used_memory() <= BOUND && store.stats().evicted > 0);
    Ok(())
}

/// The session engine without a door: one call for many checks, and a sign-out that is final.
fn session_checks() {
    let hands = ManualClock::default();
    let settings = Settings { source: Source::Upstream, ..Settings::default() };
    let sessions = SessionCache::embedded(settings, hands.clone());
    let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);

    let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!("nothing is known yet") };
    assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Wait(_)), "it is being asked");
    let answer = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#);
    sessions.complete(fill, Outcome::Answered(answer), hands.now());
    let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!("it was stored") };
    println!("session: {}", String::from_utf8_lossy(&answer.body));

    let sign_out = sessions.begin_sign_out(&tokens, hands.now());
    sessions.end_sign_out(sign_out, None, hands.now());
    let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!("nobody is asked") };
    println!("signed out: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(&answer.body[..], b"{}");
}

/// Requests in, replies out: whoever has a socket carries the bytes.
fn redis_without_a_socket() -> Result<(), Error> {
    let engine = Engine::embedded(Config::default(), Clock::system());
    let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    let mut input = &b"SET coat blue EX 60\r\nTTL coat\r\n"[..];
    while let Some(used) = parser.parse(input, &Limits::default())? {
        client.run(&engine, parser.args(input), engine.clock.now(), &mut out);
        input = &input[used..];
    }
    println!("RESP: {}", String::from_utf8_lossy(&out).escape_debug());
    assert_eq!(out, b"+OK\r\n:60\r\n");
    client.leave(&engine);
    Ok(())
}
