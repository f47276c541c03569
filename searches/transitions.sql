-- Refuses updates of lookups and calls that are not in the diagram of `models.py`. The allowed ones are in the conditions of the
-- triggers, so that a correct update costs next to nothing. The function only names the refused one. Inserts are not restricted.
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
        'queued ready > running none', 'queued ready > queued blocked', 'queued ready > queued none',
        'queued blocked > queued ready', 'queued blocked > queued none',
        'queued following > queued ready', 'queued following > queued blocked', 'queued following > queued none',
        'queued none > succeeded none', 'queued none > failed none', 'queued none > canceled none', 'queued none > expired none',
        'running ready > running none', 'running ready > running blocked',
        'running delayed > running ready', 'running delayed > running blocked', 'running delayed > running none',
        'running blocked > running ready', 'running blocked > running none',
        'running none > running ready', 'running none > running delayed', 'running none > running blocked',
        'running none > succeeded none', 'running none > failed none', 'running none > canceled none',
        'running none > expired none'
    )
) EXECUTE FUNCTION searches_refuse_transition();

CREATE OR REPLACE TRIGGER calls_move_along_the_diagram BEFORE UPDATE ON searches_call FOR EACH ROW WHEN (
    OLD.state <> NEW.state
    AND OLD.state || ' > ' || NEW.state NOT IN (
        'armed > answered', 'armed > failed', 'armed > unknown', 'unknown > answered'
    )
) EXECUTE FUNCTION searches_refuse_transition();
