-- What a script sees: Redis' globals, none of which it can change, and the libraries.
-- Called once for each state with what Rust has to offer; gives back how to run a script, and how libraries of functions
-- are loaded, found and forgotten. A state is for scripts or for functions.
local host = ...
local has_functions = host.has_functions

local error, type, next, tostring, select, rawequal = error, type, next, tostring, select, rawequal
local raw_get, raw_set, raw_pcall, xpcall = rawget, rawset, pcall, xpcall
local get_meta, set_meta, raw_loadstring, collect = getmetatable, setmetatable, loadstring, collectgarbage
local unpack, byte, concat, tonumber = unpack, string.byte, table.concat, tonumber
local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub

-- Tables that cannot be changed: an empty one stands for each, so that every assignment to it is noticed.
local shows, stand_ins = {}, {}

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

-- Gives the stand-in, and how to have it show something else.
local function protect(contents, meta)
  local stand_in = {}
  local rules = {__index = contents, __newindex = refuse, __metatable = meta or false}
  shows[stand_in] = contents
  stand_ins[#stand_ins + 1] = stand_in
  return set_meta(stand_in, rules), function(others)
    shows[stand_in], rules.__index = others, others
  end, rules
end

-- Functions of the table library write past the guard, so stand-ins are looked through after whoever has had one of them.
-- The first look at the library is noticed, and those that follow cost nothing.
local has_writers, writers, _, writers_rules = false, protect(table)

local function notice(_, name)
  has_writers, writers_rules.__index = true, table
  return table[name]
end

-- What a table holds, or what it stands for.
local function contents(t)
  local shown = shows[t]
  if shown == table then
    has_writers = true
  end
  return shown or t
end

local function bad_argument(at, name, expected, value)
  error("bad argument #" .. at .. " to '" .. name .. "' (" .. expected .. " expected, got " .. type(value) .. ")", 3)
end

-- ---- the base library ---------------------------------------------------------------------------------------------

local globals = {}
for _, name in next, {
  '_VERSION', 'assert', 'error', 'gcinfo', 'ipairs', 'rawequal', 'select', 'tonumber', 'tostring', 'type',
} do
  globals[name] = _G[name]
end

function globals.pairs(t)
  if type(t) ~= 'table' then
    bad_argument(1, 'pairs', 'table', t)
  end
  return next, contents(t), nil
end

function globals.next(t, key)
  if type(t) ~= 'table' then
    bad_argument(1, 'next', 'table', t)
  end
  return next(contents(t), key)
end

function globals.rawget(t, key)
  if type(t) ~= 'table' then
    bad_argument(1, 'rawget', 'table', t)
  end
  return raw_get(contents(t), key)
end

function globals.rawset(t, key, value)
  if type(t) ~= 'table' then
    bad_argument(1, 'rawset', 'table', t)
  end
  if shows[t] then
    error('Attempt to modify a readonly table', 0)
  end
  return raw_set(t, key, value)
end

function globals.setmetatable(t, meta)
  if type(t) ~= 'table' then
    bad_argument(1, 'setmetatable', 'table', t)
  end
  if meta ~= nil and type(meta) ~= 'table' then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  if shows[t] then
    error('Attempt to modify a readonly table', 0)
  end
  if type(meta) == 'table' and raw_get(meta, '__gc') ~= nil then
    error('__gc is not supported', 2)
  end
  return set_meta(t, meta)
end

function globals.getmetatable(value)
  return get_meta(value) or nil
end

-- Where the sandbox itself called what has failed. It is no place of the script's.
local OWN_PLACE = '^redis:%d+: '

-- What an error that comes from Rust is to a script: a text, or a table as Redis has it.
local function plain(problem)
  if type(problem) == 'string' and find(problem, OWN_PLACE) then
    -- Or, of one that was caught, where that was.
    local source, line = host.place()
    return (gsub(problem, OWN_PLACE, line and gsub(source, '^@', '') .. ':' .. line .. ': ' or '', 1))
  end
  if type(problem) == 'userdata' and problem ~= host.null then
    local text, is_reply = host.problem(problem)
    if text then
      return is_reply and {err = text} or text
    end
  end
  return problem
end

-- To a script that catches an error, Redis shows the text and not its table.
local function flat(worked, first, ...)
  if worked then
    return worked, first, ...
  end
  first = plain(first)
  if type(first) == 'table' then
    local text = first.err
    if type(text) == 'string' or type(text) == 'number' then
      first = text
    end
  end
  return worked, first
end

function globals.pcall(...)
  if select('#', ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return flat(raw_pcall(...))
end

function globals.xpcall(f, handler)
  return xpcall(f, function(problem)
    return handler(plain(problem))
  end)
end

local function resumed(worked, first, ...)
  if not worked then
    first = plain(first)
  end
  return worked, first, ...
end

local resume = coroutine.resume
function coroutine.resume(...)
  return resumed(resume(...))
end

-- What was compiled elsewhere is not checked when it runs, and can do anything.
local COMPILED = 27

-- While Lua reads a text it holds things that its collector knows nothing of, so the collector rests.
local function compile(text, name)
  if byte(text) == COMPILED then
    return nil, 'compiled code cannot be loaded'
  end
  collect('stop')
  local made, problem = raw_loadstring(text, name)
  collect('restart')
  return made, problem
end

local function check_name(called, name)
  if name ~= nil and type(name) ~= 'string' and type(name) ~= 'number' then
    error("bad argument #2 to '" .. called .. "' (string expected, got " .. type(name) .. ")", 3)
  end
end

function globals.loadstring(text, name)
  if type(text) ~= 'string' and type(text) ~= 'number' then
    bad_argument(1, 'loadstring', 'string', text)
  end
  check_name('loadstring', name)
  text = tostring(text)
  return compile(text, name or text)
end

-- All pieces are there before Lua reads the first: what gives them is a script's, and may do anything in between.
function globals.load(reader, name)
  if type(reader) ~= 'function' then
    bad_argument(1, 'load', 'function', reader)
  end
  check_name('load', name)
  local pieces, count = {}, 0
  local worked, problem = raw_pcall(function()
    while true do
      local piece = reader()
      if piece == nil or piece == '' then
        return
      end
      if type(piece) ~= 'string' and type(piece) ~= 'number' then
        error('reader function must return a string', 0)
      end
      count = count + 1
      pieces[count] = piece
    end
  end)
  if not worked then
    return nil, plain(problem)
  end
  return compile(concat(pieces), name or '=(load)')
end

-- Values that one call may give, as Lua's stack has it.
local UNPACK_MAX = 8000
-- Where a table's numbers end that Lua counts by.
local INT_MAX = 2147483647

-- Lua counts how many there are in numbers that may not hold it, and then writes past its stack.
function globals.unpack(t, from, to)
  if from == nil and to == nil then
    -- Words count among the values that there may be.
    return unpack(t)
  end
  local first, last = tonumber(from or 1), tonumber(to or type(t) == 'table' and #t or 0)
  if first and last
    and not (first >= -INT_MAX and first <= INT_MAX and last >= -INT_MAX and last <= INT_MAX and last - first < UNPACK_MAX)
  then
    error('too many results to unpack', 2)
  end
  return unpack(t, from, to)
end

-- ---- patterns -----------------------------------------------------------------------------------------------------

-- Lua's matcher calls itself for each repetition and each end of a capture that a pattern has, but never twice for one, and
-- nothing bounds that: a pattern that is long enough would be more than the stack holds. What has fewer bytes has fewer of them.
local PATTERN_MAX = 1000

local function is_too_much(pattern)
  local _, count = gsub(pattern, '[*+?()-]', '')
  return count > PATTERN_MAX
end

local function refuse_pattern(name)
  error("bad argument #2 to '" .. name .. "' (pattern too complex: more than " .. PATTERN_MAX
    .. ' repetitions and captures)', 3)
end

function string.find(text, pattern, init, is_plain)
  if type(pattern) == 'string' and #pattern > PATTERN_MAX and not is_plain and is_too_much(pattern) then
    refuse_pattern('find')
  end
  return find(text, pattern, init, is_plain)
end

function string.match(text, pattern, init)
  if type(pattern) == 'string' and #pattern > PATTERN_MAX and is_too_much(pattern) then
    refuse_pattern('match')
  end
  return match(text, pattern, init)
end

function string.gmatch(text, pattern)
  if type(pattern) == 'string' and #pattern > PATTERN_MAX and is_too_much(pattern) then
    refuse_pattern('gmatch')
  end
  return gmatch(text, pattern)
end

function string.gsub(text, pattern, by, most)
  if type(pattern) == 'string' and #pattern > PATTERN_MAX and is_too_much(pattern) then
    refuse_pattern('gsub')
  end
  return gsub(text, pattern, by, most)
end

string.gfind = string.gfind and string.gmatch

-- How the collector works is not for scripts to say.
function globals.collectgarbage(what, number)
  if what == nil or what == 'collect' or what == 'count' or what == 'step' then
    return collect(what or 'collect', number)
  end
  return 0
end

math.random, math.randomseed = host.random, host.randomseed
globals.string, globals.table, globals.math = protect(string), writers, protect(math)
get_meta('').__metatable = protect({__index = globals.string})
globals.coroutine, globals.os = protect(coroutine), protect({clock = os.clock})
globals.bit = protect(host.bit)
globals.struct = protect(host.struct)
globals.cmsgpack = protect(host.cmsgpack)
globals.cjson = protect(host.json(host.null, host.checked))

-- ---- redis --------------------------------------------------------------------------------------------------------

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
  log = host.log, sha1hex = host.sha1hex, set_repl = host.set_repl,
  call = host.call, pcall = host.pcall, setresp = host.setresp, acl_check_cmd = host.acl_check_cmd,
}

local function is_one_string(...)
  return select('#', ...) == 1 and type((...)) == 'string'
end

function redis.error_reply(...)
  if not is_one_string(...) then
    return {err = 'ERR wrong number or type of arguments'}
  end
  local text = gsub((...), '^%-', '')
  return {err = find(text, ' ', 1, true) and text or 'ERR ' .. text}
end

function redis.status_reply(...)
  if not is_one_string(...) then
    return {err = 'ERR wrong number or type of arguments'}
  end
  return {ok = (...)}
end

if not has_functions then
  function redis.replicate_commands()
    return true
  end

  function redis.breakpoint()
    return false
  end

  function redis.debug()
  end
end

globals.redis = protect(redis)

-- ---- running ------------------------------------------------------------------------------------------------------

-- A table that is not silent about what is not there.
local function strict(t)
  return set_meta(t, {__index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end})
end

local environment, swap = protect(strict(globals), protect({}))
raw_set(globals, '_G', environment)

local function explain(problem)
  local source, line = host.place()
  problem = plain(problem)
  if type(problem) ~= 'table' then
    problem = {err = 'ERR ' .. tostring(problem)}
  end
  if line then
    problem.source, problem.line = source, line
  end
  return problem
end

if not has_functions then
  raw_set(globals, '__redis__err__handler', explain)
end

-- Takes away what was written past the guard.
local function clean()
  for at = 1, #stand_ins do
    local stand_in = stand_ins[at]
    local key = next(stand_in)
    while key ~= nil do
      raw_set(stand_in, key, nil)
      key = next(stand_in)
    end
  end
end

-- Elements of a table that are handed over one by one.
local FEW = 32

writers_rules.__index = notice

-- Runs something with so many keys and other words, which follow one another; behind the last there is nothing, which is no
-- word. If it is not said how many, two tables follow.
--
-- Gives back whether it worked, and the result; between them 1 if that is a table that is a reply for its elements alone, as
-- most are, or 2 if these follow instead.
local function run(what, count, first, ...)
  local keys, argv
  if count == 1 then
    keys, argv = {first}, {...}
  elseif count == 0 then
    keys, argv = {}, {first, ...}
  elseif count then
    local words = {first, ...}
    keys, argv = {unpack(words, 1, count)}, {unpack(words, count + 1)}
  else
    keys, argv = first, (...)
  end
  local worked, result
  if has_functions then
    worked, result = xpcall(function()
      return what(keys, argv)
    end, explain)
    -- A function may have kept what it once had.
    if has_writers then
      clean()
    end
  else
    globals.KEYS, globals.ARGV = keys, argv
    worked, result = xpcall(what, explain)
    if has_writers then
      clean()
      has_writers, writers_rules.__index = false, notice
    end
  end
  if worked and type(result) == 'table' and get_meta(result) == nil and result.err == nil and result.ok == nil
    and result.double == nil and result.map == nil and result.set == nil and result.big_number == nil
    and result.verbatim_string == nil
  then
    local length = #result
    if length <= FEW then
      return true, 2, unpack(result, 1, length)
    end
    return true, 1, result
  end
  return worked, 0, result
end

-- ---- libraries ----------------------------------------------------------------------------------------------------

-- What each library has registered: its callbacks by name, under the library's number.
local callbacks = {}
-- What the library that is being loaded has registered so far.
local coming

local function wrong(text)
  error({err = 'ERR ' .. text}, 0)
end

-- Text, or a number as text.
local function text_of(value)
  return (type(value) == 'string' or type(value) == 'number') and tostring(value) or nil
end

local FLAGS = {}
for at, name in ipairs(host.flags) do
  FLAGS[name] = at
end

local function read_flags(given)
  local flags, at = {}, 1
  while given[at] ~= nil do
    local number = FLAGS[(text_of(given[at]) or ''):lower()]
    if not number then
      wrong('unknown flag given')
    end
    flags[number] = true
    at = at + 1
  end
  return flags
end

local ARGUMENTS = {
  function_name = function(value)
    return text_of(value) or wrong('function_name argument given to redis.register_function must be a string')
  end,
  description = function(value)
    return text_of(value) or wrong('description argument given to redis.register_function must be a string')
  end,
  callback = function(value)
    return type(value) == 'function' and value
      or wrong('callback argument given to redis.register_function must be a function')
  end,
  flags = function(value)
    if type(value) ~= 'table' then
      wrong('flags argument to redis.register_function must be a table representing function flags')
    end
    return read_flags(value)
  end,
}

local function read_named(given)
  if type(given) ~= 'table' then
    wrong('calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).')
  end
  local read = {}
  for key, value in next, given do
    key = text_of(key) or wrong('named argument key given to redis.register_function is not a string')
    key = key:lower()
    local check = ARGUMENTS[key] or wrong('unknown argument given to redis.register_function')
    read[key] = check(value)
  end
  if not read.function_name then
    wrong('redis.register_function must get a function name argument')
  end
  if not read.callback then
    wrong('redis.register_function must get a callback argument')
  end
  return read
end

local function read_positional(name, callback)
  name = text_of(name) or wrong('first argument to redis.register_function must be a string')
  if type(callback) ~= 'function' then
    wrong('second argument to redis.register_function must be a function')
  end
  return {function_name = name, callback = callback}
end

local function register(...)
  if not coming then
    wrong('redis.register_function can only be called on FUNCTION LOAD command')
  end
  local count = select('#', ...)
  if count < 1 or count > 2 then
    wrong('wrong number of arguments to redis.register_function')
  end
  local new = count == 1 and read_named(...) or read_positional(...)
  local name = new.function_name
  if not find(name, '^[%w_]+$') then
    wrong('Library names can only contain letters, numbers, or underscores(_) and must be at least one character long')
  end
  -- They are called without regard to case.
  if coming.names[name:lower()] then
    wrong('Function already exists in the library')
  end
  coming.names[name:lower()] = true
  coming.callbacks[name] = new.callback
  coming.list[#coming.list + 1] = {name, new.description or false, new.flags or {}}
end

-- While a library is loaded there is nothing but this.
local redis_while_loading = {register_function = register}
for name, value in next, redis do
  if name == 'log' or find(name, '^LOG_') or find(name, '^REDIS_') then
    redis_while_loading[name] = value
  end
end
local loading = strict({redis = protect(strict(redis_while_loading))})

-- Runs a library's text; gives what it has registered, or what went wrong.
local function load(chunk, number)
  coming = {callbacks = {}, names = {}, list = {}}
  swap(loading)
  local worked, problem = raw_pcall(chunk)
  swap(globals)
  local came = coming
  coming = nil
  clean()
  if worked then
    callbacks[number] = came.callbacks
    return came.list
  end
  problem = plain(problem)
  if type(problem) ~= 'table' then
    return 'ERR ' .. tostring(problem)
  end
  return text_of(raw_get(problem, 'err')) or 'ERR unknown error'
end

local function callback(number, name)
  return callbacks[number][name]
end

local function forget(number)
  callbacks[number] = nil
end

return environment, run, load, callback, forget
