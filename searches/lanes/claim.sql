-- Claims the lane's next lookup: takes the fairest ready lookup out of its queue and arms a call for it, in five steps.
--
-- Returns NULL if no lookup is ready or the lane is paused (`pauses.py`). `more`: others are ready. `begun`: the lookup's search
-- has just begun. `step` is one claim at weight 1 in virtual time; `batch_size` is the most lookups that are blocked at once.
--
-- One function instead of a dozen statements from Python: the lane stays locked for its run, and for no round trip. The rows are
-- returned with it, for to query them again would take longer than all of this.
--
-- Several statements instead of one: each sees what was committed before it, also after a wait for the lane's lock.
--
-- Locks: lane, tenant queue, lookup, search. A wait for a row fails after 200 ms, for it holds the lane, in which other lookups
-- may have become ready. The caller claims again.
CREATE OR REPLACE FUNCTION searches_claim(
    lane_name text, call_id uuid, lease interval, step bigint, batch_size integer, dead_states text[],
    OUT more boolean, OUT begun boolean,
    OUT call searches_call, OUT lookup searches_lookup, OUT search searches_search, OUT lane searches_lane,
    OUT credential providers_credential, OUT rendering searches_rendering,
    OUT policy providers_policy
-- Each statement reads one index, so their plans are kept.
) LANGUAGE plpgsql SET lock_timeout = '200ms' SET plan_cache_mode = auto AS $$
DECLARE
    tenant_queue record;
    moment timestamptz;
    woken record;
    other record;
    rest_ends timestamptz;
    blocked record;
BEGIN
    -- 1. Lock the lane. Return if it is paused, or if its breaker is half-open and the probe's outcome is not known yet.
    SELECT * INTO lane FROM searches_lane WHERE name = lane_name FOR NO KEY UPDATE;
    moment := clock_timestamp();
    SELECT * INTO policy FROM providers_policy WHERE provider = lane.policy_id;
    IF lane.paused OR lane.paused_until > moment OR lane.broken_until > moment OR lane.mode = 'live' AND policy.paused THEN
        RETURN;
    END IF;
    IF lane.trips > 0 AND EXISTS (SELECT FROM searches_call WHERE id = lane.probe AND state = 'armed') THEN
        RETURN;
    END IF;

    -- 2. Wake the tenant queues that are due: their delayed lookups become ready, and their rest is over.
    FOR tenant_queue IN
        SELECT id, tenant_id FROM searches_tenantqueue
        WHERE lane_id = lane_name AND wake_at <= moment FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        WITH due AS (
            UPDATE searches_lookup SET queue_state = 'ready', not_before = NULL
            WHERE lane_id = lane_name AND tenant_id = tenant_queue.tenant_id AND queue_state = 'delayed' AND not_before <= moment
            RETURNING pages - pages_done AS calls_left
        ) SELECT count(*) AS lookups, coalesce(sum(due.calls_left), 0) AS pending_calls INTO woken FROM due;
        UPDATE searches_tenantqueue AS own SET
            ready = ready + woken.lookups, pending_calls = pending_calls + woken.pending_calls,
            virtual_time = searches_effective_virtual_time(own, lane.virtual_time), rests_until = NULL,
            wake_at = (
                SELECT min(not_before) FROM searches_lookup
                WHERE lane_id = lane_name AND tenant_id = tenant_queue.tenant_id AND queue_state = 'delayed'
            )
        WHERE id = tenant_queue.id;
    END LOOP;

    LOOP
        -- 3. Choose the tenant queue with the least virtual time. One that a submit has locked is skipped, unless it is the last.
        SELECT q.id, q.tenant_id, q.virtual_time, t.weight INTO tenant_queue
        FROM searches_tenantqueue q JOIN accounts_tenant t ON t.id = q.tenant_id
        WHERE q.lane_id = lane_name AND q.ready > 0 AND q.rests_until IS NULL AND t.suspended_at IS NULL
        ORDER BY q.virtual_time, q.tenant_id LIMIT 1 FOR NO KEY UPDATE OF q SKIP LOCKED;
        IF NOT FOUND THEN
            SELECT q.id, q.tenant_id, q.virtual_time, t.weight INTO tenant_queue
            FROM searches_tenantqueue q JOIN accounts_tenant t ON t.id = q.tenant_id
            WHERE q.lane_id = lane_name AND q.ready > 0 AND q.rests_until IS NULL AND t.suspended_at IS NULL
            ORDER BY q.virtual_time, q.tenant_id LIMIT 1 FOR NO KEY UPDATE OF q;
        END IF;
        IF NOT FOUND THEN
            RETURN;
        END IF;

        -- 4. Choose that tenant's first lookup whose key can be called with.
        SELECT * INTO lookup FROM searches_lookup
        WHERE lane_id = lane_name AND tenant_id = tenant_queue.tenant_id AND queue_state = 'ready'
        ORDER BY sort_key LIMIT 1 FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            -- This should never happen. The count is corrected, for an error would stop the whole lane.
            RAISE WARNING 'Tenant queue % counted lookups as ready that are not.', tenant_queue.id;
            UPDATE searches_tenantqueue SET ready = 0, pending_calls = 0 WHERE id = tenant_queue.id;
            RETURN;
        END IF;
        SELECT * INTO credential FROM providers_credential WHERE id = lookup.credential_id;

        -- The provider asked this key to wait: take the first lookup with another of the tenant's keys instead. If there is none,
        -- the tenant queue rests until the first of its keys has rested. Neither spends a slot.
        IF lane.mode = 'live' AND credential.rests_until > moment THEN
            SELECT first.id INTO other
            FROM providers_credential own CROSS JOIN LATERAL (
                SELECT id, sort_key FROM searches_lookup
                WHERE queue_state = 'ready' AND credential_id = own.id AND lane_id = lane_name ORDER BY sort_key LIMIT 1
            ) AS first
            WHERE own.tenant_id = tenant_queue.tenant_id AND own.provider = lane.policy_id
                AND (own.rests_until IS NULL OR own.rests_until <= moment)
            ORDER BY first.sort_key LIMIT 1;
            IF NOT FOUND THEN
                SELECT min(own.rests_until) INTO rest_ends FROM providers_credential own
                WHERE own.tenant_id = tenant_queue.tenant_id AND own.provider = lane.policy_id AND own.rests_until > moment;
                UPDATE searches_tenantqueue SET rests_until = rest_ends, wake_at = least(wake_at, rest_ends)
                WHERE id = tenant_queue.id;
                CONTINUE;
            END IF;
            SELECT * INTO lookup FROM searches_lookup WHERE id = other.id FOR NO KEY UPDATE;
            SELECT * INTO credential FROM providers_credential WHERE id = lookup.credential_id;
        END IF;
        EXIT WHEN lane.mode = 'test' OR credential.id IS NULL OR credential.state <> ALL (dead_states);

        -- The key was found dead, but not by a call: block its lookups, so that no slot is spent on them. The sandbox takes any
        -- key. The sweep blocks what is more than a batch, for the lane is locked here.
        WITH dead AS (
            UPDATE searches_lookup SET queue_state = 'blocked' WHERE id IN (
                SELECT id FROM searches_lookup
                WHERE lane_id = lane_name AND tenant_id = tenant_queue.tenant_id AND queue_state = 'ready'
                    AND credential_id = credential.id
                LIMIT batch_size
            ) RETURNING pages - pages_done AS calls_left
        ) SELECT count(*) AS lookups, coalesce(sum(dead.calls_left), 0) AS pending_calls INTO blocked FROM dead;
        UPDATE searches_tenantqueue
        SET ready = ready - blocked.lookups, pending_calls = pending_calls - blocked.pending_calls
        WHERE id = tenant_queue.id;
        IF blocked.lookups = batch_size THEN
            RETURN;
        END IF;
    END LOOP;

    -- 5. Write the claim. A probe costs a whole step whatever the weight: if it fails, another tenant's lookup is next.
    begun := lookup.status = 'queued';
    UPDATE searches_lookup SET queue_state = 'none', status = 'running', started_at = coalesce(started_at, moment)
    WHERE id = lookup.id RETURNING * INTO lookup;
    UPDATE searches_tenantqueue SET
        virtual_time = virtual_time + CASE WHEN lane.trips > 0 THEN step ELSE step / tenant_queue.weight END,
        ready = ready - 1, pending_calls = pending_calls - (lookup.pages - lookup.pages_done)
    WHERE id = tenant_queue.id;
    UPDATE searches_lane SET
        virtual_time = greatest(virtual_time, tenant_queue.virtual_time), claimed_at = moment,
        probe = CASE WHEN trips > 0 THEN call_id END
    WHERE name = lane_name RETURNING * INTO lane;
    INSERT INTO searches_call (
        id, lookup_id, page, state, armed_at, leased_until, unreadable, credits, overbilled, unknown, key_fingerprint,
        provider_request_id, error_code, error_detail, excerpt
    ) VALUES (
        call_id, lookup.id, lookup.first_page + lookup.pages_done, 'armed', moment, moment + lease, 0, 0, 0, 0,
        CASE WHEN lane.mode = 'live' THEN coalesce(left(credential.fingerprint, 16), '') ELSE '' END, '', '', '', ''
    ) RETURNING * INTO call;
    IF begun THEN
        UPDATE searches_search SET status = 'running', version = version + 1 WHERE id = lookup.search_id;
    END IF;
    SELECT * INTO search FROM searches_search WHERE id = lookup.search_id;
    SELECT * INTO rendering FROM searches_rendering
    WHERE image_id = search.image_id AND provider = lookup.provider AND crop = search.crop;
    more := lane.trips = 0 AND EXISTS (
        SELECT FROM searches_tenantqueue q JOIN accounts_tenant t ON t.id = q.tenant_id
        WHERE q.lane_id = lane_name AND q.ready > 0 AND q.rests_until IS NULL AND t.suspended_at IS NULL
    );
END $$;
