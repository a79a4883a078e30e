//! Scripts: what they return, what they may not do, and those that libraries send.

use super::Transcript;
use crate::clock::Ttl;

/// Runs a script without keys and arguments.
fn eval(t: &mut Transcript, script: &str) -> super::Heard {
    t.words(&[b"EVAL", script.as_bytes(), b"0"])
}

/// Each script gets this reply.
#[track_caller]
fn hears(t: &mut Transcript, cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        assert_eq!(eval(t, script).text(), *expected, "{script}");
    }
}

/// Each script fails with this text, which is followed by where it was.
#[track_caller]
fn fails(t: &mut Transcript, cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        let text = eval(t, script).text();
        let (error, place) = text.split_once(" script: ").expect(script);
        assert_eq!(error, format!("-ERR {expected}"), "{script}");
        assert!(place.ends_with(", on @user_script:1."), "{script}: {place}");
    }
}

#[test]
fn values_become_replies() {
    let mut t = Transcript::start();
    let mut cases = vec![
        ("return 3.99", ":3"),
        ("return -3.99", ":-3"),
        ("return 1e300", ":-9223372036854775808"),
        ("return 0/0", ":-9223372036854775808"),
        ("return 'a\\0b'", "$3 a\0b"),
        ("return redis.status_reply('fine')", "+fine"),
        ("return redis.error_reply('My Err')", "-My Err"),
        ("return redis.error_reply('MyErr')", "-ERR MyErr"),
        ("return redis.error_reply('-MyErr')", "-ERR MyErr"),
        ("return redis.error_reply()", "-ERR wrong number or type of arguments"),
        ("return {err='a\\r\\nb'}", "-a  b"),
        ("return {ok='fine', err='first'}", "-first"),
        ("return {1, 2.9, 'a', {redis.call('echo', 'x')}, nil, 5}", "*4 :1 :2 $1 a *1 $1 x"),
        ("return {}", "*0"),
        ("return setmetatable({}, {__index = function() return 1 end})", "*0"),
        ("return redis.call('set', 'k', 1.5)", "+OK"),
        ("return redis.call('get', 'k')", "$3 1.5"),
        ("return redis.call('set', 'k', 1e15)", "+OK"),
        ("return redis.call('get', 'k')", "$16 1000000000000000"),
        ("return redis.call('get', 'nothing') == false", ":1"),
        ("return redis.call('ping').ok", "$4 PONG"),
        ("return redis.call('append', 'k2', 'abc'), 2", ":3"),
        ("return {double = 3.5, 1}", "$3 3.5"),
        ("return {big_number = '12\\n3'}", "$4 12 3"),
        ("return {verbatim_string = {format = 'mkd', string = 'text'}}", "$4 text"),
        ("return {set = {a = true}}", "*1 $1 a"),
        ("return {map = {a = 1}}", "*2 $1 a :1"),
    ];
    cases.extend([
        ("return nil", "$-1"),
        ("return false", "$-1"),
        ("return true", ":1"),
        ("return function() end", "$-1"),
        ("redis.setresp(3) return {true, false, redis.call('get', 'nothing')}", "*2 :1 :0"),
    ]);
    hears(&mut t, &cases);
    t.say("HELLO 3").hears_start("%7");
    hears(
        &mut t,
        &[
            ("return nil", "_"),
            ("return true", ":1"),
            ("return false", "_"),
            ("redis.setresp(3) return {true, false}", "*2 #t #f"),
            ("redis.setresp(3) return tostring(redis.call('get', 'nothing'))", "$3 nil"),
            ("return {double = 3.5}", ",3.5"),
            ("return {big_number = '123'}", "(123"),
            ("return {verbatim_string = {format = 'mkd', string = 'text'}}", "=8 mkd:text"),
            ("return {set = {a = true}}", "~1 $1 a"),
            ("return {map = {a = {map = {b = 1.5}}}}", "%1 $1 a %1 $1 b :1"),
        ],
    );
    // The client's own version stays what it was.
    t.say("GET nothing").hears("_");
}

#[test]
fn keys_and_arguments_arrive() {
    let mut t = Transcript::start();
    t.say("EVAL 'return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV}' 2 a b c").hears("*5 $1 a $1 b $1 c :2 :1");
    t.say("EVAL 'return {#KEYS, #ARGV}' 0").hears("*2 :0 :0");
    t.say("EVAL 'return 1'").hears("-ERR wrong number of arguments for 'eval' command");
    t.say("EVAL 'return 1' x").hears("-ERR value is not an integer or out of range");
    t.say("EVAL 'return 1' -1").hears("-ERR Number of keys can't be negative");
    t.say("EVAL 'return 1' 2 a").hears("-ERR Number of keys can't be greater than number of args");
    t.say("EVAL 'return 1' 9223372036854775807 a").hears("-ERR Number of keys can't be greater than number of args");
}

#[test]
fn errors_are_those_of_redis() {
    let mut t = Transcript::start();
    fails(
        &mut t,
        &[
            ("return redis.call('nosuch')", "Unknown Redis command called from script"),
            ("return redis.call('config', 'nosuch')", "Unknown Redis command called from script"),
            ("return redis.call('get')", "Wrong number of args calling Redis command from script"),
            ("return redis.call('config', 'get', 'x')", "This Redis command is not allowed from script"),
            ("return redis.call('eval', 'return 1', '0')", "This Redis command is not allowed from script"),
            ("return redis.call()", "Please specify at least one argument for this redis lib call"),
            ("return redis.call({})", "Lua redis lib command arguments must be strings or integers"),
            ("redis.call('incrby', 'a', 'x')", "value is not an integer or out of range"),
            ("error('boo')", "user_script:1: boo"),
            ("error('boo', 0)", "boo"),
            ("error()", "nil"),
            ("error({})", "unknown error"),
            ("return redis.setresp(4)", "RESP version must be 2 or 3."),
            ("return redis.log('x', 'y')", "First argument must be a number (log level)."),
            (
                "return redis.set_repl(9)",
                "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ),
        ],
    );
    t.say("SET text x").hears("+OK");
    eval(&mut t, "local x = 1\nlocal y = 2\nreturn redis.call('incr', 'text')")
        .hears_start("-ERR value is not an integer or out of range script: ");
    assert!(eval(&mut t, "\n\nredis.call('incr', 'text')").text().ends_with(", on @user_script:3."));
    hears(
        &mut t,
        &[
            ("return 1 2", "-ERR Error compiling script (new function): user_script:1: '<eof>' expected near '2'"),
            ("return redis.pcall('nosuch')", "-ERR Unknown Redis command called from script"),
            ("local e = redis.pcall('incr', 'text') return e.err", "$43 ERR value is not an integer or out of range"),
            ("local ok, e = pcall(redis.call, 'nosuch') return e", "$44 ERR Unknown Redis command called from script"),
            (
                "local ok, e = xpcall(function() redis.call('nosuch') end, function(e) return type(e) end) return e",
                "$5 table",
            ),
            ("local ok, e = pcall(error, {err = 'mine'}) return e", "$4 mine"),
            ("local ok, e = pcall(function() error('x') end) return e", "$16 user_script:1: x"),
            ("local ok, e = pcall(cjson.decode, '[') return {tostring(ok), type(e)}", "*2 $5 false $6 string"),
            ("return coroutine.wrap(function() return redis.call('ping').ok end)()", "$4 PONG"),
            (
                "local co = coroutine.create(function() redis.call('nosuch') end) local ok, e = coroutine.resume(co) return e.err",
                "$44 ERR Unknown Redis command called from script",
            ),
        ],
    );
}

#[test]
fn the_sandbox_holds() {
    let mut t = Transcript::start();
    for name in [
        "x", "print", "dofile", "loadfile", "io", "package", "require", "module", "debug", "getfenv", "setfenv",
        "newproxy",
    ] {
        let expected = format!("user_script:1: Script attempted to access nonexistent global variable '{name}'");
        fails(&mut t, &[(&format!("local a = {name}"), &expected), (&format!("local a = _G.{name}"), &expected)]);
    }
    for script in [
        "x = 1",
        "redis = nil",
        "_G = {}",
        "_G.x = 1",
        "redis.call = 1",
        "string.format = 1",
        "cjson.x = 1",
        "math.x = 1",
        "local m = getmetatable(_G) m.__index = nil",
        "local m = getmetatable('') m.__index = nil",
    ] {
        fails(&mut t, &[(script, "user_script:1: Attempt to modify a readonly table")]);
    }
    for script in
        ["rawset(_G, 'x', 1)", "setmetatable(_G, {})", "setmetatable(getmetatable(_G), {})", "rawset(redis, 'call', 1)"]
    {
        fails(&mut t, &[(script, "Attempt to modify a readonly table")]);
    }
    hears(
        &mut t,
        &[
            ("return {tostring(os.execute), tostring(os.getenv), tostring(os.exit)}", "*3 $3 nil $3 nil $3 nil"),
            ("return type(os.clock())", "$6 number"),
            ("return tostring(loadstring('\\27Lua'))", "$3 nil"),
            // What was compiled may be seen, but comes to nothing.
            ("return tostring(loadstring(string.dump(function() end)))", "$3 nil"),
            ("return loadstring('return 7')()", ":7"),
            (
                "local first = true return load(function() if first then first = false return 'return 8' end end)()",
                ":8",
            ),
            ("return tostring(rawget(_G, 'x'))", "$3 nil"),
            ("for name in pairs(redis) do if name == 'call' then return name end end", "$4 call"),
            ("table.insert(redis, 'left') return 1", ":1"),
            ("return tostring(rawget(redis, 1))", "$3 nil"),
            ("return tostring(redis[1])", "$3 nil"),
            ("local t = setmetatable({}, {__index = {a = 1}}) return t.a", ":1"),
            ("return collectgarbage('stop')", ":0"),
        ],
    );
    let text = eval(&mut t, "return loadstring('return y')()").text();
    assert!(text.contains("nonexistent global variable 'y'"), "{text}");
    eval(&mut t, "\u{1b}LuaQ").hears_start("-ERR Error compiling script");
}

/// With the stack of a worker.
#[test]
fn nothing_a_script_does_ends_the_server() {
    let thread = std::thread::Builder::new().stack_size(8 * 1024 * 1024).spawn(run_what_could_end_the_server);
    thread.expect("a thread").join().expect("no panic");
}

fn run_what_could_end_the_server() {
    let mut t = Transcript::start();
    for script in [
        "local function f() return f() + 1 end return f()",
        "local function f() return pcall(f) end return f()",
        "local function f(a) return (a:gsub('.', f)) end return f('x')",
        "return string.rep('x', 2^40)",
        "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e7) .. i end",
        "local t = {} t[1] = t return cjson.encode(t)",
        "return cjson.decode(('['):rep(1e6))",
        "return cmsgpack.unpack(('\\145'):rep(1e6))",
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "return cmsgpack.unpack('\\223\\255\\255\\255\\255\\192\\192')",
        "return cmsgpack.unpack(('\\1'):rep(1e5))",
        "return struct.pack('i33', 1)",
        "return struct.unpack('c2147483647', 'x')",
        "return struct.unpack('c99999999999', 'x')",
        "return struct.unpack('i4', 'abcd', 2^53)",
        "return struct.pack('!3i', 1)",
        "return loadstring(('('):rep(1e5) .. '1' .. (')'):rep(1e5))()",
        "return unpack({}, 1, 1e8)",
        "return table.concat({}, 'x', 1, 1e9)",
        "error(setmetatable({}, {__tostring = function() error('x') end}))",
        "error(setmetatable({}, {__index = function() error('x') end, __newindex = function() error('y') end}))",
        "return string.format('%99999d', 1)",
    ] {
        let text = eval(&mut t, script).text();
        assert!(!text.is_empty(), "{script}");
    }
    eval(&mut t, "local t = {} t[1] = t return t").hears_start("*1 *1 *1 *1 ");
    assert!(eval(&mut t, "local t = {} t[1] = t return t").text().ends_with("-ERR reached lua stack limit"));
    eval(&mut t, "return 1").hears(":1");
}

#[test]
fn texts_are_kept_by_their_sha1() {
    let mut t = Transcript::start();
    const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    t.say(&format!("EVALSHA {SHA} 0")).hears("-NOSCRIPT No matching script. Please use EVAL.");
    t.say("EVALSHA short 0").hears("-NOSCRIPT No matching script. Please use EVAL.");
    t.say("SCRIPT LOAD 'return 1'").hears(&format!("$40 {SHA}"));
    t.say(&format!("EVALSHA {SHA} 0")).hears(":1");
    t.say(&format!("EVALSHA {} 0", SHA.to_uppercase())).hears(":1");
    t.say(&format!("EVALSHA_RO {SHA} 0")).hears(":1");
    t.say(&format!("SCRIPT EXISTS {SHA} nosuch {SHA}")).hears("*3 :1 :0 :1");
    t.say("SCRIPT FLUSH NOW").hears("-ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    t.say("SCRIPT FLUSH ASYNC").hears("+OK");
    t.say(&format!("SCRIPT EXISTS {SHA}")).hears("*1 :0");
    t.say("EVAL 'return 1' 0").hears(":1");
    t.say(&format!("SCRIPT EXISTS {SHA}")).hears("*1 :1");
    t.say("SCRIPT LOAD 'return'").hears_start("$40 ");
    t.say("SCRIPT LOAD 'x ='")
        .hears("-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'");
    t.say("SCRIPT DEBUG NO").hears("+OK");
    t.say("SCRIPT DEBUG MAYBE").hears("-ERR Use SCRIPT DEBUG YES/SYNC/NO");
    t.say("SCRIPT NOSUCH").hears("-ERR unknown subcommand 'NOSUCH'. Try SCRIPT HELP.");
    t.say("SCRIPT HELP").hears_start("*17 +SCRIPT <subcommand> ");
    eval(&mut t, "return redis.sha1hex('return 1')").hears(&format!("$40 {SHA}"));
}

#[test]
fn a_script_that_only_reads_cannot_write() {
    let mut t = Transcript::start();
    let refused = "-ERR Write commands are not allowed from read-only scripts. script: ";
    t.say("SET a 1").hears("+OK");
    t.say(r#"EVAL_RO "return redis.call('get', KEYS[1])" 1 a"#).hears("$1 1");
    t.say(r#"EVAL_RO "return redis.call('set', 'a', 2)" 0"#).hears_start(refused);
    eval(&mut t, "#!lua flags=no-writes\nreturn redis.call('set', 'a', 2)").hears_start(refused);
    t.say(r#"EVAL_RO "\#!lua\nreturn 1" 0"#).hears("-ERR Can not execute a script with write flag using *_ro command.");
    t.say(r#"EVAL_RO "\#!lua flags=no-writes\nreturn 1" 0"#).hears(":1");
    eval(&mut t, "#!lua flags=nosuch\nreturn 1").hears("-ERR Unexpected flag in script shebang: nosuch");
    t.say("GET a").hears("$1 1");
}

#[test]
fn memory_is_checked_when_a_script_begins() {
    let mut t = Transcript::with(&[("maxmemory-policy", "noeviction")]);
    t.say("SET a 1").hears("+OK");
    t.say("CONFIG SET maxmemory 1").hears("+OK");
    let text = eval(&mut t, "return redis.call('set', 'x', 1)").text();
    assert!(text.starts_with("-OOM command not allowed when used memory > 'maxmemory'. script: "), "{text}");
    eval(&mut t, "redis.call('del', 'a') return redis.call('set', 'x', 1)").hears("+OK");
    eval(&mut t, "#!lua\nreturn 1")
        .hears("-OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
    eval(&mut t, "#!lua flags=allow-oom\nreturn redis.call('set', 'x', 1)").hears("+OK");
    eval(&mut t, "#!lua flags=no-writes\nreturn redis.call('get', 'x')").hears("$1 1");
}

#[test]
fn a_database_that_a_script_selects_is_its_own() {
    let mut t = Transcript::start();
    eval(&mut t, "redis.call('select', 3) return redis.call('set', 'a', 'x')").hears("+OK");
    t.say("GET a").hears("$-1");
    t.say("SELECT 3").hears("+OK");
    t.say("GET a").hears("$1 x");
}

#[test]
fn chance_goes_on_and_can_be_seeded() {
    let mut t = Transcript::start();
    let seeded = "math.randomseed(0) return math.random(1000) .. ' ' .. math.random(-5, 5)";
    let first = eval(&mut t, seeded).text();
    assert_eq!(eval(&mut t, seeded).text(), first);
    assert_ne!(eval(&mut t, "return math.random(1e9)").text(), eval(&mut t, "return math.random(1e9)").text());
    fails(&mut t, &[("return math.random(0)", "user_script:1: bad argument #1 to 'random' (interval is empty)")]);
}

#[test]
fn a_lock_is_taken_and_given_back_by_its_owner() {
    let mut t = Transcript::start();
    const RELEASE: &str =
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    const EXTEND: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end";
    t.say("SET lock mine NX PX 1000").hears("+OK");
    let mut run = |script: &str, args: &[&[u8]]| {
        let mut words: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), b"1", b"lock"];
        words.extend(args);
        t.words(&words).text()
    };
    assert_eq!(run(RELEASE, &[b"other"]), ":0");
    assert_eq!(run(EXTEND, &[b"mine", b"5000"]), ":1");
    assert_eq!(run(RELEASE, &[b"mine"]), ":1");
    assert_eq!(run(RELEASE, &[b"mine"]), ":0");
}

#[test]
fn a_rate_is_limited() {
    let mut t = Transcript::start();
    let script = "local count = redis.call('INCR', KEYS[1])\n\
                  local left = redis.call('PTTL', KEYS[1])\n\
                  if count == 1 or left < 0 then\n  redis.call('PEXPIRE', KEYS[1], ARGV[1])\n  left = tonumber(ARGV[1])\nend\n\
                  return {count, left}";
    t.words(&[b"SCRIPT", b"LOAD", script.as_bytes()]).hears_start("$40 ");
    let sha = eval(&mut t, &format!("return redis.sha1hex([==[{script}]==])")).text().replace("$40 ", "");
    let call = format!("EVALSHA {sha} 1 rate:1 1000");
    t.say(&call).hears("*2 :1 :1000");
    t.wait(Ttl(400));
    t.say(&call).hears("*2 :2 :600");
    t.wait(Ttl(600));
    t.say(&call).hears("*2 :1 :1000");
}

#[test]
fn json_is_that_of_cjson() {
    let mut t = Transcript::start();
    hears(
        &mut t,
        &[
            (
                "return cjson.encode({1, 2, {a = 'b/\"'}, false, 1.5, -3, 1e20, cjson.null})",
                r#"$43 [1,2,{"a":"b\/\""},false,1.5,-3,1e+20,null]"#,
            ),
            ("return cjson.encode({[3] = 1})", "$13 [null,null,1]"),
            ("return cjson.encode({})", "$2 {}"),
            ("return cjson.encode('\\1\\127\\n')", r#"$16 "\u0001\u007f\n""#),
            ("return cjson.decode('{\"a\": [1, 2.5, \"x\\\\u00e9\\\\ud83d\\\\ude00\"]}').a[3]", "$7 xé😀"),
            ("return {cjson.decode(' 0x10 '), cjson.decode('true'), cjson.decode('-1e2')}", "*3 :16 :1 :-100"),
            ("return {cjson.decode('+1'), cjson.decode('[+0x1f]')[1], cjson.decode('01')}", "*3 :1 :31 :1"),
            ("return tostring(cjson.decode('null') == cjson.null)", "$4 true"),
            (
                "local j = cjson.new() j.encode_sparse_array(true) return j.encode({[100000] = 1})",
                r#"$12 {"100000":1}"#,
            ),
            (
                "cjson.encode_number_precision(3) local s = cjson.encode(1/3) cjson.encode_number_precision(14) return s",
                "$5 0.333",
            ),
        ],
    );
    fails(
        &mut t,
        &[
            ("return cjson.encode({[100000] = 1})", "user_script:1: Cannot serialise table: excessively sparse array"),
            ("return cjson.encode(0/0)", "user_script:1: Cannot serialise number: must not be NaN or Inf"),
            (
                "return cjson.encode(print or {a = function() end})",
                "user_script:1: Script attempted to access nonexistent global variable 'print'",
            ),
            ("return cjson.encode({a = pcall})", "user_script:1: Cannot serialise function: type not supported"),
            ("return cjson.decode('{\"a\" 1}')", "user_script:1: Expected colon but found T_NUMBER at character 6"),
            ("return cjson.decode('[1] x')", "user_script:1: Expected the end but found invalid token at character 5"),
            (
                "return cjson.decode('\"\\\\ud83d\"')",
                "user_script:1: Expected value but found invalid unicode escape code at character 2",
            ),
            ("return cjson.decode('+x')", "user_script:1: Expected value but found invalid number at character 1"),
            ("return cjson.decode('a\\0b')", "user_script:1: JSON parser does not support UTF-16 or UTF-32"),
            ("return cjson.decode()", "user_script:1: bad argument #1 to 'decode' (expected 1 argument)"),
        ],
    );
}

#[test]
fn bits_structs_and_message_pack_are_there() {
    let mut t = Transcript::start();
    hears(
        &mut t,
        &[
            ("return {bit.band(255, 15), bit.bor(1, 2, 4), bit.bxor(7, 2), bit.bnot(0)}", "*4 :15 :7 :5 :-1"),
            (
                "return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1), bit.rol(1, 33), bit.ror(1, 1)}",
                "*5 :-2147483648 :15 :-4 :2 :-2147483648",
            ),
            (
                "return {bit.tohex(255, -4), bit.tohex(-1), bit.bswap(1), bit.tobit(2^32 + 5)}",
                "*4 $4 00FF $8 ffffffff :16777216 :5",
            ),
            (
                "return {struct.unpack('>I2sbc0x', struct.pack('>I2sbc2x', 258, 'ab', 2, 'xy'))}",
                "*4 :258 $2 ab $2 xy :10",
            ),
            ("return {struct.unpack('<i8dfh', struct.pack('<i8dfh', -5, 1, 2, -7))}", "*5 :-5 :1 :2 :-7 :23"),
            ("return {struct.size('!8bi8'), struct.size('>bhi4lc5')}", "*2 :16 :20"),
            (
                "return {cmsgpack.unpack(cmsgpack.pack(1, 'a', {1, {b = 2}}, nil, false, -300, 2^40))}",
                "*3 :1 $1 a *2 :1 *0",
            ),
            (
                "local t = {} for i = 1, 1e5 do t['k' .. i] = 'v' .. i end \
                 t = cmsgpack.unpack(cmsgpack.pack(t)) return {t.k1, t.k100000}",
                "*2 $2 v1 $7 v100000",
            ),
            ("return cmsgpack.pack({[1] = 1, [3] = 1})", "$5 \u{fffd}\u{1}\u{1}\u{3}\u{1}"),
            ("return cmsgpack.unpack(cmsgpack.pack({a = {b = {1, 2, 3.5}}})).a.b[2]", ":2"),
            ("return cmsgpack.pack({1, -1, 'x'})", "$5 \u{fffd}\u{1}\u{fffd}\u{fffd}x"),
            ("return {cmsgpack.unpack_one('\\1\\2\\3', 1)}", "*2 :2 :2"),
            ("return {cmsgpack.unpack_limit('\\1\\2', 5)}", "*3 :-1 :1 :2"),
        ],
    );
    fails(
        &mut t,
        &[
            ("return bit.band('x')", "user_script:1: bad argument #1 to 'band' (number expected, got string)"),
            ("return struct.unpack('>I2', 'a')", "user_script:1: bad argument #2 to 'unpack' (data string too short)"),
            ("return struct.pack('y', 1)", "user_script:1: bad argument #1 to 'pack' (invalid format option 'y')"),
            ("return cmsgpack.unpack('\\193')", "user_script:1: Bad data format in input."),
            ("return cmsgpack.unpack('\\147\\1')", "user_script:1: Missing bytes in input."),
        ],
    );
}

#[test]
fn a_long_script_makes_others_wait_and_can_be_ended() {
    let t = &mut Transcript::with(&[("busy-reply-threshold", "1")]);
    t.say("SCRIPT KILL").hears("-NOTBUSY No scripts in execution right now.");
    let engine = &t.engine;
    let run = |patience_ends, written: bool, f: &mut dyn FnMut()| {
        engine.scripts.run(patience_ends, || {
            if written {
                engine.scripts.set_written();
            }
            engine.scripts.look(engine.clock.micros(), || 0);
            f();
        });
    };
    let mut other = crate::command::Client::new(engine, t.client.peer.clone(), 0, true);
    let mut say = |words: &[&[u8]]| {
        let (words, mut out): (crate::resp::Words, _) = (words.iter().copied().collect(), Vec::new());
        crate::command::run(engine, &mut other, words.args(), None, t.clock.now(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    run(u64::MAX, false, &mut || assert_eq!(say(&[b"PING"]), "+PONG\r\n"));
    run(0, false, &mut || {
        assert_eq!(say(&[b"PING"]), busy);
        assert_eq!(say(&[b"SCRIPT", b"KILL"]), "+OK\r\n");
    });
    run(0, true, &mut || {
        assert!(say(&[b"SCRIPT", b"KILL"]).starts_with("-UNKILLABLE Sorry the script already executed"))
    });
    assert_eq!(say(&[b"PING"]), "+PONG\r\n");
}

#[test]
fn a_script_that_is_killed_ends_even_if_it_catches_errors() {
    let t = Transcript::with(&[("busy-reply-threshold", "0")]);
    for script in ["while true do end", "while true do pcall(function() while true do end end) end"] {
        let text = std::thread::scope(|scope| {
            scope.spawn(|| {
                while t.engine.scripts.kill(false) != crate::engine::Killed::Yes {
                    std::thread::yield_now();
                }
            });
            let (words, mut out): (crate::resp::Words, _) =
                ([&b"EVAL"[..], script.as_bytes(), b"0"].into_iter().collect(), Vec::new());
            let mut client = crate::command::Client::new(&t.engine, t.client.peer.clone(), 0, true);
            crate::command::run(&t.engine, &mut client, words.args(), None, t.clock.now(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        });
        assert!(text.starts_with("-ERR Script killed by user with SCRIPT KILL. script: "), "{text}");
        assert!(text.ends_with(", on @user_script:1.\r\n"), "{text}");
    }
}

#[test]
fn a_set_that_is_not_to_be_sorted_has_an_order_for_scripts() {
    let mut t = Transcript::start();
    t.say("SADD s c a d b").hears(":4");
    hears(
        &mut t,
        &[
            ("return redis.call('SORT', 's', 'BY', 'nosort')", "*4 $1 a $1 b $1 c $1 d"),
            ("return redis.call('SORT_RO', 's', 'BY', 'nosort', 'DESC', 'LIMIT', 0, 2)", "*2 $1 d $1 c"),
        ],
    );
    t.say("SORT s BY nosort").hears("*4 $1 c $1 a $1 d $1 b");
}

#[test]
fn who_watches_sees_the_script_and_what_it_does() {
    let mut t = Transcript::start();
    let mut watcher = t.enter();
    t.say_as(&mut watcher, "MONITOR").hears("+OK");
    eval(&mut t, "return redis.call('get', 'a')").hears("$-1");
    let mut seen = Vec::new();
    watcher.peer.collect(&mut seen);
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 2, "{seen}");
    assert!(lines[0].ends_with(r#""EVAL" "return redis.call('get', 'a')" "0""#), "{seen}");
    assert!(lines[1].ends_with(r#" [0 lua] "get" "a""#), "{seen}");
}

#[test]
fn a_pause_of_writers_holds_scripts_that_may_write() {
    let mut t = Transcript::start();
    let sha = t.words(&[b"SCRIPT", b"LOAD", b"#!lua flags=no-writes\nreturn 2"]).text();
    let sha = sha.rsplit(' ').next().expect("a hash").to_owned();
    let mut other = t.enter();
    t.say_as(&mut other, "CLIENT PAUSE 1000 WRITE").hears("+OK");
    let promised: &[u8] = b"#!lua flags=no-writes\nreturn 1";
    t.words(&[b"EVAL", promised, b"0"]).hears(":1");
    t.words(&[b"EVALSHA", sha.as_bytes(), b"0"]).hears(":2");
    t.words(&[b"EVAL_RO", b"return 3", b"0"]).hears(":3");
    t.say("MULTI").hears("+OK");
    t.words(&[b"EVAL", promised, b"0"]).hears("+QUEUED");
    t.say("EXEC").hears("*1 :1");
    for script in [&b"return 1"[..], b"#!lua\nreturn 1"] {
        t.words(&[b"EVAL", script, b"0"]);
        assert!(matches!(t.client.flow, crate::command::Flow::Hold(_)), "{script:?}");
    }
    t.say_as(&mut other, "CLIENT UNPAUSE").hears("+OK");
}

#[test]
fn what_only_reads_does_not_publish() {
    let mut t = Transcript::start();
    let text = t.words(&[b"EVAL_RO", b"return redis.call('publish', 'c', 'm')", b"0"]).text();
    assert!(text.starts_with("-ERR Write commands are not allowed from read-only scripts."), "{text}");
    eval(&mut t, "return redis.call('publish', 'c', 'm')").hears(":0");
}

#[test]
fn errors_that_scripts_return_are_counted() {
    let mut t = Transcript::start();
    eval(&mut t, "return redis.error_reply('MY_CODE of mine')").hears("-MY_CODE of mine");
    eval(&mut t, "return redis.call('nosuch')");
    let text = t.say("INFO everything").text();
    for line in ["errorstat_MY_CODE:count=1 ", "errorstat_ERR:count=1 ", "total_error_replies:2 "] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("cmdstat_eval:calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=2 "), "{text}");
}
