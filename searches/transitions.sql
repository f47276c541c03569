-- Lookups and calls move along the diagram in `models.py` and nowhere else, whoever writes the row. The arrows stand in the
-- conditions, which cost a healthy update next to nothing; the function only says what was refused. Inserts are free.
CREATE OR REPLACE FUNCTION searches_refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'searches_call' THEN
        RAISE EXCEPTION 'A call that is % never becomes %.', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RAISE EXCEPTION 'A lookup that is % and stands % never becomes % and %.',
        OLD.status, OLD.standing, NEW.status, NEW.standing
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE OR REPLACE TRIGGER lookups_move_along_the_diagram BEFORE UPDATE ON searches_lookup FOR EACH ROW WHEN (
    (OLD.status, OLD.standing) IS DISTINCT FROM (NEW.status, NEW.standing)
    AND OLD.status || ' ' || OLD.standing || ' > ' || NEW.status || ' ' || NEW.standing NOT IN (
        'queued ready > running out', 'queued ready > queued parked', 'queued ready > queued out',
        'queued parked > queued ready', 'queued parked > queued out',
        'queued riding > queued ready', 'queued riding > queued parked', 'queued riding > queued out',
        'queued out > succeeded out', 'queued out > failed out', 'queued out > canceled out', 'queued out > expired out',
        'running ready > running out', 'running ready > running parked',
        'running asleep > running ready', 'running asleep > running parked', 'running asleep > running out',
        'running parked > running ready', 'running parked > running out',
        'running out > running ready', 'running out > running asleep', 'running out > running parked',
        'running out > succeeded out', 'running out > failed out', 'running out > canceled out',
        'running out > expired out'
    )
) EXECUTE FUNCTION searches_refuse_transition();

CREATE OR REPLACE TRIGGER calls_move_along_the_diagram BEFORE UPDATE ON searches_call FOR EACH ROW WHEN (
    OLD.state <> NEW.state
    AND OLD.state || ' > ' || NEW.state NOT IN (
        'armed > answered', 'armed > failed', 'armed > unknown', 'unknown > answered'
    )
) EXECUTE FUNCTION searches_refuse_transition();
