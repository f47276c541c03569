-- Holds the most that lookups of one tenant with one provider can cost, all or none, under every limit (`caps.sql`).
--
-- `outcome` is empty where the credits are held. Else it names the limit that has no room, with its size, what is used and held under
-- it, and by how much it is short; or it is `no_account`. `available` is what a prepaid account has left after the hold, and NULL of a
-- metered one. No hold was made where `outcome` is not empty; what else was written, a new budget or the expiry of
-- a grant, goes with the caller's transaction. A lookup that has a hold already gets more, in the month of its first: `in_month` NULL
-- means the present one.
--
-- The account's row, which all lookups of a tenant with a provider share, stays locked until the caller's transaction ends. One
-- function instead of four statements from Python makes that time three round trips shorter. Locks: account, tenant's month,
-- key's month, budget. Each of its statements looks into few indexes, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_hold_credits(
    owner uuid, at_provider text, lookups text[], amounts numeric[], keys text[], entries uuid[],
    sources text[], metadata jsonb[], by_key uuid, of_budget text, most numeric, in_month date,
    OUT outcome text, OUT limit_size numeric, OUT limit_used numeric, OUT limit_held numeric, OUT limit_short_by numeric,
    OUT counted_in date, OUT available numeric
) LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    own uuid;
    kept_as text;
    asked numeric := (SELECT sum(amount) FROM unnest(amounts) AS amount);
    kinds text[] := array_fill('hold'::text, ARRAY[cardinality(lookups)]);
BEGIN
    SELECT id, kind INTO own, kept_as FROM billing_account WHERE tenant_id = owner AND provider = at_provider FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_account';
        RETURN;
    END IF;
    -- The clock is read under the lock, so that no earlier month is counted after a later one.
    counted_in := coalesce(in_month, billing_month());
    IF most IS NOT NULL THEN
        INSERT INTO billing_budget (account_id, reference, most, used, held) VALUES (own, of_budget, most, 0, 0)
        ON CONFLICT (reference, account_id) DO NOTHING;
    END IF;
    SELECT name, size, used, held, short_by INTO outcome, limit_size, limit_used, limit_held, limit_short_by
    FROM billing_limits(own, owner, at_provider, counted_in, by_key, of_budget, most, asked)
    WHERE short_by > 0 ORDER BY rank, size LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    IF billing_enter(own, entries, kinds, amounts, lookups, keys, '', '', counted_in, by_key, of_budget) IS NULL THEN
        -- A grant has ended since the limits were read, and they have no room now.
        SELECT again.* INTO outcome, limit_size, limit_used, limit_held, limit_short_by, counted_in, available
        FROM billing_hold_credits(
            owner, at_provider, lookups, amounts, keys, entries, sources, metadata, by_key, of_budget, most, in_month
        ) AS again;
        RETURN;
    END IF;
    INSERT INTO billing_hold (reference, account_id, open, unknown, source, metadata, month, spender, budget)
    SELECT lookup, own, amount, 0, source, texts, counted_in, by_key, of_budget
    FROM unnest(lookups, amounts, sources, metadata) AS demanded (lookup, amount, source, texts)
    ON CONFLICT (reference) DO UPDATE SET open = billing_hold.open + EXCLUDED.open;
    IF kept_as = 'prepaid' THEN
        PERFORM billing_draw_credits(own, lookups, amounts);
        available := (SELECT posted - held FROM billing_account WHERE id = own);
    END IF;
    outcome := '';
END $$;
