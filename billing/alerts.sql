-- Notes the shares of caps and of grants that are reached: 50, 80 and 100 %, each once a period.
--
-- The functions that count call these in the movement that reaches a share, under the account's lock. They compare what was used
-- before the movement with what is used after it. A movement that reaches no share therefore writes nothing and reads no alert. A
-- share that was noted before in its period, and is reached again because its cap was raised since, is not noted again: the
-- table's constraints hold one row for each. `alerts.py` announces the rows in the same transaction.

-- Returns the shares in per cent, the smallest first.
CREATE OR REPLACE FUNCTION billing_shares() RETURNS integer[] LANGUAGE sql IMMUTABLE AS $$ SELECT ARRAY[50, 80, 100] $$;

-- Returns whether what is used is the smallest share of a limit's size or more. Most movements are below it, and look no further.
CREATE OR REPLACE FUNCTION billing_has_a_share(used numeric, size numeric) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT used * 100 >= size * (billing_shares())[1] $$;

-- Notes each share of a limit's size that this movement has reached, the smallest first. A limit of 0 has no shares.
CREATE OR REPLACE FUNCTION billing_note_shares(
    own uuid, of_limit text, by_key uuid, of_grant bigint, since timestamptz, size numeric, used_before numeric, used_now numeric,
    held_now numeric
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    share integer;
BEGIN
    FOREACH share IN ARRAY billing_shares() LOOP
        IF used_before * 100 < share * size AND share * size <= used_now * 100 THEN
            INSERT INTO billing_thresholdalert (
                id, account_id, "limit", spender, grant_number, period_start, share, size, used, held, announced, created_at
            )
            VALUES (
                billing_uuid7(), own, of_limit, by_key, of_grant, since, share, size, used_now, held_now, false, clock_timestamp()
            )
            ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
END $$;

-- Notes the shares of a cap. The period is the month, in UTC.
CREATE OR REPLACE FUNCTION billing_note_shares_of_cap(
    own uuid, by_key uuid, in_month date, size numeric, used_before numeric, used_now numeric, held_now numeric
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_note_shares(
        own, CASE WHEN by_key IS NULL THEN 'tenant_cap' ELSE 'key_cap' END, by_key, NULL, in_month::timestamp AT TIME ZONE 'UTC',
        size, used_before, used_now, held_now
    );
END $$;

-- Notes the shares of the account's last grant. What is used of it is its amount less what is still posted. The period lasts until
-- the next grant.
CREATE OR REPLACE FUNCTION billing_note_shares_of_grant(before billing_account, account billing_account)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    granted record;
BEGIN
    SELECT number, amount INTO granted FROM billing_grant WHERE account_id = account.id ORDER BY number DESC LIMIT 1;
    IF billing_has_a_share(granted.amount - account.posted, granted.amount) THEN
        PERFORM billing_note_shares(
            account.id, 'grant', NULL, granted.number,
            (SELECT created_at FROM billing_entry AS entry WHERE entry.account_id = account.id AND entry.number = granted.number),
            granted.amount, granted.amount - before.posted, granted.amount - account.posted, account.held
        );
    END IF;
END $$;

-- Notes the shares that are reached in the present month of the tenant's cap, and of an API key's where one is given. Called after
-- a cap was written, in the same transaction.
--
-- Locks: account, after the cap. A movement that still reads the former cap is therefore waited for, and what it used is counted
-- here; one that comes later reads the new cap.
CREATE OR REPLACE FUNCTION billing_note_shares_of_caps(own uuid, by_key uuid) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    account billing_account;
    in_month date;
    cap record;
BEGIN
    SELECT * INTO account FROM billing_account WHERE id = own FOR NO KEY UPDATE;
    in_month := billing_month();
    FOR cap IN
        SELECT NULL::uuid AS api_key, size, used, held
        FROM billing_limits(own, account.tenant_id, account.provider, in_month, NULL, '', NULL, 0) WHERE name = 'tenant_cap'
        UNION ALL
        SELECT * FROM billing_caps_of_key(own, account.provider, in_month, by_key) AS own_cap WHERE own_cap.api_key = by_key
    LOOP
        PERFORM billing_note_shares_of_cap(own, cap.api_key, in_month, cap.size, 0, cap.used, cap.held);
    END LOOP;
END $$;

-- Returns whether this transaction has noted shares that are not announced.
CREATE OR REPLACE FUNCTION billing_alerts_due() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM billing_thresholdalert WHERE NOT announced);
END $$;
