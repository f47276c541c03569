-- Shows the ledger as double entry. Nothing is written twice: both views are read from the entries, and cannot be written to.
--
-- The books: what was issued to a tenant lies in `available`, moves to `held` for a lookup, from there to `unknown` while it is
-- not known whether it was billed, and ends in `consumed`, or goes back. `corrections` is where adjustments come from.

-- One line for the debit and one for the credit of each entry. A negative amount goes the other way.
CREATE OR REPLACE VIEW billing_posting AS
SELECT account.tenant_id, account.provider, entry.account_id, entry.number, entry.kind, entry.reference, entry.created_at,
    side.book, side.debit, side.credit
FROM billing_entry AS entry JOIN billing_account AS account ON account.id = entry.account_id
JOIN (VALUES
    ('grant', 'available', 'issued'),
    ('expiry', 'issued', 'available'),
    ('adjustment', 'available', 'corrections'),
    ('hold', 'held', 'available'),
    ('release', 'available', 'held'),
    ('charge', 'consumed', 'held'),
    ('unknown', 'unknown', 'held')
) AS rule (kind, debited, credited) ON rule.kind = entry.kind
CROSS JOIN LATERAL (VALUES
    (rule.debited, greatest(entry.amount, 0), greatest(-entry.amount, 0)),
    (rule.credited, greatest(-entry.amount, 0), greatest(entry.amount, 0))
) AS side (book, debit, credit);

-- What lies in each book of a tenant with a provider: debits less credits. `balance` is their sum, and must be 0.
CREATE OR REPLACE VIEW billing_trial_balance AS
SELECT account_id, tenant_id, provider,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'issued'), 0) AS issued,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'available'), 0) AS available,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'held'), 0) AS held,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'unknown'), 0) AS unknown,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'consumed'), 0) AS consumed,
    coalesce(sum(debit - credit) FILTER (WHERE book = 'corrections'), 0) AS corrections,
    sum(debit - credit) AS balance
FROM billing_posting GROUP BY account_id, tenant_id, provider;
