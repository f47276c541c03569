-- The admission of waiters to a lane: who may wait for the next slots? limiter.py puts limiter_lane.lua in front of this script.
--
-- A waiter is one worker's place in the lane. It is reserved when a worker is called, acquired when that worker asks for a
-- slot, started when its call is in flight, and then reacquired for another slot or released.
--
-- Commands of each operation beside TIME, HMGET and HSET:
--   reserve              INFO
--   acquire, reacquire   INFO; ZREVRANGE where fewer waiters are ahead than calls fit into a window
--   start, release       LLEN where a reserved waiter is unclaimed for too long
--
-- Arguments of each operation: waiter, most waiting, most in flight, lease, broker queue ('' where there is none); then its
-- own.

local name, most_waiting, most_in_flight = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
local lease, broker_queue = tonumber(arguments[4]), arguments[5]

-- A waiter whose slot passed an interval ago, or 0.3 s ago, is taken to be dead, so that nobody waits behind it.
local slot_leeway = math.min(interval, 300000)
-- If a reserved waiter is unclaimed for 150 ms while the broker queue is empty, its message was lost with its worker. In a
-- slow lane it takes an interval, for the message may wait for the worker whose call is in flight. Only who is at work in
-- the lane reserves another waiter then; for anybody else the lease decides.
local unclaimed_after = math.max(interval, 150000)
-- With more lanes than workers the broker queue is never empty. A lost message is then missed after 1 s, or an interval.
local lost_after = math.max(interval, 1000000)
-- More reserved waiters are of no use: while all workers are busy, another message would only wait behind these.
local most_reserved = 2

-- Part 1. Who waits and who is in flight

local function forget_dead_waiters()
    for each, waiter in pairs(lane.waiters) do
        if waiter.slot and waiter.slot <= now - slot_leeway then waiter.slot, waiter.waiting_until = nil, nil end
        if waiter.waiting_until and waiter.waiting_until <= now then waiter.waiting_until = nil end
        if waiter.in_flight_until and waiter.in_flight_until <= now then waiter.in_flight_until = nil end
        if not (waiter.slot or waiter.waiting_until or waiter.in_flight_until) then lane.waiters[each] = nil end
    end
end

local function count(field)
    local number = 0
    for _, waiter in pairs(lane.waiters) do
        if waiter[field] then number = number + 1 end
    end
    return number
end

local function waiter_named(waiter_name)
    lane.waiters[waiter_name] = lane.waiters[waiter_name] or {}
    return lane.waiters[waiter_name]
end

-- Each that waits will be in flight, so that both together keep the bound.
local function has_room(most)
    forget_dead_waiters()
    local waiting = count('waiting_until')
    return waiting < most and waiting + count('in_flight_until') < most_in_flight
end

-- Returns how long until the slot of a waiter that waits from now on, behind those that have a slot.
local function wait_for_slot()
    local waiter = waiter_named(name)
    waiter.slot = nil
    local ahead = count('slot')
    -- Slots passed while nobody waited: idle time saves no credit.
    if ahead == 0 and now - lane.next_free > tolerance then lane.next_free = now end
    local slot = math.max(now, lane.next_free) + ahead * interval
    if ahead < calls then slot = math.max(slot, window_allows_at(ahead)) end
    waiter.slot, waiter.waiting_until = slot, slot + lease
    return slot - now
end

-- Part 2. Reservations

local function reserved_names()
    local names = {}
    for each, waiter in pairs(lane.waiters) do
        if waiter.waiting_until and not waiter.slot and not waiter.in_flight_until then table.insert(names, each) end
    end
    return names
end

local function reserve(waiter_name)
    if not has_room(most_waiting) or #reserved_names() >= most_reserved then return 0 end
    waiter_named(waiter_name).waiting_until = now + lease
    return 1
end

local function forget_unclaimed_reservations()
    local unclaimed, oldest = {}, 0
    for _, each in ipairs(reserved_names()) do
        local age = now - (lane.waiters[each].waiting_until - lease)
        oldest = math.max(oldest, age)
        if age >= unclaimed_after then table.insert(unclaimed, each) end
    end
    if #unclaimed == 0 then return end
    local may_be_queued = broker_queue ~= '' and oldest < lost_after and redis.call('LLEN', broker_queue) > 0
    if may_be_queued then return end
    for _, each in ipairs(unclaimed) do lane.waiters[each] = nil end
end

-- Reserves as many waiters as the lane lacks, named after `successor` with a number, and returns how many; none for ''.
local function reserve_successors(successor)
    if successor == '' then return 0 end
    forget_unclaimed_reservations()
    local reserved = 0
    while reserve(successor .. ':' .. reserved) == 1 do reserved = reserved + 1 end
    return reserved
end

-- `start` and `release` check only whether the lane is known. `reserve`, `acquire`, `reacquire` and `redeem` notice a Redis
-- that restarted.
local function notice_a_new_lane()
    if lane.server == '' then notice_another_server() end
end

-- Part 3. Operations

-- Returns 1 where there was room for one more to wait, else 0.
function operations.reserve()
    notice_another_server()
    local reserved = reserve(name)
    save()
    return reserved
end

-- Returns how long until its slot, or -1 where enough others wait.
function operations.acquire()
    notice_another_server()
    forget_dead_waiters()
    local waiter, wait = lane.waiters[name], -1
    -- Its last call is over, though Redis may not have heard of that.
    if waiter then waiter.in_flight_until = nil end
    if waiter and waiter.waiting_until or has_room(most_waiting) then wait = wait_for_slot() end
    save()
    return wait
end

-- Own argument: how many may wait for this one to be among them. Its call is over. Returns how long until its next slot, or
-- -1 where enough others wait; it is then released.
function operations.reacquire()
    local most_staying = tonumber(arguments[6])
    notice_another_server()
    local wait = -1
    lane.waiters[name] = nil
    if has_room(most_staying) then wait = wait_for_slot() end
    save()
    return wait
end

-- Own arguments: how long its call may be in flight, a name for successors or ''. It has something to send, and waits for
-- its instant only. Returns how many successors were reserved to wait in its stead.
function operations.start()
    local length, successor = tonumber(arguments[6]), arguments[7]
    notice_a_new_lane()
    local waiter = waiter_named(name)
    waiter.waiting_until, waiter.in_flight_until = nil, now + length
    local reserved = reserve_successors(successor)
    save()
    return reserved
end

-- Own argument: a name for successors or ''. Its call is over, or it gives up. Returns how many successors were reserved.
function operations.release()
    local successor = arguments[6]
    notice_a_new_lane()
    lane.waiters[name] = nil
    local reserved = reserve_successors(successor)
    save()
    return reserved
end

return operations[operation]()
