-- What a script sees: Redis' globals, none of which it can change, and the libraries.
-- Called once for each state with what Rust has to offer; gives back how to run a script and how to lend it a server.
local host = ...

local error, type, next, tostring, select, rawequal = error, type, next, tostring, select, rawequal
local raw_pairs, raw_get, raw_set, raw_pcall, xpcall = pairs, rawget, rawset, pcall, xpcall
local get_meta, set_meta, raw_load, raw_loadstring, collect = getmetatable, setmetatable, load, loadstring, collectgarbage
local find, sub, gsub, byte = string.find, string.sub, string.gsub, string.byte

-- Tables that cannot be changed: an empty one stands for each, so that every assignment to it is noticed.
local shows, stand_ins = {}, {}

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

local function protect(contents, meta)
  local stand_in = {}
  shows[stand_in] = contents
  stand_ins[#stand_ins + 1] = stand_in
  return set_meta(stand_in, {__index = contents, __newindex = refuse, __metatable = meta or false})
end

local function bad_argument(at, name, expected, value)
  error("bad argument #" .. at .. " to '" .. name .. "' (" .. expected .. " expected, got " .. type(value) .. ")", 3)
end

-- An error as Redis has it: a table, to which no place in the script is added.
local function throw(text)
  error({err = 'ERR ' .. text}, 0)
end

-- Functions of Rust say first whether they worked, and then what they give or what is wrong.
local function finish(worked, ...)
  if not worked then
    error((...), 3)
  end
  return ...
end

local function checked(f)
  return function(...)
    return finish(f(...))
  end
end

local function checked_all(functions)
  local all = {}
  for name, f in raw_pairs(functions) do
    all[name] = type(f) == 'function' and checked(f) or f
  end
  return all
end

-- ---- the base library ---------------------------------------------------------------------------------------------

local globals = {}
for _, name in next, {
  '_VERSION', 'assert', 'error', 'gcinfo', 'ipairs', 'rawequal', 'select', 'tonumber', 'tostring', 'type', 'unpack',
  'xpcall',
} do
  globals[name] = _G[name]
end

function globals.pairs(t)
  if type(t) ~= 'table' then
    bad_argument(1, 'pairs', 'table', t)
  end
  return next, shows[t] or t, nil
end

function globals.next(t, key)
  if type(t) ~= 'table' then
    bad_argument(1, 'next', 'table', t)
  end
  return next(shows[t] or t, key)
end

function globals.rawget(t, key)
  if type(t) ~= 'table' then
    bad_argument(1, 'rawget', 'table', t)
  end
  return raw_get(shows[t] or t, key)
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

-- Redis shows the text of an error of its own, not its table.
local function flat(worked, first, ...)
  if not worked and type(first) == 'table' then
    local text = first.err
    if type(text) == 'string' or type(text) == 'number' then
      first = text
    end
  end
  return worked, first, ...
end

function globals.pcall(...)
  if select('#', ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return flat(raw_pcall(...))
end

-- What was compiled elsewhere is not checked when it runs, and can do anything.
local COMPILED = 27

function globals.loadstring(text, name)
  if type(text) ~= 'string' and type(text) ~= 'number' then
    bad_argument(1, 'loadstring', 'string', text)
  end
  text = tostring(text)
  if byte(text) == COMPILED then
    return nil, 'compiled code cannot be loaded'
  end
  return raw_loadstring(text, name or text)
end

function globals.load(reader, name)
  if type(reader) ~= 'function' then
    bad_argument(1, 'load', 'function', reader)
  end
  local is_first = true
  return raw_load(function()
    local piece = reader()
    if is_first and type(piece) == 'string' and piece ~= '' then
      is_first = false
      if byte(piece) == COMPILED then
        error('compiled code cannot be loaded', 0)
      end
    end
    return piece
  end, name or '=(load)')
end

-- How the collector works is not for scripts to say.
function globals.collectgarbage(what, number)
  if what == nil or what == 'collect' or what == 'count' or what == 'step' then
    return collect(what or 'collect', number)
  end
  return 0
end

string.dump = nil
math.random, math.randomseed = checked(host.random), checked(host.randomseed)
get_meta('').__metatable = protect(get_meta(''))

globals.string, globals.table, globals.math = protect(string), protect(table), protect(math)
globals.coroutine, globals.os = protect(coroutine), protect({clock = os.clock})
globals.bit = protect(checked_all(host.bit))
globals.struct = protect(checked_all(host.struct))
globals.cmsgpack = protect(checked_all(host.cmsgpack))
globals.cjson = protect(host.json(host.null))

-- ---- redis --------------------------------------------------------------------------------------------------------

-- The server that is lent to the script that runs.
local serve, ask

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

function redis.call(...)
  local failed, reply = serve(...)
  if failed then
    error(reply, 0)
  end
  return reply
end

function redis.pcall(...)
  local _, reply = serve(...)
  return reply
end

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

function redis.sha1hex(...)
  if select('#', ...) ~= 1 then
    throw('wrong number of arguments')
  end
  local value = ...
  return host.sha1((type(value) == 'string' or type(value) == 'number') and tostring(value) or '')
end

function redis.log(...)
  local count, level = select('#', ...), ...
  if count < 2 then
    throw('redis.log() requires two arguments or more.')
  elseif type(level) ~= 'number' then
    throw('First argument must be a number (log level).')
  elseif level < redis.LOG_DEBUG or level > redis.LOG_WARNING then
    throw('Invalid debug level.')
  end
  local words = {}
  for at = 2, count do
    local word = select(at, ...)
    if type(word) == 'string' or type(word) == 'number' then
      words[#words + 1] = word
    end
  end
  ask('log', level, table.concat(words, ' '))
end

function redis.setresp(...)
  if select('#', ...) ~= 1 then
    throw('redis.setresp() requires one argument.')
  end
  local version = ...
  if version ~= 2 and version ~= 3 then
    throw('RESP version must be 2 or 3.')
  end
  ask('setresp', version)
end

function redis.set_repl(...)
  if select('#', ...) ~= 1 then
    throw('redis.set_repl() requires two arguments.')
  end
  local flags = ...
  if type(flags) ~= 'number' or flags < redis.REPL_NONE or flags > redis.REPL_ALL then
    throw('Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.')
  end
end

function redis.acl_check_cmd(...)
  if select('#', ...) == 0 then
    throw('Please specify at least one argument for this redis lib call')
  end
  local worked, answer = ask('may', ...)
  if not worked then
    throw('Invalid command passed to redis.acl_check_cmd()')
  end
  return answer
end

function redis.replicate_commands()
  return true
end

function redis.breakpoint()
  return false
end

function redis.debug()
end

globals.redis = protect(redis)

-- ---- running ------------------------------------------------------------------------------------------------------

set_meta(globals, {__index = function(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end})
local environment = protect(globals, protect({}))
raw_set(globals, '_G', environment)

local function explain(problem)
  local source, line = host.place()
  if type(problem) ~= 'table' then
    problem = {err = 'ERR ' .. tostring(problem)}
  end
  if line then
    problem.source, problem.line = source, line
  end
  return problem
end

raw_set(globals, '__redis__err__handler', explain)

local function lend(server, questions)
  serve, ask = server, questions
end

local function run(script, keys, argv)
  globals.KEYS, globals.ARGV = keys, argv
  local worked, result = xpcall(script, explain)
  globals.KEYS, globals.ARGV = {}, {}
  -- Functions of the table library write past the guard.
  for at = 1, #stand_ins do
    local stand_in = stand_ins[at]
    local key = next(stand_in)
    while key ~= nil do
      raw_set(stand_in, key, nil)
      key = next(stand_in)
    end
  end
  return worked, result
end

globals.KEYS, globals.ARGV = {}, {}
return environment, lend, run
