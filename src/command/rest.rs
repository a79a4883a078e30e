//! Commands of clients whose every request stands alone, as those over HTTP do.
//!
//! Such a client is made for one request and is gone behind it. Whatever a command would have a connection remember, or
//! send it later, it is refused; what would wait for an element finds out at once that there is none, as in a transaction.

use super::table::lookup;
use super::{Client, Flags, Flow, Found, Group, blocking, run};
use crate::clock::Millis;
use crate::engine::Engine;
use crate::engine::acl::DEFAULT;
use crate::error::{Error, Result};
use crate::resp::Args;

/// Commands that mean nothing without a connection, by their full names.
const NEED_CONNECTION: &[&str] = &[
    "auth",
    "client|caching",
    "client|reply",
    "client|tracking",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "psync",
    "punsubscribe",
    "quit",
    "replconf",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
    "unwatch",
    "watch",
];

/// Commands that may be asked for by who only reads, though they read no data.
const READ_NOTHING: &[&str] = &["echo", "ping", "select", "time"];

/// What a client whose requests stand alone may ask for, besides what its user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Data, by its key. No walks over all keys, as their names may be what is secret, and no scripts, which can take long.
    Reads,
}

impl Client {
    /// Makes it the user of this name, who has shown another secret than a password; `WRONGPASS` if nobody may log in as
    /// this user.
    #[cfg_attr(doc, doc(hidden))]
    pub fn act_as(&mut self, engine: &Engine, name: &str) -> Result<()> {
        let user = engine.acl.user(name.as_bytes()).filter(|user| user.rules().is_on()).ok_or(Error::WrongPass)?;
        self.authenticated = true;
        self.set_user(Some(user).filter(|user| user.name != DEFAULT.as_bytes()));
        Ok(())
    }
}

/// Refuses a request that needs a connection, or is out of this scope. Whether it may run otherwise [`run_alone`] tells.
pub fn check_alone(args: Args<'_>, scope: Scope) -> Result<()> {
    match lookup(args) {
        Ok(found) if !is_in(found, scope) => {
            // In the words of Redis 6, which Upstash has.
            let name = found.full_name();
            Err(Error::NoPerm(format!("this user has no permissions to run the '{name}' command or its subcommand")))
        }
        Ok(found) if needs_connection(found) => {
            let name = found.full_name();
            Err(Error::Refused(format!("'{name}' needs a connection, and a request over HTTP has none").into()))
        }
        _ => Ok(()),
    }
}

/// Whether a command is in a scope.
fn is_in(found: &Found, scope: Scope) -> bool {
    const NOT: Flags = Flags::KEYSPACE.and(Flags::DANGEROUS).and(Flags::ADMIN).and(Flags::WRITE);
    let (flags, group) = (found.spec.flags, found.spec.group);
    let reads = || flags.has(Flags::READONLY) && !flags.has(NOT) && group != Group::Scripting;
    scope == Scope::All || reads() || READ_NOTHING.contains(&&*found.full_name())
}

fn needs_connection(found: &Found) -> bool {
    // Most names are told from these without a copy.
    let first = |name: &&&str| found.container.unwrap_or(found.spec).name[..1].eq_ignore_ascii_case(&name[..1]);
    let mut alike = NEED_CONNECTION.iter().filter(first).peekable();
    alike.peek().is_some() && {
        let name = found.full_name();
        alike.any(|needs| **needs == name)
    }
}

/// Runs one request as `run` does, without waiting for an element.
pub fn run_alone(engine: &Engine, client: &mut Client, args: Args<'_>, now: Millis, out: &mut Vec<u8>) -> Flow {
    client.never_waits = lookup(args).is_ok_and(|found| found.spec.flags.has(Flags::BLOCKING));
    let flow = run(engine, client, args, None, now, out);
    if std::mem::take(&mut client.never_waits) {
        // What it moved may be what others wait for.
        blocking::serve(engine, client.worker(), now);
    }
    flow
}

#[cfg(test)]
mod tests {
    use super::super::tests::Transcript;
    use super::*;
    use crate::command::find_full;
    use crate::resp::json::{Batch, Encoding, write_result};
    use crate::resp::{Limits, Words};

    /// What a body is answered by a client of its own.
    fn post(t: &mut Transcript, body: &str) -> String {
        post_in(Scope::All, t, body)
    }

    fn post_in(scope: Scope, t: &mut Transcript, body: &str) -> String {
        let batch = Batch::one(body.as_bytes(), &Limits::default()).expect("a command");
        let (args, mut client, mut out) = (batch.commands().next().expect("one"), t.enter(), Vec::new());
        client.act_as(&t.engine, "default").expect("a user");
        let mut reply = Vec::new();
        match check_alone(args, scope) {
            Ok(()) => while run_alone(&t.engine, &mut client, args, t.clock.now(), &mut reply) == Flow::Again {},
            Err(error) => crate::resp::Reply::new(&mut reply, client.version).error(&error),
        }
        t.engine.leave(&client.peer);
        write_result(&reply, Encoding::Plain, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn the_names_are_those_of_commands_in_order() {
        assert!(NEED_CONNECTION.is_sorted());
        for name in NEED_CONNECTION {
            assert!(find_full(name.as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn commands_are_answered_as_json() {
        let mut t = Transcript::start();
        for (body, answer) in [
            (r#"["SET","k","é\n",  "EX", 100]"#, r#"{"result":"OK"}"#),
            (r#"["get","k"]"#, r#"{"result":"é\n"}"#),
            (r#"["TTL","k"]"#, r#"{"result":100}"#),
            (r#"["GET","none"]"#, r#"{"result":null}"#),
            (r#"["HSET","h","a",1.50,"b",true]"#, r#"{"result":2}"#),
            (r#"["HGETALL","h"]"#, r#"{"result":["a","1.50","b","true"]}"#),
            (r#"["INCR","h"]"#, r#"{"error":"WRONGTYPE Operation against a key holding the wrong kind of value"}"#),
            (r#"["GET"]"#, r#"{"error":"ERR wrong number of arguments for 'get' command"}"#),
            (r#"["SCAN","0","MATCH","k*"]"#, r#"{"result":["0",["k"]]}"#),
            (r#"["KEYS","k*"]"#, r#"{"result":["k"]}"#),
            (r#"["FLUSHALL"]"#, r#"{"result":"OK"}"#),
        ] {
            assert_eq!(post(&mut t, body), answer, "{body}");
        }
    }

    #[test]
    fn what_needs_a_connection_is_refused() {
        let mut t = Transcript::start();
        for name in NEED_CONNECTION {
            let words: Vec<String> = name.split('|').map(|word| format!("\"{word}\"")).collect();
            // With too few words it is refused for that.
            for more in ["", ",\"a\"", ",\"a\",\"b\""] {
                let answer = post(&mut t, &format!("[{}{more}]", words.join(",")));
                let refused =
                    answer.contains("over HTTP") || answer.contains("wrong number") || answer.contains("unknown");
                assert!(refused, "{name}: {answer}");
            }
        }
        assert!(post(&mut t, r#"["subscribe","a"]"#).contains("'subscribe' needs a connection"));
        assert_eq!(t.engine.clients.len(), 1);
    }

    #[test]
    fn who_only_reads_changes_nothing_and_walks_over_nothing() {
        let mut t = Transcript::start();
        t.say("MSET k 1 n 2").hears("+OK");
        let mut reads = |body: &str| post_in(Scope::Reads, &mut t, body);
        assert_eq!(reads(r#"["GET","k"]"#), r#"{"result":"1"}"#);
        assert_eq!(reads(r#"["MGET","k","n"]"#), r#"{"result":["1","2"]}"#);
        assert_eq!(reads(r#"["PING"]"#), r#"{"result":"PONG"}"#);
        let refused = r#"{"error":"NOPERM this user has no permissions to run the 'set' command or its subcommand"}"#;
        assert_eq!(reads(r#"["SET","k",2]"#), refused);
        assert!(reads(r#"["NOSUCH"]"#).contains("unknown command"));
        for found in crate::command::all() {
            let is_read = is_in(found, Scope::Reads);
            let flags = found.spec.flags;
            assert!(!is_read || !flags.has(Flags::WRITE.and(Flags::ADMIN).and(Flags::PUBSUB).and(Flags::KEYSPACE)));
        }
        for name in [
            "KEYS",
            "SCAN",
            "RANDOMKEY",
            "DBSIZE",
            "EVAL",
            "EVAL_RO",
            "FCALL_RO",
            "PUBLISH",
            "SUBSCRIBE",
            "INFO",
            "FLUSHALL",
        ] {
            let found = find_full(name.to_ascii_lowercase().as_bytes()).expect(name);
            assert!(!is_in(found, Scope::Reads), "{name}");
        }
        assert!(is_in(find_full(b"ttl").expect("a command"), Scope::Reads));
    }

    #[test]
    fn nothing_waits_and_what_is_brought_is_there_for_who_waits() {
        let mut t = Transcript::start();
        assert_eq!(post(&mut t, r#"["BLPOP","none",0]"#), r#"{"result":null}"#);
        assert_eq!(post(&mut t, r#"["BLMOVE","none","to","LEFT","LEFT",0]"#), r#"{"result":null}"#);
        let mut waits = t.enter();
        t.say_as(&mut waits, "BLPOP to 0").hears("");
        assert!(!waits.peer.is_called());
        t.say("RPUSH from x").hears(":1");
        assert_eq!(post(&mut t, r#"["BLMOVE","from","to","LEFT","LEFT",0]"#), r#"{"result":"x"}"#);
        assert!(waits.peer.is_called());
        let answer = t.say_as(&mut waits, "BLPOP to 0");
        answer.hears("*2 $2 to $1 x");
        t.say("EXISTS to").hears(":0");
    }

    #[test]
    fn the_rights_are_those_of_a_user_who_may_log_in() {
        let mut t = Transcript::with(&[("requirepass", "secret")]);
        t.say("AUTH secret").hears("+OK");
        t.say("ACL SETUSER web on nopass ~app:* +@read").hears("+OK");
        t.say("ACL SETUSER gone off nopass ~* +@all").hears("+OK");
        let mut client = t.enter();
        assert!(!client.authenticated);
        assert_eq!(client.act_as(&t.engine, "gone"), Err(Error::WrongPass));
        assert_eq!(client.act_as(&t.engine, "nobody"), Err(Error::WrongPass));
        assert!(!client.authenticated);
        client.act_as(&t.engine, "web").expect("a user");
        let mut say = |line: &str| {
            let words = Words::of_line(line.as_bytes()).expect("words");
            let mut out = Vec::new();
            run_alone(&t.engine, &mut client, words.args(), t.clock.now(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(say("GET app:1"), "$-1\r\n");
        assert!(say("GET other").starts_with("-NOPERM") && say("SET app:1 x").starts_with("-NOPERM"));
    }
}
