-- Returns how many lookups and calls are ahead of each of the `wanted` lookups that are ready or delayed: the tenant's own before
-- it, and of every other tenant as many as are due before it. A delayed lookup is counted as if it were ready now, and so is one
-- whose key rests until `rests_until`. Lookups with a resting key count before the tenant's others only while the key rests.
--
-- One scan of each tenant's lookups serves all that are wanted. Each wanted lookup reads all tenant queues of its lane, which is
-- what costs. Of 10,000 tenants only the `special_tenants`, suspended or of a weight other than 1, are joined to them: that
-- halves the time.
--
-- The `planned` lookups are not written yet: each is estimated as if it was submitted now and were ready, behind those that are
-- before it in its tenant's queue. Its tenant queue, and even its lane, need not exist: both would begin at the lane's present.
--
-- The `proposed` weights are not saved: all is estimated as if these tenants had them. Virtual times stay as they are then.
--
-- A function, so that its plan is kept: to plan it takes longer than to run it while few lookups wait. One generic plan without
-- sequential scans serves few rows and a million alike. `next_calls_at` and `intervals` are each lane's next call and interval.
-- `unit_step` is one claim at weight 1 in virtual time; `most_counted` is the most lookups of one tenant that are counted.
CREATE OR REPLACE FUNCTION searches_estimate(
    wanted uuid[], lane_names text[], next_calls_at timestamptz[], intervals interval[], unit_step bigint, most_counted integer,
    planned_ids uuid[], planned_lanes text[], planned_tenants uuid[], planned_credentials uuid[], planned_sort_keys bigint[],
    planned_calls integer[], proposed_tenants uuid[], proposed_weights integer[]
) RETURNS TABLE (lookup_id uuid, lookups_before bigint, calls_before bigint, suspended boolean, rests_until timestamptz)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
WITH lane AS (
    SELECT name, coalesce(virtual_time, 0) AS virtual_time, next_call_at, call_interval, policy_id, mode
    FROM unnest(lane_names, next_calls_at, intervals) AS given (name, next_call_at, call_interval)
    LEFT JOIN searches_lane USING (name)
), planned AS (
    SELECT * FROM unnest(planned_ids, planned_lanes, planned_tenants, planned_credentials, planned_sort_keys, planned_calls)
        AS planned (id, lane_id, tenant_id, credential_id, sort_key, calls_left)
), asked AS (
    SELECT id, lane_id, tenant_id, credential_id, sort_key FROM searches_lookup
    WHERE id = ANY(wanted) AND queue_state IN ('ready', 'delayed')
    UNION ALL
    SELECT id, lane_id, tenant_id, credential_id, sort_key FROM planned
), wanted_queue AS (
    SELECT lane_id, tenant_id, max(sort_key) AS last_sort_key FROM asked GROUP BY lane_id, tenant_id
), resting_key AS (
    SELECT DISTINCT credential.id, credential.rests_until FROM wanted_queue
    JOIN lane ON lane.name = wanted_queue.lane_id AND lane.mode = 'live'
    JOIN providers_credential credential
        ON credential.tenant_id = wanted_queue.tenant_id AND credential.provider = lane.policy_id
    WHERE credential.rests_until > statement_timestamp()
), proposed AS (
    SELECT * FROM unnest(proposed_tenants, proposed_weights) AS proposed (id, weight)
), special_tenants AS (
    SELECT id, weight, suspended_at FROM accounts_tenant
    WHERE (weight <> 1 OR suspended_at IS NOT NULL) AND id <> ALL (proposed_tenants)
    UNION ALL
    SELECT proposed.id, proposed.weight, tenant.suspended_at FROM proposed JOIN accounts_tenant tenant USING (id)

-- The tenant's own lookups ahead of each: all of them if its key rests, otherwise those whose keys do not rest.
), own_ahead AS (
    SELECT counted.* FROM wanted_queue CROSS JOIN LATERAL (
        SELECT id, queued.rests_until,
            CASE WHEN queued.rests_until IS NULL THEN sum(ready) FILTER (WHERE queued.rests_until IS NULL) OVER up_to_it
                ELSE sum(ready) OVER up_to_it END - ready AS lookups_ahead,
            CASE WHEN queued.rests_until IS NULL THEN sum(calls_left) FILTER (WHERE queued.rests_until IS NULL) OVER up_to_it
                ELSE sum(calls_left) OVER up_to_it END - calls_left AS calls_ahead
        FROM (
            SELECT own.id, own.sort_key, own.ready, own.calls_left, resting_key.rests_until FROM (
                (SELECT id, sort_key, credential_id, 1 AS ready, pages - pages_done AS calls_left FROM searches_lookup
                 WHERE lane_id = wanted_queue.lane_id AND tenant_id = wanted_queue.tenant_id AND queue_state = 'ready'
                     AND sort_key <= wanted_queue.last_sort_key
                 ORDER BY sort_key LIMIT most_counted)
                UNION ALL
                SELECT id, sort_key, credential_id, 0, 0 FROM searches_lookup
                WHERE id = ANY(wanted) AND lane_id = wanted_queue.lane_id AND tenant_id = wanted_queue.tenant_id
                    AND queue_state = 'delayed'
                UNION ALL
                SELECT id, sort_key, credential_id, 1, calls_left FROM planned
                WHERE lane_id = wanted_queue.lane_id AND tenant_id = wanted_queue.tenant_id
            ) AS own LEFT JOIN resting_key ON resting_key.id = own.credential_id
        ) AS queued WINDOW up_to_it AS (ORDER BY sort_key, id ROWS UNBOUNDED PRECEDING)) AS counted

-- Calls that are not ready yet and will be soon: few at most, for their lookups are under way or have just failed.
), future_calls AS (
    SELECT lane_id, tenant_id, sort_key, pages - pages_done - 1 AS calls, NULL AS ready_at
    FROM searches_call call JOIN searches_lookup ON searches_lookup.id = call.lookup_id
    WHERE call.state = 'armed' AND lane_id = ANY(lane_names) AND pages - pages_done > 1 AND NOT cancel_requested
    UNION ALL
    SELECT lane_id, tenant_id, sort_key, pages - pages_done, not_before
    FROM searches_lookup WHERE lane_id = ANY(lane_names) AND queue_state = 'delayed'
    UNION ALL
    SELECT lane_id, tenant_id, NULL, pending_calls, tenant_queue.rests_until
    FROM searches_tenantqueue tenant_queue
    WHERE lane_id = ANY(lane_names) AND wake_at IS NOT NULL AND tenant_queue.rests_until IS NOT NULL
), wanted_lookup AS (
    SELECT lookup.id, lookup.lane_id, lookup.tenant_id, tenant.suspended_at IS NOT NULL AS suspended,
        lane.virtual_time AS lane_time, lane.next_call_at, lane.call_interval,
        coalesce(searches_effective_virtual_time(tenant_queue, lane.virtual_time), lane.virtual_time) AS effective_time,
        resting_key.rests_until,
        unit_step / coalesce(proposed.weight, tenant.weight) AS step, coalesce(own_ahead.lookups_ahead, most_counted) AS lookups_ahead,
        coalesce(own_ahead.calls_ahead, most_counted) + coalesce((
            SELECT sum(future.calls) FROM future_calls future
            WHERE future.lane_id = lookup.lane_id AND future.tenant_id = lookup.tenant_id AND future.sort_key < lookup.sort_key
                AND (future.ready_at IS NULL
                     OR future.ready_at <= lane.next_call_at + lane.call_interval * own_ahead.calls_ahead::float8)
        ), 0) AS calls_ahead
    FROM asked AS lookup
    JOIN lane ON lane.name = lookup.lane_id
    LEFT JOIN searches_tenantqueue tenant_queue
        ON tenant_queue.lane_id = lookup.lane_id AND tenant_queue.tenant_id = lookup.tenant_id
    JOIN accounts_tenant tenant ON tenant.id = lookup.tenant_id
    LEFT JOIN proposed ON proposed.id = lookup.tenant_id
    LEFT JOIN own_ahead ON own_ahead.id = lookup.id
    LEFT JOIN resting_key ON resting_key.id = lookup.credential_id

-- The virtual time at which the lookup is due, counted in lookups and in calls.
), due_lookup AS (
    SELECT *, (effective_time + lookups_ahead * step)::bigint AS due_by_lookups,
        (effective_time + calls_ahead * step)::bigint AS due_by_calls
    FROM wanted_lookup

-- The distance of every other tenant queue from there, in virtual time. Equal times are ordered by tenant, as in a claim. OFFSET
-- 0 keeps PostgreSQL from computing these columns for each use.
), other_queue AS (
    SELECT due_lookup.id, tenant_queue.ready, tenant_queue.pending_calls, unit_step / coalesce(special_tenants.weight, 1) AS step,
        due_by_lookups - tenant_queue.virtual_time + (tenant_queue.tenant_id < due_lookup.tenant_id)::int AS distance_by_lookups,
        due_by_calls - tenant_queue.virtual_time + (tenant_queue.tenant_id < due_lookup.tenant_id)::int AS distance_by_calls
    FROM due_lookup
    JOIN searches_tenantqueue tenant_queue ON tenant_queue.lane_id = due_lookup.lane_id AND tenant_queue.ready > 0
        AND tenant_queue.rests_until IS NULL AND tenant_queue.tenant_id <> due_lookup.tenant_id
        AND tenant_queue.virtual_time <= due_lookup.due_by_calls
    LEFT JOIN special_tenants ON special_tenants.id = tenant_queue.tenant_id
    WHERE special_tenants.suspended_at IS NULL
    OFFSET 0

-- The lookups or calls that all other tenant queues are given before that: one a step, and no more than each has.
), others_ahead AS (
    SELECT id, sum(least(ready, greatest(0, (distance_by_lookups + step - 1) / step))) AS lookups,
        sum(least(pending_calls, greatest(0, (distance_by_calls + step - 1) / step))) AS calls
    FROM other_queue GROUP BY id
), queue_position AS (
    SELECT due_lookup.*, lookups_ahead + coalesce(others_ahead.lookups, 0) AS lookups,
        calls_ahead + coalesce(others_ahead.calls, 0) AS calls
    FROM due_lookup LEFT JOIN others_ahead USING (id)
)

-- The result, with the calls of other tenants that will have become ready by then.
SELECT id, lookups::bigint, (calls + coalesce((
    SELECT sum(least(later.calls, greatest(0, (due_by_calls - later.effective_time
        + (later.tenant_id < queue_position.tenant_id)::int + later.step - 1) / later.step - later.counted_calls)))
    FROM (
        SELECT future.tenant_id, sum(future.calls) AS calls,
            unit_step / coalesce(proposed.weight, tenant.weight) AS step,
            CASE WHEN tenant_queue.rests_until IS NULL THEN tenant_queue.pending_calls ELSE 0 END AS counted_calls,
            searches_effective_virtual_time(tenant_queue, lane_time) AS effective_time
        FROM future_calls future
        JOIN searches_tenantqueue tenant_queue
            ON tenant_queue.lane_id = future.lane_id AND tenant_queue.tenant_id = future.tenant_id
        JOIN accounts_tenant tenant ON tenant.id = future.tenant_id AND tenant.suspended_at IS NULL
        LEFT JOIN proposed ON proposed.id = future.tenant_id
        WHERE future.lane_id = queue_position.lane_id AND future.tenant_id <> queue_position.tenant_id
            AND (ready_at IS NULL OR ready_at <= next_call_at + call_interval * queue_position.calls::float8)
        GROUP BY future.tenant_id, tenant_queue.id, tenant.weight, proposed.weight
    ) AS later
), 0))::bigint, suspended, queue_position.rests_until
FROM queue_position;
END $$;
