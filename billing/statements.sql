-- Closes months: writes an account's statements, which nothing changes afterwards.

-- Refuses every change and deletion of a statement.
CREATE OR REPLACE FUNCTION statements_are_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A statement is closed: what is corrected later belongs to the next month.' USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER statements_are_closed BEFORE UPDATE OR DELETE ON billing_statement
    FOR EACH ROW EXECUTE FUNCTION statements_are_closed();

-- Returns the hash of a statement: SHA-256 over a JSON list of texts and numbers, which begins with the hash of the statement
-- before. Everything that a statement says is in it, also the hash of its last entry, and so the chain of entries up to there.
CREATE OR REPLACE FUNCTION billing_statement_hash(statement billing_statement) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(json_build_array(
        encode(statement.previous_hash, 'hex'), statement.id, statement.account_id, to_char(statement.month, 'YYYY-MM'),
        statement.first_number, statement.last_number, statement.opening_posted::text, statement.opening_held::text,
        statement.opening_unknown::text, statement.grants::text, statement.expiries::text, statement.adjustments::text,
        statement.charges::text, statement.holds::text, statement.releases::text, statement.unknowns::text,
        statement.closing_posted::text, statement.closing_held::text, statement.closing_unknown::text,
        to_char(statement.closed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        encode(statement.last_entry_hash, 'hex')
    )::text, 'UTF8'))
$$;

-- Returns the amounts of an account's entries from one number to another, summed by kind.
CREATE OR REPLACE FUNCTION billing_sums(own uuid, first bigint, last bigint) RETURNS TABLE (
    grants numeric, expiries numeric, adjustments numeric, charges numeric, holds numeric, releases numeric, unknowns numeric
) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(amount) FILTER (WHERE kind = 'grant'), 0), coalesce(sum(amount) FILTER (WHERE kind = 'expiry'), 0),
        coalesce(sum(amount) FILTER (WHERE kind = 'adjustment'), 0), coalesce(sum(amount) FILTER (WHERE kind = 'charge'), 0),
        coalesce(sum(amount) FILTER (WHERE kind = 'hold'), 0), coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0),
        coalesce(sum(amount) FILTER (WHERE kind = 'unknown'), 0)
    FROM billing_entry WHERE account_id = own AND number BETWEEN first AND last
$$;

-- Returns a new UUID of version 7, whose first 48 bits are the time in milliseconds.
CREATE OR REPLACE FUNCTION billing_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Closes all months of an account that have ended by `moment`, in their order, and returns how many those were. Twice is once.
--
-- A month is closed by a number, never by times: under the account's lock all numbers up to `last_number` are committed or this
-- transaction's own, and every later one is taken after this. The first movement in a new month closes the old ones before it
-- takes its number (`billing_enter`), so that a month ends with the same number however late the periodic task runs. Grants that
-- have expired within a month are entered before it is closed (`grants.sql`); one that expires at its end belongs to the next. Locks:
-- account. Each of the statements looks into one index, so their plans are kept.
CREATE OR REPLACE FUNCTION billing_close_months(own uuid, moment timestamptz) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    account billing_account;
    before billing_statement;
    present billing_statement;
    month_end timestamptz;
    closed integer := 0;
BEGIN
    SELECT * INTO account FROM billing_account WHERE id = own FOR NO KEY UPDATE;
    SELECT * INTO before FROM billing_statement WHERE account_id = own ORDER BY month DESC LIMIT 1;
    WHILE account.open_month + interval '1 month' <= moment AT TIME ZONE 'UTC' LOOP
        month_end := (account.open_month + interval '1 month') AT TIME ZONE 'UTC';
        IF account.next_expiry < month_end THEN
            PERFORM billing_expire_grants(own, month_end - interval '1 microsecond');
            SELECT posted, held, unknown, last_number, last_hash, next_expiry
            INTO account.posted, account.held, account.unknown, account.last_number, account.last_hash, account.next_expiry
            FROM billing_account WHERE id = own;
        END IF;
        present.id := billing_uuid7();
        present.account_id := own;
        present.month := account.open_month;
        present.first_number := coalesce(before.last_number, 0) + 1;
        present.last_number := account.last_number;
        present.opening_posted := coalesce(before.closing_posted, 0);
        present.opening_held := coalesce(before.closing_held, 0);
        present.opening_unknown := coalesce(before.closing_unknown, 0);
        SELECT * INTO present.grants, present.expiries, present.adjustments, present.charges, present.holds, present.releases,
            present.unknowns
        FROM billing_sums(own, present.first_number, present.last_number);
        present.closing_posted := account.posted;
        present.closing_held := account.held;
        present.closing_unknown := account.unknown;
        present.closed_at := clock_timestamp();
        present.last_entry_hash := account.last_hash;
        present.previous_hash := coalesce(before.hash, '');
        present.hash := billing_statement_hash(present);
        INSERT INTO billing_statement SELECT present.*;
        account.open_month := account.open_month + interval '1 month';
        before := present;
        closed := closed + 1;
    END LOOP;
    IF closed > 0 THEN
        UPDATE billing_account SET open_month = account.open_month, last_statement_hash = before.hash WHERE id = own;
    END IF;
    RETURN closed;
END $$;
