-- Counts what is used and held under each limit, and says which limit has no room.
--
-- Four limits bound what may be held: the budget of one search (`max_credits`), an API key's cap a month, a tenant's cap a month, and
-- the balance of a prepaid account, without grants that have ended. Each has a row that counts, which moves with the account in
-- `billing_enter`, and is never summed from entries.
-- Order of locks: the account, then the tenant's month, the key's month, the budget. Every transaction that moves one of these
-- rows locks the account first. What is read under its lock therefore stays true until the commit.

-- Returns the first day of the present month, in UTC.
CREATE OR REPLACE FUNCTION billing_month() RETURNS date LANGUAGE sql VOLATILE AS $$
    SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
$$;

-- Returns the caps under which a key counts in a month, with what is used and held under each: its own, and those of the keys that it
-- comes from, which count all keys that they made too. A key can therefore give no other key a budget beside its own.
CREATE OR REPLACE FUNCTION billing_caps_of_key(own uuid, at_provider text, in_month date, by_key uuid)
RETURNS TABLE (api_key uuid, size numeric, used numeric, held numeric) LANGUAGE sql STABLE AS $$
    SELECT cap.api_key_id, cap.amount, coalesce(family.used, 0), coalesce(family.held, 0)
    FROM billing_keycap AS cap
    CROSS JOIN LATERAL (
        SELECT sum(month.used) AS used, sum(month.held) AS held FROM billing_keymonth AS month
        LEFT JOIN accounts_apikey AS spending ON spending.id = month.spender
        WHERE month.account_id = own AND month.month = in_month
            AND (month.spender = cap.api_key_id OR cap.api_key_id = ANY(spending.ancestors))
    ) AS family
    WHERE cap.provider = at_provider
        AND cap.api_key_id = ANY(by_key || (SELECT ancestors FROM accounts_apikey WHERE id = by_key))
$$;

-- Returns each limit that is in force for a hold, with what is used and held under it: `max_credits`, the caps of the API key, of the
-- keys that it comes from and of the tenant as they are now, and the balance if the account is prepaid, from which charges are gone
-- already. The narrowest has the lowest `rank`; several caps of keys have one rank, and the lowest of them is the narrowest.
-- `short_by` is how much the credits `asked` are too many, and 0 where they fit. No other place decides that: a hold is refused by
-- it, and a quote shows it. Credits of 0 fit everywhere, also where a cap was lowered below what is used.
--
-- `own` is the account, NULL where the tenant has none yet. `new_most` is the size of a budget that has no row yet, NULL for none.
CREATE OR REPLACE FUNCTION billing_limits(
    own uuid, owner uuid, at_provider text, in_month date, by_key uuid, of_budget text, new_most numeric, asked numeric
) RETURNS TABLE (rank integer, name text, size numeric, used numeric, held numeric, short_by numeric) LANGUAGE sql STABLE AS $$
    SELECT *, CASE WHEN asked > 0 THEN greatest(used + held + asked - size, 0) ELSE 0 END FROM (
        SELECT 1 AS rank, 'max_credits' AS name, coalesce(budget.most, new_most) AS size,
            coalesce(budget.used, 0) AS used, coalesce(budget.held, 0) AS held
        FROM (VALUES (of_budget)) AS named (reference)
        LEFT JOIN billing_budget AS budget ON budget.reference = named.reference AND budget.account_id = own
        WHERE budget.most IS NOT NULL OR new_most IS NOT NULL
        UNION ALL
        SELECT 2, 'key_cap', cap.size, cap.used, cap.held FROM billing_caps_of_key(own, at_provider, in_month, by_key) AS cap
        UNION ALL
        SELECT 3, 'tenant_cap', cap.amount, coalesce(month.used, 0), coalesce(month.held, 0)
        FROM billing_tenantcap AS cap
        LEFT JOIN billing_tenantmonth AS month ON month.account_id = own AND month.month = in_month
        WHERE cap.tenant_id = owner AND cap.provider = at_provider
        UNION ALL
        SELECT 4, 'balance', account.posted - billing_due_to_expire(own), 0, account.held
        FROM billing_account AS account WHERE account.id = own AND account.kind = 'prepaid'
    ) AS in_force
$$;

-- Adds a movement to what its month, its key's month and its budget have used and held, and notes the shares that a charge has
-- reached of the tenant's cap, and of each cap under which the key counts (`alerts.sql`). A charge looks for shares from the
-- smallest on. A row that is new has no charge: a hold comes first. Locks: those rows, in this order; the account is locked already,
-- so no two insert one row.
CREATE OR REPLACE FUNCTION billing_count(
    account billing_account, in_month date, by_key uuid, of_budget text, more_used numeric, more_held numeric
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    used_now numeric;
    held_now numeric;
    size numeric;
    over record;
BEGIN
    UPDATE billing_tenantmonth AS counted SET used = counted.used + more_used, held = counted.held + more_held
    WHERE account_id = account.id AND month = in_month
    RETURNING counted.used, counted.held, (
        SELECT amount FROM billing_tenantcap AS cap
        WHERE more_used > 0 AND cap.tenant_id = account.tenant_id AND cap.provider = account.provider
    ) INTO used_now, held_now, size;
    IF NOT FOUND THEN
        INSERT INTO billing_tenantmonth (account_id, month, used, held) VALUES (account.id, in_month, more_used, more_held);
    ELSIF billing_has_a_share(used_now, size) THEN
        PERFORM billing_note_shares_of_cap(account.id, NULL, in_month, size, used_now - more_used, used_now, held_now);
    END IF;
    IF by_key IS NOT NULL THEN
        UPDATE billing_keymonth AS counted SET used = counted.used + more_used, held = counted.held + more_held
        WHERE account_id = account.id AND spender = by_key AND month = in_month;
        IF NOT FOUND THEN
            INSERT INTO billing_keymonth (account_id, spender, month, used, held)
            VALUES (account.id, by_key, in_month, more_used, more_held);
        ELSIF more_used > 0 THEN
            FOR over IN
                SELECT * FROM billing_caps_of_key(account.id, account.provider, in_month, by_key) AS counting
                WHERE billing_has_a_share(counting.used, counting.size)
            LOOP
                PERFORM billing_note_shares_of_cap(
                    account.id, over.api_key, in_month, over.size, over.used - more_used, over.used, over.held
                );
            END LOOP;
        END IF;
    END IF;
    IF of_budget <> '' THEN
        UPDATE billing_budget SET used = used + more_used, held = held + more_held
        WHERE reference = of_budget AND account_id = account.id;
    END IF;
END $$;
