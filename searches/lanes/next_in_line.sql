-- Returns the lane's next lookups in the order in which claims take them, if no call is answered meanwhile and no lookup is added.
--
-- The rule is that of `claim.sql`, without its locks and its writes: `tests/searches/lanes/test_next_in_line.py` holds both equal.
-- A claim takes the tenant queue with the least virtual time and adds a step to it. The n-th lookup of a queue is therefore claimed
-- at the queue's virtual time after n - 1 steps, and these times order the lookups of all queues.
--
-- The cost is bounded. Only the first `most_queues` queues are looked at, and `most` lookups of each by an index; queues that are
-- due to wake are read all, which are 10,000 rows at most in a lane that has been paused. `most_read` is the most lookups of one
-- tenant that are read in search of those whose key was deleted, for which there is no index.
CREATE OR REPLACE FUNCTION searches_next_in_line(
    lane_name text, most integer, most_queues integer, most_read integer, unit_step bigint, dead_states text[]
) RETURNS TABLE (place bigint, lookup_id uuid)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    lane searches_lane;
    moment timestamptz := clock_timestamp();
BEGIN
SELECT * INTO lane FROM searches_lane WHERE name = lane_name;
RETURN QUERY
-- The first tenant queues. Those that are due to wake will be woken by the next claim, before it chooses.
WITH queue AS (
    (SELECT waiting.id, tenant_id, waiting.virtual_time, tenant.weight, false AS wakes
     FROM searches_tenantqueue waiting JOIN accounts_tenant tenant ON tenant.id = tenant_id
     WHERE lane_id = lane_name AND ready > 0 AND rests_until IS NULL AND suspended_at IS NULL
         AND (wake_at IS NULL OR wake_at > moment)
     ORDER BY waiting.virtual_time, tenant_id LIMIT most_queues)
    UNION ALL
    (SELECT due.id, tenant_id, searches_effective_virtual_time(due, lane.virtual_time) AS virtual_time, tenant.weight, true
     FROM searches_tenantqueue due JOIN accounts_tenant tenant ON tenant.id = tenant_id
     WHERE lane_id = lane_name AND wake_at <= moment AND suspended_at IS NULL
     ORDER BY virtual_time, tenant_id LIMIT most_queues)

-- The first lookups of each, by key. Lookups with a dead key are left out, for a claim blocks them, unless the key rests: then a
-- claim looks for another key.
), own_lookup AS (
    SELECT queue.id AS queue_id, first.id, first.sort_key, true AS has_key,
        lane.mode = 'live' AND own.rests_until > moment IS TRUE AS rests
    FROM queue
    JOIN providers_credential own ON own.tenant_id = queue.tenant_id AND own.provider = lane.policy_id
    CROSS JOIN LATERAL (
        SELECT id, sort_key FROM searches_lookup
        WHERE queue_state = 'ready' AND credential_id = own.id AND lane_id = lane_name ORDER BY sort_key LIMIT most
    ) AS first
    WHERE lane.mode = 'test' OR own.state <> ALL (dead_states) OR own.rests_until > moment
    UNION ALL
    SELECT queue.id, due.id, due.sort_key, own.id IS NOT NULL, lane.mode = 'live' AND own.rests_until > moment IS TRUE
    FROM queue
    JOIN searches_lookup due ON due.lane_id = lane_name AND due.tenant_id = queue.tenant_id AND due.queue_state = 'delayed'
        AND due.not_before <= moment
    LEFT JOIN providers_credential own ON own.id = due.credential_id
    WHERE queue.wakes AND (lane.mode = 'test' OR own.state IS NULL OR own.state <> ALL (dead_states) OR own.rests_until > moment)
    UNION ALL
    SELECT queue.id, first.id, first.sort_key, false, false
    FROM queue CROSS JOIN LATERAL (
        SELECT id, sort_key, credential_id FROM searches_lookup
        WHERE lane_id = lane_name AND tenant_id = queue.tenant_id AND queue_state = 'ready' ORDER BY sort_key LIMIT most_read
    ) AS first
    WHERE first.credential_id IS NULL

-- Those that can be claimed. One whose key was deleted is claimed only while it is the tenant's first: behind a resting key, claims
-- look for lookups with another key.
), claimable AS (
    SELECT queue_id, id, row_number() OVER (PARTITION BY queue_id ORDER BY sort_key) - 1 AS claims_before
    FROM (
        SELECT *, min(sort_key) FILTER (WHERE rests) OVER (PARTITION BY queue_id) AS first_rest FROM own_lookup
    ) AS found
    WHERE NOT rests AND (has_key OR first_rest IS NULL OR sort_key < first_rest)
)
SELECT row_number() OVER (ORDER BY virtual_time + claims_before * (unit_step / weight), tenant_id), claimable.id
FROM claimable JOIN queue ON queue.id = queue_id
ORDER BY 1 LIMIT most;
END $$;
