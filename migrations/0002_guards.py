"""Triggers for what no constraint can say: what is written once and never changes."""

from django.db import migrations

FROZEN_COLUMNS = {
    "labelapp_prompt": ["project_id", "messages", "content_hash", "split"],
    "labelapp_completion": ["prompt_id", "model_version_id", "text", "text_hash", "source_key", "sampling", "seed"],
    "labelapp_taskcompletion": ["task_id", "completion_id", "slot"],
    "labelapp_annotation": [
        *["task_id", "annotator_id", "protocol_id", "seat_id", "supersedes_id", "surplus", "edges", "ranking"],
        *["first_ranking", "order_shown", "answers", "confidence", "rationale", "active_seconds", "paid_seconds"],
        *["idempotency_key", "created_at"],
    ],
    "labelapp_rating": ["annotation_id", "slot", "likert", "answers"],
    "labelapp_demonstration": ["prompt_id", "annotator_id", "text", "text_hash", "supersedes_id", "created_at"],
}

FUNCTIONS = """
CREATE FUNCTION labelapp_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    column_name text;
BEGIN
    FOREACH column_name IN ARRAY TG_ARGV LOOP
        IF to_jsonb(OLD) -> column_name IS DISTINCT FROM to_jsonb(NEW) -> column_name THEN
            RAISE EXCEPTION '%.% is written once and never changed', TG_TABLE_NAME, column_name
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_refused() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are kept as they are: % refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION labelapp_question_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched bigint := CASE WHEN TG_OP = 'DELETE' THEN OLD.protocol_id ELSE NEW.protocol_id END;
BEGIN
    IF EXISTS (SELECT 1 FROM labelapp_protocol
               WHERE used_at IS NOT NULL AND (id = touched OR TG_OP = 'UPDATE' AND id = OLD.protocol_id)) THEN
        RAISE EXCEPTION 'The questions of a used protocol never change: make a new version'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER protocol_used BEFORE UPDATE OR DELETE ON labelapp_protocol
    FOR EACH ROW WHEN (OLD.used_at IS NOT NULL) EXECUTE FUNCTION labelapp_refused();
CREATE TRIGGER question_used BEFORE INSERT OR UPDATE OR DELETE ON labelapp_question
    FOR EACH ROW EXECUTE FUNCTION labelapp_question_guard();
CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE ON labelapp_auditentry
    FOR EACH ROW EXECUTE FUNCTION labelapp_refused();
"""

FUNCTIONS_REVERSE = """
DROP TRIGGER audit_kept ON labelapp_auditentry;
DROP TRIGGER question_used ON labelapp_question;
DROP TRIGGER protocol_used ON labelapp_protocol;
DROP FUNCTION labelapp_question_guard();
DROP FUNCTION labelapp_refused();
DROP FUNCTION labelapp_frozen();
"""


def frozen(table: str, columns: list[str]) -> migrations.RunSQL:
    """A trigger that refuses changes of these columns."""
    arguments = ", ".join(f"'{column}'" for column in columns)
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_frozen BEFORE UPDATE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION labelapp_frozen({arguments})",
        f"DROP TRIGGER {table}_frozen ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("labelapp", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_REVERSE),
        *(frozen(table, columns) for table, columns in FROZEN_COLUMNS.items()),
    ]
