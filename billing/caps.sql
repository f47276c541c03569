-- Counts what is used and held under each limit, and says which limit has no room.
--
-- Three limits bound what may be held: a tenant's cap a month, an API key's cap a month, and the budget of one search
-- (`max_credits`). Each has a row that counts, which moves with the account in `billing_enter`, and is never summed from entries.
-- Order of locks: the account, then the tenant's month, the key's month, the budget. Every transaction that moves one of these
-- rows locks the account first. What is read under its lock therefore stays true until the commit.

-- Returns the first day of the present month, in UTC.
CREATE OR REPLACE FUNCTION billing_month() RETURNS date LANGUAGE sql VOLATILE AS $$
    SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
$$;

-- Returns each limit that is set, the narrowest first, with what is used and held under it. Caps are read as they are now.
CREATE OR REPLACE FUNCTION billing_limits(own uuid, in_month date, by_key uuid, of_budget text)
RETURNS TABLE (rank integer, name text, size numeric, used numeric, held numeric) LANGUAGE sql STABLE AS $$
    SELECT 1, 'max_credits', budget.most, budget.used, budget.held
    FROM billing_budget AS budget WHERE budget.reference = of_budget AND budget.account_id = own
    UNION ALL
    SELECT 2, 'key_cap', cap.amount, coalesce(month.used, 0), coalesce(month.held, 0)
    FROM billing_account AS account
    JOIN billing_keycap AS cap ON cap.api_key_id = by_key AND cap.provider = account.provider
    LEFT JOIN billing_keymonth AS month ON month.account_id = own AND month.spender = by_key AND month.month = in_month
    WHERE account.id = own
    UNION ALL
    SELECT 3, 'tenant_cap', cap.amount, coalesce(month.used, 0), coalesce(month.held, 0)
    FROM billing_account AS account
    JOIN billing_tenantcap AS cap ON cap.tenant_id = account.tenant_id AND cap.provider = account.provider
    LEFT JOIN billing_tenantmonth AS month ON month.account_id = own AND month.month = in_month
    WHERE account.id = own
$$;

-- Adds a movement to what its month, its key's month and its budget have used and held. Locks: those rows, in this order; the
-- account is locked already, so no two insert one row.
CREATE OR REPLACE FUNCTION billing_count(
    own uuid, in_month date, by_key uuid, of_budget text, more_used numeric, more_held numeric
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
BEGIN
    UPDATE billing_tenantmonth SET used = used + more_used, held = held + more_held WHERE account_id = own AND month = in_month;
    IF NOT FOUND THEN
        INSERT INTO billing_tenantmonth (account_id, month, used, held) VALUES (own, in_month, more_used, more_held);
    END IF;
    IF by_key IS NOT NULL THEN
        UPDATE billing_keymonth SET used = used + more_used, held = held + more_held
        WHERE account_id = own AND spender = by_key AND month = in_month;
        IF NOT FOUND THEN
            INSERT INTO billing_keymonth (account_id, spender, month, used, held)
            VALUES (own, by_key, in_month, more_used, more_held);
        END IF;
    END IF;
    IF of_budget <> '' THEN
        UPDATE billing_budget SET used = used + more_used, held = held + more_held
        WHERE reference = of_budget AND account_id = own;
    END IF;
END $$;
