-- Charges what a call cost out of its lookup's hold, and releases what is left where `released` is NULL, or else that much of it.
-- Returns what was charged: at most what is open, because nothing above that was agreed to. What is unknown stays held.
--
-- One function for the reason that `hold.sql` has. Locks: hold, account, and what it counts in. Each of its statements looks into one index, so their
-- plans are kept.
CREATE OR REPLACE FUNCTION billing_charge_and_release(
    lookup text, cost numeric, released numeric, charge_key text, release_key text, charge_id uuid, release_id uuid,
    why text DEFAULT '', who text DEFAULT ''
) RETURNS numeric LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    present billing_hold;
    charged numeric(18, 6);
    is_last boolean := released IS NULL;
BEGIN
    SELECT * INTO present FROM billing_hold WHERE reference = lookup FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    charged := least(cost, present.open);
    released := coalesce(released, present.open - charged);
    IF NOT is_last OR present.unknown > 0 THEN
        UPDATE billing_hold SET open = present.open - charged - released WHERE reference = lookup;
    END IF;
    IF charged <> 0 OR released <> 0 THEN
        PERFORM billing_enter(
            present.account_id, ARRAY[charge_id, release_id], ARRAY['charge', 'release'], ARRAY[charged, released],
            ARRAY[lookup, lookup], ARRAY['charge:' || charge_key, 'release:' || release_key], why, who,
            present.month, present.spender, present.budget
        );
    END IF;
    IF charged <> 0 OR released <> 0 THEN
        PERFORM billing_settle_draws(
            present.account_id, lookup, present.open + present.unknown, charged, released, release_key
        );
    END IF;
    -- After the entry, which counts for what the hold names.
    IF is_last AND present.unknown = 0 THEN
        DELETE FROM billing_hold WHERE reference = lookup;
    END IF;
    RETURN charged;
END $$;
