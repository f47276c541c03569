-- Locks the rows that a settlement moves, in the order of locks: the lookup, and then its search. The credit account comes after
-- them, because the search's other lookups settle at the same time. Each row is read after its lock was waited for, so it has
-- what was committed meanwhile. The lane is read and not locked.
-- Every statement uses one index, so cached plans stay right.
CREATE OR REPLACE FUNCTION searches_lock(
    lookup_id uuid, OUT lookup searches_lookup, OUT search searches_search, OUT lane searches_lane
) LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    SELECT * INTO lookup FROM searches_lookup WHERE id = lookup_id FOR NO KEY UPDATE;
    SELECT * INTO search FROM searches_search WHERE id = lookup.search_id FOR NO KEY UPDATE;
    SELECT * INTO lane FROM searches_lane WHERE name = lookup.lane_id;
END $$;
