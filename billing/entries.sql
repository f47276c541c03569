-- Writes the lines of the ledger. Every movement of credits goes through `billing_enter`.

-- Return what an entry adds to what its account has posted, held and unknown.
CREATE OR REPLACE FUNCTION billing_posts(kind text, amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN kind IN ('grant', 'adjustment') THEN amount WHEN kind IN ('charge', 'expiry') THEN -amount ELSE 0 END
$$;

CREATE OR REPLACE FUNCTION billing_holds(kind text, amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN kind = 'hold' THEN amount WHEN kind IN ('charge', 'release') THEN -amount ELSE 0 END
$$;

CREATE OR REPLACE FUNCTION billing_unknowns(kind text, amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN kind = 'unknown' THEN amount ELSE 0 END
$$;

-- Returns what the first entry of an account has for the hash of an entry before: SHA-256 over whose account it is. An account
-- that is given to another tenant or provider therefore shows.
CREATE OR REPLACE FUNCTION billing_account_hash(account billing_account) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(json_build_array(account.id, account.tenant_id, account.provider)::text, 'UTF8'))
$$;

-- Returns the hash of an entry: SHA-256 over a JSON list of texts and the number, which begins with the hash of the entry before.
-- Everything that an entry says is in it. JSON, so that no two entries have one text, whatever is in their memos; the times are in
-- UTC whatever the session's time zone.
CREATE OR REPLACE FUNCTION billing_entry_hash(entry billing_entry) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(json_build_array(
        encode(entry.previous_hash, 'hex'), entry.id, entry.account_id, entry.number, entry.kind, entry.amount::text,
        entry.posted_after::text, entry.held_after::text, entry.unknown_after::text, entry.reference, entry.key, entry.memo,
        entry.person, entry.month, entry.spender, entry.budget,
        to_char(entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text, 'UTF8'))
$$;

-- Numbers and chains entries of one account and moves its balances by them, all or none. Returns the last number, or NULL where the account is
-- prepaid and has no room for them, or does not exist. Entries of 0 credits are left out.
--
-- The account stays locked from its first line until the commit. Its entries are therefore numbered in the order of their commits,
-- without gaps: a transaction that rolls back gives its numbers back. An entry's unique key makes a movement that is repeated
-- fail, and take its transaction with it. `created_at` is read under the lock, so that it follows the numbers as long as the
-- server's clock does not step back. The first movement in a new month closes the months that have ended (`statements.sql`),
-- and the first one after a grant's expiry enters that (`grants.sql`). `is_late`: the entry itself is such an expiry, and goes into
-- the month that is still open.
--
-- What a lookup holds and is charged counts in the month of its hold, under its API key and its search's budget (`caps.sql`); other
-- movements name no month and count nowhere. Locks: account, tenant's month, key's month, budget. Each of the statements looks into
-- one index, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_enter(
    own uuid, ids uuid[], kinds text[], amounts numeric[], names text[], keys text[], why text, who text,
    in_month date DEFAULT NULL, by_key uuid DEFAULT NULL, of_budget text DEFAULT '', is_late boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    before billing_account;
    account billing_account;
    line billing_entry;
    lines billing_entry[] := '{}';
BEGIN
    SELECT * INTO account FROM billing_account WHERE id = own FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    before := account;
    line.account_id := own;
    line.memo := why;
    line.person := who;
    line.month := in_month;
    line.spender := by_key;
    line.budget := of_budget;
    line.created_at := clock_timestamp();
    IF NOT is_late AND (
        account.open_month + interval '1 month' <= line.created_at AT TIME ZONE 'UTC' OR account.next_expiry <= line.created_at
    ) THEN
        PERFORM billing_close_months(own, line.created_at);
        PERFORM billing_expire_grants(own, line.created_at);
        SELECT * INTO account FROM billing_account WHERE id = own;
        before := account;
        line.created_at := clock_timestamp();
    END IF;
    FOR nth IN 1 .. cardinality(ids) LOOP
        CONTINUE WHEN amounts[nth] = 0;
        account.last_number := account.last_number + 1;
        account.posted := account.posted + billing_posts(kinds[nth], amounts[nth]);
        account.held := account.held + billing_holds(kinds[nth], amounts[nth]);
        account.unknown := account.unknown + billing_unknowns(kinds[nth], amounts[nth]);
        line.id := ids[nth];
        line.number := account.last_number;
        line.kind := kinds[nth];
        line.amount := amounts[nth];
        line.posted_after := account.posted;
        line.held_after := account.held;
        line.unknown_after := account.unknown;
        line.reference := names[nth];
        line.key := keys[nth];
        line.previous_hash := CASE WHEN line.number = 1 THEN billing_account_hash(account) ELSE account.last_hash END;
        line.hash := billing_entry_hash(line);
        account.last_hash := line.hash;
        lines := lines || line;
    END LOOP;
    IF account.kind = 'prepaid' AND account.posted < account.held THEN
        RETURN NULL;
    END IF;
    UPDATE billing_account
    SET posted = account.posted, held = account.held, unknown = account.unknown,
        last_number = account.last_number, last_hash = account.last_hash
    WHERE id = own;
    IF in_month IS NOT NULL AND (account.posted, account.held) <> (before.posted, before.held) THEN
        PERFORM billing_count(account, in_month, by_key, of_budget, before.posted - account.posted, account.held - before.held);
    END IF;
    IF account.kind = 'prepaid' AND account.posted < before.posted THEN
        PERFORM billing_note_shares_of_grant(before, account);
    END IF;
    INSERT INTO billing_entry SELECT * FROM unnest(lines);
    IF 'charge' = ANY (kinds) THEN
        PERFORM billing_count_usage(lines);
    END IF;
    RETURN account.last_number;
END $$;
