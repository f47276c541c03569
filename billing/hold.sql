-- Sets aside the most that lookups of one tenant with one provider can cost, all or none: false where the account has no room
-- for `total`, or is not there.
--
-- One function for the reason that `spend.sql` has. Locks: account.
CREATE OR REPLACE FUNCTION billing_set_aside(
    owner uuid, at_provider text, total numeric, lookups text[], amounts numeric[], entries uuid[]
) RETURNS boolean LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    own uuid;
BEGIN
    UPDATE billing_account SET held = held + total
    WHERE tenant_id = owner AND provider = at_provider AND (kind = 'metered' OR posted >= held + total)
    RETURNING id INTO own;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    INSERT INTO billing_hold (reference, account_id, open, unknown)
    SELECT lookup, own, amount, 0 FROM unnest(lookups, amounts) AS demanded (lookup, amount);
    INSERT INTO billing_entry (id, account_id, kind, amount, reference, key, note)
    SELECT entry, own, 'hold', amount, lookup, 'hold:' || lookup, ''
    FROM unnest(entries, lookups, amounts) AS demanded (entry, lookup, amount);
    RETURN TRUE;
END $$;
