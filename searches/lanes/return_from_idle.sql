-- Returns a tenant queue's virtual time, with the return from idle applied: a queue that was idle returns at the lane's present,
-- so that it gains nothing by having been away. A queue is idle if it has nothing ready, if it rests, or if its tenant was
-- suspended. Every statement that reads or changes a virtual time calls this. It is one expression, so PostgreSQL inlines it.
CREATE OR REPLACE FUNCTION searches_effective_virtual_time(
    tenant_queue searches_tenantqueue, present bigint, was_suspended boolean DEFAULT false
) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN was_suspended OR tenant_queue.ready = 0 OR tenant_queue.rests_until IS NOT NULL
        THEN greatest(tenant_queue.virtual_time, present) ELSE tenant_queue.virtual_time END
$$;

-- Applies the return from idle to the queues of a tenant whose suspension ends. A trigger, for `accounts` knows nothing of lanes.
-- The queues are locked in the order of their lanes.
CREATE OR REPLACE FUNCTION searches_resume_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM searches_tenantqueue WHERE tenant_id = NEW.id ORDER BY lane_id COLLATE "C" FOR NO KEY UPDATE;
    UPDATE searches_tenantqueue AS tenant_queue
    SET virtual_time = searches_effective_virtual_time(tenant_queue, lane.virtual_time, was_suspended => true)
    FROM searches_lane AS lane WHERE lane.name = lane_id AND tenant_id = NEW.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER resumed_tenants_return_from_idle AFTER UPDATE OF suspended_at ON accounts_tenant FOR EACH ROW
WHEN (OLD.suspended_at IS NOT NULL AND NEW.suspended_at IS NULL) EXECUTE FUNCTION searches_resume_tenant();
