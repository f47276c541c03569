-- How many lookups of a tenant wait, whatever for. Until the end of the transaction no other one counts them for this tenant, so
-- that whoever adds some after it has counted is exact. Tenant queues count those that are ready; the others have an index of their own,
-- of which no more is read than there may be.
CREATE OR REPLACE FUNCTION searches_backlog(of_tenant uuid, most bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7301202, hashtext(of_tenant::text));
    -- Its snapshot is younger than the lock.
    RETURN (
        SELECT coalesce(sum(ready), 0) FROM searches_tenantqueue WHERE tenant_id = of_tenant
    ) + (
        SELECT count(*) FROM (
            SELECT FROM searches_lookup
            WHERE tenant_id = of_tenant AND queue_state IN ('delayed', 'blocked', 'following') LIMIT most + 1
        ) others
    );
END
$$;
