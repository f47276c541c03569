-- One lane's token bucket. Redis TIME is the only clock; every instant and length is in whole microseconds.
--
-- KEYS[1] lane   hash: run (of the Redis that wrote it), since (when its log began), free (when the next call may leave),
--                      closed (until when none may: the lane is paused, or its past is unknown)
-- KEYS[2] log    zset: call -> when it left
-- KEYS[3] void   zset: call -> when it was declared never sent
-- KEYS[4] slots  zset: seat -> when it expects to leave
-- KEYS[5] seats  zset: seat -> until when it is taken to be waiting
-- KEYS[6] flying zset: seat -> until when it is taken to be under way
-- ARGV: operation, calls, window (guard included), horizon, and the operation's own
local operation = ARGV[1]
local calls, window = tonumber(ARGV[2]), tonumber(ARGV[3])
-- What still counts in a window is never forgotten.
local horizon = math.max(window, tonumber(ARGV[4]))
local interval = math.ceil(window / calls)
-- How late a slot may be and still be made up; past it, it is void. With one call a window there is nothing to make up.
local tolerance = calls > 1 and math.floor(window / 4) or 0
-- Leave is given this long before the instant: the sender waits out the rest by itself, with no round trip between.
local grace = 3000
-- A waiter this late is taken to be dead, so that nobody stands behind it.
local leeway = math.min(interval, 300000)
-- A call's age comes by another clock and a moment late: one that began this close to the log may be older than it.
local doubt = 2000000

local function text(number) return string.format('%.0f', number) end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- A Redis that restarted, was flushed or failed over may have forgotten calls that just left: wait a whole window.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local known = redis.call('HMGET', KEYS[1], 'run', 'since', 'free', 'closed')
local since, free, closed = tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0)
if known[1] ~= run then
    since, closed = now, math.max(closed, now + window)
    redis.call('HSET', KEYS[1], 'run', run, 'since', text(since), 'closed', text(closed))
    redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
end
-- Where the rate was raised meanwhile, nobody waits longer than under the one in force.
if free > now + grace + interval then
    free = now + grace + interval
    redis.call('HSET', KEYS[1], 'free', text(free))
end
free = math.max(free, closed)

local function set_free(instant)
    free = instant
    redis.call('HSET', KEYS[1], 'free', text(free))
end

local function forget_the_dead()
    for _, seat in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(now - leeway))) do
        redis.call('ZREM', KEYS[4], seat)
        redis.call('ZREM', KEYS[5], seat)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', text(now))
    redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', text(now))
end

-- When the call may leave that has `ahead` others before it: after the window's oldest call that then still counts.
local function window_allows(ahead)
    local oldest = redis.call('ZREVRANGE', KEYS[2], calls - 1 - ahead, calls - 1 - ahead, 'WITHSCORES')
    return oldest[2] and tonumber(oldest[2]) + window or 0
end

-- When one may leave after all that did: within the window, and at most at 1.25 times the rate.
local function distance_allows()
    local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return math.max(window_allows(0), last[2] and tonumber(last[2]) + math.ceil(interval * 0.8) or 0)
end

-- ARGV of what concerns a seat: seat, most waiting, most under way, lease.
local function hire(seat)
    forget_the_dead()
    local seats, flying = redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[6])
    -- Whoever waits will be under way: both together keep the bound.
    if seats >= tonumber(ARGV[6]) or seats + flying >= tonumber(ARGV[7]) then return 0 end
    redis.call('ZADD', KEYS[5], text(now + tonumber(ARGV[8])), seat)
    return 1
end

local operations = {}

-- Is there room for one more to wait?
function operations.hire() return hire(ARGV[5]) end

-- How long until its slot; -1 where enough others wait.
function operations.take()
    local seat = ARGV[5]
    forget_the_dead()
    if not redis.call('ZSCORE', KEYS[5], seat) and hire(seat) == 0 then return -1 end
    redis.call('ZREM', KEYS[4], seat)
    local ahead = redis.call('ZCARD', KEYS[4])
    -- Nobody waited while slots passed: idle time saves no credit.
    if ahead == 0 and now - free > tolerance then set_free(now) end
    local slot = math.max(now, free) + ahead * interval
    if ahead < calls then slot = math.max(slot, window_allows(ahead)) end
    redis.call('ZADD', KEYS[4], text(slot), seat)
    redis.call('ZADD', KEYS[5], text(slot + tonumber(ARGV[8])), seat)
    return slot - now
end

-- How long it may be under way, and its successor or nothing: it has something to send, and waits for its instant only.
-- 1 where the successor is to wait in its stead.
function operations.bind()
    redis.call('ZREM', KEYS[5], ARGV[5])
    redis.call('ZADD', KEYS[6], text(now + tonumber(ARGV[9])), ARGV[5])
    return ARGV[10] ~= '' and hire(ARGV[10]) or 0
end

-- Its successor or nothing: it is done, or gives up.
function operations.leave()
    for key = 4, 6 do redis.call('ZREM', KEYS[key], ARGV[5]) end
    return ARGV[9] ~= '' and hire(ARGV[9]) or 0
end

-- seat, call: {1, instant, now}, and the call is in the log and leaves then; {0, instant, now}: ask again then; or {-1, 0, now}
-- where it was declared never sent. A seat whose time under way is over counts as dead: what declared its calls never sent may have
-- been forgotten since.
function operations.redeem()
    local seat, call = ARGV[5], ARGV[6]
    if redis.call('ZSCORE', KEYS[3], call) or redis.call('ZSCORE', KEYS[2], call) then return {-1, 0, now} end
    if tonumber(redis.call('ZSCORE', KEYS[6], seat) or 0) < now then return {-1, 0, now} end
    local instant = math.max(free, distance_allows())
    if instant > now + grace then
        redis.call('ZADD', KEYS[4], text(instant), seat)
        return {0, instant, now}
    end
    instant = math.max(instant, now)
    redis.call('ZADD', KEYS[2], text(instant), call)
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - horizon))
    redis.call('ZREM', KEYS[4], seat)
    set_free(math.max(free + interval, instant + interval - tolerance))
    return {1, instant, now}
end

-- call: it has not left yet, for it heard late that it may. 1 where it may leave now, and the log says so; 0 where others
-- left meanwhile, so that it must not.
function operations.confirm()
    local call = ARGV[5]
    local redeemed = redis.call('ZREM', KEYS[2], call)
    if redeemed == 0 or distance_allows() > now then
        redis.call('ZADD', KEYS[3], text(now), call)
        return 0
    end
    redis.call('ZADD', KEYS[2], text(now), call)
    set_free(math.max(free, now + interval - tolerance))
    return 1
end

-- call, length: it left so much later than it was redeemed.
function operations.postpone()
    local call, late = ARGV[5], tonumber(ARGV[6])
    local redeemed = redis.call('ZSCORE', KEYS[2], call)
    if not redeemed then return 0 end
    local left = math.min(now, tonumber(redeemed) + late)
    redis.call('ZADD', KEYS[2], 'GT', text(left), call)
    set_free(math.max(free, left + interval - tolerance))
    return 0
end

-- call, age in microseconds: 1 it left, 0 it never did, -1 nobody knows; the last two never will from here on.
function operations.revoke()
    local call, age = ARGV[5], tonumber(ARGV[6])
    if redis.call('ZSCORE', KEYS[2], call) then return 1 end
    redis.call('ZADD', KEYS[3], text(now), call)
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - horizon))
    if now - age < since + doubt or age > horizon then return -1 end
    return 0
end

-- length: no call leaves before it is over.
function operations.pause()
    redis.call('HSET', KEYS[1], 'closed', text(math.max(closed, now + tonumber(ARGV[5]))))
    return 0
end

return operations[operation]()
