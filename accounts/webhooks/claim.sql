-- Claims due deliveries under a lease: at most %(most)s, of which at most %(most_slow)s to slow endpoints. Over all processes one
-- tenant has at most %(of_a_tenant)s under way, of which %(slow_of_a_tenant)s to its slow endpoints. One host gets at most
-- %(of_a_target)s at once, of which %(of_a_tenants_target)s from one tenant. Its slow endpoints get half as many more, counted
-- separately, so that an endpoint that hangs does not delay others at the same host.
--
-- The claim goes by endpoint, not by age: a backlog of a million to one endpoint that hangs is skipped, not read. Each endpoint with
-- pending deliveries costs one look into the index, and the time of a claim grows with their number only. The tenants with the least
-- under way are served first, and among a tenant's endpoints those with the least under way.
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
-- The bound of a host is applied first, so that a delivery that it may not get takes nothing of its tenant's part.
by_host AS (
    SELECT *, of_its_tenants_target + row_number() OVER (PARTITION BY target, slow, tenant_id ORDER BY rank, next_attempt_at)
        AS rank_of_tenant_at_host
    FROM due
),
within_host AS (
    SELECT * FROM (
        SELECT *, of_its_target + row_number() OVER (PARTITION BY target, slow ORDER BY rank_of_tenant_at_host, next_attempt_at)
            AS rank_at_host
        FROM by_host
        WHERE rank_of_tenant_at_host <= CASE WHEN slow THEN %(slow_of_a_tenants_target)s ELSE %(of_a_tenants_target)s END
    ) at_host
    WHERE rank_at_host <= CASE WHEN slow THEN %(slow_of_a_target)s ELSE %(of_a_target)s END
),
-- The bound of slow endpoints is applied next, for the same reason.
by_kind AS (
    SELECT *, of_its_kind + row_number() OVER (PARTITION BY tenant_id, slow ORDER BY rank, next_attempt_at) AS rank_of_kind
    FROM within_host
),
within_kind AS (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY slow ORDER BY rank_of_kind, next_attempt_at) AS slow_rank FROM by_kind
    ) ranked
    WHERE NOT slow OR slow_rank <= %(most_slow)s AND rank_of_kind <= %(slow_of_a_tenant)s
),
chosen AS (
    SELECT id FROM (
        SELECT *, of_its_tenant + row_number() OVER (PARTITION BY tenant_id ORDER BY rank, next_attempt_at) AS rank_of_tenant
        FROM within_kind
    ) by_tenant
    WHERE rank_of_tenant <= %(of_a_tenant)s
    ORDER BY rank_of_tenant, next_attempt_at
    LIMIT %(most)s
),
-- Arrays, here and below, since the planner expects a join to return the whole table.
locked AS (
    SELECT id, leased_until FROM accounts_delivery
    WHERE id = ANY (ARRAY(SELECT id FROM chosen)) AND state = 'pending' AND next_attempt_at <= %(now)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE accounts_delivery delivery
SET leased_until = %(until)s, next_attempt_at = %(until)s,
    -- A try that our own end interrupted does not count against the endpoint.
    tries = delivery.tries + (delivery.leased_until IS NULL)::int, attempt_count = delivery.attempt_count + 1
WHERE delivery.id = ANY (ARRAY(SELECT id FROM locked))
RETURNING delivery.id, (SELECT locked.leased_until IS NOT NULL FROM locked WHERE locked.id = delivery.id) AS lapsed
