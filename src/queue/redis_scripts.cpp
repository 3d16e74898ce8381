#include "queue/redis_scripts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace gf::queue {
namespace {

struct KeyName {
  std::string_view end;    // Of the key, behind the hash tag.
  std::string_view local;  // In the scripts.
};
constexpr std::array<KeyName, redis_key_count> key_names = {
    {{"meta", "META"},     {"job", "JOB"},       {"body", "BODY"},           {"fifo", "FIFO"},
     {"ring", "RING"},     {"age", "AGE"},       {"parked_age", "PAGE"},     {"delayed", "DELAYED"},
     {"leases", "LEASES"}, {"active", "ACTIVE"}, {"deadlines", "DEADLINES"}, {"finished", "FINISHED"},
     {"dead", "DEAD"},     {"keys", "KEYH"},     {"key_expiry", "KEYX"},     {"users", "USERS"},
     {"parked", "PARKED"}, {"rate", "RATE"},     {"wake", "WAKE"},           {"events", "EVENTS"}}};

// Numbers that become text go through %d: Lua's own conversion has 14 digits, and a time in microseconds has 16; %.0f
// takes five times as long. O.NAME is replaced by the option's number before the script is sent.
//
// A record is text of fixed places, so that the plain scripts below change it without taking it apart:
//   1 state, 2 lane, 3 cancel requested, 4 'p' (no deadline, no idempotency key) or 'x', 5 sequence, 21 available,
//   37 enqueued, 53 started, 69 ended, 85 token (16 digits each), 101 failures (8), 109 bytes of the payload (10),
//   119 nonce (16), 135 bytes of what is fixed (7), 142 bytes of the worker's name (4),
//   146 what is fixed from the enqueue on: user, content type, tags, key (4 bytes of size before each, the highest
//       first), attempts, base, cap (8 bytes each); the worker; and where any of it is not as in a new job, as
//       MessagePack: deadline, crashes, progress (3), status, message, history, result (2).
// Writes come after all checks, so that a refusal, or a server that is out of memory, leaves nothing half done.
constexpr std::string_view full_prelude = R"lua(
local call = redis.call
-- Fields of a record.
local STATE,LANE,USER,ENQ,AVAIL,DEADLINE,STARTED,ENDED,TOKEN,FAILURES,CRASHES,MAXATT,BASE,CAP,CANCEL,WORKER,SEQ,PLEN,KEY,CTYPE,TAGS,PDONE,PTOTAL,PNOTE,ESTATUS,EMSG,HISTORY,RREF,RBYTES,NONCE,FIXED = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
local S_DELAYED,S_WAITING,S_RUNNING,S_DONE,S_CANCELLED,S_EXPIRED,S_DEAD = 0,1,2,3,4,5,6
local E_ACCEPTED,E_STARTED,E_RETRIED,E_RELEASED,E_RECOVERED,E_DONE,E_CANCELLED,E_EXPIRED,E_DEAD,E_REQUEUED,E_REMOVED = 0,1,2,3,4,5,6,7,8,9,10
local P44, P50, P51 = 17592186044416, 1125899906842624, 2251799813685248
local inc, events, wake, users_inc, gone = {}, {}, false, {}, {}
-- due: nothing is due before it (see sweep).
local due, seq, turn = unpack(call('HMGET', META, 'due', 'seq', 'turn'))
due = tonumber(due or '0'); seq = tonumber(seq or '0'); turn = tonumber(turn or '0')
local due_was, seq_was, turn_was = due, seq, turn
-- A script that ends or takes many jobs, and does nothing else with them, does so to all in one call, when it is done.
local later

local function text(n) return string.format('%d', n) end
local function bump(field, n) inc[field] = (inc[field] or 0) + n end
local function at(time) if time < due then due = time end end
local function unpack_record(r)
  if not string.find(string.sub(r, 1, 118), '^[0-6][0-2][01][px]' .. string.rep('%d', 114) .. '$') then return nil end
  local function n(from, to) return tonumber(string.sub(r, from, to)) end
  local worker = 146 + n(135, 141)
  local more = worker + n(142, 145)
  if #r < more - 1 then return nil end
  local user, ctype, tags, key, maxatt, base, cap = struct.unpack('>I4c0I4c0I4c0I4c0I8I8I8', r, 146)
  local m = {0, 0, 0, 0, '', 0, '', {}, '', ''}
  if #r >= more then m = cmsgpack.unpack(string.sub(r, more)) end
  if #m ~= 10 then return nil end
  return {n(1, 1), n(2, 2), user, n(37, 52), n(21, 36), m[1], n(53, 68), n(69, 84), n(85, 100), n(101, 108), m[2], maxatt, base, cap,
    n(3, 3), string.sub(r, worker, more - 1), n(5, 20), n(109, 118), key, ctype, tags, m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10],
    string.sub(r, 119, 134), string.sub(r, 146, worker - 1)}
end
local function pack_record(j)
  local fixed = j[FIXED] or struct.pack('>I4c0I4c0I4c0I4c0I8I8I8', #j[USER], j[USER], #j[CTYPE], j[CTYPE], #j[TAGS], j[TAGS],
    #j[KEY], j[KEY], j[MAXATT], j[BASE], j[CAP])
  local more = ''
  if j[DEADLINE] ~= 0 or j[CRASHES] ~= 0 or j[PDONE] ~= 0 or j[PTOTAL] ~= 0 or j[PNOTE] ~= '' or j[ESTATUS] ~= 0 or
     j[EMSG] ~= '' or #j[HISTORY] > 0 or j[RREF] ~= '' or j[RBYTES] ~= '' then
    more = cmsgpack.pack({j[DEADLINE], j[CRASHES], j[PDONE], j[PTOTAL], j[PNOTE], j[ESTATUS], j[EMSG], j[HISTORY], j[RREF], j[RBYTES]})
  end
  return string.format('%d%d%d%s%016d%016d%016d%016d%016d%016d%08d%010d%s%07d%04d', j[STATE], j[LANE], j[CANCEL],
    j[DEADLINE] == 0 and j[KEY] == '' and 'p' or 'x', j[SEQ], j[AVAIL], j[ENQ], j[STARTED], j[ENDED], j[TOKEN], j[FAILURES],
    j[PLEN], j[NONCE], #fixed, #j[WORKER]) .. fixed .. j[WORKER] .. more
end
local function load(id)
  if gone[id] then return nil end
  local r = call('HGET', JOB, id)
  if not r then return nil end
  local ok, j = pcall(unpack_record, r)
  return ok and j or nil
end
local function save(id, j) call('HSET', JOB, id, pack_record(j)) end
local function emit(kind, id, j, status)
  if O.events > 0 then events[#events + 1] = kind .. ' ' .. id .. ' ' .. text(j[TOKEN]) .. ' ' .. status .. ' ' .. text(T) end
end
local function flush()
  local fields, set = {}, {}
  for field, n in pairs(inc) do if n ~= 0 then fields[#fields + 1] = field end end
  if #fields > 0 then
    for i, value in ipairs(call('HMGET', META, unpack(fields))) do
      set[#set + 1] = fields[i]; set[#set + 1] = text(tonumber(value or '0') + inc[fields[i]])
    end
  end
  if due ~= due_was then set[#set + 1] = 'due'; set[#set + 1] = text(due) end
  if seq ~= seq_was then set[#set + 1] = 'seq'; set[#set + 1] = text(seq) end
  if turn ~= turn_was then set[#set + 1] = 'turn'; set[#set + 1] = text(turn) end
  if #set > 0 then call('HSET', META, unpack(set)) end
  inc = {}; due_was = due; seq_was = seq; turn_was = turn
  for user, n in pairs(users_inc) do
    if n ~= 0 and call('HINCRBY', USERS, user, n) <= 0 then call('HDEL', USERS, user) end
  end
  users_inc = {}
  if #events > 0 then
    local last = call('HINCRBY', META, 'ev', #events)
    for i, e in ipairs(events) do
      call('XADD', EVENTS, 'MAXLEN', '~', O.events, text(last - #events + i) .. '-1', 'e', e)
    end
    events = {}
  end
  -- One hint is enough: who takes it passes it on while there is more.
  if wake and call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, '1') end
  wake = false
end
local function bucket(us)
  if us < 0 then us = 0 end
  if us > 1099511627776 then us = 1099511627776 end
  if us < 8 then return us end
  local m, e = math.frexp(us)
  return 8 * (e - 4) + math.floor(m * 16)
end
local function observe(what, us)
  us = math.max(us, 0)
  bump(what .. bucket(us), 1)
  bump(what .. 's', us)
end

-- Lanes.
local function age_score(lane, since) return lane * P51 + (since - P50) end
local function line(lane, user) return lane .. user .. '\0' end
local function member_of(id, j) return line(j[LANE], j[USER]) .. string.format('%016d%016d', j[SEQ], j[AVAIL]) .. id end
local function head_of(lane, user)
  local prefix = line(lane, user)
  return call('ZRANGEBYLEX', FIFO, '[' .. prefix, '(' .. lane .. user .. '\1', 'LIMIT', 0, 1)[1]
end
local function since_of(member) return tonumber(string.sub(member, -48, -33)) end
local function id_of(member) return string.sub(member, -32) end
local function next_turn(lane) turn = turn + 1; return lane * P44 + turn end
local function make_available(id, j, fresh)
  if fresh then seq = seq + 1; j[SEQ] = seq end
  j[STATE] = S_WAITING
  local lane, user = j[LANE], j[USER]
  local member, lu = member_of(id, j), lane .. user
  call('ZADD', FIFO, 0, member)
  local parked = O.parks == 1 and call('ZSCORE', PARKED, user)
  local ages = parked and PAGE or AGE
  local had = call('ZSCORE', ages, lu)
  if not had then
    call('ZADD', ages, age_score(lane, j[AVAIL]), lu)
    if not parked then call('ZADD', RING, next_turn(lane), lu) end
  elseif not fresh and head_of(lane, user) == member then
    call('ZADD', ages, age_score(lane, j[AVAIL]), lu)
  end
  bump('n' .. lane, 1); bump('b' .. lane, j[PLEN])
  wake = true
end
local function leave_line(id, j)
  local lane, user = j[LANE], j[USER]
  local lu = lane .. user
  call('ZREM', FIFO, member_of(id, j))
  local head = head_of(lane, user)
  local ages = O.parks == 1 and call('ZSCORE', PARKED, user) and PAGE or AGE
  if head then
    call('ZADD', ages, age_score(lane, since_of(head)), lu)
  else
    call('ZREM', ages, lu)
    call('ZREM', RING, lu)
  end
  bump('n' .. lane, -1); bump('b' .. lane, -j[PLEN])
end
local function park(user, till)
  call('ZADD', PARKED, till, user)
  if till ~= '+inf' then at(till) end
  for lane = 0, 2 do
    local lu = lane .. user
    local age = call('ZSCORE', AGE, lu)
    if age then
      call('ZREM', AGE, lu); call('ZREM', RING, lu)
      call('ZADD', PAGE, age, lu)
    end
  end
end
local function unpark(user)
  call('ZREM', PARKED, user)
  for lane = 0, 2 do
    local lu = lane .. user
    local age = call('ZSCORE', PAGE, lu)
    if age then
      call('ZREM', PAGE, lu)
      call('ZADD', AGE, age, lu)
      call('ZADD', RING, next_turn(lane), lu)
      wake = true
    end
  end
end
local function over_limit(user)
  return O.user_limit > 0 and tonumber(call('HGET', USERS, user) or '0') >= O.user_limit
end
local function runs(user, n)
  if O.user_limit == 0 then users_inc[user] = (users_inc[user] or 0) + n; return 0 end
  local now = call('HINCRBY', USERS, user, n)
  if now <= 0 then call('HDEL', USERS, user) end
  return now
end
local function end_run(id, j)
  if later then later.ended[#later.ended + 1] = id else call('ZREM', LEASES, id); call('ZREM', ACTIVE, id) end
  local user = j[USER]
  runs(user, -1)
  -- Who is parked for time as well stays so.
  if O.user_limit > 0 and call('ZSCORE', PARKED, user) == 'inf' and not over_limit(user) then unpark(user) end
  bump('run', -1)
end

local function arm(id, j) if j[DEADLINE] > 0 then call('ZADD', DEADLINES, j[DEADLINE], id); at(j[DEADLINE]) end end
local function disarm(id, j)
  if j[STATE] == S_WAITING then
    leave_line(id, j)
  elseif j[STATE] == S_DELAYED then
    call('ZREM', DELAYED, id)
    bump('n' .. j[LANE], -1); bump('d' .. j[LANE], -1); bump('b' .. j[LANE], -j[PLEN])
  end
  if j[DEADLINE] > 0 then call('ZREM', DEADLINES, id) end
end
local function make_delayed(id, j, till)
  j[STATE] = S_DELAYED; j[AVAIL] = till
  call('ZADD', DELAYED, till, id)
  at(till)
  bump('n' .. j[LANE], 1); bump('d' .. j[LANE], 1); bump('b' .. j[LANE], j[PLEN])
  -- Whoever sleeps longer than that has to get up earlier.
  local first = call('ZRANGE', DELAYED, 0, 0)[1]
  if first == id then wake = true end
end
local function drop_key(key) call('HDEL', KEYH, key); call('ZREM', KEYX, key) end
local function let_key_go(id, j, started)
  if j[KEY] == '' then return end
  local held = call('HGET', KEYH, j[KEY])
  if not held or string.sub(held, 2) ~= id then return end
  local scope = string.sub(held, 1, 1)
  if scope == '1' or (scope == '2' and not started) then drop_key(j[KEY]) end
end
local function trim()
  local oldest = call('ZRANGE', FINISHED, 0, 0)[1]
  if oldest then call('ZREM', FINISHED, oldest); call('HDEL', JOB, oldest) end
  return oldest
end
local function finish(id, j, state)
  j[STATE] = state; j[ENDED] = T
  let_key_go(id, j, false)
  if later then later.bodies[#later.bodies + 1] = id else call('HDEL', BODY, id) end
  if state == S_DONE then
    bump('done', 1); observe('R', T - j[STARTED]); emit(E_DONE, id, j, 0)
  elseif state == S_CANCELLED then
    bump('cancelled', 1); emit(E_CANCELLED, id, j, 201)
  else
    bump('expired', 1); emit(E_EXPIRED, id, j, 202)
  end
  if O.kept == 0 or O.kept_us == 0 then
    if later then later.jobs[#later.jobs + 1] = id; gone[id] = true else call('HDEL', JOB, id) end
  else
    save(id, j)
    call('ZADD', FINISHED, T, id)
    at(T + O.kept_us)
    if call('ZCARD', FINISHED) > O.kept then trim() end
  end
end
local function remove_dead(id, j)
  call('ZREM', DEAD, id); call('HDEL', JOB, id); call('HDEL', BODY, id)
  bump('db', -(j and j[PLEN] or 0)); bump('removed', 1)
  if j then emit(E_REMOVED, id, j, 0) end
end
local expired_letters = {}
local function expire_letter(id)
  local j = load(id)
  expired_letters[#expired_letters + 1] = id .. ' status ' .. (j and text(j[ESTATUS]) or '0') .. ', ' .. (j and j[EMSG] or '')
  remove_dead(id, j)
end
local function kill(id, j, status, message)
  j[STATE] = S_DEAD; j[ENDED] = T; j[DEADLINE] = 0; j[ESTATUS] = status; j[EMSG] = message
  let_key_go(id, j, false)
  save(id, j)
  call('ZADD', DEAD, T, id)
  if O.max_dead_us > 0 then at(T + O.max_dead_us) end
  bump('db', j[PLEN]); bump('died', 1)
  emit(E_DEAD, id, j, status)
  if O.dead_expire == 1 then
    while (O.max_dead > 0 and call('ZCARD', DEAD) > O.max_dead) or
          (O.max_dead_bytes > 0 and tonumber(call('HGET', META, 'db') or '0') + (inc['db'] or 0) > O.max_dead_bytes and call('ZCARD', DEAD) > 1) do
      expire_letter(call('ZRANGE', DEAD, 0, 0)[1])
    end
  end
end
local function note(j, how, status, message)
  local h = j[HISTORY]
  if #h >= O.max_history then table.remove(h, 2) end
  h[#h + 1] = {j[TOKEN], j[STARTED], T, how, status, j[WORKER], message}
end
local function put_back(id, j, delay)
  end_run(id, j)
  j[CRASHES] = j[CRASHES] + 1
  if j[CANCEL] == 1 then finish(id, j, S_CANCELLED); return end
  if j[CRASHES] >= O.max_crashes then
    local who = j[WORKER] ~= '' and (', the last one of ' .. j[WORKER]) or ''
    kill(id, j, 208, 'worker died: ' .. j[CRASHES] .. ' leases ran out or were given back' .. who)
    return
  end
  if delay > 0 then make_delayed(id, j, T + delay) else make_available(id, j, false) end
  arm(id, j)
  save(id, j)
end
local function held(id, token)
  local j = load(id)
  if not j or j[STATE] ~= S_RUNNING or j[TOKEN] ~= token then bump('fenced', 1); return nil, j end
  return j
end
-- A repeat of a call whose answer was lost: it has been carried out.
local function is_repeat(j, nonce) return j and nonce ~= '' and j[NONCE] == nonce end

-- Does what is due, at most `budget` of it, and returns whether more may be.
local function sweep(budget)
  if T < due then return false end
  local leases = call('ZRANGEBYSCORE', LEASES, '-inf', T, 'WITHSCORES', 'LIMIT', 0, budget)
  local delayed = call('ZRANGEBYSCORE', DELAYED, '-inf', T, 'WITHSCORES', 'LIMIT', 0, budget)
  local a, b, left = 1, 1, budget
  while left > 0 and (leases[a] or delayed[b]) do
    left = left - 1
    if delayed[b] and (not leases[a] or tonumber(delayed[b + 1]) <= tonumber(leases[a + 1])) then
      local id, j = delayed[b], load(delayed[b])
      b = b + 2
      call('ZREM', DELAYED, id)
      if j and j[STATE] == S_DELAYED then
        bump('n' .. j[LANE], -1); bump('d' .. j[LANE], -1); bump('b' .. j[LANE], -j[PLEN])
        make_available(id, j, true)
        save(id, j)
      end
    else
      local id, j = leases[a], load(leases[a])
      a = a + 2
      if j and j[STATE] == S_RUNNING then
        note(j, 1, 208, 'the lease ran out')
        bump('recovered', 1)
        emit(E_RECOVERED, id, j, 208)
        put_back(id, j, 0)
      else
        call('ZREM', LEASES, id); call('ZREM', ACTIVE, id)
      end
    end
  end
  if left > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', DEADLINES, '-inf', T, 'LIMIT', 0, left)) do
      left = left - 1
      local j = load(id)
      if j and (j[STATE] == S_WAITING or j[STATE] == S_DELAYED) then
        disarm(id, j)
        finish(id, j, S_EXPIRED)
      else
        call('ZREM', DEADLINES, id)
      end
    end
  end
  if left > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', FINISHED, '-inf', T - O.kept_us, 'LIMIT', 0, left)) do
      left = left - 1
      call('ZREM', FINISHED, id); call('HDEL', JOB, id)
    end
  end
  if left > 0 and O.max_dead_us > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', DEAD, '-inf', T - O.max_dead_us, 'LIMIT', 0, left)) do
      left = left - 1
      expire_letter(id)
    end
  end
  if left > 0 then
    for _, key in ipairs(call('ZRANGEBYSCORE', KEYX, '-inf', T, 'LIMIT', 0, left)) do
      left = left - 1
      drop_key(key)
    end
  end
  if left > 0 and O.interval > 0 then
    local owed = call('ZRANGEBYSCORE', RATE, '-inf', T, 'LIMIT', 0, left)
    if #owed > 0 then call('ZREM', RATE, unpack(owed)); left = left - #owed end
  end
  -- Who is active without a lease would never come back: pages of the active ones, once in a second.
  local checked = call('HMGET', META, 'orphan_at', 'orphan_rank')
  if T - tonumber(checked[1] or '0') >= 1000000 then
    local rank = tonumber(checked[2] or '0')
    local page = call('ZRANGE', ACTIVE, rank, rank + 99)
    for _, id in ipairs(page) do
      if not call('ZSCORE', LEASES, id) then call('ZADD', LEASES, T, id) end
    end
    call('HSET', META, 'orphan_at', text(T), 'orphan_rank', #page < 100 and 0 or rank + 100)
  end
  if left <= 0 then due = T; return true end
  due = tonumber(call('HGET', META, 'orphan_at')) + 1000000
  for key, more in pairs({[LEASES] = 0, [DELAYED] = 0, [DEADLINES] = 0, [KEYX] = 0, [PARKED] = 0, [FINISHED] = O.kept_us, [DEAD] = O.max_dead_us}) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[1] and first[2] ~= 'inf' and (key ~= DEAD or more > 0) then at(tonumber(first[2]) + more) end
  end
  return false
end
local function unpark_due()
  for _, user in ipairs(call('ZRANGEBYSCORE', PARKED, '-inf', T, 'LIMIT', 0, 100)) do unpark(user) end
end
local function next_due()
  local soonest = 0
  for _, key in ipairs({DELAYED, LEASES, DEADLINES, PARKED}) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[1] and first[2] ~= 'inf' then
      local time = tonumber(first[2])
      if soonest == 0 or time < soonest then soonest = time end
    end
  end
  return soonest
end
-- The lane and user whose turn it is.
local last_aged, credits
local young = {}
local function first_in(lane)
  return call('ZRANGEBYSCORE', RING, lane * P44, '(' .. text((lane + 1) * P44), 'LIMIT', 0, 1)[1]
end
local function choose()
  if O.weighted == 1 then
    local best, user
    for lane = 0, 2 do
      local lu = first_in(lane)
      if lu and (not best or credits[lane] + O_weights[lane + 1] > credits[best] + O_weights[best + 1]) then
        best, user = lane, string.sub(lu, 2)
      end
    end
    return best, user, false
  end
  local first = call('ZRANGE', RING, 0, 0)[1]
  if not first then return nil end
  local lane, user, aged = tonumber(string.sub(first, 1, 1)), string.sub(first, 2), false
  -- Of what waits now nothing gets older within a script.
  if last_aged ~= 1 then
    local oldest_due = T
    local strict = lane
    for other = strict + 1, 2 do
      local bound = O_bounds[other + 1]
      if bound > 0 and not young[other] then
        local oldest = call('ZRANGEBYSCORE', AGE, other * P51, '(' .. text((other + 1) * P51), 'WITHSCORES', 'LIMIT', 0, 1)
        if not oldest[1] then
          young[other] = true
        else
          local time = tonumber(oldest[2]) - other * P51 + P50 + bound
          young[other] = time >= T
          if time < oldest_due then oldest_due = time; lane = other; user = string.sub(oldest[1], 2); aged = true end
        end
      end
    end
  end
  return lane, user, aged
end
local function charge(user)
  if O.interval == 0 then return 0 end
  local latest = T + O.interval * O.burst
  local full = math.min(tonumber(call('ZSCORE', RATE, user) or '0'), latest)
  local after = math.max(full, T) + O.interval
  if after > latest then
    call('ZADD', RATE, full, user)
    return after - latest
  end
  call('ZADD', RATE, after, user)
  return 0
end
local function take(lease, worker)
  for _ = 1, 100 do
    local lane, user, aged = choose()
    if not lane then return nil end
    local wait = 0
    if over_limit(user) then
      park(user, '+inf')
    else
      wait = charge(user)
      if wait > 0 then park(user, T + wait) end
      if wait == 0 then
        local lu = lane .. user
        if O.weighted == 1 then
          local total = 0
          for other = 0, 2 do
            if first_in(other) then
              credits[other] = credits[other] + O_weights[other + 1]
              total = total + O_weights[other + 1]
            end
          end
          credits[lane] = credits[lane] - total
        else
          last_aged = aged and 1 or 0
        end
        local heads = call('ZRANGEBYLEX', FIFO, '[' .. line(lane, user), '(' .. lu .. '\1', 'LIMIT', 0, 2)
        local member = heads[1]
        local id = member and id_of(member)
        local j = id and load(id)
        if not member then  -- Only a foreign hand leaves a turn without a job.
          call('ZREM', AGE, lu); call('ZREM', RING, lu)
        elseif not j or j[STATE] ~= S_WAITING or member_of(id, j) ~= member then
          call('ZREM', FIFO, member); bump('corrupt', 1)
          local head = head_of(lane, user)
          if head then call('ZADD', AGE, age_score(lane, since_of(head)), lu) else call('ZREM', AGE, lu); call('ZREM', RING, lu) end
        else
          call('ZREM', FIFO, member)
          bump('n' .. lane, -1); bump('b' .. lane, -j[PLEN])
          if heads[2] then  -- Behind the others.
            call('ZADD', AGE, age_score(lane, since_of(heads[2])), lu)
            call('ZADD', RING, next_turn(lane), lu)
          else
            call('ZREM', AGE, lu); call('ZREM', RING, lu)
          end
          if runs(user, 1) >= O.user_limit and O.user_limit > 0 then park(user, '+inf') end
          if j[DEADLINE] > 0 then call('ZREM', DEADLINES, id) end
          j[STATE] = S_RUNNING; j[TOKEN] = j[TOKEN] + 1; j[STARTED] = T; j[WORKER] = worker
          if j[TOKEN] == 1 then let_key_go(id, j, true) end
          local n = #later.ids
          later.ids[n + 1] = id
          later.records[2 * n + 1] = id; later.records[2 * n + 2] = pack_record(j)
          later.leases[2 * n + 1] = T + lease; later.leases[2 * n + 2] = id
          later.active[2 * n + 1] = T; later.active[2 * n + 2] = id
          at(T + lease)
          bump('run', 1); bump('taken', 1); observe('W', T - j[AVAIL])
          emit(E_STARTED, id, j, 0)
          return true
        end
      end
    end
  end
  return nil
end
local function oldest_of(lane)
  local best, who
  for _, ages in ipairs({AGE, PAGE}) do
    local first = call('ZRANGEBYSCORE', ages, lane * P51, '(' .. text((lane + 1) * P51), 'WITHSCORES', 'LIMIT', 0, 1)
    if first[1] and (not best or tonumber(first[2]) < best) then best = tonumber(first[2]); who = string.sub(first[1], 2) end
  end
  if not who then return nil end
  local member = head_of(lane, who)
  return member and id_of(member), member and since_of(member)
end
local function fits(j, f)
  if not j or j[STATE] ~= f.state then return false end
  if f.user and j[USER] ~= f.user then return false end
  if f.status and j[ESTATUS] ~= f.status then return false end
  if f.older then
    local since = j[STATE] >= S_DONE and j[ENDED] or (j[STATE] == S_RUNNING and j[STARTED] or j[ENQ])
    if T - since <= f.older then return false end
  end
  if f.tag then
    local at, blob = 1, j[TAGS]
    while at <= #blob do
      local n = string.byte(blob, at)
      if string.sub(blob, at + 1, at + n) == f.tag then return true end
      at = at + n + 1
    end
    return false
  end
  return true
end
local function filter_of(at)
  local f = {state = tonumber(ARGV[at])}
  if ARGV[at + 1] == '1' then f.user = ARGV[at + 2] end
  if ARGV[at + 3] == '1' then f.tag = ARGV[at + 4] end
  if ARGV[at + 5] ~= '' then f.status = tonumber(ARGV[at + 5]) end
  if ARGV[at + 6] ~= '' then f.older = tonumber(ARGV[at + 6]) end
  return f
end
-- Up to `count` ids of a state behind the cursor, and the cursor behind them ('' at the end).
local function page_of(state, cursor, count)
  local ids = {}
  if state == S_WAITING then
    local found = call('ZRANGEBYLEX', FIFO, cursor == '' and '-' or '(' .. cursor, '+', 'LIMIT', 0, count)
    for i, member in ipairs(found) do ids[i] = id_of(member) end
    return ids, #found < count and '' or found[#found]
  end
  local key = ({[S_DELAYED] = DELAYED, [S_RUNNING] = ACTIVE, [S_DEAD] = DEAD})[state] or FINISHED
  local from, after = '-inf', ''
  if cursor ~= '' then from, after = string.match(cursor, '^([%d%.e+-]+) (%x+)$') end
  if not from then return redis.error_reply('GFARG the cursor is none that this queue gave') end
  -- Of one moment there are at most as many as one call ends.
  local found = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count + 1000)
  local last = ''
  local i = 1
  while found[i] and #ids < count do
    if not (cursor ~= '' and found[i + 1] == from and found[i] <= after) then
      ids[#ids + 1] = found[i]
      last = found[i + 1] .. ' ' .. found[i]
    end
    i = i + 2
  end
  if not found[i] and #found < 2 * (count + 1000) then last = '' end
  return ids, last
end
local function record_reply(id, j, with_body)
  local history = {}
  for i, h in ipairs(j[HISTORY]) do
    history[i] = {h[1], h[2], h[3], h[4], h[5], h[6], h[7]}
  end
  local lease = call('ZSCORE', LEASES, id)
  return {id, j[STATE], j[LANE], j[USER], with_body and (call('HGET', BODY, id) or '') or '', j[CTYPE], j[TAGS], j[KEY],
    j[MAXATT], j[BASE], j[CAP], j[ENQ], j[AVAIL], j[DEADLINE], j[STARTED], j[ENDED], lease and tonumber(lease) or 0,
    j[TOKEN], j[FAILURES], j[CRASHES], j[CANCEL], j[WORKER], j[PDONE], j[PTOTAL], j[PNOTE], j[RREF], j[RBYTES],
    j[ESTATUS], j[EMSG], history}
end
)lua";

constexpr std::string_view open_script = R"lua(
local version = call('HGET', META, 'schema')
if not version then
  if call('TYPE', META).ok ~= 'none' and call('HLEN', META) > 0 then return {'foreign', call('TYPE', META).ok} end
  -- A value of more than 64 bytes makes the hash a table: as a packed list, every field is looked for from the front.
  call('HSET', META, 'schema', O.schema, 'about', 'A queue of GameForge: its counters, totals and histograms of waits and runs.')
  return {'ok'}
end
if tonumber(version) == O.schema then return {'ok'} end
return {'version', version}
)lua";

// n, then for each: id, nonce, lane, user, payload, content type, tags, key, scope, key ttl, on duplicate, delay,
// deadline ('' for none), max attempts, base, cap.
constexpr std::string_view enqueue_script = R"lua(
if T >= due and ARGV[#ARGV] ~= '1' then return {'due'} end
local out = {}
local counts = call('HMGET', META, 'n0', 'n1', 'n2', 'b0', 'b1', 'b2', 'db')
local dead_count
local function count(i, field) return tonumber(counts[i] or '0') + (inc[field] or 0) end
local function lack(lane, bytes)
  local n, b = count(lane + 1, 'n' .. lane), count(lane + 4, 'b' .. lane)
  local of = O_lane_depth[lane + 1]
  local name = 'the lane ' .. ({'high', 'normal', 'low'})[lane + 1]
  if of[1] > 0 and n >= of[1] then return name .. ' has ' .. text(n) .. ' jobs of at most ' .. text(of[1]), false end
  if of[2] > 0 and b + bytes > of[2] then return name .. ' has ' .. text(b) .. ' bytes of at most ' .. text(of[2]), false end
  n = count(1, 'n0') + count(2, 'n1') + count(3, 'n2')
  b = count(4, 'b0') + count(5, 'b1') + count(6, 'b2')
  local limit = O.depth_jobs
  if limit > 0 then
    if lane > 0 then limit = math.max(limit - O.reserved_high, 0) end
    if n >= limit then return 'the queue has ' .. text(n) .. ' jobs of at most ' .. text(limit), true end
  end
  if O.depth_bytes > 0 and b + bytes > O.depth_bytes then return 'the queue has ' .. text(b) .. ' bytes of at most ' .. text(O.depth_bytes), true end
  return nil
end
local function make_room(lane, bytes)
  if O.dead_expire == 0 then
    dead_count = dead_count or call('ZCARD', DEAD)
    local n = dead_count
    if O.max_dead > 0 and n >= O.max_dead then return 'the dead letters are full: ' .. text(n) .. ' of at most ' .. text(O.max_dead) .. ' jobs' end
    local b = count(7, 'db')
    if O.max_dead_bytes > 0 and b >= O.max_dead_bytes then return 'the dead letters are full: ' .. text(b) .. ' of at most ' .. text(O.max_dead_bytes) .. ' bytes' end
  end
  local why, wide = lack(lane, bytes)
  if not why or O.drop == 0 then return why end
  local from = wide and 2 or lane
  local id
  while true do
    id = oldest_of(from)
    if id or from <= lane then break end
    from = from - 1
  end
  local j = id and load(id)
  if not j then return why end
  bump('n' .. from, -1); bump('b' .. from, -j[PLEN])
  local still = lack(lane, bytes)
  bump('n' .. from, 1); bump('b' .. from, j[PLEN])
  if still then return still end
  bump('dropped', 1)
  dead_count = nil
  disarm(id, j)
  kill(id, j, 205, 'dropped to make room for a newer job')
  return nil
end
local place = 2
for _ = 1, tonumber(ARGV[1]) do
  local id, nonce, lane, user, payload, ctype, tags, key, scope, ttl, on_dup, delay, deadline, maxatt, base, cap = unpack(ARGV, place, place + 15)
  place = place + 16
  lane = tonumber(lane); delay = tonumber(delay)
  local answer
  local there = load(id)
  local holder = key ~= '' and call('HGET', KEYH, key)
  if holder and string.sub(holder, 1, 1) == '0' then
    local till = call('ZSCORE', KEYX, key)
    if till and tonumber(till) <= T then drop_key(key); holder = nil end
  end
  if there and there[NONCE] == nonce then
    answer = {'ok', id, 0, there[STATE]}
  elseif holder then
    local hid = string.sub(holder, 2)
    local h = load(hid)
    bump('duplicates', 1)
    answer = {on_dup == '0' and 'ok' or 'held', hid, 1, h and h[STATE] or S_DONE}
  elseif there then
    answer = {'exists', id}
  else
    local late = deadline ~= '' and tonumber(deadline) <= 0
    local why = not late and make_room(lane, #payload)
    if not why and key ~= '' and O.max_keys > 0 and call('HLEN', KEYH) >= O.max_keys then
      why = 'the idempotency keys are full: ' .. text(call('HLEN', KEYH)) .. ' of at most ' .. text(O.max_keys)
    end
    if why then
      bump('rejected', 1)
      answer = {'full', why}
    else
      local till = deadline ~= '' and T + tonumber(deadline) or 0
      local age = ({O.max_age_high, O.max_age_normal, O.max_age_low})[lane + 1]
      if age > 0 and (till == 0 or till > T + age) then till = T + age end
      local j = {S_WAITING, lane, user, T, T, till, 0, 0, 0, 0, 0, tonumber(maxatt), tonumber(base), tonumber(cap), 0, '', 0,
        #payload, key, ctype, tags, 0, 0, '', 0, '', {}, '', '', nonce}
      if key ~= '' then
        call('HSET', KEYH, key, scope .. id)
        if scope == '0' then call('ZADD', KEYX, T + tonumber(ttl), key); at(T + tonumber(ttl)) end
      end
      bump('accepted', 1)
      emit(E_ACCEPTED, id, j, 0)
      if late then
        finish(id, j, S_EXPIRED)
      else
        if #payload > 0 then call('HSET', BODY, id, payload) end
        if delay > 0 then make_delayed(id, j, T + delay) else make_available(id, j, true) end
        arm(id, j)
        save(id, j)
      end
      answer = {'ok', id, 0, j[STATE]}
    end
  end
  out[#out + 1] = answer
end
flush()
out[#out + 1] = expired_letters
return out
)lua";

// count, lease, worker.
constexpr std::string_view reserve_script = R"lua(
local more = sweep(64)
local state = call('HMGET', META, 'paused', 'aged', 'c0', 'c1', 'c2')
last_aged = tonumber(state[2] or '0')
credits = {[0] = tonumber(state[3] or '0'), [1] = tonumber(state[4] or '0'), [2] = tonumber(state[5] or '0')}
local leases = {}
if state[1] ~= '1' then
  if O.interval > 0 then unpark_due() end
  local aged = last_aged
  local lease = tonumber(ARGV[2])
  later = {ids = {}, records = {}, leases = {}, active = {}}
  for _ = 1, tonumber(ARGV[1]) do
    if not take(lease, ARGV[3]) then break end
  end
  if #later.ids > 0 then
    call('HSET', JOB, unpack(later.records)); call('ZADD', LEASES, unpack(later.leases)); call('ZADD', ACTIVE, unpack(later.active))
    for i, body in ipairs(call('HMGET', BODY, unpack(later.ids))) do
      leases[3 * i - 2] = later.ids[i]; leases[3 * i - 1] = later.records[2 * i]; leases[3 * i] = body or ''
    end
    if O.weighted == 1 then
      call('HSET', META, 'c0', credits[0], 'c1', credits[1], 'c2', credits[2])
    elseif aged ~= last_aged then
      call('HSET', META, 'aged', last_aged)
    end
  end
  wake = call('ZCARD', RING) > 0
end
local soonest = #leases == 0 and next_due() or 0
flush()
return {T, soonest, more and 1 or 0, leases, tonumber(ARGV[2]) + T, expired_letters}
)lua";

// id, token, lease.
constexpr std::string_view extend_script = R"lua(
sweep(16)
local j = held(ARGV[1], tonumber(ARGV[2]))
if not j then flush(); return {'lost'} end
local till = T + tonumber(ARGV[3])
call('ZADD', LEASES, till, ARGV[1])
at(till)
bump('renewed', 1)
flush()
return {'ok', till, j[CANCEL]}
)lua";

// id, token, done, total, note.
constexpr std::string_view progress_script = R"lua(
sweep(16)
local j = held(ARGV[1], tonumber(ARGV[2]))
if not j then flush(); return {'lost'} end
j[PDONE] = ARGV[3]; j[PTOTAL] = ARGV[4]; j[PNOTE] = ARGV[5]
save(ARGV[1], j)
flush()
return {'ok'}
)lua";

// n, then for each: id, token, nonce, reference, bytes.
constexpr std::string_view complete_script = R"lua(
if T >= due and ARGV[#ARGV] ~= '1' then return {'due'} end
later = {ended = {}, bodies = {}, jobs = {}}
local out = {}
for i = 0, tonumber(ARGV[1]) - 1 do
  local id, token, nonce, ref, bytes = unpack(ARGV, 2 + 5 * i, 6 + 5 * i)
  local j, other = held(id, tonumber(token))
  if j then
    j[RREF] = ref; j[RBYTES] = bytes; j[NONCE] = nonce
    end_run(id, j)
    finish(id, j, S_DONE)
    out[#out + 1] = 'ok'
  elseif is_repeat(other, nonce) then
    bump('fenced', -1)
    out[#out + 1] = 'ok'
  else
    out[#out + 1] = 'lost'
  end
end
if #later.ended > 0 then
  call('ZREM', LEASES, unpack(later.ended)); call('ZREM', ACTIVE, unpack(later.ended)); call('HDEL', BODY, unpack(later.bodies))
end
if #later.jobs > 0 then call('HDEL', JOB, unpack(later.jobs)) end
flush()
return out
)lua";

// id, token, nonce, status, message, whether it may be retried, a random number from 0 to 2^53 - 1.
constexpr std::string_view fail_script = R"lua(
sweep(16)
local id, nonce, status = ARGV[1], ARGV[3], tonumber(ARGV[4])
local j, other = held(id, tonumber(ARGV[2]))
if not j then
  if is_repeat(other, nonce) then
    bump('fenced', -1); flush()
    return {'ok', other[STATE], math.max(other[AVAIL] - T, 0), expired_letters}
  end
  flush()
  return {'lost'}
end
note(j, 0, status, ARGV[5])
j[NONCE] = nonce
end_run(id, j)
bump('failed', 1)
j[FAILURES] = j[FAILURES] + 1
local wait = 0
if j[CANCEL] == 1 then
  finish(id, j, S_CANCELLED)
elseif ARGV[6] ~= '1' or j[FAILURES] >= j[MAXATT] then
  kill(id, j, status, ARGV[5])
else
  bump('retried', 1)
  local bound = j[BASE]
  for _ = 2, j[FAILURES] do
    if bound >= j[CAP] or bound == 0 then break end
    bound = bound * 2
  end
  bound = math.min(bound, j[CAP])
  wait = math.min(math.floor((bound + 1) * (tonumber(ARGV[7]) / 9007199254740992)), bound)
  if wait > 0 then
    make_delayed(id, j, T + wait)
  else
    j[AVAIL] = T
    make_available(id, j, true)
  end
  arm(id, j)
  save(id, j)
  emit(E_RETRIED, id, j, status)
end
flush()
return {'ok', j[STATE], wait, expired_letters}
)lua";

// id, token, nonce, delay.
constexpr std::string_view release_script = R"lua(
sweep(16)
local id, nonce, delay = ARGV[1], ARGV[3], tonumber(ARGV[4])
local j, other = held(id, tonumber(ARGV[2]))
if not j then
  if is_repeat(other, nonce) then
    bump('fenced', -1); flush()
    return {'ok', other[STATE], expired_letters}
  end
  flush()
  return {'lost'}
end
note(j, 2, 0, '')
j[NONCE] = nonce
bump('released', 1)
emit(E_RELEASED, id, j, 0)
put_back(id, j, delay)
flush()
return {'ok', j[STATE], expired_letters}
)lua";

// id.
constexpr std::string_view cancel_script = R"lua(
sweep(16)
local id = ARGV[1]
local j = load(id)
local answer
if not j then
  answer = {'unknown'}
elseif j[STATE] == S_RUNNING then
  if j[CANCEL] == 0 then j[CANCEL] = 1; save(id, j) end
  answer = {'requested'}
elseif j[STATE] >= S_DONE then
  answer = {'over', j[STATE]}
else
  disarm(id, j)
  finish(id, j, S_CANCELLED)
  answer = {'cancelled'}
end
flush()
return answer
)lua";

// id.
constexpr std::string_view get_script = R"lua(
sweep(16)
local j = load(ARGV[1])
flush()
if not j then return {} end
return record_reply(ARGV[1], j, true)
)lua";

// cursor, limit, filter.
constexpr std::string_view list_script = R"lua(
sweep(16)
flush()
local f = filter_of(3)
local limit = tonumber(ARGV[2])
local out = {}
local ids, cursor = page_of(f.state, ARGV[1], limit)
if ids.err then return ids end
for _, id in ipairs(ids) do
  local j = load(id)
  if fits(j, f) then out[#out + 1] = record_reply(id, j, false) end
end
return {cursor, out}
)lua";

// cursor, filter.
constexpr std::string_view purge_script = R"lua(
sweep(16)
local f = filter_of(2)
local ids, cursor = page_of(f.state, ARGV[1], 500)
if ids.err then return ids end
local changed = 0
for _, id in ipairs(ids) do
  local j = load(id)
  if fits(j, f) then
    changed = changed + 1
    if j[STATE] == S_DEAD then
      remove_dead(id, j)
    elseif j[STATE] >= S_DONE then
      call('ZREM', FINISHED, id); call('HDEL', JOB, id)
    else
      disarm(id, j)
      finish(id, j, S_CANCELLED)
    end
  end
end
flush()
return {cursor, changed}
)lua";

constexpr std::string_view revive_functions = R"lua(
local function revive(id, j)
  call('ZREM', DEAD, id)
  bump('db', -j[PLEN]); bump('requeued', 1)
  j[FAILURES] = 0; j[CRASHES] = 0; j[CANCEL] = 0; j[ENDED] = 0; j[ESTATUS] = 0; j[EMSG] = ''
  j[AVAIL] = T
  make_available(id, j, true)
  save(id, j)
  emit(E_REQUEUED, id, j, 0)
end
)lua";

// id.
constexpr std::string_view requeue_script = R"lua(
sweep(16)
local j = load(ARGV[1])
local answer
if not j then
  answer = {'unknown'}
elseif j[STATE] ~= S_DEAD then
  answer = {'state', j[STATE]}
else
  revive(ARGV[1], j)
  answer = {'ok'}
end
flush()
return answer
)lua";

// cursor, filter.
constexpr std::string_view requeue_many_script = R"lua(
sweep(16)
local f = filter_of(2)
local ids, cursor = page_of(S_DEAD, ARGV[1], 500)
if ids.err then return ids end
local changed = 0
for _, id in ipairs(ids) do
  local j = load(id)
  if fits(j, f) then changed = changed + 1; revive(id, j) end
end
flush()
return {cursor, changed}
)lua";

// 1 or 0.
constexpr std::string_view pause_script = R"lua(
call('HSET', META, 'paused', ARGV[1])
if ARGV[1] == '0' then wake = true end
sweep(64)
flush()
return {tonumber(call('HGET', META, 'run') or '0'), T, next_due()}
)lua";

constexpr std::string_view statistics_script = R"lua(
sweep(16)
flush()
local oldest = T
for lane = 0, 2 do
  local _, since = oldest_of(lane)
  if since and since < oldest then oldest = since end
end
return {T - oldest, call('ZCARD', DEAD), call('ZCARD', FINISHED), call('HLEN', USERS), call('HGETALL', META)}
)lua";

// after, limit.
constexpr std::string_view events_script = R"lua(
local after = tonumber(ARGV[1])
local last = tonumber(call('HGET', META, 'ev') or '0')
local found = call('XRANGE', EVENTS, '(' .. text(after) .. '-1', '+', 'COUNT', ARGV[2])
local out = {}
for i, e in ipairs(found) do out[i] = {string.match(e[1], '^%d+'), e[2][2]} end
return {last, out}
)lua";

constexpr std::string_view sweep_script = R"lua(
local more = sweep(500)
unpark_due()
flush()
return {more and 1 or 0, expired_letters}
)lua";

// Returns whether there is more to do.
constexpr std::string_view configure_script = R"lua(
local left = 0
for _, user in ipairs(call('ZRANGE', PARKED, 0, 499)) do
  if not over_limit(user) then unpark(user) else left = left + 1 end
end
local more = O.parks == 0 and call('ZCARD', PARKED) > 0
call('HDEL', META, 'aged', 'c0', 'c1', 'c2')
due = 0
local over = math.min(call('ZCARD', FINISHED) - O.kept, 500)
for _ = 1, over do trim() end
wake = true
flush()
return {(more or over == 500) and 1 or 0}
)lua";

// The plain scripts do what the ones above do, for jobs without delay, deadline or key in a queue without limits of
// users, where nothing is due. They know no functions and the fewest keys, read first, and where anything is out of the
// ordinary they leave it alone and say so ("again"): the caller then runs the full script.

constexpr std::string_view plain_prelude = R"lua(
local call = redis.call
local function n(value) return tonumber(value or '0') end
local function text(value) return string.format('%d', value) end
local T16 = string.format('%016d', T)
local set, events, histogram = {}, {}, {}
local function emit(kind, id, token, status)
  if O.events > 0 then events[#events + 1] = kind .. ' ' .. id .. ' ' .. token .. ' ' .. status .. ' ' .. text(T) end
end
local function store(field, value) set[#set + 1] = field; set[#set + 1] = text(value) end
local function finish(last)
  if #events > 0 then
    last = n(last)
    store('ev', last + #events)
    for i, e in ipairs(events) do call('XADD', EVENTS, 'MAXLEN', '~', 'O.events', text(last + i) .. '-1', 'e', e) end
  end
  call('HSET', META, unpack(set))
end
local function observe(what, us)
  if us < 0 then us = 0 elseif us > 1099511627776 then us = 1099511627776 end
  if us >= 8 then
    local m, e = math.frexp(us)
    us = 8 * (e - 4) + math.floor(m * 16)
  end
  local field = what .. us
  histogram[field] = (histogram[field] or 0) + 1
end
)lua";

// jobs, then for each: id, lane and user, payload, the record from its start time on.
constexpr std::string_view plain_enqueue_script = R"lua(
local m = call('HMGET', META, 'due', 'seq', 'turn', 'accepted', 'n0', 'n1', 'n2', 'b0', 'b1', 'b2', 'db', 'ev')
if T >= n(m[1]) then return {'again'} end
local jobs, seq, turn = tonumber(ARGV[1]), n(m[2]), n(m[3])
if O.bounded == 1 then
  if O.dead_expire == 0 then
    if O.max_dead > 0 and call('ZCARD', DEAD) >= O.max_dead then return {'again'} end
    if O.max_dead_bytes > 0 and n(m[11]) >= O.max_dead_bytes then return {'again'} end
  end
  -- All of them have to fit, each in its lane and all together; who is refused, the full script says.
  local count, bytes, reserved = {0, 0, 0}, {0, 0, 0}, 0
  for place = 3, 4 * jobs, 4 do
    local lane = string.byte(ARGV[place]) - 47
    if lane > 1 then reserved = O.reserved_high end
    count[lane] = count[lane] + 1
    bytes[lane] = bytes[lane] + #ARGV[place + 1]
  end
  local all, all_bytes = 0, 0
  for lane = 1, 3 do
    local limit = O_lane_depth[lane]
    local sum, sum_bytes = n(m[4 + lane]) + count[lane], n(m[7 + lane]) + bytes[lane]
    if count[lane] > 0 and (limit[1] > 0 and sum > limit[1] or limit[2] > 0 and sum_bytes > limit[2]) then return {'again'} end
    all = all + sum; all_bytes = all_bytes + sum_bytes
  end
  if O.depth_jobs > 0 and all > O.depth_jobs - reserved then return {'again'} end
  if O.depth_bytes > 0 and all_bytes > O.depth_bytes then return {'again'} end
end
local again, fifo, bodies, lines, count, bytes, first_turn = {'ok'}, {}, {}, {}, {}, {}, turn
local seq_was = seq
for job = 1, jobs do
  local place = 4 * job - 2
  local id, lu, payload = ARGV[place], ARGV[place + 1], ARGV[place + 2]
  local at = string.format('%016d', seq + 1) .. T16
  local lane = string.sub(lu, 1, 1)
  if call('HSETNX', JOB, id, '1' .. lane .. '0p' .. at .. T16 .. ARGV[place + 3]) == 0 then
    again[#again + 1] = job
  else
    seq = seq + 1
    local f = #fifo
    fifo[f + 1] = '0'; fifo[f + 2] = lu .. '\0' .. at .. id
    if payload ~= '' then bodies[#bodies + 1] = id; bodies[#bodies + 1] = payload end
    if not lines[lu] then
      lines[lu] = true
      if call('ZADD', AGE, 'NX', text(n(lane) * 2251799813685248 + (T - 1125899906842624)), lu) == 1 then
        turn = turn + 1
        call('ZADD', RING, text(n(lane) * 17592186044416 + turn), lu)
      end
    end
    count[lane] = (count[lane] or 0) + 1
    bytes[lane] = (bytes[lane] or 0) + #payload
    emit('0', id, '0', '0')
  end
end
if seq == seq_was then return again end
call('ZADD', FIFO, unpack(fifo))
if #bodies > 0 then call('HSET', BODY, unpack(bodies)) end
store('seq', seq); store('accepted', n(m[4]) + seq - seq_was)
if turn ~= first_turn then store('turn', turn) end
for lane, more in pairs(count) do
  store('n' .. lane, n(m[5 + n(lane)]) + more)
  if bytes[lane] > 0 then store('b' .. lane, n(m[8 + n(lane)]) + bytes[lane]) end
end
finish(m[12])
if call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, '1') end
return again
)lua";

// count, lease, worker, size of the worker's name.
constexpr std::string_view plain_reserve_script = R"lua(
local m = call('HMGET', META, 'due', 'turn', 'paused', 'aged', 'run', 'taken', 'Ws', 'n0', 'n1', 'n2', 'b0', 'b1', 'b2', 'ev')
if T >= n(m[1]) or m[3] == '1' or m[4] == '1' then return {'again'} end
local want, turn = tonumber(ARGV[1]), n(m[2])
local turn_was, strict = turn, nil
local ids, members, bytes = {}, {}, {}
local ages, turns, over, users = {}, {}, {}, {}
local turns_of = {'0', '17592186044416', '35184372088832', '52776558133248'}  -- Where a lane's turns begin.
for lane = 0, 2 do
  local some = want > 0 and n(m[8 + lane]) > 0 and
    call('ZRANGEBYSCORE', RING, turns_of[lane + 1], '(' .. turns_of[lane + 2], 'LIMIT', '0', text(want + 1))
  if some and #some > 0 then
    if not strict then
      strict = lane
      -- Of what waits now nothing gets older within a script.
      for other = lane + 1, 2 do
        local bound = O_bounds[other + 1]
        if bound > 0 and n(m[8 + other]) > 0 then
          local oldest = call('ZRANGEBYSCORE', AGE, text(other * 2251799813685248), '(' .. text((other + 1) * 2251799813685248),
            'WITHSCORES', 'LIMIT', '0', '1')[2]
          if oldest and tonumber(oldest) - other * 2251799813685248 + 1125899906842624 + bound < T then return {'again'} end
        end
      end
    end
    if #some == 1 then
      -- One user alone keeps the turn.
      local lu = some[1]
      local heads = call('ZRANGEBYLEX', FIFO, '[' .. lu .. '\0', '(' .. lu .. '\1', 'LIMIT', '0', text(want + 1))
      if not heads[1] then return {'again'} end
      local took = math.min(#heads, want)
      for at = 1, took do members[#members + 1] = heads[at] end
      want = want - took
      local user, head = string.sub(lu, 2), heads[took + 1]
      users[user] = (users[user] or 0) + took
      if head then
        ages[#ages + 1] = text(lane * 2251799813685248 + (tonumber(string.sub(head, -48, -33)) - 1125899906842624)); ages[#ages + 1] = lu
      else
        over[#over + 1] = lu
      end
    else
      -- Each user's line is read as far as it may be needed, and one further, which is the next head.
      local each = math.floor(want / #some) + 2
      local lines, total = {}, #some
      for i, lu in ipairs(some) do lines[i] = {lu = lu, at = 1, heads = {}, more = true, taken = 0} end
      local function head_of(line)
        if not line.heads[line.at] and line.more then
          local found = call('ZRANGEBYLEX', FIFO, '[' .. line.lu .. '\0', '(' .. line.lu .. '\1', 'LIMIT', text(#line.heads), text(each))
          line.more = #found == each
          for _, member in ipairs(found) do line.heads[#line.heads + 1] = member end
        end
        return line.heads[line.at]
      end
      local i = 1
      while want > 0 and lines[i] do
        local line = lines[i]
        local member = head_of(line)
        if not member then return {'again'} end
        members[#members + 1] = member
        line.at = line.at + 1; line.taken = line.taken + 1
        want = want - 1
        if head_of(line) then
          if total > 1 then turn = turn + 1; line.turn = turn end
          lines[#lines + 1] = line
        end
        i = i + 1
      end
      for at = 1, total do
        local line = lines[at]
        if line.taken > 0 then
          local user = string.sub(line.lu, 2)
          users[user] = (users[user] or 0) + line.taken
          local head = head_of(line)
          if head then
            ages[#ages + 1] = text(lane * 2251799813685248 + (tonumber(string.sub(head, -48, -33)) - 1125899906842624)); ages[#ages + 1] = line.lu
            if line.turn then turns[#turns + 1] = text(lane * 17592186044416 + line.turn); turns[#turns + 1] = line.lu end
          else
            over[#over + 1] = line.lu
          end
        end
      end
    end
  end
end
if #members == 0 then return {'again'} end
for i, member in ipairs(members) do ids[i] = string.sub(member, -32) end
local worker, till = ARGV[3], text(T + ARGV[2])
local records, leases, active, out, waited = {}, {}, {}, {}, 0
local taken, left_bytes = {[0] = 0, [1] = 0, [2] = 0}, {[0] = 0, [1] = 0, [2] = 0}
for i, r in ipairs(call('HMGET', JOB, unpack(ids))) do
  local id, member = ids[i], members[i]
  if not r or string.sub(r, 1, 1) ~= '1' or string.sub(r, 4, 4) ~= 'p' or string.sub(r, 5, 36) ~= string.sub(member, -64, -33) then return {'again'} end
  local token, fixed, old = tonumber(string.sub(r, 85, 100)), tonumber(string.sub(r, 135, 141)), tonumber(string.sub(r, 142, 145))
  local lane, size = tonumber(string.sub(member, 1, 1)), tonumber(string.sub(r, 109, 118))
  if not token or not fixed or not old or not size then return {'again'} end
  r = '2' .. string.sub(r, 2, 52) .. T16 .. string.sub(r, 69, 84) .. string.format('%016d', token + 1) .. string.sub(r, 101, 141) ..
    ARGV[4] .. string.sub(r, 146, 145 + fixed) .. worker .. string.sub(r, 146 + fixed + old)
  taken[lane] = taken[lane] + 1
  left_bytes[lane] = left_bytes[lane] + size
  local a, b = 2 * i - 1, 2 * i
  records[a] = id; records[b] = r
  leases[a] = till; leases[b] = id
  active[a] = text(T); active[b] = id
  out[3 * i - 2] = id; out[3 * i - 1] = r; out[3 * i] = ''
  local wait = T - tonumber(string.sub(member, -48, -33))
  if wait < 0 then wait = 0 end
  waited = waited + wait
  observe('W', wait)
  emit('1', id, text(token + 1), '0')
  if size > 0 then bytes[#bytes + 1] = id; bytes[-#bytes] = i end
end
if #bytes > 0 then
  for at, body in ipairs(call('HMGET', BODY, unpack(bytes))) do out[3 * bytes[-at]] = body or '' end
end
call('ZREM', FIFO, unpack(members))
call('HSET', JOB, unpack(records)); call('ZADD', LEASES, unpack(leases)); call('ZADD', ACTIVE, unpack(active))
if #ages > 0 then call('ZADD', AGE, unpack(ages)) end
if #turns > 0 then call('ZADD', RING, unpack(turns)) end
if #over > 0 then call('ZREM', AGE, unpack(over)); call('ZREM', RING, unpack(over)) end
for user, count in pairs(users) do call('HINCRBY', USERS, user, count) end
for field, count in pairs(histogram) do call('HINCRBY', META, field, count) end
if turn ~= turn_was then store('turn', turn) end
if T + ARGV[2] < n(m[1]) then store('due', T + ARGV[2]) end
store('run', n(m[5]) + #ids); store('taken', n(m[6]) + #ids); store('Ws', n(m[7]) + waited)
for lane = 0, 2 do
  if taken[lane] > 0 then
    store('n' .. lane, n(m[8 + lane]) - taken[lane])
    if left_bytes[lane] > 0 then store('b' .. lane, n(m[11 + lane]) - left_bytes[lane]) end
  end
end
finish(m[14])
if call('ZCARD', RING) > 0 and call('LLEN', WAKE) == 0 then call('LPUSH', WAKE, '1') end
return {T, 0, 0, out, till, {}}
)lua";

// jobs, then for each: id, token (16 digits), nonce. Their results are empty, or not kept.
constexpr std::string_view plain_complete_script = R"lua(
local m = call('HMGET', META, 'due', 'run', 'done', 'Rs', 'ev')
if T >= n(m[1]) then return {'again'} end
local ids = {}
for place = 2, #ARGV, 3 do ids[#ids + 1] = ARGV[place] end
local again, ended, bodies, records, finished, users, ran, seen = {'ok'}, {}, {}, {}, {}, {}, 0, {}
for i, r in ipairs(call('HMGET', JOB, unpack(ids))) do
  local id = ids[i]
  if r and not seen[id] and string.sub(r, 1, 1) == '2' and string.sub(r, 4, 4) == 'p' and string.sub(r, 85, 100) == ARGV[3 * i] then
    seen[id] = true
    ended[#ended + 1] = id
    if string.sub(r, 109, 118) ~= '0000000000' then bodies[#bodies + 1] = id end
    local user = struct.unpack('>I4c0', r, 146)
    users[user] = (users[user] or 0) - 1
    local run = T - tonumber(string.sub(r, 53, 68))
    if run < 0 then run = 0 end
    ran = ran + run
    observe('R', run)
    emit('5', id, text(tonumber(ARGV[3 * i])), '0')
    if O.keeps == 1 then
      records[#records + 1] = id
      records[#records + 1] = '3' .. string.sub(r, 2, 68) .. T16 .. string.sub(r, 85, 118) .. ARGV[3 * i + 1] .. string.sub(r, 135)
      finished[#finished + 1] = text(T); finished[#finished + 1] = id
    end
  else
    again[#again + 1] = i
  end
end
if #ended == 0 then return again end
call('ZREM', LEASES, unpack(ended)); call('ZREM', ACTIVE, unpack(ended))
if #bodies > 0 then call('HDEL', BODY, unpack(bodies)) end
if O.keeps == 1 then
  call('HSET', JOB, unpack(records)); call('ZADD', FINISHED, unpack(finished))
  local over = call('ZCARD', FINISHED) - O.kept
  if over > 0 then
    local oldest, out = call('ZPOPMIN', FINISHED, text(over)), {}
    for at = 1, #oldest, 2 do out[#out + 1] = oldest[at] end
    call('HDEL', JOB, unpack(out))
  end
  if T + O.kept_us < n(m[1]) then store('due', T + O.kept_us) end
else
  call('HDEL', JOB, unpack(ended))
end
for user, count in pairs(users) do
  if call('HINCRBY', USERS, user, count) <= 0 then call('HDEL', USERS, user) end
end
for field, count in pairs(histogram) do call('HINCRBY', META, field, count) end
store('run', n(m[2]) - #ended); store('done', n(m[3]) + #ended); store('Rs', n(m[4]) + ran)
finish(m[5])
return again
)lua";

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9'); }

/// The prelude with those functions alone that `script` calls, or what it calls: making some forty closures costs more
/// than most scripts do. A function begins with "local function" at the start of a line, and ends with "end" there, or
/// on its own line.
std::string needed_prelude(std::string_view prelude, std::string_view script) {
  struct Part {
    std::string_view name;  // Empty: not a function.
    std::string_view text;
    bool needed = false;
  };
  std::vector<Part> parts;
  constexpr std::string_view opening = "\nlocal function ";
  for (std::size_t at = 0; at < prelude.size();) {
    const auto begin = prelude.find(opening, at);
    if (begin == std::string_view::npos) {
      parts.push_back({{}, prelude.substr(at), true});
      break;
    }
    parts.push_back({{}, prelude.substr(at, begin - at), true});
    const auto name_at = begin + opening.size();
    const auto name = prelude.substr(name_at, prelude.find('(', name_at) - name_at);
    const auto line_end = prelude.find('\n', name_at);
    const auto first_line = prelude.substr(begin + 1, line_end - begin - 1);
    const auto end = first_line.ends_with(" end") ? line_end : prelude.find("\nend\n", line_end) + 4;
    parts.push_back({name, prelude.substr(begin, end - begin), false});
    at = end;
  }
  const auto calls = [](std::string_view text, std::string_view name) {
    for (auto at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
      const bool begins = at == 0 || !is_word(text[at - 1]);
      const auto after = at + name.size();
      // Called, or passed to pcall.
      if (begins && after < text.size() && (text[after] == '(' || text[after] == ',')) return true;
    }
    return false;
  };
  // From the last to the first: a function calls only those before it.
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->needed) continue;
    part->needed = calls(script, part->name);
    for (auto other = parts.rbegin(); other != part && !part->needed; ++other) {
      part->needed = other->needed && !other->name.empty() && calls(other->text, part->name);
    }
  }
  std::string out;
  for (const auto& part : parts) {
    if (part.needed) out += part.text;
  }
  return out;
}

}  // namespace

std::array<std::string, redis_key_count> redis_keys(std::string_view name_space, std::string_view queue) {
  std::array<std::string, redis_key_count> keys;
  for (std::size_t at = 0; at < keys.size(); ++at) {
    keys[at] = fmt::format("{{{}:{}}}:{}", name_space, queue, key_names[at].end);
  }
  return keys;
}

bool is_plain(RedisScript script) {
  return script == RedisScript::plain_enqueue || script == RedisScript::plain_reserve ||
         script == RedisScript::plain_complete;
}

bool has_plain_scripts(const QueueOptions& options) {
  return options.lanes.user_running_limit == 0 && !options.lanes.user_start_rate &&
         options.lanes.order == LaneOrder::strict && options.max_age_us == 0 &&
         std::ranges::all_of(options.lane_max_age_us, [](auto age_us) { return age_us == 0; });
}

std::vector<RedisKey> keys_of(RedisScript script) {
  using enum RedisKey;
  switch (script) {
    case RedisScript::plain_enqueue:
      return {meta, job, body, fifo, ring, age, dead, wake, events};
    case RedisScript::plain_reserve:
      return {meta, job, body, fifo, ring, age, leases, active, users, wake, events};
    case RedisScript::plain_complete:
      return {meta, job, body, leases, active, finished, users, events};
    default:
      break;
  }
  std::vector<RedisKey> all;
  for (std::size_t at = 0; at < redis_key_count; ++at) all.push_back(static_cast<RedisKey>(at));
  return all;
}

std::string redis_script(RedisScript script, const QueueOptions& options, const RedisScriptContext& context) {
  std::int64_t interval_us = 0;
  std::uint32_t burst = 0;
  const auto& lanes = options.lanes;
  if (lanes.user_start_rate) {
    if (const auto rate = TokenRate::create(*lanes.user_start_rate)) {
      interval_us = rate.value().interval_us();
      burst = rate.value().burst();
    }
  }
  const auto& depths = options.lane_depth;
  bool bounded = options.depth.jobs != 0 || options.depth.bytes != 0 || options.dead_overflow == DeadOverflow::refuse;
  for (const auto& depth : depths) bounded = bounded || depth.jobs != 0 || depth.bytes != 0;
  const auto flag = [](bool value) { return std::string(value ? "1" : "0"); };
  const auto text = [](auto value) { return fmt::format("{}", value); };
  const std::map<std::string_view, std::string> numbers = {
      {"events", text(options.kept_events)},
      {"kept", text(options.kept_finished)},
      {"kept_us", text(options.kept_finished_us)},
      {"keeps", flag(options.kept_finished != 0 && options.kept_finished_us != 0)},
      {"max_dead", text(options.max_dead)},
      {"max_dead_bytes", text(options.max_dead_bytes)},
      {"max_dead_us", text(options.max_dead_us)},
      {"dead_expire", flag(options.dead_overflow == DeadOverflow::expire_oldest)},
      {"max_history", text(max_history)},
      {"max_crashes", text(options.max_crashes)},
      {"parks", flag(lanes.user_running_limit != 0 || interval_us != 0)},
      {"user_limit", text(lanes.user_running_limit)},
      {"interval", text(interval_us)},
      {"burst", text(burst)},
      {"weighted", flag(lanes.order == LaneOrder::weighted)},
      {"bounded", flag(bounded)},
      {"depth_jobs", text(options.depth.jobs)},
      {"depth_bytes", text(options.depth.bytes)},
      {"reserved_high", text(options.reserved_for_high)},
      {"max_age_high", text(max_age_us(options, Priority::high))},
      {"max_age_normal", text(max_age_us(options, Priority::normal))},
      {"max_age_low", text(max_age_us(options, Priority::low))},
      {"drop", flag(options.overflow == Overflow::drop_oldest_lowest)},
      {"schema", text(redis_schema_version)},
      {"max_keys", text(options.max_idempotency_keys)},
  };
  const bool brings_jobs = script == RedisScript::enqueue || script == RedisScript::plain_enqueue ||
                           script == RedisScript::requeue || script == RedisScript::requeue_many;
  std::string source = context.has_flags ? (brings_jobs ? "#!lua\n" : "#!lua flags=allow-oom\n") : "";
  if (context.clock.empty()) {
    source += "local time = redis.call('TIME')\nlocal T = tonumber(time[1]) * 1000000 + tonumber(time[2])\n";
  } else {
    source += fmt::format("local T = {}\n", context.clock);
  }
  std::string body;
  switch (script) {
    case RedisScript::open:
      body += open_script;
      break;
    case RedisScript::enqueue:
      body += enqueue_script;
      break;
    case RedisScript::reserve:
      body += reserve_script;
      break;
    case RedisScript::extend:
      body += extend_script;
      break;
    case RedisScript::progress:
      body += progress_script;
      break;
    case RedisScript::complete:
      body += complete_script;
      break;
    case RedisScript::fail:
      body += fail_script;
      break;
    case RedisScript::release:
      body += release_script;
      break;
    case RedisScript::cancel:
      body += cancel_script;
      break;
    case RedisScript::get:
      body += get_script;
      break;
    case RedisScript::list:
      body += list_script;
      break;
    case RedisScript::purge:
      body += purge_script;
      break;
    case RedisScript::requeue:
      body += revive_functions;
      body += requeue_script;
      break;
    case RedisScript::requeue_many:
      body += revive_functions;
      body += requeue_many_script;
      break;
    case RedisScript::pause:
      body += pause_script;
      break;
    case RedisScript::statistics:
      body += statistics_script;
      break;
    case RedisScript::events:
      body += events_script;
      break;
    case RedisScript::sweep:
      body += sweep_script;
      break;
    case RedisScript::configure:
      body += configure_script;
      break;
    case RedisScript::plain_enqueue:
      body += plain_enqueue_script;
      break;
    case RedisScript::plain_reserve:
      body += plain_reserve_script;
      break;
    case RedisScript::plain_complete:
      body += plain_complete_script;
      break;
  }
  std::string locals = "local ";
  std::string places = " = ";
  for (const auto key : keys_of(script)) {
    const auto at = static_cast<std::size_t>(key);
    locals += fmt::format("{}{}", at == 0 ? "" : ",", key_names[at].local);
    places += fmt::format("{}KEYS[{}]", at == 0 ? "" : ",", std::ranges::count(places, '[') + 1);
  }
  source += locals + places + "\n";
  body.insert(0, needed_prelude(is_plain(script) ? plain_prelude : full_prelude, body));
  const std::array<std::pair<std::string_view, std::string>, 3> tables = {{
      {"O_weights", fmt::format("{},{},{}", lanes.weights[0], lanes.weights[1], lanes.weights[2])},
      {"O_bounds", fmt::format("0,{},{}", lanes.normal_max_wait_us, lanes.low_max_wait_us)},
      {"O_lane_depth", fmt::format("{{{},{}}},{{{},{}}},{{{},{}}}", depths[0].jobs, depths[0].bytes, depths[1].jobs,
                                   depths[1].bytes, depths[2].jobs, depths[2].bytes)},
  }};
  for (const auto& [name, values] : tables) {
    if (body.find(name) != std::string::npos) source += fmt::format("local {} = {{{}}}\n", name, values);
  }
  // A table of the options would be made anew by every call.
  for (std::size_t at = 0;;) {
    const auto found = body.find("O.", at);
    if (found == std::string::npos) {
      source += body.substr(at);
      return source;
    }
    auto end = found + 2;
    while (end < body.size() && is_word(body[end])) ++end;
    const auto number = found > 0 && is_word(body[found - 1])
                            ? numbers.end()
                            : numbers.find(std::string_view(body).substr(found + 2, end - found - 2));
    source += body.substr(at, found - at);
    source += number == numbers.end() ? body.substr(found, end - found) : number->second;
    at = end;
  }
}

}  // namespace gf::queue
