-- Returns how many lookups and calls are ahead of each of the `wanted` lookups that are ready or delayed: the tenant's own before
-- it, and of every other tenant as many as are due before it. A delayed lookup is counted as if it were ready now, and so is one
-- whose key rests until `rests_until`. Lookups with a resting key count before the tenant's others only while the key rests.
--
-- One scan of each tenant's lookups serves all that are wanted. Each wanted lookup reads all tenant queues of its lane, which is
-- what costs. Of 10,000 tenants only the `special` ones, suspended or of a weight other than 1, are joined to them: that halves
-- the time.
--
-- A function, so that its plan is kept: to plan it takes longer than to run it while few lookups wait. One generic plan without
-- sequential scans serves few rows and a million alike. `begins` and `paces` are each lane's next call and interval.
CREATE OR REPLACE FUNCTION searches_estimate(
    wanted uuid[], lane_names text[], begins timestamptz[], paces interval[], whole_turn bigint, most integer
) RETURNS TABLE (lookup_id uuid, lookups_before bigint, calls_before bigint, suspended boolean, rests_until timestamptz)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
WITH lane AS (
    SELECT name, virtual_time, begins_at, pace, policy_id, mode FROM searches_lane
    JOIN unnest(lane_names, begins, paces) AS given (name, begins_at, pace) USING (name)
), asked AS (
    SELECT lane_id, tenant_id, max(sort_key) AS last FROM searches_lookup WHERE id = ANY(wanted) GROUP BY lane_id, tenant_id
), resting AS (
    SELECT DISTINCT own.id, own.rests_until FROM asked
    JOIN lane ON lane.name = asked.lane_id AND lane.mode = 'live'
    JOIN providers_credential own ON own.tenant_id = asked.tenant_id AND own.provider = lane.policy_id
    WHERE own.rests_until > statement_timestamp()
), special AS (
    SELECT id, weight, suspended_at FROM accounts_tenant WHERE weight <> 1 OR suspended_at IS NOT NULL

-- The tenant's own lookups ahead of each: all of them if its key rests, otherwise those whose keys do not rest.
), ahead AS (
    SELECT own.* FROM asked CROSS JOIN LATERAL (
        SELECT id, first.rests_until,
            CASE WHEN first.rests_until IS NULL THEN sum(ready) FILTER (WHERE first.rests_until IS NULL) OVER line
                ELSE sum(ready) OVER line END - ready AS lookups_ahead,
            CASE WHEN first.rests_until IS NULL THEN sum(calls_left) FILTER (WHERE first.rests_until IS NULL) OVER line
                ELSE sum(calls_left) OVER line END - calls_left AS calls_ahead
        FROM (
            SELECT own.id, own.sort_key, own.ready, own.calls_left, resting.rests_until FROM (
                (SELECT id, sort_key, credential_id, 1 AS ready, pages - pages_done AS calls_left FROM searches_lookup
                 WHERE lane_id = asked.lane_id AND tenant_id = asked.tenant_id AND queue_state = 'ready'
                     AND sort_key <= asked.last
                 ORDER BY sort_key LIMIT most)
                UNION ALL
                SELECT id, sort_key, credential_id, 0, 0 FROM searches_lookup
                WHERE id = ANY(wanted) AND lane_id = asked.lane_id AND tenant_id = asked.tenant_id AND queue_state = 'delayed'
            ) AS own LEFT JOIN resting ON resting.id = own.credential_id
        ) AS first WINDOW line AS (ORDER BY sort_key, id ROWS UNBOUNDED PRECEDING)) AS own

-- Calls that are not ready yet and will be soon: few at most, for their lookups are under way or have just failed.
), coming AS (
    SELECT lane_id, tenant_id, sort_key, pages - pages_done - 1 AS calls, NULL AS due
    FROM searches_call call JOIN searches_lookup ON searches_lookup.id = call.lookup_id
    WHERE call.state = 'armed' AND lane_id = ANY(lane_names) AND pages - pages_done > 1 AND NOT cancel_requested
    UNION ALL
    SELECT lane_id, tenant_id, sort_key, pages - pages_done, not_before
    FROM searches_lookup WHERE lane_id = ANY(lane_names) AND queue_state = 'delayed'
    UNION ALL
    SELECT lane_id, tenant_id, NULL, pending_calls, tenant_queue.rests_until
    FROM searches_tenantqueue tenant_queue
    WHERE lane_id = ANY(lane_names) AND wake_at IS NOT NULL AND tenant_queue.rests_until IS NOT NULL
), own AS (
    SELECT lookup.id, lookup.lane_id, lookup.tenant_id, tenant.suspended_at IS NOT NULL AS suspended,
        lane.virtual_time AS present, lane.begins_at, lane.pace,
        searches_effective_virtual_time(tenant_queue, lane.virtual_time) AS effective_time, resting.rests_until,
        whole_turn / tenant.weight AS step, coalesce(ahead.lookups_ahead, most) AS lookups_ahead,
        coalesce(ahead.calls_ahead, most) + coalesce((
            SELECT sum(coming.calls) FROM coming
            WHERE coming.lane_id = lookup.lane_id AND coming.tenant_id = lookup.tenant_id AND coming.sort_key < lookup.sort_key
                AND (coming.due IS NULL OR coming.due <= lane.begins_at + lane.pace * ahead.calls_ahead::float8)), 0) AS calls_ahead
    FROM searches_lookup lookup
    JOIN lane ON lane.name = lookup.lane_id
    JOIN searches_tenantqueue tenant_queue ON tenant_queue.lane_id = lookup.lane_id AND tenant_queue.tenant_id = lookup.tenant_id
    JOIN accounts_tenant tenant ON tenant.id = lookup.tenant_id
    LEFT JOIN ahead ON ahead.id = lookup.id
    LEFT JOIN resting ON resting.id = lookup.credential_id
    WHERE lookup.id = ANY(wanted) AND lookup.queue_state IN ('ready', 'delayed')

-- The virtual time at which the lookup is due, counted in lookups and in calls.
), reach AS (
    SELECT *, (effective_time + lookups_ahead * step)::bigint AS for_lookups,
        (effective_time + calls_ahead * step)::bigint AS for_calls
    FROM own

-- The distance of every other tenant queue from there, in virtual time. Equal times are ordered by tenant, as in a claim. OFFSET
-- 0 keeps PostgreSQL from computing these columns for each use.
), others AS (
    SELECT reach.id, tenant_queue.ready, tenant_queue.pending_calls, whole_turn / coalesce(special.weight, 1) AS step,
        for_lookups - tenant_queue.virtual_time + (tenant_queue.tenant_id < reach.tenant_id)::int AS in_lookups,
        for_calls - tenant_queue.virtual_time + (tenant_queue.tenant_id < reach.tenant_id)::int AS in_calls
    FROM reach
    JOIN searches_tenantqueue tenant_queue ON tenant_queue.lane_id = reach.lane_id AND tenant_queue.ready > 0
        AND tenant_queue.rests_until IS NULL AND tenant_queue.tenant_id <> reach.tenant_id
        AND tenant_queue.virtual_time <= reach.for_calls
    LEFT JOIN special ON special.id = tenant_queue.tenant_id
    WHERE special.suspended_at IS NULL
    OFFSET 0

-- The lookups or calls that each tenant queue is given before that: one a step, and no more than it has.
), taken AS (
    SELECT id, sum(least(ready, greatest(0, (in_lookups + step - 1) / step))) AS lookups,
        sum(least(pending_calls, greatest(0, (in_calls + step - 1) / step))) AS calls
    FROM others GROUP BY id
), lined_up AS (
    SELECT reach.*, lookups_ahead + coalesce(taken.lookups, 0) AS lookups,
        calls_ahead + coalesce(taken.calls, 0) AS calls
    FROM reach LEFT JOIN taken USING (id)
)

-- The result, with the calls that will have become ready by then.
SELECT id, lookups::bigint, (calls + coalesce((
    SELECT sum(least(later.calls, greatest(0, (for_calls - later.effective_time + (later.tenant_id < lined_up.tenant_id)::int
        + later.step - 1) / later.step - later.lined_up)))
    FROM (
        SELECT coming.tenant_id, sum(coming.calls) AS calls, whole_turn / tenant.weight AS step,
            CASE WHEN tenant_queue.rests_until IS NULL THEN tenant_queue.pending_calls ELSE 0 END AS lined_up,
            searches_effective_virtual_time(tenant_queue, present) AS effective_time
        FROM coming
        JOIN searches_tenantqueue tenant_queue
            ON tenant_queue.lane_id = coming.lane_id AND tenant_queue.tenant_id = coming.tenant_id
        JOIN accounts_tenant tenant ON tenant.id = coming.tenant_id AND tenant.suspended_at IS NULL
        WHERE coming.lane_id = lined_up.lane_id AND coming.tenant_id <> lined_up.tenant_id
            AND (due IS NULL OR due <= begins_at + pace * lined_up.calls::float8)
        GROUP BY coming.tenant_id, tenant_queue.id, tenant.weight
    ) AS later
), 0))::bigint, suspended, lined_up.rests_until
FROM lined_up;
END $$;
