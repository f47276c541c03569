-- The token bucket of a lane: may a call leave now? limiter.py puts limiter_lane.lua in front of this script.
--
-- Commands of each operation beside TIME, HMGET and HSET:
--   redeem          ZREVRANGE twice, INFO, ZSCORE, ZADD; ZREMRANGEBYSCORE once in 16. Too early: ZREVRANGE twice, no HSET
--   confirm         INFO, ZREM, ZREVRANGE twice, ZADD
--   postpone        ZSCORE, ZADD
--   record_refusal  ZRANK, ZSCORE, ZRANGE, HGET; no HSET where the refusal teaches nothing
--   revoke          INFO, ZSCORE, ZADD, ZREMRANGEBYSCORE
--   pause, resume   INFO
--   rest_key        none
--   end_rests       HDEL in place of HSET
-- With one call a window, ZREVRANGE runs once instead of twice.

-- Part 1. When a call may leave

-- Calls follow each other at 1.25 times the rate at most, also where slots are made up for.
local least_distance = math.ceil(interval * 0.8)

local function distance_allows_at()
    local at = window_allows_at(0)
    if calls == 1 then return at end
    local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return math.max(at, last[2] and tonumber(last[2]) + least_distance or 0)
end

-- Moves the next slot behind a call that left at `instant`. A late call moves it by less, up to the tolerance.
local function keep_distance_from(instant)
    lane.next_free = math.max(lane.next_free, instant + interval - tolerance)
end

-- Part 2. What a lane learns of the jitter on the way to its provider

-- Each call that leaves takes 1/2048 of the margin away: half in 1,400 calls. A refusal doubles the guard, so that a lane
-- whose jitter stays the same has at most one refusal in a thousand calls.
local narrowing = 2048
-- One key alone may be refused for reasons of its own, such as an account that is used elsewhere too, and all keys of the
-- lane pay for the margin. One key alone therefore widens the guard to a five-hundredth of the window at most, which with
-- the usual guard keeps 99.5 % of the rate ...
local most_by_one_key = math.floor(policy_window / 500)
-- ... or to a hundredth, where the last 100 calls were all made with it: then no other key pays.
local alone, most_by_key_alone = 100, math.floor(policy_window / 100)
-- Refusals of two tenants' keys agree where they are at most as many calls apart as the margin takes to narrow.
local agreement_lasts = narrowing * interval

local function narrow_margin()
    lane.margin = lane.margin - math.ceil(lane.margin / narrowing)
end

local function count_key(key)
    lane.calls_in_a_row = key == lane.last_key and math.min(lane.calls_in_a_row + 1, alone) or 1
    lane.last_key = key
end

-- A delay on this machine may be followed by one behind the kernel, where nobody measures it. Half of the lateness counts,
-- within the policy's guard and what one key may teach: that costs a lane two calls in a thousand at most.
local function learn_from_lateness(late)
    lane.margin = math.max(lane.margin, math.min(math.floor(late / 2), policy_guard, most_by_one_key))
end

-- `refusals`: {key, tenant, at: the last refusal; agreed: the margin that keys of two tenants last led to; agreed_at: when}.
local function load_refusals()
    local packed = redis.call('HGET', KEYS[1], 'refusals')
    return packed and cmsgpack.unpack(packed) or {}
end

-- A lane of one account names no key, and agrees with itself.
local function is_agreed(refusals, key, tenant)
    if key == '' then return true end
    local is_another = refusals.key ~= key and refusals.tenant ~= tenant
    return is_another and (refusals.at or 0) >= now - agreement_lasts
end

-- Returns the widest margin that one key alone may lead to. It keeps up what two tenants agreed on.
local function widest_by_one(refusals, key)
    local is_alone = key == lane.last_key and lane.calls_in_a_row >= alone
    local widest = is_alone and most_by_key_alone or most_by_one_key
    if (refusals.agreed_at or 0) >= now - agreement_lasts then widest = math.max(widest, refusals.agreed) end
    return math.min(widest, widest_margin)
end

-- Doubles the guard, and makes it a millisecond where there was none.
local function widen_margin(key, tenant)
    local refusals = load_refusals()
    local agreed = is_agreed(refusals, key, tenant)
    local widest = agreed and widest_margin or widest_by_one(refusals, key)
    lane.margin = math.max(lane.margin, math.min(widest, math.max(policy_guard + 2 * lane.margin, 1000)))
    if agreed then refusals.agreed, refusals.agreed_at = lane.margin, now end
    refusals.key, refusals.tenant, refusals.at = key, tenant, now
    redis.call(
        'HSET', KEYS[1], 'refusals', cmsgpack.pack(refusals), 'margin', as_text(lane.margin),
        'margin_widened_at', as_text(now)
    )
end

-- A refusal speaks of the guard only where the log knows the call and the call one window before it, the call left under
-- the margin of today, and the two were no further apart than the widest guard.
local function teaches(call)
    local rank = redis.call('ZRANK', KEYS[2], call)
    if not rank or rank < calls then return false end
    local sent_at = tonumber(redis.call('ZSCORE', KEYS[2], call))
    local before = redis.call('ZRANGE', KEYS[2], rank - calls, rank - calls, 'WITHSCORES')
    local distance = sent_at - tonumber(before[2])
    return sent_at >= lane.margin_widened_at and distance <= policy_window + policy_guard + widest_margin
end

-- Part 3. Operations

-- Verdicts on a call, as limiter.py knows them.
local MAY_LEAVE, TOO_EARLY, REFUSED, KEY_RESTS = 1, 0, -1, -2
-- Outcomes of a revoked call, as limiter.py knows them.
local SENT, NEVER_SENT, UNKNOWN = 1, 0, -1
-- The age of a call is measured by another clock, and is told a moment late. A call that began within 2 s of the log may be
-- older than the log.
local age_doubt = 2000000

-- A waiter whose time in flight is over counts as dead, for the revocation of its call may have been forgotten since.
local function is_sendable(waiter, call)
    local is_alive = waiter and waiter.in_flight_until and waiter.in_flight_until >= now
    return is_alive and not redis.call('ZSCORE', KEYS[3], call)
end

-- Returns whether the call was not in the log before.
local function log_once(call, instant)
    return redis.call('ZADD', KEYS[2], 'NX', as_text(instant), call) == 1
end

local function revoke_call(call)
    redis.call('ZADD', KEYS[3], as_text(now), call)
end

-- Arguments: waiter, call, key. Returns {verdict, instant, now}. MAY_LEAVE: the call is in the log, and leaves at the
-- instant. TOO_EARLY: ask again at the instant. REFUSED: the call never leaves. KEY_RESTS: its key rests until the instant.
function operations.redeem()
    local name, call, key = arguments[1], arguments[2], arguments[3]
    local rests_until = lane.resting_keys[key] or 0
    if rests_until > now then return {KEY_RESTS, rests_until, now} end
    local instant = math.max(lane.next_free, distance_allows_at())
    if instant > now + lead then return {TOO_EARLY, instant, now} end
    notice_another_server()
    instant = math.max(instant, now)
    local waiter = lane.waiters[name]
    if not is_sendable(waiter, call) or not log_once(call, instant) then
        save()
        return {REFUSED, 0, now}
    end
    -- Once in 16 redemptions, by chance of the clock.
    if now % 16 == 0 then redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', as_text(now - horizon)) end
    waiter.slot = nil
    lane.next_free = lane.next_free + interval
    keep_distance_from(instant)
    narrow_margin()
    count_key(key)
    save()
    return {MAY_LEAVE, instant, now}
end

-- Arguments: call, which was redeemed, and whose worker heard so late. Returns 1 where it may leave now; the log then says
-- now. Returns 0 where others left meanwhile; the call then never leaves.
function operations.confirm()
    local call = arguments[1]
    notice_another_server()
    local was_redeemed = redis.call('ZREM', KEYS[2], call) == 1
    if not was_redeemed or distance_allows_at() > now then
        revoke_call(call)
        save()
        return 0
    end
    redis.call('ZADD', KEYS[2], as_text(now), call)
    keep_distance_from(now)
    save()
    return 1
end

-- Arguments: call, length by which its first byte left after the instant that it was redeemed for.
function operations.postpone()
    local call, late = arguments[1], tonumber(arguments[2])
    local redeemed_for = redis.call('ZSCORE', KEYS[2], call)
    if redeemed_for then
        local sent_at = math.min(now, tonumber(redeemed_for) + late)
        redis.call('ZADD', KEYS[2], 'GT', as_text(sent_at), call)
        keep_distance_from(sent_at)
        learn_from_lateness(late)
    end
    save()
    return 0
end

-- Arguments: call that the provider refused as too early, its key, its tenant; both '' in a lane of one account. Returns
-- the margin now, or -1 where the refusal says nothing of the guard.
function operations.record_refusal()
    local call, key, tenant = arguments[1], arguments[2], arguments[3]
    if not teaches(call) then return -1 end
    widen_margin(key, tenant)
    return lane.margin
end

-- Arguments: call, its age. Returns SENT, NEVER_SENT or UNKNOWN. A call that was not sent never will be from here on.
function operations.revoke()
    local call, age = arguments[1], tonumber(arguments[2])
    notice_another_server()
    save()
    if redis.call('ZSCORE', KEYS[2], call) then return SENT end
    revoke_call(call)
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', as_text(now - horizon))
    if now - age < lane.log_began + age_doubt or age > horizon then return UNKNOWN end
    return NEVER_SENT
end

-- Arguments: length for which no call leaves.
function operations.pause()
    notice_another_server()
    lane.closed_until = math.max(lane.closed_until, now + tonumber(arguments[1]))
    save()
    return 0
end

-- Ends a pause. A lane whose past is unknown stays closed until a window has passed.
function operations.resume()
    notice_another_server()
    lane.closed_until = math.min(lane.closed_until, lane.log_began + window)
    lane.next_free = math.max(math.min(lane.next_free, now + interval), lane.closed_until)
    save()
    return 0
end

-- Arguments: key, length for which no call with this key leaves.
function operations.rest_key()
    local key, length = arguments[1], tonumber(arguments[2])
    for each, rests_until in pairs(lane.resting_keys) do
        if rests_until <= now then lane.resting_keys[each] = nil end
    end
    lane.resting_keys[key] = math.max(lane.resting_keys[key] or 0, now + length)
    redis.call('HSET', KEYS[1], 'resting_keys', cmsgpack.pack(lane.resting_keys))
    return 0
end

function operations.end_rests()
    redis.call('HDEL', KEYS[1], 'resting_keys')
    return 0
end

return operations[operation]()
