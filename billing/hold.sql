-- Holds the most that lookups of one tenant with one provider can cost, all or none, and returns the account. Returns NULL where
-- the account has no room for them, or does not exist. A lookup that has a hold already gets more.
--
-- One function instead of four statements from Python: the account's row, which all lookups of a tenant with a provider share,
-- stays locked for no round trip. Locks: account. Each of its statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_hold_credits(
    owner uuid, at_provider text, lookups text[], amounts numeric[], keys text[], entries uuid[],
    sources text[], api_keys text[], metadata jsonb[]
) RETURNS uuid LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    own uuid;
    kinds text[] := array_fill('hold'::text, ARRAY[cardinality(lookups)]);
BEGIN
    SELECT id INTO own FROM billing_account WHERE tenant_id = owner AND provider = at_provider;
    IF billing_enter(own, entries, kinds, amounts, lookups, keys, '', '') IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO billing_hold (reference, account_id, open, unknown, source, api_key, metadata)
    SELECT lookup, own, amount, 0, source, api_key, texts
    FROM unnest(lookups, amounts, sources, api_keys, metadata) AS demanded (lookup, amount, source, api_key, texts)
    ON CONFLICT (reference) DO UPDATE SET open = billing_hold.open + EXCLUDED.open;
    RETURN own;
END $$;
