-- Refuses every change and deletion of an act. A deleted operator or tenant is taken out of its acts, which keep the name.
CREATE OR REPLACE FUNCTION acts_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.operator_id := CASE WHEN NEW.operator_id IS NULL THEN NULL ELSE OLD.operator_id END;
        OLD.tenant_id := CASE WHEN NEW.tenant_id IS NULL THEN NULL ELSE OLD.tenant_id END;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'The log of acts is append-only.' USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER acts_are_kept BEFORE UPDATE OR DELETE ON accounts_act
    FOR EACH ROW EXECUTE FUNCTION acts_are_kept();
