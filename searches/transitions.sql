-- The states of lookups and calls: every transition there is, with its cause. The database refuses all others.
--
-- A lookup is made `queued`: `ready`; `blocked` if its credential is dead; `following` if an equal one is in progress, or if its
-- answer is too long to be copied at once; or it has succeeded already, if it repeats one that did. The sweep moves waiting lookups
-- to another lane when theirs is no longer the one in force for the credential. A call is made `armed`.
--
-- The transitions are in the conditions of the triggers, so that a correct update costs next to nothing. The function only names
-- the refused one. Inserts are not restricted.
CREATE OR REPLACE FUNCTION searches_refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'searches_call' THEN
        RAISE EXCEPTION 'A call that is % never becomes %.', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RAISE EXCEPTION 'A lookup that is % (%) never becomes % (%).',
        OLD.status, OLD.queue_state, NEW.status, NEW.queue_state
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE OR REPLACE TRIGGER lookups_move_along_the_diagram BEFORE UPDATE ON searches_lookup FOR EACH ROW WHEN (
    (OLD.status, OLD.queue_state) IS DISTINCT FROM (NEW.status, NEW.queue_state)
    AND OLD.status || ' ' || OLD.queue_state || ' > ' || NEW.status || ' ' || NEW.queue_state NOT IN (
        'queued ready > running none',       -- a worker claimed it
        'queued ready > queued blocked',     -- its credential was found dead, by a claim or the sweep
        'queued ready > queued none',        -- taken out of the queue, to end in the same transaction
        'queued blocked > queued ready',     -- its credential works again, says the sweep
        'queued blocked > queued none',      -- taken out of the queue, to end in the same transaction
        'queued following > queued ready',   -- its leader was canceled, expired or erased: it is promoted
        'queued following > queued blocked', -- the same, and its credential is dead
        'queued following > queued none',    -- its leader ended, or itself is to end
        'queued none > succeeded none',      -- its leader was answered
        'queued none > failed none',         -- its leader failed; its credential was deleted; or nothing was left to hold
        'queued none > canceled none',       -- its tenant canceled it
        'queued none > expired none',        -- its time was up
        'running ready > running none',      -- claimed again; or taken out of the queue, to end in the same transaction
        'running ready > running blocked',   -- its credential was found dead, by a claim or the sweep
        'running delayed > running ready',   -- its time has come, says a claim
        'running delayed > running blocked', -- its credential was found dead
        'running delayed > running none',    -- taken out of the queue, to end in the same transaction
        'running blocked > running ready',   -- its credential works again, says the sweep
        'running blocked > running none',    -- taken out of the queue, to end in the same transaction
        'running none > running ready',      -- more pages; never sent; told to wait; or outcome unknown, and it asks again
        'running none > running delayed',    -- it failed, and may be tried again later
        'running none > running blocked',    -- its credential is dead
        'running none > succeeded none',     -- its last page came
        'running none > failed none',        -- refused, tried too often, or outcome unknown; or its credential was deleted
        'running none > canceled none',      -- its tenant canceled it
        'running none > expired none'        -- its time was up before it found anything
    )
) EXECUTE FUNCTION searches_refuse_transition();

CREATE OR REPLACE TRIGGER calls_move_along_the_diagram BEFORE UPDATE ON searches_call FOR EACH ROW WHEN (
    OLD.state <> NEW.state
    AND OLD.state || ' > ' || NEW.state NOT IN (
        'armed > answered',  -- its answer came
        'armed > failed',    -- it was refused, or nothing was sent
        'armed > unknown',   -- it was sent, and its outcome is unknown
        'unknown > answered' -- its answer came after all, too late for its lookup
    )
) EXECUTE FUNCTION searches_refuse_transition();
