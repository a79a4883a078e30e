-- cjson: JSON as Redis' scripts know it, limits and messages included.
local null, checked = ...

local error, type, next, tonumber, tostring, pcall, select = error, type, next, tonumber, tostring, pcall, select
local find, sub, gsub, byte, char, format, lower =
  string.find, string.sub, string.gsub, string.byte, string.char, string.format, string.lower
local concat, floor, huge = table.concat, math.floor, math.huge

-- A mistake in what was given; `attempt` tells it from others.
local function fail(text)
  error({text}, 0)
end

-- Says whether a function worked, and gives its results or what is wrong.
local function attempt(f, ...)
  local worked, result, second, third = pcall(f, ...)
  if worked then
    return true, result, second, third
  end
  if type(result) == 'table' then
    return false, result[1]
  end
  error(result, 0)
end

-- ---- encoding -----------------------------------------------------------------------------------------------------

local ESCAPES = {
  ['"'] = '\\"', ['\\'] = '\\\\', ['/'] = '\\/', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r',
  ['\t'] = '\\t', ['\127'] = '\\u007f',
}
for code = 0, 31 do
  local control = char(code)
  ESCAPES[control] = ESCAPES[control] or format('\\u%04x', code)
end

local function quoted(text)
  if find(text, '[%c"\\/]') then
    text = gsub(text, '[%c"\\/]', ESCAPES)
  end
  return '"' .. text .. '"'
end

local function number_text(number, settings)
  if number ~= number or number == huge or number == -huge then
    if settings.encode_invalid == 'null' then
      return 'null'
    elseif not settings.encode_invalid then
      fail('Cannot serialise number: must not be NaN or Inf')
    end
  end
  return format(settings.number_format, number)
end

-- The length of a table that is an array, `nil` if it is none.
local function array_length(t, settings)
  local longest, count = 0, 0
  for key in next, t do
    if type(key) ~= 'number' or key < 1 or floor(key) ~= key then
      return nil
    end
    count = count + 1
    if key > longest then
      longest = key
    end
  end
  if settings.sparse_ratio > 0 and longest > count * settings.sparse_ratio and longest > settings.sparse_safe then
    if not settings.sparse_convert then
      fail('Cannot serialise table: excessively sparse array')
    end
    return nil
  end
  return longest > 0 and longest or nil
end

local write

local function write_table(t, out, at, depth, settings)
  depth = depth + 1
  if depth > settings.encode_depth then
    fail('Cannot serialise, excessive nesting (' .. depth .. ')')
  end
  local length = array_length(t, settings)
  if length then
    at = at + 1
    out[at] = '['
    for index = 1, length do
      if index > 1 then
        at = at + 1
        out[at] = ','
      end
      at = write(t[index], out, at, depth, settings)
    end
    at = at + 1
    out[at] = ']'
    return at
  end
  at = at + 1
  out[at] = '{'
  local is_first = true
  for key, value in next, t do
    local kind = type(key)
    if kind == 'string' then
      key = quoted(key)
    elseif kind == 'number' then
      key = '"' .. number_text(key, settings) .. '"'
    else
      fail('Cannot serialise table: table key must be a number or string')
    end
    out[at + 1] = is_first and key or ',' .. key
    out[at + 2] = ':'
    is_first = false
    at = write(value, out, at + 2, depth, settings)
  end
  at = at + 1
  out[at] = '}'
  return at
end

function write(value, out, at, depth, settings)
  local kind = type(value)
  if kind == 'table' then
    return write_table(value, out, at, depth, settings)
  end
  at = at + 1
  if kind == 'string' then
    out[at] = quoted(value)
  elseif kind == 'number' then
    out[at] = number_text(value, settings)
  elseif kind == 'boolean' then
    out[at] = value and 'true' or 'false'
  elseif value == nil or value == null then
    out[at] = 'null'
  else
    fail('Cannot serialise ' .. kind .. ': type not supported')
  end
  return at
end

-- ---- decoding -----------------------------------------------------------------------------------------------------

local MARKS = {
  [byte('{')] = 'T_OBJ_BEGIN', [byte('}')] = 'T_OBJ_END', [byte('[')] = 'T_ARR_BEGIN', [byte(']')] = 'T_ARR_END',
  [byte(':')] = 'T_COLON', [byte(',')] = 'T_COMMA', [0] = 'T_END',
}
local UNESCAPED = {b = '\b', f = '\f', n = '\n', r = '\r', t = '\t', ['"'] = '"', ['\\'] = '\\', ['/'] = '/'}
local QUOTE, BACKSLASH, PLUS, MINUS, ZERO, NINE = byte('"'), byte('\\'), byte('+'), byte('-'), byte('0'), byte('9')

local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xc0 + floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(0xe0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xf0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40)
end

local function hex(text, at)
  local digits = sub(text, at, at + 3)
  return find(digits, '^%x%x%x%x$') and tonumber(digits, 16) or nil
end

-- The character that `\u` at a position stands for, and where the text goes on.
local function unicode(text, at)
  local code = hex(text, at + 2)
  if not code or code >= 0xdc00 and code < 0xe000 then
    return nil
  end
  if code < 0xd800 or code >= 0xe000 then
    return utf8(code), at + 6
  end
  local low = sub(text, at + 6, at + 7) == '\\u' and hex(text, at + 8)
  if not low or low < 0xdc00 or low >= 0xe000 then
    return nil
  end
  return utf8(0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00)), at + 12
end

local function string_token(text, start)
  local from = start + 1
  local stop = find(text, '["\\%z]', from)
  if stop and byte(text, stop) == QUOTE then
    return 'T_STRING', sub(text, from, stop - 1), stop + 1, start
  end
  local parts, count = {}, 0
  while stop and byte(text, stop) == BACKSLASH do
    parts[count + 1] = sub(text, from, stop - 1)
    local letter = sub(text, stop + 1, stop + 1)
    if letter == 'u' then
      parts[count + 2], from = unicode(text, stop)
      if not from then
        return 'T_ERROR', 'invalid unicode escape code', stop, stop
      end
    else
      parts[count + 2], from = UNESCAPED[letter], stop + 2
      if not parts[count + 2] then
        return 'T_ERROR', 'invalid escape code', stop, stop
      end
    end
    count = count + 2
    stop = find(text, '["\\%z]', from)
  end
  if not stop or byte(text, stop) ~= QUOTE then
    return 'T_ERROR', 'unexpected end of string', stop or #text + 1, stop or #text + 1
  end
  parts[count + 1] = sub(text, from, stop - 1)
  return 'T_STRING', concat(parts), stop + 1, start
end

-- Its sign is plus.
local NAN = -(huge - huge)
local NAMED = {['inf'] = huge, ['+inf'] = huge, ['-inf'] = -huge}

-- A number that JSON does not have: with a plus, hexadecimal, with leading zeros, infinite or none.
local function is_odd(text, at)
  return byte(text, at) == PLUS or find(text, '^-?0[xX%d]', at) or find(lower(sub(text, at, at + 3)), '^-?inf')
    or find(lower(sub(text, at, at + 3)), '^-?nan')
end

local function number_token(text, at)
  local _, stop = find(text, '^[+-]?0[xX]%x+', at)
  if not stop then
    _, stop = find(text, '^[+-]?%d+%.?%d*', at)
    if not stop then
      _, stop = find(text, '^[+-]?%.%d+', at)
    end
    if stop then
      local _, last = find(text, '^[eE][+-]?%d+', stop + 1)
      stop = last or stop
    end
  end
  if stop then
    return 'T_NUMBER', tonumber(sub(text, at, stop)), stop + 1, at
  end
  local word = lower(sub(text, at, at + 8))
  _, stop = find(word, '^[+-]?infinity')
  if not stop then
    _, stop = find(word, '^[+-]?inf')
  end
  if stop then
    return 'T_NUMBER', NAMED[sub(word, 1, find(word, 'i', 1, true) + 2)], at + stop, at
  end
  _, stop = find(word, '^[+-]?nan')
  if stop then
    return 'T_NUMBER', NAN, at + stop, at
  end
  return 'T_ERROR', 'invalid number', at, at
end

-- The next token: what it is, its value, where the text goes on, and where a message says it was.
local function token(text, at, settings)
  at = find(text, '[^ \t\r\n]', at)
  if not at then
    return 'T_END', nil, #text + 1, #text + 1
  end
  local first = byte(text, at)
  if MARKS[first] then
    return MARKS[first], nil, at + 1, at
  elseif first == QUOTE then
    return string_token(text, at)
  elseif first == MINUS or first >= ZERO and first <= NINE then
    if not settings.decode_invalid and is_odd(text, at) then
      return 'T_ERROR', 'invalid number', at, at
    end
    return number_token(text, at)
  elseif sub(text, at, at + 3) == 'true' then
    return 'T_BOOLEAN', true, at + 4, at
  elseif sub(text, at, at + 4) == 'false' then
    return 'T_BOOLEAN', false, at + 5, at
  elseif sub(text, at, at + 3) == 'null' then
    return 'T_NULL', null, at + 4, at
  elseif settings.decode_invalid and is_odd(text, at) then
    return number_token(text, at)
  end
  return 'T_ERROR', 'invalid token', at, at
end

local function unexpected(expected, kind, value, place)
  fail('Expected ' .. expected .. ' but found ' .. (kind == 'T_ERROR' and value or kind) .. ' at character ' .. place)
end

local read

local function deeper(depth, place, settings)
  depth = depth + 1
  if depth > settings.decode_depth then
    fail('Found too many nested data structures (' .. depth .. ') at character ' .. place)
  end
  return depth
end

local function read_object(text, at, depth, settings)
  local result = {}
  local kind, value, rest, place = token(text, at, settings)
  if kind == 'T_OBJ_END' then
    return result, rest
  end
  while true do
    if kind ~= 'T_STRING' then
      unexpected('object key string', kind, value, place)
    end
    local key = value
    kind, value, rest, place = token(text, rest, settings)
    if kind ~= 'T_COLON' then
      unexpected('colon', kind, value, place)
    end
    kind, value, rest, place = token(text, rest, settings)
    result[key], rest = read(text, kind, value, rest, place, depth, settings)
    kind, value, rest, place = token(text, rest, settings)
    if kind == 'T_OBJ_END' then
      return result, rest
    elseif kind ~= 'T_COMMA' then
      unexpected('comma or object end', kind, value, place)
    end
    kind, value, rest, place = token(text, rest, settings)
  end
end

local function read_array(text, at, depth, settings)
  local result, count = {}, 0
  local kind, value, rest, place = token(text, at, settings)
  if kind == 'T_ARR_END' then
    return result, rest
  end
  while true do
    count = count + 1
    result[count], rest = read(text, kind, value, rest, place, depth, settings)
    kind, value, rest, place = token(text, rest, settings)
    if kind == 'T_ARR_END' then
      return result, rest
    elseif kind ~= 'T_COMMA' then
      unexpected('comma or array end', kind, value, place)
    end
    kind, value, rest, place = token(text, rest, settings)
  end
end

function read(text, kind, value, rest, place, depth, settings)
  if kind == 'T_STRING' or kind == 'T_NUMBER' or kind == 'T_BOOLEAN' or kind == 'T_NULL' then
    return value, rest
  elseif kind == 'T_OBJ_BEGIN' then
    return read_object(text, rest, deeper(depth, place, settings), settings)
  elseif kind == 'T_ARR_BEGIN' then
    return read_array(text, rest, deeper(depth, place, settings), settings)
  end
  unexpected('value', kind, value, place)
end

local function decode(text, settings)
  if #text > 1 and (byte(text, 1) == 0 or byte(text, 2) == 0) then
    fail('JSON parser does not support UTF-16 or UTF-32')
  end
  local kind, value, rest, place = token(text, 1, settings)
  local result
  result, rest = read(text, kind, value, rest, place, 0, settings)
  kind, value, rest, place = token(text, rest, settings)
  if kind ~= 'T_END' then
    unexpected('the end', kind, value, place)
  end
  return result
end

-- ---- the library --------------------------------------------------------------------------------------------------

local INT_MAX = 2147483647

local function expect_one(name, ...)
  if select('#', ...) ~= 1 then
    fail("bad argument #1 to '" .. name .. "' (expected 1 argument)")
  end
  return (...)
end

local function whole(value, at, name, least, most)
  value = tonumber(value)
  if not value or floor(value) ~= value or value < least or value > most then
    fail("bad argument #" .. at .. " to '" .. name .. "' (expected integer between " .. least .. ' and ' ..
      format('%d', most) .. ')')
  end
  return value
end

local function truth(value, at, name)
  if value == 'on' or value == true then
    return true
  elseif value == 'off' or value == false then
    return false
  end
  fail("bad argument #" .. at .. " to '" .. name .. "' (invalid option '" .. tostring(value) .. "')")
end

local function new()
  local settings = {
    encode_depth = 1000, decode_depth = 1000, sparse_convert = false, sparse_ratio = 2, sparse_safe = 10,
    precision = 14, number_format = '%.14g', encode_invalid = false, decode_invalid = true, keep_buffer = true,
  }
  local json = {}

  function json.encode(...)
    local value, out = expect_one('encode', ...), {}
    return concat(out, '', 1, write(value, out, 0, 0, settings))
  end

  function json.decode(...)
    local text = expect_one('decode', ...)
    if type(text) ~= 'string' and type(text) ~= 'number' then
      fail("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ')')
    end
    return decode(tostring(text), settings)
  end

  function json.encode_max_depth(depth)
    if depth ~= nil then
      settings.encode_depth = whole(depth, 1, 'encode_max_depth', 1, INT_MAX)
    end
    return settings.encode_depth
  end

  function json.decode_max_depth(depth)
    if depth ~= nil then
      settings.decode_depth = whole(depth, 1, 'decode_max_depth', 1, INT_MAX)
    end
    return settings.decode_depth
  end

  function json.encode_sparse_array(convert, ratio, safe)
    if convert ~= nil then
      settings.sparse_convert = truth(convert, 1, 'encode_sparse_array')
    end
    if ratio ~= nil then
      settings.sparse_ratio = whole(ratio, 2, 'encode_sparse_array', 0, INT_MAX)
    end
    if safe ~= nil then
      settings.sparse_safe = whole(safe, 3, 'encode_sparse_array', 0, INT_MAX)
    end
    return settings.sparse_convert, settings.sparse_ratio, settings.sparse_safe
  end

  function json.encode_number_precision(precision)
    if precision ~= nil then
      settings.precision = whole(precision, 1, 'encode_number_precision', 1, 14)
      settings.number_format = '%.' .. settings.precision .. 'g'
    end
    return settings.precision
  end

  function json.encode_keep_buffer(keep)
    if keep ~= nil then
      settings.keep_buffer = truth(keep, 1, 'encode_keep_buffer')
    end
    return settings.keep_buffer
  end

  function json.encode_invalid_numbers(how)
    if how == 'null' then
      settings.encode_invalid = 'null'
    elseif how ~= nil then
      settings.encode_invalid = truth(how, 1, 'encode_invalid_numbers')
    end
    return settings.encode_invalid
  end

  function json.decode_invalid_numbers(on)
    if on ~= nil then
      settings.decode_invalid = truth(on, 1, 'decode_invalid_numbers')
    end
    return settings.decode_invalid
  end

  for name, f in next, json do
    json[name] = checked(function(...)
      return attempt(f, ...)
    end)
  end
  json._NAME, json._VERSION, json.null, json.new = 'cjson', '2.1.0', null, new
  return json
end

return new()
