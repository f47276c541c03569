-- Returns the status of a search whose lookups have these statuses.
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

-- Counts the status of a search anew, after a lookup of it changed, and returns it. The caller has locked the search, so that
-- every committed change of its lookups is seen. Each of its statements looks into one index, so their plans are kept.
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
