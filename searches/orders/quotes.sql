-- Returns what is in force for each source that an order asks: the provider's policy, the tenant's credential and the price, as
-- they were committed at one instant; NULL where there is none. `ids` and `labels` name the credential; both NULL mean the default.
--
-- A function, because its plan is kept. It returns whole rows, in the order of its arguments.
CREATE OR REPLACE FUNCTION searches_quotes(
    tenant uuid, sources text[], providers text[], ids uuid[], labels text[]
) RETURNS TABLE (moment timestamptz, policy providers_policy, credential providers_credential, price billing_price)
LANGUAGE plpgsql STABLE SET plan_cache_mode = auto AS $$
BEGIN RETURN QUERY
SELECT statement_timestamp(), in_force, own, current
FROM unnest(sources, providers, ids, labels) WITH ORDINALITY AS asked (source, provider, id, label, nth)
LEFT JOIN providers_policy AS in_force ON in_force.provider = asked.provider
LEFT JOIN providers_credential AS own ON own.tenant_id = tenant AND own.provider = asked.provider
    AND CASE WHEN asked.id IS NOT NULL THEN own.id = asked.id WHEN asked.label IS NOT NULL THEN own.label = asked.label
        ELSE own.is_default END
-- The price in force. No other place decides which one that is.
LEFT JOIN billing_price AS current ON current.id = (
    SELECT one.id FROM billing_price AS one WHERE one.source = asked.source AND one.valid_from <= statement_timestamp()
    ORDER BY one.valid_from DESC LIMIT 1
)
ORDER BY nth;
END $$;
