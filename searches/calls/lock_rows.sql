-- Locks what a settlement moves, in the order of locks: the lookup, and then its search, before the credit account that a charge
-- locks: the search's other lookups settle beside this one. What waited for a lock sees what was committed before it. The rows
-- come with it, as with a claim, and the lane as it is now.
-- Each of its statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION searches_lock(
    lookup_id uuid, OUT lookup searches_lookup, OUT search searches_search, OUT lane searches_lane
) LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    SELECT * INTO lookup FROM searches_lookup WHERE id = lookup_id FOR NO KEY UPDATE;
    SELECT * INTO search FROM searches_search WHERE id = lookup.search_id FOR NO KEY UPDATE;
    SELECT * INTO lane FROM searches_lane WHERE name = lookup.lane_id;
END $$;
