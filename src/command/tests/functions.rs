//! Functions: how libraries come and go, what their functions may do, and who may end them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Heard, Transcript};
use crate::clock::Ttl;

/// Loads the library `l` with this text behind its first line.
fn load(t: &mut Transcript, text: &str) -> Heard {
    t.words(&[b"FUNCTION", b"LOAD", b"REPLACE", format!("#!lua name=l\n{text}").as_bytes()])
}

/// Calls a function `f` with this body, with the key `k` and the argument `a`.
fn call(t: &mut Transcript, body: &str) -> String {
    load(t, &format!("redis.register_function('f', function(keys, args) {body} end)")).hears("$1 l");
    t.say("FCALL f 1 k a").text()
}

const LISTED: &str = "$12 library_name $1 l $6 engine $3 LUA $9 functions";

#[test]
fn a_library_is_loaded_and_its_functions_called() {
    let mut t = Transcript::start();
    load(&mut t, "local function twice(n) return 2 * n end redis.register_function('f', function(keys, args) return {keys[1], twice(args[1])} end)\nredis.register_function{function_name='G', description='says so', flags={'No-Writes', 'allow-oom'}, callback=function() return 'g' end}")
        .hears("$1 l");
    t.say("FCALL f 1 k 21").hears("*2 $1 k :42");
    t.say("FCALL F 1 k 21").hears("*2 $1 k :42");
    t.say("FCALL_RO g 0").hears("$1 g");
    t.say("FCALL_RO f 0").hears("-ERR Can not execute a script with write flag using *_ro command.");
    let functions = "*2 *6 $4 name $1 G $11 description $7 says so $5 flags *2 +no-writes +allow-oom *6 $4 name $1 f $11 description $-1 $5 flags *0";
    t.say("FUNCTION LIST").hears(&format!("*1 *6 {LISTED} {functions}"));
    t.say("FUNCTION LIST LIBRARYNAME [KL] WITHCODE")
        .hears_start(&format!("*1 *8 {LISTED} {functions} $12 library_code $"));
    t.say("FUNCTION LIST LIBRARYNAME m").hears("*0");
    t.say("FUNCTION LIST WITHCODE WITHCODE").hears("-ERR Unknown argument WITHCODE");
    t.say("FUNCTION LIST LIBRARYNAME").hears("-ERR library name argument was not given");
    t.say("FUNCTION STATS")
        .hears("*4 $14 running_script $-1 $7 engines *2 $3 LUA *4 $15 libraries_count :1 $15 functions_count :2");
    t.say("FCALL nosuch 0").hears("-ERR Function not found");
    t.say("FCALL f x").hears("-ERR Bad number of keys provided");
    t.say("FCALL f -1").hears("-ERR Number of keys can't be negative");
    t.say("FCALL f 1").hears("-ERR Number of keys can't be greater than number of args");
    t.say("COMMAND GETKEYS FCALL f 2 a b c").hears("*2 $1 a $1 b");
    t.say("FUNCTION DELETE L").hears("-ERR Library not found");
    t.say("FUNCTION DELETE l").hears("+OK");
    t.say("FCALL f 0").hears("-ERR Function not found");
    t.say("FUNCTION HELP").hears_start("*40 +FUNCTION <subcommand> ");
}

#[test]
fn what_is_no_library_is_refused_and_changes_nothing() {
    let mut t = Transcript::start();
    load(&mut t, "redis.register_function('f', function() return 'first' end)").hears("$1 l");
    t.words(&[b"FUNCTION", b"LOAD", b"x"]).hears("-ERR Missing library metadata");
    t.words(&[b"FUNCTION", b"LOAD", b"NOW", b"x"]).hears("-ERR Unknown option given: NOW");
    t.words(&[b"FUNCTION", b"LOAD", b"#!lua name=l\nx("]).hears("-ERR Library 'l' already exists");
    let other = b"#!lua name=m\nredis.register_function('F', function() end)";
    t.words(&[b"FUNCTION", b"LOAD", other]).hears("-ERR Function F already exists");
    for (text, problem) in
        [("", "No functions registered"), ("x", "Error compiling function: user_function:2: '=' expected near '<eof>'")]
    {
        load(&mut t, text).hears(&format!("-ERR {problem}"));
    }
    let name_rule =
        "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    let absent =
        |name: &str| format!("user_function:2: Script attempted to access nonexistent global variable '{name}'");
    for (text, problem) in [
        ("redis.call('ping')", absent("call")),
        ("redis.setresp(3)", absent("setresp")),
        ("redis.redis.call('ping')", absent("redis")),
        ("return math.random()", absent("math")),
        ("return pcall(1)", absent("pcall")),
        ("x = 1", "user_function:2: Attempt to modify a readonly table".into()),
        ("redis.x = 1", "user_function:2: Attempt to modify a readonly table".into()),
        ("redis.register_function()", "wrong number of arguments to redis.register_function".into()),
        ("redis.register_function(1, 2, 3)", "wrong number of arguments to redis.register_function".into()),
        (
            "redis.register_function('f')",
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).".into(),
        ),
        ("redis.register_function({}, 1)", "first argument to redis.register_function must be a string".into()),
        ("redis.register_function('f', 1)", "second argument to redis.register_function must be a function".into()),
        ("redis.register_function('a b', function() end)", name_rule.into()),
        ("redis.register_function('', function() end)", name_rule.into()),
        (
            "redis.register_function('f', function() end) redis.register_function('f', function() end)",
            "Function already exists in the library".into(),
        ),
        ("redis.register_function{callback=function() end}", "redis.register_function must get a function name argument".into()),
        ("redis.register_function{function_name='f'}", "redis.register_function must get a callback argument".into()),
        ("redis.register_function{x=1}", "unknown argument given to redis.register_function".into()),
        ("redis.register_function{[true]=1}", "named argument key given to redis.register_function is not a string".into()),
        ("redis.register_function{function_name={}}", "function_name argument given to redis.register_function must be a string".into()),
        ("redis.register_function{description={}}", "description argument given to redis.register_function must be a string".into()),
        ("redis.register_function{callback=1}", "callback argument given to redis.register_function must be a function".into()),
        ("redis.register_function{flags=1}", "flags argument to redis.register_function must be a table representing function flags".into()),
        ("redis.register_function{flags={'nosuch'}}", "unknown flag given".into()),
    ] {
        load(&mut t, text).hears(&format!("-ERR Error registering functions: ERR {problem}"));
    }
    t.say("FCALL f 0").hears("$5 first");
}

#[test]
fn a_function_sees_what_a_script_sees_but_for_keys_and_arguments() {
    let mut t = Transcript::start();
    assert_eq!(call(&mut t, "return redis.call('set', keys[1], args[1])"), "+OK");
    t.say("GET k").hears("$1 a");
    let place = "script: f, on @user_function:2.";
    let absent = "-ERR user_function:2: Script attempted to access nonexistent global variable";
    let fixed = "-ERR user_function:2: Attempt to modify a readonly table";
    assert_eq!(call(&mut t, "return KEYS"), format!("{absent} 'KEYS' {place}"));
    assert_eq!(call(&mut t, "return __redis__err__handler"), format!("{absent} '__redis__err__handler' {place}"));
    assert_eq!(call(&mut t, "x = 1"), format!("{fixed} {place}"));
    assert_eq!(call(&mut t, "getmetatable(_G).__index = 1"), format!("{fixed} {place}"));
    assert_eq!(
        call(&mut t, "redis.register_function('g', function() end)"),
        format!("-ERR user_function:2: attempt to call field 'register_function' (a nil value) {place}"),
    );
    assert_eq!(call(&mut t, "return type(redis.replicate_commands)"), "$3 nil");
    assert_eq!(
        call(&mut t, "return redis.call('fcall', 'f', 0)"),
        format!("-ERR This Redis command is not allowed from script {place}")
    );
    assert_eq!(
        call(&mut t, "return redis.call('nosuch')"),
        format!("-ERR Unknown Redis command called from script {place}")
    );
    // What a library keeps of the time when it was loaded is of no use later.
    load(&mut t, "local lib = redis\nlib.register_function('f', function() lib.math = 1 end)\nlib.register_function('g', function() lib.register_function('h', function() end) end)")
        .hears("$1 l");
    t.say("FCALL f 0")
        .hears("-ERR user_function:3: Attempt to modify a readonly table script: f, on @user_function:3.");
    t.say("FCALL g 0").hears(
        "-ERR redis.register_function can only be called on FUNCTION LOAD command script: g, on @user_function:4.",
    );
}

#[test]
fn a_library_remembers_between_calls_until_it_is_replaced() {
    let mut t = Transcript::start();
    let counter = "local n = 0 redis.register_function('f', function() n = n + 1 return n end)";
    load(&mut t, counter).hears("$1 l");
    t.say("FCALL f 0").hears(":1");
    t.say("FCALL f 0").hears(":2");
    t.words(&[b"FUNCTION", b"LOAD", b"#!lua name=m\nredis.register_function('g', function() end)"]).hears("$1 m");
    t.say("SCRIPT FLUSH").hears("+OK");
    t.say("FLUSHALL").hears("+OK");
    t.say("FCALL f 0").hears(":3");
    load(&mut t, counter).hears("$1 l");
    t.say("FCALL f 0").hears(":1");
    t.say("FUNCTION FLUSH ASYNC").hears("+OK");
    t.say("FUNCTION LIST").hears("*0");
    t.say("FUNCTION FLUSH x").hears("-ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    t.say("FUNCTION FLUSH a b")
        .hears("-ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.");
}

#[test]
fn libraries_are_dumped_and_restored() {
    let mut t = Transcript::start();
    load(&mut t, "redis.register_function('f', function() return 1 end)").hears("$1 l");
    let Heard(dump) = t.say("FUNCTION DUMP");
    let text = b"#!lua name=l\nredis.register_function('f', function() return 1 end)";
    // The mark of a library, the length of its text in 14 bits, and the text; the seal follows.
    let start = [&b"$79\r\n\xf5\x40"[..], &[text.len() as u8], text].concat();
    assert!(dump.starts_with(&start), "{:?}", String::from_utf8_lossy(&dump));
    let dump = &dump[5..dump.len() - 2];
    t.words(&[b"FUNCTION", b"RESTORE", dump]).hears("-ERR Library l already exists");
    load(&mut t, "redis.register_function('g', function() return 2 end)").hears("$1 l");
    t.words(&[b"FUNCTION", b"RESTORE", dump, b"REPLACE"]).hears("+OK");
    t.say("FCALL f 0").hears(":1");
    t.say("FCALL g 0").hears("-ERR Function not found");
    t.words(&[b"FUNCTION", b"LOAD", b"#!lua name=m\nredis.register_function('g', function() end)"]).hears("$1 m");
    t.words(&[b"FUNCTION", b"RESTORE", dump, b"FLUSH"]).hears("+OK");
    t.say("FCALL g 0").hears("-ERR Function not found");
    t.words(&[b"FUNCTION", b"RESTORE", dump, b"NOW"])
        .hears("-ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    t.words(&[b"FUNCTION", b"RESTORE", b"bad"]).hears("-ERR DUMP payload version or checksum are wrong");
    t.say("FUNCTION FLUSH").hears("+OK");
    t.words(&[b"FUNCTION", b"LOAD", b"#!lua name=m\nredis.register_function('F', function() end)"]).hears("$1 m");
    t.words(&[b"FUNCTION", b"RESTORE", dump]).hears("-ERR Function f already exists");
    t.say("SET k v").hears("+OK");
    let Heard(value) = t.say("DUMP k");
    t.words(&[b"FUNCTION", b"RESTORE", &value[5..value.len() - 2]]).hears("-ERR given type is not a function");
    // Those of the first release candidates had the name beside the text: f, LUA, no description, the text.
    let mut early = b"\xf6\x01e\x03LUA\x00\x37redis.register_function('e', function() return 'e' end)".to_vec();
    crate::rdb::seal(&mut early);
    t.words(&[b"FUNCTION", b"RESTORE", &early]).hears("+OK");
    t.say("FCALL e 0").hears("$1 e");
}

#[test]
fn what_a_function_promises_is_kept() {
    let mut t = Transcript::with(&[("maxmemory-policy", "noeviction")]);
    let function = |name: &str, flags: &str, body: &str| {
        format!("redis.register_function{{function_name='{name}', flags={{{flags}}}, callback=function() {body} end}} ")
    };
    let set = "return redis.call('set', 'x', 1)";
    let text = [
        function("reader", "'no-writes'", "return redis.call('get', 'x')"),
        function("liar", "'no-writes'", set),
        function("writer", "", set),
        function("hungry", "'allow-oom'", set),
        function("publisher", "'no-writes'", "return redis.call('publish', 'c', 'm')"),
    ];
    load(&mut t, &text.concat()).hears("$1 l");
    let refused = "-ERR Write commands are not allowed from read-only scripts. script: ";
    t.say("FCALL liar 0").hears_start(refused);
    t.say("FCALL publisher 0").hears_start(refused);
    // A library is memory too.
    t.say("CONFIG SET maxmemory 1").hears("+OK");
    t.say("FCALL writer 0")
        .hears("-OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
    t.say("FCALL reader 0").hears("$-1");
    t.say("FCALL_RO reader 0").hears("$-1");
    t.say("FCALL hungry 0").hears("+OK");
    load(&mut t, "").hears("-OOM command not allowed when used memory > 'maxmemory'.");
    t.say("CONFIG SET maxmemory 0").hears("+OK");
    let mut other = t.enter();
    t.say_as(&mut other, "CLIENT PAUSE 1000 WRITE").hears("+OK");
    t.say("FCALL reader 0").hears("$1 1");
    t.say("FCALL writer 0").hears("");
}

#[test]
fn rights_cover_functions() {
    let mut t = Transcript::start();
    load(&mut t, "redis.register_function('f', function(keys) return redis.call('get', keys[1]) end)").hears("$1 l");
    t.say("ACL SETUSER u on nopass +@all -@scripting ~a").hears("+OK");
    t.say("AUTH u x").hears("+OK");
    t.say("FCALL f 1 a").hears("-NOPERM this user has no permissions to run the 'fcall' command");
    t.say("FUNCTION LIST").hears("-NOPERM this user has no permissions to run the 'function|list' command");
    t.say("AUTH default x").hears("+OK");
    t.say("ACL SETUSER u +fcall").hears("+OK");
    t.say("AUTH u x").hears("+OK");
    t.say("FCALL f 1 a").hears("$-1");
    t.say("FCALL f 1 b").hears("-NOPERM this user has no permissions to access one of the keys used as arguments");
}

#[test]
fn who_watches_sees_the_function_and_what_it_does() {
    let mut t = Transcript::start();
    load(&mut t, "redis.register_function('f', function(keys) return redis.call('get', keys[1]) end)").hears("$1 l");
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    t.say("FCALL f 1 a").hears("$-1");
    let seen = t.mail(&watcher);
    let lines: Vec<&str> = seen.split(" +").collect();
    assert_eq!(lines.len(), 2, "{seen}");
    assert!(lines[0].ends_with(r#""FCALL" "f" "1" "a""#) && lines[1].ends_with(r#" [0 lua] "get" "a""#), "{seen}");
}

#[test]
fn a_library_that_does_not_end_is_given_up() {
    let mut t = Transcript::start();
    let (clock, is_done) = (t.clock.clone(), AtomicBool::new(false));
    let given_up = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                clock.advance(Ttl(100));
                std::thread::yield_now();
            }
        });
        let given_up = load(&mut t, "while true do end").text();
        is_done.store(true, Ordering::Relaxed);
        given_up
    });
    assert_eq!(given_up, "-ERR Error registering functions: ERR FUNCTION LOAD timeout");
    assert_eq!(call(&mut t, "for i = 1, 100000 do end return 'fine'"), "$4 fine");
}

#[test]
fn a_function_that_takes_long_is_seen_and_ended() {
    let t = Transcript::with(&[("busy-reply-threshold", "1")]);
    let engine = &t.engine;
    let say = |words: &[&[u8]]| {
        let (words, mut out): (crate::resp::Words, _) = (words.iter().copied().collect(), Vec::new());
        let mut client = crate::command::Client::new(engine, t.client.peer.clone(), 0, true);
        crate::command::run(engine, &mut client, words.args(), None, t.clock.now(), &mut out);
        Heard(out).text()
    };
    assert_eq!(say(&[b"FUNCTION", b"KILL"]), "-NOTBUSY No scripts in execution right now.");
    let text = "#!lua name=l\nlocal n = 0 redis.register_function('f', function() while true do end end)\nredis.register_function('g', function() n = n + 1 return n end)";
    assert_eq!(say(&[b"FUNCTION", b"LOAD", text.as_bytes()]), "$1 l");
    let token: &[u8] = b"auth:session:c4n4ry.t0ken";
    let ended = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !engine.scripts.is_running() {
                std::thread::yield_now();
            }
            engine.scripts.running().look(u64::MAX, || u64::MAX);
            let busy = "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
            assert_eq!((say(&[b"PING"]), say(&[b"SCRIPT", b"KILL"])), (busy.into(), busy.into()));
            let stats = say(&[b"FUNCTION", b"STATS"]);
            let command = "$1 f $7 command *4 $5 FCALL $1 f $1 1 $";
            assert!(stats.starts_with(&format!("*4 $14 running_script *6 $4 name {command}")), "{stats}");
            assert!(stats.contains("auth:session:~") && !stats.contains("c4n4ry"), "{stats}");
            assert_eq!(say(&[b"FUNCTION", b"KILL"]), "+OK");
        });
        let ended = say(&[b"FCALL", b"f", b"1", token]);
        other.join().expect("no assertion failed");
        ended
    });
    assert_eq!(ended, "-ERR Script killed by user with SCRIPT KILL. script: f, on @user_function:2.");
    assert_eq!(say(&[b"FCALL", b"g", b"0"]), ":1");
}

#[test]
fn a_script_is_not_ended_as_a_function() {
    let t = Transcript::start();
    let mut client = crate::command::Client::new(&t.engine, t.client.peer.clone(), 0, true);
    t.engine.scripts.run(0, || {
        for words in [[&b"FUNCTION"[..], b"KILL"], [b"FUNCTION", b"STATS"]] {
            let (words, mut out): (crate::resp::Words, _) = (words.into_iter().collect(), Vec::new());
            crate::command::run(&t.engine, &mut client, words.args(), None, t.clock.now(), &mut out);
            let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
            assert_eq!(Heard(out).text(), busy);
        }
    });
}

#[test]
fn libraries_are_counted() {
    let mut t = Transcript::start();
    let before = t.engine.used_memory();
    load(&mut t, "redis.register_function('f', function() end)").hears("$1 l");
    assert!(t.engine.used_memory() > before);
    let text = t.say("INFO memory").text();
    for line in ["number_of_functions:1 ", "number_of_libraries:1 ", "used_memory_functions:"] {
        assert!(text.contains(line) && !text.contains("used_memory_functions:0 "), "{line} in {text}");
    }
    t.say("FUNCTION FLUSH").hears("+OK");
    assert_eq!(t.engine.used_memory(), before);
}
