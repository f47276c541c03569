-- Takes what is due, under a lease: at most %(most)s, of which at most %(most_slow)s to endpoints that are slow; and of one
-- tenant's no more than %(of_a_tenant)s are under way, to its slow ones %(slow_of_a_tenant)s, in whatever process. To one host go
-- no more than %(of_a_target)s at once, of one tenant %(of_a_tenants_target)s; to its slow endpoints half as many more, counted
-- apart, so that those that hang keep nothing from others at the same host.
--
-- By endpoint, not by age: a backlog of a million to one that hangs is stepped over, not read. Each endpoint that has
-- anything pending costs a look into the index, so that a claim's time grows with those alone. Those of whom least is under
-- way go first: among tenants, and among the endpoints of each.
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
candidate AS (
    SELECT endpoint.id, endpoint.tenant_id, endpoint.target, endpoint.slow, under_way.count AS under_way,
        endpoint.enabled AND tenant.suspended_at IS NULL
            AND (endpoint.quiet_until IS NULL OR endpoint.quiet_until <= %(now)s) AS takes_any,
        sum(under_way.count) OVER (PARTITION BY endpoint.tenant_id) AS of_its_tenant,
        sum(under_way.count) OVER (PARTITION BY endpoint.tenant_id, endpoint.slow) AS of_its_kind,
        sum(under_way.count) OVER (PARTITION BY endpoint.target, endpoint.slow) AS of_its_target,
        sum(under_way.count) OVER (PARTITION BY endpoint.target, endpoint.slow, endpoint.tenant_id) AS of_its_tenants_target
    FROM with_work
    JOIN accounts_endpoint endpoint ON endpoint.id = with_work.id
    JOIN accounts_tenant tenant ON tenant.id = endpoint.tenant_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS count FROM accounts_delivery
        WHERE endpoint_id = endpoint.id AND leased_until > %(now)s
    ) under_way
),
due AS (
    SELECT delivery.*, endpoint.tenant_id, endpoint.target, endpoint.slow, endpoint.of_its_tenant, endpoint.of_its_kind,
        endpoint.of_its_target, endpoint.of_its_tenants_target,
        endpoint.under_way + row_number() OVER (PARTITION BY endpoint.id ORDER BY next_attempt_at) AS rank
    FROM candidate endpoint
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM accounts_delivery
        WHERE endpoint_id = endpoint.id AND state = 'pending' AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at
        LIMIT greatest(0, CASE WHEN endpoint.slow THEN %(at_once_slow)s ELSE %(at_once)s END - endpoint.under_way)
    ) delivery
    WHERE endpoint.takes_any
),
-- A host is spared before anything else is chosen, so that what it may not get keeps nothing else from its tenant's part.
by_host AS (
    SELECT *, of_its_tenants_target + row_number() OVER (PARTITION BY target, slow, tenant_id ORDER BY rank, next_attempt_at)
        AS turn_at_host
    FROM due
),
spared AS (
    SELECT * FROM (
        SELECT *, of_its_target + row_number() OVER (PARTITION BY target, slow ORDER BY turn_at_host, next_attempt_at)
            AS place_at_host
        FROM by_host
        WHERE turn_at_host <= CASE WHEN slow THEN %(slow_of_a_tenants_target)s ELSE %(of_a_tenants_target)s END
    ) at_host
    WHERE place_at_host <= CASE WHEN slow THEN %(slow_of_a_target)s ELSE %(of_a_target)s END
),
-- What goes to slow ones is bounded first, so that it keeps nothing else from its tenant's part.
by_kind AS (
    SELECT *, of_its_kind + row_number() OVER (PARTITION BY tenant_id, slow ORDER BY rank, next_attempt_at) AS kind_turn
    FROM spared
),
let_in AS (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY slow ORDER BY kind_turn, next_attempt_at) AS place FROM by_kind
    ) placed
    WHERE NOT slow OR place <= %(most_slow)s AND kind_turn <= %(slow_of_a_tenant)s
),
chosen AS (
    SELECT id FROM (
        SELECT *, of_its_tenant + row_number() OVER (PARTITION BY tenant_id ORDER BY rank, next_attempt_at) AS turn
        FROM let_in
    ) in_turn
    WHERE turn <= %(of_a_tenant)s
    ORDER BY turn, next_attempt_at
    LIMIT %(most)s
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
