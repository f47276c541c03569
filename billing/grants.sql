-- Spends grants by priority, expiry and age, and lets what is left of them expire.
--
-- A hold draws from the grants, what it charges is spent out of its draws, and what it releases goes back to them. Credits that come from
-- adjustments belong to no grant; they are drawn last, and never expire. All functions are called under the account's lock, which
-- guards the rows of its grants and draws too. A prepaid account always has at least what its grants have available: an expiry takes
-- no credits that are held.

-- Draws what holds take from the account's grants. What the grants do not cover comes from the rest of the balance, without a draw.
CREATE OR REPLACE FUNCTION billing_draw_credits(own uuid, lookups text[], amounts numeric[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    source billing_grant;
    missing numeric(18, 6);
    part numeric(18, 6);
BEGIN
    FOR nth IN 1 .. cardinality(lookups) LOOP
        missing := amounts[nth];
        CONTINUE WHEN missing = 0;
        FOR source IN
            SELECT * FROM billing_grant WHERE account_id = own AND available > 0 ORDER BY priority, expires_at NULLS LAST, number
        LOOP
            part := least(missing, source.available);
            UPDATE billing_grant SET available = available - part WHERE id = source.id;
            INSERT INTO billing_draw AS draw (reference, grant_id, amount) VALUES (lookups[nth], source.id, part)
            ON CONFLICT (reference, grant_id) DO UPDATE SET amount = draw.amount + EXCLUDED.amount;
            missing := missing - part;
            EXIT WHEN missing = 0;
        END LOOP;
    END LOOP;
END $$;

-- Spends `charged` of a hold's draws, in the order in which grants are spent, and gives back what of `released` they have to cover:
-- the part of the hold that is not drawn is released first, then the draws from the last to the first. `before` is what the hold had,
-- open and unknown. Credits that go back to a grant that has expired expire at once. `event` names the release in their keys.
CREATE OR REPLACE FUNCTION billing_settle_draws(
    own uuid, lookup text, before numeric, charged numeric, released numeric, event text
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    source record;
    drawn numeric(18, 6) := (SELECT sum(amount) FROM billing_draw WHERE reference = lookup);
    spent numeric(18, 6);
    returned numeric(18, 6);
    part numeric(18, 6);
BEGIN
    IF drawn IS NULL THEN
        RETURN;
    END IF;
    spent := least(charged, drawn);
    returned := greatest(released - (before - drawn - (charged - spent)), 0);
    FOR source IN
        SELECT draw.id AS draw_id, draw.amount FROM billing_draw AS draw JOIN billing_grant AS granted ON granted.id = draw.grant_id
        WHERE draw.reference = lookup ORDER BY granted.priority, granted.expires_at NULLS LAST, granted.number
    LOOP
        EXIT WHEN spent = 0;
        part := least(spent, source.amount);
        PERFORM billing_shorten_draw(source.draw_id, part);
        spent := spent - part;
    END LOOP;
    FOR source IN
        SELECT draw.id AS draw_id, draw.amount, granted.id, granted.number
        FROM billing_draw AS draw JOIN billing_grant AS granted ON granted.id = draw.grant_id
        WHERE draw.reference = lookup ORDER BY granted.priority DESC, granted.expires_at DESC NULLS FIRST, granted.number DESC
    LOOP
        EXIT WHEN returned = 0;
        part := least(returned, source.amount);
        PERFORM billing_shorten_draw(source.draw_id, part);
        returned := returned - part;
        -- A grant that has expired since the hold drew from it takes nothing back.
        UPDATE billing_grant SET available = available + part WHERE id = source.id AND NOT has_expired;
        IF NOT FOUND THEN
            UPDATE billing_grant SET expired = expired + part WHERE id = source.id;
            PERFORM billing_enter_expiry(own, source.number, part, event);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION billing_shorten_draw(draw bigint, part numeric) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    DELETE FROM billing_draw WHERE id = draw AND amount = part;
    IF NOT FOUND THEN
        UPDATE billing_draw SET amount = amount - part WHERE id = draw;
    END IF;
END $$;

-- Enters the expiry of a part of a grant. Its reference names the entry of the grant, and its key the event: a release, or the account
-- for what was available when the grant expired.
CREATE OR REPLACE FUNCTION billing_enter_expiry(own uuid, grant_number bigint, part numeric, event text) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    IF billing_enter(
        own, ARRAY[billing_uuid7()], ARRAY['expiry'], ARRAY[part], ARRAY['entry:' || grant_number],
        ARRAY['expiry:' || event || ':' || grant_number], '', '', is_late => true
    ) IS NULL THEN
        RAISE EXCEPTION 'account % has less than what its grants have available', own;
    END IF;
END $$;

-- Lets the grants of an account expire that are due at `moment`: an entry for each with credits that no hold has drawn. Returns the
-- number of grants. A second call does nothing. The caller has closed the months that ended before. The first movement after an expiry
-- does it before anything else (`billing_enter`), so that an expired grant is never spent, however late the periodic task runs.
-- Locks: account.
CREATE OR REPLACE FUNCTION billing_expire_grants(own uuid, moment timestamptz) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    source billing_grant;
    ended integer := 0;
BEGIN
    PERFORM FROM billing_account WHERE id = own FOR NO KEY UPDATE;
    -- First the account's next expiry, so that the entries below find nothing due.
    UPDATE billing_account
    SET next_expiry = (SELECT min(expires_at) FROM billing_grant WHERE account_id = own AND NOT has_expired AND expires_at > moment)
    WHERE id = own;
    FOR source IN
        SELECT * FROM billing_grant WHERE account_id = own AND NOT has_expired AND expires_at <= moment ORDER BY expires_at, number
    LOOP
        UPDATE billing_grant SET has_expired = true, expired = expired + available, available = 0 WHERE id = source.id;
        PERFORM billing_enter_expiry(own, source.number, source.available, own::text);
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END $$;

-- Takes from the grants, in the order in which they are spent, what an adjustment took from the balance beyond the rest that
-- belongs to no grant.
CREATE OR REPLACE FUNCTION billing_take_from_grants(own uuid) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    source billing_grant;
    missing numeric;
    part numeric(18, 6);
BEGIN
    SELECT (SELECT coalesce(sum(available), 0) FROM billing_grant WHERE account_id = own AND available > 0) - (posted - held) INTO missing
    FROM billing_account WHERE id = own FOR NO KEY UPDATE;
    FOR source IN
        SELECT * FROM billing_grant WHERE account_id = own AND available > 0 ORDER BY priority, expires_at NULLS LAST, number
    LOOP
        EXIT WHEN missing <= 0;
        part := least(missing, source.available);
        UPDATE billing_grant SET available = available - part WHERE id = source.id;
        missing := missing - part;
    END LOOP;
END $$;

-- Returns the credits of an account whose grants have ended at this moment though their expiry is not entered yet.
CREATE OR REPLACE FUNCTION billing_due_to_expire(own uuid) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(available), 0) FROM billing_grant WHERE account_id = own AND available > 0 AND expires_at <= clock_timestamp()
$$;
