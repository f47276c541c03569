-- A tenant whose suspension ends comes back in at its lanes' present time, as from idle: the turns that it missed are nobody's.
-- Here, and not where operators end it: `accounts` knows nothing of lanes. Its places are locked in the order of their lanes.
CREATE FUNCTION searches_bring_tenant_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM searches_place WHERE tenant_id = NEW.id ORDER BY lane_id COLLATE "C" FOR NO KEY UPDATE;
    UPDATE searches_place SET virtual_time = greatest(searches_place.virtual_time, lane.virtual_time)
    FROM searches_lane AS lane WHERE lane.name = lane_id AND tenant_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER tenants_come_back_as_from_idle AFTER UPDATE OF suspended_at ON accounts_tenant FOR EACH ROW
WHEN (OLD.suspended_at IS NOT NULL AND NEW.suspended_at IS NULL) EXECUTE FUNCTION searches_bring_tenant_back();
