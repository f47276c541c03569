-- Books what a call cost out of its lookup's hold, and gives back the rest where it was the last.
--
-- One function and not half a dozen statements from Python: the account's row, which all lookups of a tenant with a provider
-- share, is locked for no round trip. Locks: hold, account. Answers what was charged: at most what is open, for nothing above
-- that was agreed to. What is unknown stays held until it is settled.
-- Each of its statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_spend(
    lookup text, cost numeric, event text, is_last boolean, charge_id uuid, release_id uuid
) RETURNS numeric LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    present billing_hold;
    charged numeric(18, 6);
    released numeric(18, 6);
BEGIN
    SELECT * INTO present FROM billing_hold WHERE reference = lookup FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    charged := least(cost, present.open);
    released := CASE WHEN is_last THEN present.open - charged ELSE 0 END;
    IF is_last AND present.unknown = 0 THEN
        DELETE FROM billing_hold WHERE reference = lookup;
    ELSE
        UPDATE billing_hold SET open = present.open - charged - released WHERE reference = lookup;
    END IF;
    -- An entry's unique key makes a movement that is repeated fail, and take its transaction with it.
    IF charged <> 0 THEN
        INSERT INTO billing_entry (id, account_id, kind, amount, reference, key, note)
        VALUES (charge_id, present.account_id, 'charge', charged, lookup, 'charge:' || event, '');
    END IF;
    IF released <> 0 THEN
        INSERT INTO billing_entry (id, account_id, kind, amount, reference, key, note)
        VALUES (release_id, present.account_id, 'release', released, lookup, 'release:' || lookup, '');
    END IF;
    IF charged <> 0 OR released <> 0 THEN
        UPDATE billing_account SET posted = posted - charged, held = held - charged - released
        WHERE id = present.account_id;
    END IF;
    RETURN charged;
END $$;
