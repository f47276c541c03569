-- Where a tenant queue stands in its lane's line, in virtual time. One that was away comes back in at the lane's present: it gains nothing
-- by having been away. Away is who has nothing ready, whose every key rests, or who was suspended. All that reads or moves a tenant queue
-- asks this. A function of one expression, which is put into the statement that calls it.
CREATE OR REPLACE FUNCTION searches_stands_at(
    tenant_queue searches_tenantqueue, present bigint, was_suspended boolean DEFAULT false
) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN was_suspended OR tenant_queue.ready = 0 OR tenant_queue.rests_until IS NOT NULL
        THEN greatest(tenant_queue.virtual_time, present) ELSE tenant_queue.virtual_time END
$$;

-- A tenant whose suspension ends comes back in at its lanes' present time, as from idle: the turns that it missed are nobody's.
-- Here, and not where operators end it: `accounts` knows nothing of lanes. Its tenant queues are locked in the order of their lanes.
CREATE OR REPLACE FUNCTION searches_bring_tenant_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM searches_tenantqueue WHERE tenant_id = NEW.id ORDER BY lane_id COLLATE "C" FOR NO KEY UPDATE;
    UPDATE searches_tenantqueue AS tenant_queue
    SET virtual_time = searches_stands_at(tenant_queue, lane.virtual_time, was_suspended => true)
    FROM searches_lane AS lane WHERE lane.name = lane_id AND tenant_id = NEW.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER tenants_come_back_as_from_idle AFTER UPDATE OF suspended_at ON accounts_tenant FOR EACH ROW
WHEN (OLD.suspended_at IS NOT NULL AND NEW.suspended_at IS NULL) EXECUTE FUNCTION searches_bring_tenant_back();
