-- One lane, in three parts: what Redis keeps of it; its token bucket (may a call leave now?); the admission of waiters (who may
-- wait for the next slots?). Redis TIME is the only clock; every instant and length is in whole microseconds.
--
-- KEYS[1] lane   hash: run (of the Redis that wrote it), since (when its log began), free (when the next call may leave),
--                      closed (until when none may: the lane is paused, or its past is unknown), margin (by how much it has
--                      learned to widen its guard), widened (when a refusal last widened it), key and run_length (the key of
--                      the last call that left, and how many left with it one after the other), lesson (packed: what refusals
--                      taught, and who; below), resting (packed: key -> until when no call with it leaves), seats (packed: below)
-- KEYS[2] log    zset: call -> when it left
-- KEYS[3] void   zset: call -> when it was declared never sent
-- ARGV: operation, calls, window, guard, horizon, and the operation's own: `own` below
--
-- seats: seat -> {slot: when it expects to leave, waiting: until when it is taken to wait, flying: the same for being under
-- way}. They are a few dozen and packed into one field, for a command inside a script costs the server as much as one from outside.
local operation, calls = ARGV[1], tonumber(ARGV[2])
local limit, guard = tonumber(ARGV[3]), tonumber(ARGV[4])
local own = {unpack(ARGV, 6)}

-- Part 1. What Redis keeps of a lane

local function text(number) return string.format('%.0f', number) end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local known = redis.call(
    'HMGET', KEYS[1], 'run', 'since', 'free', 'closed', 'margin', 'widened', 'resting', 'seats', 'key', 'run_length'
)
local run, since, free, closed = known[1], tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0)
local margin, widened = tonumber(known[5] or 0), tonumber(known[6] or 0)
local resting = known[7] and cmsgpack.unpack(known[7]) or {}
local seats = known[8] and cmsgpack.unpack(known[8]) or {}
local last_key, run_length = known[9] or '', tonumber(known[10] or 0)

-- The guard widens by no more than this: a twentieth of the window, and no more than a network's jitter can be.
local widest = math.min(math.floor(limit / 20), 50000)
margin = math.min(margin, widest)
-- What calls are kept apart by.
local window = limit + guard + margin
-- What still counts in a window is never forgotten.
local horizon = math.max(window, tonumber(ARGV[5]))
local interval = math.ceil(window / calls)
-- How late a slot may be and still be made up; past it, it is void. With one call a window there is nothing to make up.
local tolerance = calls > 1 and math.floor(window / 4) or 0
-- Leave is given this long before the instant: the sender waits out the rest by itself, with no round trip between.
local grace = 3000
-- A call's age comes by another clock and a moment late: one that began this close to the log may be older than it.
local doubt = 2000000

-- Where the rate was raised meanwhile, nobody waits longer than under the one in force.
free = math.max(math.min(free, now + grace + interval), closed)

-- A Redis that restarted, was flushed or failed over may have forgotten calls that just left: wait a whole window.
local remembered = false
local function remember()
    if remembered then return end
    remembered = true
    local present = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    if run == present then return end
    run, since, seats = present, now, {}
    closed = math.max(closed, now + window)
    free = math.max(free, closed)
end

local function save()
    redis.call(
        'HSET', KEYS[1], 'run', run or '', 'since', text(since), 'free', text(free), 'closed', text(closed),
        'margin', text(margin), 'key', last_key, 'run_length', text(run_length), 'seats', cmsgpack.pack(seats)
    )
end

local operations = {}

-- Part 2. The token bucket: may a call leave now?

-- When the call may leave that has `ahead` others before it: after the window's oldest call that then still counts.
local function window_allows(ahead)
    local oldest = redis.call('ZREVRANGE', KEYS[2], calls - 1 - ahead, calls - 1 - ahead, 'WITHSCORES')
    return oldest[2] and tonumber(oldest[2]) + window or 0
end

-- When one may leave after all that did: within the window, and at most at 1.25 times the rate.
local function distance_allows()
    local after_the_window = window_allows(0)
    if calls == 1 then return after_the_window end
    local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return math.max(after_the_window, last[2] and tonumber(last[2]) + math.ceil(interval * 0.8) or 0)
end

-- The guard widens by what is learned here, and each call that leaves narrows it by a little: by half in 1,400 calls. Where one
-- refusal doubles it, a lane whose jitter stays as it is has no more than one refusal in a thousand calls.
local narrows = 2048

-- One key's refusals may have reasons of that key alone, as when its account is used elsewhere too, and others pay for the margin.
-- By itself a key therefore teaches no more than a hint: a five-hundredth of the window, which with the usual guard keeps 99.5 % of
-- the rate. A key that has made so many calls in a row is alone in the lane, and teaches up to a hundredth.
local hint, alone, most_alone = math.floor(limit / 500), 100, math.floor(limit / 100)
-- Keys of two tenants that are refused within so many calls' time agree that it is the way.
local agree_within = narrows * interval

-- A call left so much later than it was to. The log has heard of that by now; but whatever was late here may be late behind the
-- kernel too, where nobody measures it. Half of it: a hint and no refusal, which costs a lane two calls in a thousand at the most.
local function learn_from_lateness(late)
    margin = math.max(margin, math.min(math.floor(late / 2), guard, hint))
end

-- seat, call, key: {1, instant, now}, and the call is in the log and leaves then; {0, instant, now}: ask again then;
-- {-1, 0, now} where it must not leave, for it was declared never sent; or {-2, instant, now} where its key rests until then. A
-- seat whose time under way is over counts as dead: what declared its calls never sent may have been forgotten since.
function operations.redeem()
    local name, call, key = own[1], own[2], own[3]
    if (resting[key] or 0) > now then return {-2, resting[key], now} end
    local instant = math.max(free, distance_allows())
    if instant > now + grace then return {0, instant, now} end
    remember()
    instant = math.max(instant, now)
    local seat = seats[name]
    local alive = seat and seat.flying and seat.flying >= now and not redis.call('ZSCORE', KEYS[3], call)
    if not alive or redis.call('ZADD', KEYS[2], 'NX', text(instant), call) == 0 then
        save()
        return {-1, 0, now}
    end
    if now % 16 == 0 then redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - horizon)) end
    seat.slot = nil
    free = math.max(free + interval, instant + interval - tolerance)
    margin = margin - math.ceil(margin / narrows)
    run_length = key == last_key and math.min(run_length + 1, alone) or 1
    last_key = key
    save()
    return {1, instant, now}
end

-- call: it has not left yet, for it heard late that it may. 1 where it may leave now, and the log says so; 0 where others
-- left meanwhile, so that it must not.
function operations.confirm()
    local call = own[1]
    remember()
    local redeemed = redis.call('ZREM', KEYS[2], call)
    if redeemed == 0 or distance_allows() > now then
        redis.call('ZADD', KEYS[3], text(now), call)
        save()
        return 0
    end
    redis.call('ZADD', KEYS[2], text(now), call)
    free = math.max(free, now + interval - tolerance)
    save()
    return 1
end

-- call, length: it left so much later than it was redeemed.
function operations.postpone()
    local call, late = own[1], tonumber(own[2])
    remember()
    local redeemed = redis.call('ZSCORE', KEYS[2], call)
    if redeemed then
        local left = math.min(now, tonumber(redeemed) + late)
        redis.call('ZADD', KEYS[2], 'GT', text(left), call)
        free = math.max(free, left + interval - tolerance)
        learn_from_lateness(late)
    end
    save()
    return 0
end

-- `lesson`: the key and the tenant that were refused last, and when (at); by how much keys of two tenants last widened the guard
-- (agreed), and when (agreed_at).
local function agrees(key, tenant, lesson)
    return key == '' or lesson.key ~= key and lesson.tenant ~= tenant and (lesson.at or 0) >= now - agree_within
end

-- By how much a key that is refused may widen the guard by itself. What two agreed upon one alone keeps up.
local function most_by_itself(key, lesson)
    local most = key == last_key and run_length >= alone and most_alone or hint
    if (lesson.agreed_at or 0) >= now - agree_within then most = math.max(most, lesson.agreed) end
    return math.min(most, widest)
end

local function learn(key, tenant, lesson)
    local is_agreed = agrees(key, tenant, lesson)
    local most = is_agreed and widest or most_by_itself(key, lesson)
    margin = math.max(margin, math.min(most, math.max(guard + 2 * margin, 1000)))
    if is_agreed then lesson.agreed, lesson.agreed_at = margin, now end
    lesson.key, lesson.tenant, lesson.at = key, tenant, now
    redis.call('HSET', KEYS[1], 'lesson', cmsgpack.pack(lesson), 'margin', text(margin), 'widened', text(now))
end

-- call, key, tenant (both '' where the lane is one account's): the provider refused it as too early. By how much the guard is widened then, or -1 where this says nothing of it: the
-- log does not know the call; it kept its distance by more than the widest guard would; or it left under a guard that was widened
-- since.
function operations.refuse()
    local call, key, tenant = own[1], own[2], own[3]
    local rank = redis.call('ZRANK', KEYS[2], call)
    if not rank or rank < calls then return -1 end
    local left = tonumber(redis.call('ZSCORE', KEYS[2], call))
    local before = redis.call('ZRANGE', KEYS[2], rank - calls, rank - calls, 'WITHSCORES')
    if left < widened or left - tonumber(before[2]) > limit + guard + widest then return -1 end
    local packed = redis.call('HGET', KEYS[1], 'lesson')
    local lesson = packed and cmsgpack.unpack(packed) or {}
    learn(key, tenant, lesson)
    return margin
end

-- call, age in microseconds: 1 it left, 0 it never did, -1 nobody knows; the last two never will from here on.
function operations.revoke()
    local call, age = own[1], tonumber(own[2])
    remember()
    save()
    if redis.call('ZSCORE', KEYS[2], call) then return 1 end
    redis.call('ZADD', KEYS[3], text(now), call)
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - horizon))
    if now - age < since + doubt or age > horizon then return -1 end
    return 0
end

-- length: no call leaves before it is over.
function operations.pause()
    remember()
    closed = math.max(closed, now + tonumber(own[1]))
    save()
    return 0
end

-- The pause is over, but for what the log cannot know.
function operations.reopen()
    remember()
    closed = math.min(closed, since + window)
    free = math.max(math.min(free, now + interval), closed)
    save()
    return 0
end

-- key, length: no call with this key leaves before it is over; those with others do.
function operations.rest()
    for name, ends in pairs(resting) do
        if ends <= now then resting[name] = nil end
    end
    resting[own[1]] = math.max(resting[own[1]] or 0, now + tonumber(own[2]))
    redis.call('HSET', KEYS[1], 'resting', cmsgpack.pack(resting))
    return 0
end

-- No key rests any more.
function operations.rouse()
    redis.call('HDEL', KEYS[1], 'resting')
    return 0
end

-- Part 3. The admission of waiters: who may wait for the next slots?

-- A waiter this late is taken to be dead, so that nobody stands behind it.
local leeway = math.min(interval, 300000)
-- A seat that nobody took up for so long, though no message of any lane waits for a worker, went with its message: the worker that
-- had it is dead. Who is at work here calls another then; who only passes by leaves that to the lease.
local unattended = math.max(interval, 150000)
-- Where messages wait all the time, for there are more lanes than workers, a lost one is not missed sooner than this.
local patience = math.max(interval, 1000000)
-- Of seats whose messages nobody took up yet there are no more: while all are busy, another message would only wait behind them.
local most_called = 2

-- Who binds or leaves a seat asks no more than whether the lane is known at all: a Redis that restarted is noticed by whoever
-- is hired, takes a slot or is about to send, and the question costs as much as all else here.
local function remember_if_new()
    if not run or run == '' then remember() end
end

local function forget_the_dead()
    for name, seat in pairs(seats) do
        if seat.slot and seat.slot <= now - leeway then seat.slot, seat.waiting = nil, nil end
        if seat.waiting and seat.waiting <= now then seat.waiting = nil end
        if seat.flying and seat.flying <= now then seat.flying = nil end
        if not (seat.slot or seat.waiting or seat.flying) then seats[name] = nil end
    end
end

local function count(what)
    local number = 0
    for _, seat in pairs(seats) do
        if seat[what] then number = number + 1 end
    end
    return number
end

local function seat_of(name)
    seats[name] = seats[name] or {}
    return seats[name]
end

-- What concerns a seat is asked with: seat, most waiting, most under way, lease, the list in which messages wait for a worker.
local lease, messages = tonumber(own[4]), own[5]

-- The seats that were hired and not taken up yet.
local function called()
    local names = {}
    for name, seat in pairs(seats) do
        if seat.waiting and not seat.slot and not seat.flying then table.insert(names, name) end
    end
    return names
end

local function forget_the_unattended()
    local old, oldest = {}, 0
    for _, name in ipairs(called()) do
        local age = now - (seats[name].waiting - lease)
        oldest = math.max(oldest, age)
        if age >= unattended then table.insert(old, name) end
    end
    local may_wait_still = messages ~= '' and oldest < patience and redis.call('LLEN', messages) > 0
    if #old == 0 or may_wait_still then return end
    for _, name in ipairs(old) do seats[name] = nil end
end

-- Whoever waits will be under way: both together keep the bound.
local function has_room(most_waiting)
    forget_the_dead()
    local waiting = count('waiting')
    return waiting < most_waiting and waiting + count('flying') < tonumber(own[3])
end

local function hire(name)
    if not has_room(tonumber(own[2])) or #called() >= most_called then return 0 end
    seat_of(name).waiting = now + lease
    return 1
end

-- By one that is at work in this lane: as many as it lacks, by a name that a number is put to, or '' for none.
local function call_on(successor)
    if successor == '' then return 0 end
    forget_the_unattended()
    local hired = 0
    while hire(successor .. ':' .. hired) == 1 do hired = hired + 1 end
    return hired
end

-- Is there room for one more to wait?
function operations.hire()
    remember()
    local hired = hire(own[1])
    save()
    return hired
end

-- How long until the slot of one that waits from now on.
local function slot_for(name)
    local seat = seat_of(name)
    seat.slot = nil
    local ahead = count('slot')
    -- Nobody waited while slots passed: idle time saves no credit.
    if ahead == 0 and now - free > tolerance then free = now end
    local slot = math.max(now, free) + ahead * interval
    if ahead < calls then slot = math.max(slot, window_allows(ahead)) end
    seat.slot, seat.waiting = slot, slot + lease
    return slot - now
end

-- How long until its slot; -1 where enough others wait.
function operations.take()
    remember()
    forget_the_dead()
    local name, wait = own[1], -1
    -- Whoever comes has nothing under way: of its last call's end Redis may not have heard.
    if seats[name] then seats[name].flying = nil end
    if seats[name] and seats[name].waiting or has_room(tonumber(own[2])) then wait = slot_for(name) end
    save()
    return wait
end

-- How many may wait for it to be one of them: it is done with its call. How long until its next slot; -1 where enough others
-- wait, and then its seat is given up.
function operations.stay()
    remember()
    local name, wait = own[1], -1
    seats[name] = nil
    if has_room(tonumber(own[6])) then wait = slot_for(name) end
    save()
    return wait
end

-- How long it may be under way, and a name for its successors or nothing: it has something to send, and waits for its instant
-- only. How many successors are to wait in its stead.
function operations.bind()
    remember_if_new()
    local seat = seat_of(own[1])
    seat.waiting, seat.flying = nil, now + tonumber(own[6])
    local hired = call_on(own[7])
    save()
    return hired
end

-- A name for its successors or nothing: it is done, or gives up. How many successors are to wait.
function operations.leave()
    remember_if_new()
    seats[own[1]] = nil
    local hired = call_on(own[6])
    save()
    return hired
end

return operations[operation]()
