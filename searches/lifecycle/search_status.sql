-- What a search is, when its lookups are these.
CREATE OR REPLACE FUNCTION searches_status_of(lookups text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN 'queued' = ALL (lookups) THEN 'queued'
        WHEN lookups && ARRAY['queued', 'running'] THEN 'running'
        WHEN 'succeeded' = ALL (lookups) THEN 'succeeded'
        WHEN 'succeeded' = ANY (lookups) THEN 'partial'
        WHEN 'failed' = ANY (lookups) THEN 'failed'
        WHEN 'canceled' = ANY (lookups) THEN 'canceled'
        ELSE 'expired'
    END
$$;

-- Counts a search anew of which a lookup or more has changed, and says what it is now. Whoever calls this has locked it, so that
-- all that its lookups have become is seen. Each of its statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION searches_count(counted uuid, results integer) RETURNS text LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    present text := searches_status_of(ARRAY(SELECT status FROM searches_lookup WHERE search_id = counted));
BEGIN
    UPDATE searches_search SET
        status = present, version = version + 1, results_count = results,
        finished_at = CASE WHEN present NOT IN ('queued', 'running') THEN coalesce(finished_at, statement_timestamp()) END
    WHERE id = counted;
    RETURN present;
END $$;
