//! What scripts can reach and hold, and that nothing of it is left.

use super::Transcript;
use super::script::{eval, fails, hears};

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

#[test]
fn nothing_is_left_for_the_next_script() {
    let mut t = Transcript::start();
    for insert in [
        "table.insert",
        "_G.table.insert",
        "rawget(table, 'insert')",
        "select(2, next({table.insert}))",
        "(function() for name, f in pairs(table) do if name == 'insert' then return f end end end)()",
        "(function() local name, f repeat name, f = next(table, name) until name == 'insert' return f end)()",
        "setmetatable({}, {__index = table}).insert",
    ] {
        for place in ["redis", "_G", "string", "table", "cjson", "getmetatable('')"] {
            let script = format!("local f = {insert} f({place}, 7, 'left') return rawget({place}, 7) == nil");
            eval(&mut t, &script).hears(":1");
            let seen = format!("return tostring(select(2, pcall(function() return {place}[7] end))) == 'left'");
            eval(&mut t, &seen).hears("$-1");
        }
    }
    t.say("EVAL 'KEYS.x = ARGV KEYS[1] = 8 return #KEYS' 1 a").hears(":1");
    t.say("EVAL 'return {#KEYS, #ARGV, tostring(KEYS.x)}' 0").hears("*3 :0 :0 $3 nil");
    // The methods of texts are as safe as those of the library.
    for script in ["getmetatable('').__index.rep = nil", "getmetatable('').__index = nil"] {
        fails(&mut t, &[(script, "user_script:1: Attempt to modify a readonly table")]);
    }
    hears(&mut t, &[("return getmetatable('').__index.rep('x', 3) .. ('y'):rep(2)", "$5 xxxyy")]);
}

#[test]
fn replies_are_in_a_scripts_limit_of_memory() {
    let mut t = Transcript::start();
    t.words(&[b"SET", b"large", &vec![b'x'; 3 << 20]]).hears("+OK");
    t.words(&[b"SET", b"small", &vec![b'x'; 900 << 10]]).hears("+OK");
    for key in ["large", "small"] {
        // No script needs room of its own for what it keeps here: each reply is new, and its place is there.
        let script = format!(
            "local t = {{}} for i = 1, 1000 do t[i] = false end \
             for i = 1, 1000 do redis.call('append', '{key}', 'x') t[i] = redis.call('get', '{key}') end return #t"
        );
        let text = eval(&mut t, &script).text();
        assert!(text.contains("not enough memory"), "{key}: {}", &text[..text.len().min(100)]);
        eval(&mut t, "return 1").hears(":1");
    }
    let large = vec![b'y'; 3 << 20];
    t.words(&[b"EVAL", b"return {#KEYS[1], #ARGV[1]}", b"1", &large, &large]).hears("*2 :3145728 :3145728");
    t.words(&[b"EVAL", b"return #redis.call('get', KEYS[1])", b"1", b"large"]).hears_start(":3145");
    t.words(&[b"EVAL", b"return {KEYS[1], ARGV[1]}", b"1", b"a\xff", b"\xff"]).hears("*2 $2 a\u{fffd} $1 \u{fffd}");
    t.say("RPUSH list a 1").hears(":2");
    t.words(&[b"RPUSH", b"list", b"\xff"]).hears(":3");
    eval(&mut t, "local l = redis.call('lrange', 'list', 0, -1) return {#l, #l[3], l[3]:byte(), l[1], type(l[2])}")
        .hears("*5 :3 :1 :255 $1 a $6 string");
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
