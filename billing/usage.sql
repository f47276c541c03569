-- Counts what lookups cost, by what they cost it for. Rows of usage are kept, not computed, so that a report reads as many rows as
-- it has days, sources and keys, however many entries there are.

-- Adds the charges among these entries to the usage of their days. A charge counts for its API key, and for the source and metadata
-- that its hold names.
--
-- `billing_enter` calls it in the transaction that writes the entries, while their account is locked: usage equals the charges at
-- any moment, and two charges never wait here for each other. Each of its statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_count_usage(lines billing_entry[]) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    line billing_entry;
    spent_for billing_hold;
BEGIN
    FOREACH line IN ARRAY lines LOOP
        CONTINUE WHEN line.kind <> 'charge';
        SELECT * INTO spent_for FROM billing_hold WHERE reference = line.reference;
        PERFORM billing_add_usage(
            line.account_id, (line.created_at AT TIME ZONE 'UTC')::date, coalesce(spent_for.source, ''),
            coalesce(line.spender::text, ''), line.amount, 1
        );
        PERFORM billing_add_usage_by_metadata(
            line.account_id, (line.created_at AT TIME ZONE 'UTC')::date, coalesce(spent_for.source, ''),
            coalesce(line.spender::text, ''), coalesce(spent_for.metadata, '{}'), line.amount, 1
        );
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION billing_add_usage(own uuid, at date, of text, by text, amount numeric, times bigint)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    INSERT INTO billing_usage AS usage (account_id, day, source, api_key, charged, charges)
    VALUES (own, at, of, by, amount, times)
    ON CONFLICT (account_id, day, source, api_key)
    DO UPDATE SET charged = usage.charged + EXCLUDED.charged, charges = usage.charges + EXCLUDED.charges;
END $$;

CREATE OR REPLACE FUNCTION billing_add_usage_by_metadata(
    own uuid, at date, of text, by text, texts jsonb, amount numeric, times bigint
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    INSERT INTO billing_usagebymetadata AS usage (account_id, day, source, api_key, digest, metadata, charged, charges)
    VALUES (own, at, of, by, billing_metadata_digest(texts), texts, amount, times)
    ON CONFLICT (account_id, day, source, api_key, digest)
    DO UPDATE SET charged = usage.charged + EXCLUDED.charged, charges = usage.charges + EXCLUDED.charges;
END $$;

-- Returns what an index can hold of metadata, which may have 10 kB.
CREATE OR REPLACE FUNCTION billing_metadata_digest(texts jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(convert_to(texts::text, 'UTF8'))
$$;

-- Forgets the metadata of lookups of one search: what they have cost and may still cost counts as if they had had none. A row of
-- usage disappears with the last lookup that had its metadata.
--
-- Locks: holds, accounts by provider, all that the lookups may have. The caller has locked the lookups, so that nothing is charged
-- to them meanwhile.
CREATE OR REPLACE FUNCTION billing_forget_metadata(
    owner uuid, lookups text[], sources text[], providers text[], texts jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part record;
BEGIN
    UPDATE billing_hold SET metadata = '{}' WHERE reference = ANY (lookups);
    IF NOT EXISTS (SELECT FROM billing_entry WHERE reference = ANY (lookups) AND kind = 'charge') THEN
        RETURN;
    END IF;
    PERFORM id FROM billing_account WHERE tenant_id = owner AND provider = ANY (providers)
    ORDER BY provider FOR NO KEY UPDATE;
    FOR part IN
        SELECT account_id, (created_at AT TIME ZONE 'UTC')::date AS day, source, coalesce(spender::text, '') AS spent_by,
            sum(amount) AS charged, count(*) AS charges
        FROM unnest(lookups, sources) AS erased (reference, source) JOIN billing_entry AS entry USING (reference)
        WHERE kind = 'charge' GROUP BY 1, 2, 3, 4
    LOOP
        UPDATE billing_usagebymetadata AS usage
        SET charged = usage.charged - part.charged, charges = usage.charges - part.charges
        WHERE account_id = part.account_id AND day = part.day AND source = part.source AND api_key = part.spent_by
            AND digest = billing_metadata_digest(texts);
        -- Without such a row there is nothing to forget.
        CONTINUE WHEN NOT FOUND;
        DELETE FROM billing_usagebymetadata
        WHERE account_id = part.account_id AND day = part.day AND source = part.source AND api_key = part.spent_by
            AND digest = billing_metadata_digest(texts) AND charges = 0;
        PERFORM billing_add_usage_by_metadata(part.account_id, part.day, part.source, part.spent_by, '{}', part.charged, part.charges);
    END LOOP;
END $$;
