-- Moves a part of a lookup's hold from open to unknown, or back where `amount` is negative, and returns that part: at most what is
-- there. What is unknown stays held, and cannot be charged.
--
-- One function for the reason that `hold.sql` has. Locks: hold, account. Each of its statements looks into one index, so their
-- plans are kept.
CREATE OR REPLACE FUNCTION billing_move_unknown(lookup text, amount numeric, key text, entry uuid, why text, who text)
RETURNS numeric LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    present billing_hold;
    part numeric(18, 6);
BEGIN
    SELECT * INTO present FROM billing_hold WHERE reference = lookup FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    part := greatest(least(amount, present.open), -present.unknown);
    IF part <> 0 THEN
        UPDATE billing_hold SET open = present.open - part, unknown = present.unknown + part WHERE reference = lookup;
        PERFORM billing_enter(
            present.account_id, ARRAY[entry], ARRAY['unknown'], ARRAY[part], ARRAY[lookup], ARRAY[key], why, who,
            present.month, present.spender, present.budget
        );
    END IF;
    RETURN part;
END $$;
