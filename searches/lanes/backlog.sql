-- Counts a tenant's waiting lookups. Ready ones are counted by the tenant queues, the others by an index, of which no more than
-- `most` + 1 entries are read. Where `locking` is asked for, an advisory lock keeps other transactions from counting for this
-- tenant until this one ends, so that what it adds after the count stays within the limit.
CREATE OR REPLACE FUNCTION searches_backlog(of_tenant uuid, most bigint, locking boolean) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF locking THEN
        PERFORM pg_advisory_xact_lock(7301202, hashtext(of_tenant::text));
    END IF;
    -- A statement of its own, for its snapshot must be younger than the lock.
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
