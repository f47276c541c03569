-- One lane of the limiter as Redis keeps it. limiter.py puts this file in front of each of its two scripts:
--   limiter_tokens.lua   the token bucket: may a call leave now?
--   limiter_waiters.lua  the admission of waiters: who may wait for the next slots?
-- No operation needs both scripts, so that each is one EVALSHA and one round trip, as it would be in a single script.
--
-- Units: every instant and every length is in whole microseconds. Redis TIME is the only clock.
--
-- KEYS[1]  hash, the lane:
--   server             run id of the Redis server that wrote the lane
--   log_began          when the log began
--   next_free          when the next slot is free
--   closed_until       until when no call leaves: the lane is paused, or its past is unknown
--   margin             by how much the lane has learned to widen the guard of its policy
--   margin_widened_at  when a refusal last widened the margin
--   last_key           the key of the last call that left
--   calls_in_a_row     how many calls left with that key, one after the other
--   refusals           packed: what refusals taught, and who was refused (limiter_tokens.lua)
--   resting_keys       packed: key -> until when no call with it leaves
--   waiters            packed: name -> {slot: when it expects to send, waiting_until: when its wait counts as over,
--                      in_flight_until: when its call counts as over}
-- KEYS[2]  sorted set, the log: call -> when it left
-- KEYS[3]  sorted set, the revoked calls: call -> when it was declared never sent
-- ARGV     operation, calls, window, guard, horizon, then the arguments of the operation
--
-- Waiters are a few dozen at most. They are packed into one field because a command inside a script costs the server as
-- much as a command from outside.

-- Part 1. Arguments and state

local operation, calls = ARGV[1], tonumber(ARGV[2])
local policy_window, policy_guard = tonumber(ARGV[3]), tonumber(ARGV[4])
local arguments = {unpack(ARGV, 6)}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local function as_text(number) return string.format('%.0f', number) end

local function load_lane()
    local fields = redis.call(
        'HMGET', KEYS[1], 'server', 'log_began', 'next_free', 'closed_until', 'margin', 'margin_widened_at', 'last_key',
        'calls_in_a_row', 'resting_keys', 'waiters'
    )
    return {
        server = fields[1] or '',
        log_began = tonumber(fields[2] or 0),
        next_free = tonumber(fields[3] or 0),
        closed_until = tonumber(fields[4] or 0),
        margin = tonumber(fields[5] or 0),
        margin_widened_at = tonumber(fields[6] or 0),
        last_key = fields[7] or '',
        calls_in_a_row = tonumber(fields[8] or 0),
        resting_keys = fields[9] and cmsgpack.unpack(fields[9]) or {},
        waiters = fields[10] and cmsgpack.unpack(fields[10]) or {},
    }
end

local lane = load_lane()

-- Writes all fields but those of refusals and of resting keys, which only their own operations write.
local function save()
    redis.call(
        'HSET', KEYS[1], 'server', lane.server, 'log_began', as_text(lane.log_began), 'next_free',
        as_text(lane.next_free), 'closed_until', as_text(lane.closed_until), 'margin', as_text(lane.margin),
        'last_key', lane.last_key, 'calls_in_a_row', as_text(lane.calls_in_a_row),
        'waiters', cmsgpack.pack(lane.waiters)
    )
end

-- Part 2. The rate in force

-- The margin is at most a twentieth of the window, and at most 50 ms: a network's jitter is not larger.
local widest_margin = math.min(math.floor(policy_window / 20), 50000)
lane.margin = math.min(lane.margin, widest_margin)
-- No more than `calls` leave within any span of this length.
local window = policy_window + policy_guard + lane.margin
local interval = math.ceil(window / calls)
-- The log and the revoked calls are kept for this long. What still counts in a window is never forgotten.
local horizon = math.max(window, tonumber(ARGV[5]))
-- A slot up to this late is made up for; a later one is void. With one call a window there is nothing to make up for.
local tolerance = calls > 1 and math.floor(window / 4) or 0
-- Leave is given up to 3 ms before the instant, and the sender sleeps the rest. No round trip then stands between the
-- instant and the first byte. EARLY_SECONDS of limiter.py must be shorter.
local lead = 3000

-- After the rate was raised nobody waits longer than the new rate asks.
lane.next_free = math.max(math.min(lane.next_free, now + lead + interval), lane.closed_until)

-- Part 3. What both scripts ask

-- Closes the lane for one window where another Redis server wrote it: a server that restarted, was flushed or took over
-- may have forgotten calls that just left. INFO costs as much as the rest of an operation, so that not every one asks.
local function notice_another_server()
    local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    if lane.server == server then return end
    lane.server, lane.log_began, lane.waiters = server, now, {}
    lane.closed_until = math.max(lane.closed_until, now + window)
    lane.next_free = math.max(lane.next_free, lane.closed_until)
end

-- Returns when the window allows a call that has `ahead` others before it: one window after the oldest call that still
-- counts then.
local function window_allows_at(ahead)
    local oldest = redis.call('ZREVRANGE', KEYS[2], calls - 1 - ahead, calls - 1 - ahead, 'WITHSCORES')
    return oldest[2] and tonumber(oldest[2]) + window or 0
end

local operations = {}
