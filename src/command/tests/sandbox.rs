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
    hears(
        &mut t,
        &[
            // A text comes in pieces, which may be compiled ones, or an error.
            ("local n = 0 return load(function() n = n + 1 return ({'ret', 'urn ', 9})[n] end, 'name')()", ":9"),
            ("local n = 0 return {load(function() n = n + 1 return ({'\\27', 'Lua'})[n] end)}", "*0"),
            ("return {load(function() return {} end)}", "*0"),
            ("return select(2, load(function() return {} end))", "$36 reader function must return a string"),
            ("return select(2, load(function() error('oh', 0) end))", "$2 oh"),
            ("return select(2, load(function() return nil end, 'x')) or 'empty'", "$5 empty"),
            ("return select(2, loadstring('x x', '=mine'))", "$29 mine:1: '=' expected near 'x'"),
            ("return {unpack({1, 2, 3}, 2)}", "*2 :2 :3"),
            ("return {unpack({1, 2, 3}, '1', '2')}", "*2 :1 :2"),
            ("return {unpack({1}, 3, 2)}", "*0"),
            ("return #{unpack({}, 1, 7000)}", ":0"),
            (
                "local t = {} for i = 1, 7999 do t[i] = i end return {#{unpack(t)}, (select('#', unpack(t, 1, 7997)))}",
                "*2 :7999 :7997",
            ),
        ],
    );
    for range in ["1, 8001", "-2^31, 2^31 - 1", "2^31, 2^31 - 1", "0, 2^32", "-2^53, 2^53", "1, 0/0", "1, 1/0"] {
        let script = format!("return {{unpack({{}}, {range})}}");
        fails(&mut t, &[(&script, "user_script:1: too many results to unpack")]);
    }
    fails(
        &mut t,
        &[
            ("load(1)", "user_script:1: bad argument #1 to 'load' (function expected, got number)"),
            ("loadstring('', {})", "user_script:1: bad argument #2 to 'loadstring' (string expected, got table)"),
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
        "return unpack({}, -2147483648, 2147483647)",
        "local n, t = 0, {} return load(function() n = n + 1 t[n] = ('x'):rep(n) collectgarbage() return n < 200 and '  ' or nil end, ('n'):rep(50))",
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

/// A script that does something where as many functions of Lua's have called each other as let it be done, each with a buffer
/// of its own. It tells how many, and whether that was all that it needed.
fn at_the_deepest(what: &str) -> String {
    format!(
        "local worked, best = false, 0 \
         local function what() {what} end \
         local function f(left) \
           if left == 0 then worked = pcall(what) else string.gsub('x', 'x', function() f(left - 1) end) end \
         end \
         for depth = 199, 100, -1 do \
           if not worked then best = depth pcall(f, depth) end \
         end \
         return {{best, tostring(worked)}}"
    )
}

#[test]
fn no_pattern_ends_the_server() {
    let thread = std::thread::Builder::new().stack_size(8 * 1024 * 1024).spawn(run_long_patterns);
    thread.expect("a thread").join().expect("no panic");
}

fn run_long_patterns() {
    let mut t = Transcript::start();
    let text = "(pattern too complex: more than 1000 repetitions and captures)";
    let error = |name: &str| format!("user_script:1: bad argument #2 to '{name}' {text}");
    for item in ["a?", "a*", "a-", "a+", ".?", "[a]?", "%a-", "()"] {
        for times in [1001, 100_000] {
            let pattern = format!("string.rep('{item}', {times})");
            for (name, call) in [
                ("find", format!("local x = string.find(string.rep('a', {times}), {pattern})")),
                ("match", format!("local x = ('a'):match({pattern})")),
                ("gmatch", format!("for a in ('a'):gmatch({pattern}) do end")),
                ("gfind", format!("local x = string.gfind('a', {pattern})")),
                ("gsub", format!("local x = ('a'):gsub('x' .. {pattern}, '')")),
            ] {
                let name = if name == "gfind" { "gmatch" } else { name };
                fails(&mut t, &[(&call, &error(name))]);
            }
        }
    }
    hears(
        &mut t,
        &[
            // The longest are no trouble, also where the stack is nearly full.
            ("return #string.match(('a'):rep(2000), ('a?'):rep(1000))", ":1000"),
            ("return #string.match(('a'):rep(2000), ('a*'):rep(1000))", ":2000"),
            ("return #string.match('a', ('a-'):rep(1000))", ":0"),
            // However long they are.
            ("return #string.match(('a'):rep(5000), ('a'):rep(5000))", ":5000"),
            ("return #string.match(('a'):rep(1e6), '^.-$')", ":1000000"),
            ("return #string.match(('a'):rep(1e6), '(.*)a')", ":999999"),
            ("return string.find('x' .. ('+'):rep(5000), ('+'):rep(5000), 1, true)", ":2"),
            ("return string.find(('a-'):rep(5000), ('a-'):rep(5000), 1, true)", ":1"),
            // Others are what they were.
            ("return {string.find('abc', 'b')}", "*2 :2 :2"),
            ("return {('abc'):find('(b)(c)', 2)}", "*4 :2 :3 $1 b $1 c"),
            ("return {string.find('a.c', '.', 2, true)}", "*2 :2 :2"),
            ("return {string.find(121, 2)}", "*2 :2 :2"),
            ("return {('k=v, a=b'):gsub('(%w+)=(%w+)', '%2=%1')}", "*2 $8 v=k, b=a :2"),
            ("return {('aaa'):gsub('a', 'b', 2)}", "*2 $3 bba :2"),
            ("return {('abc'):gsub('%w', {a = '1', b = true and 'x'})}", "*2 $3 1xc :3"),
            (
                "local t = {} for k, v in ('a=1,b=2'):gmatch('(%w)=(%w)') do t[#t + 1] = k .. v end return t",
                "*2 $2 a1 $2 b2",
            ),
            ("local t = {} for k in string.gfind('abc', '.') do t[#t + 1] = k end return t", "*3 $1 a $1 b $1 c"),
            ("return ('hello'):match('l+')", "$2 ll"),
            (
                "local ok, e = pcall(function() return ('x'):find('[') end) return e",
                "$46 user_script:1: malformed pattern (missing ']')",
            ),
        ],
    );
    fails(
        &mut t,
        &[
            ("local x = string.find('x', '[')", "user_script:1: malformed pattern (missing ']')"),
            ("local x = string.find()", "user_script:1: bad argument #1 to 'find' (string expected, got nil)"),
            ("local x = ('x'):gsub('x')", "user_script:1: bad argument #3 to 'gsub' (string/function/table expected)"),
            ("return ('x'):gsub('x', function() error('boo') end)", "user_script:1: boo"),
        ],
    );
}

#[test]
fn nothing_ends_the_server_where_the_stack_is_nearly_full() {
    let thread = std::thread::Builder::new().stack_size(8 * 1024 * 1024).spawn(run_at_the_deepest);
    thread.expect("a thread").join().expect("no panic");
}

fn run_at_the_deepest() {
    let mut t = Transcript::start();
    for what in [
        "assert(string.match(('a'):rep(2000), ('a?'):rep(1000)))",
        "assert(string.match(('a'):rep(2000), ('a*'):rep(1000)))",
        "assert(string.match('a', ('a-'):rep(1000)))",
        "assert(string.match(('a'):rep(2000), ('(a)'):rep(32) .. ('a*'):rep(900)))",
        "assert(('a'):rep(2000):gsub(('a*'):rep(1000), ''))",
        "cjson.encode(cjson.decode(('['):rep(1000) .. (']'):rep(1000)))",
        "cjson.decode_max_depth(2^31 - 1) pcall(cjson.decode, ('['):rep(1e5)) cjson.decode_max_depth(1000)",
        "cmsgpack.unpack(('\\145'):rep(127) .. '\\1')",
        "local t = 1 for i = 1, 15 do t = {t} end cmsgpack.pack(t)",
        "struct.pack(('i'):rep(100), unpack({1, 2, 3}))",
        "local s = string.format(('%s'):rep(200), unpack({('x'):rep(200):byte(1, -1)}))",
        "table.concat({('x'):rep(1e5), 1, 2}, ', ')",
        "table.sort({5, 3, 1, 4}, function(a, b) return a < b end)",
        "assert(loadstring('return ' .. ('('):rep(10) .. '1' .. (')'):rep(10)))()",
        "loadstring(('do '):rep(150) .. ('end '):rep(150))",
        "loadstring('return ' .. ('function() return '):rep(150) .. '1 ' .. ('end '):rep(150))",
        "loadstring('return ' .. ('{'):rep(150) .. ('}'):rep(150))",
        "loadstring('return ' .. ('a..'):rep(150) .. 'a')",
        "redis.call('SET', 'k', 'v') redis.call('GET', 'k')",
        "local t = {} for i = 1, 100 do t[i] = i end redis.call('RPUSH', 'l', unpack(t)) redis.call('LRANGE', 'l', 0, -1)",
        "local function g() return tostring(setmetatable({}, {__tostring = g})) end g()",
    ] {
        let text = eval(&mut t, &at_the_deepest(what)).text();
        let depth: usize = text.split(' ').nth(1).and_then(|text| text[1..].parse().ok()).expect(&text);
        assert!(!what.starts_with("assert") || depth > 180 && text.ends_with("true"), "{what}: {text}");
    }
    // Each of these calls itself until Lua says that it is enough.
    for script in [
        "local m = {} m.__tostring = function(t) return tostring(t) end return tostring(setmetatable({}, m))",
        "local m = {} m.__index = function(t, k) return t[k] end return setmetatable({}, m).x",
        "local m = {} m.__eq = function(a, b) return a == b end return setmetatable({}, m) == setmetatable({}, m)",
        "local m = {} m.__concat = function(a, b) return a .. b end return setmetatable({}, m) .. 'x'",
        "local m = {} m.__call = m setmetatable(m, m) return m()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "local function f() return coroutine.resume(coroutine.create(f)) end return f()",
        "local function f() table.sort({1, 2, 3}, f) end return f()",
        "local function f() return xpcall(f, tostring) end return tostring(f())",
        "local function f() return load(f)() end return f()",
        "local function f() return 1 + loadstring('local f = ... return 1 + f()')(f) end return f()",
        "local function f(s) return s:gsub('.', function() return f(s) end) end return f('x')",
        "local function f() for a in ('x'):gmatch('x') do f() end end return f()",
        "local t = {} for i = 1, 2e5 do t = setmetatable({}, {__index = t}) end return t.x",
        "local t = {} for i = 1, 2e5 do t = {t} end return cjson.encode(t)",
        "local t = {} for i = 1, 2e5 do t = {t} end return cmsgpack.pack(t)",
        "local t = {} for i = 1, 2e5 do t = {t} end return #t",
        "cjson.encode_max_depth(2^31 - 1) local t = {} for i = 1, 2e5 do t = {t} end return cjson.encode(t)",
        "cjson.decode_max_depth(2^31 - 1) return cjson.decode(('{\"a\":'):rep(2e5))",
        "return loadstring('return ' .. ('-'):rep(1) .. ('not '):rep(1e5) .. '1')",
        "return loadstring(('if 1 then '):rep(1e5))",
        "return loadstring('x = ' .. ('a.'):rep(1e5) .. 'a')",
        "return loadstring('return ' .. ('1 ^ '):rep(1e5) .. '1')",
        "return loadstring('return ' .. ('{'):rep(1e5))",
        "return loadstring(('function f() '):rep(1e5))",
    ] {
        let text = eval(&mut t, script).text();
        assert!(!text.is_empty(), "{script}");
    }
    eval(&mut t, "return 1").hears(":1");
}
