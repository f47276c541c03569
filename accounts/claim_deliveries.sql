-- Takes what is due, under a lease: at most %(room)s, of which at most %(slow_room)s to endpoints that are slow.
--
-- By endpoint, not by age: a backlog of a million to one that hangs is stepped over, not read. Each endpoint that has
-- anything pending costs a look into the index, so that a claim's time grows with those alone. The first of each endpoint
-- goes before the second of any.
WITH RECURSIVE
with_work (id) AS (
    (SELECT endpoint_id FROM accounts_delivery WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT endpoint_id FROM accounts_delivery
        WHERE state = 'pending' AND endpoint_id > with_work.id ORDER BY endpoint_id LIMIT 1
    )
    FROM with_work WHERE with_work.id IS NOT NULL
),
due AS (
    SELECT delivery.*, endpoint.slow, row_number() OVER (PARTITION BY endpoint.id ORDER BY next_attempt_at) AS rank
    FROM with_work
    JOIN accounts_endpoint endpoint
        ON endpoint.id = with_work.id AND endpoint.enabled
        AND (endpoint.quiet_until IS NULL OR endpoint.quiet_until <= %(now)s)
    CROSS JOIN LATERAL (
        SELECT count(*) AS count FROM accounts_delivery
        WHERE endpoint_id = endpoint.id AND leased_until > %(now)s
    ) under_way
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM accounts_delivery
        WHERE endpoint_id = endpoint.id AND state = 'pending' AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at
        LIMIT greatest(0, CASE WHEN endpoint.slow THEN %(at_once_slow)s ELSE %(at_once)s END - under_way.count)
    ) delivery
),
chosen AS (
    SELECT id FROM (
        SELECT *, row_number() OVER (PARTITION BY slow ORDER BY rank, next_attempt_at) AS place FROM due
    ) placed
    WHERE NOT slow OR place <= %(slow_room)s
    ORDER BY rank, next_attempt_at
    LIMIT %(room)s
),
-- By arrays, here and below: of a join the planner thinks that it takes the whole table.
locked AS (
    SELECT id, leased_until FROM accounts_delivery
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) AND state = 'pending' AND next_attempt_at <= %(now)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE accounts_delivery delivery
SET leased_until = %(until)s, next_attempt_at = %(until)s,
    -- One that was interrupted by our own end is not held against the endpoint.
    tries = delivery.tries + (delivery.leased_until IS NULL)::int, attempt_count = delivery.attempt_count + 1
WHERE delivery.id = ANY (ARRAY(SELECT id FROM locked))
RETURNING delivery.id, (SELECT locked.leased_until IS NOT NULL FROM locked WHERE locked.id = delivery.id) AS lapsed
