"""Triggers for what no constraint can say: what is written once and never changes."""

from django.db import migrations

FROZEN_COLUMNS = {
    "labelapp_protocol": [
        *["project_id", "name", "version", "guidelines", "layout", "asks_ranking", "ties_allowed", "strength_steps"],
        *["likert_points", "likert_low", "likert_high", "questions_all_up_to", "questions_sample"],
        *["asks_confidence", "asks_rationale", "used_at"],
    ],
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
ONLY_WHEN = {"labelapp_protocol": "WHEN (OLD.used_at IS NOT NULL)"}
KEPT = ["labelapp_annotation", "labelapp_rating", "labelapp_demonstration"]

FUNCTIONS = """
CREATE FUNCTION labelapp_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    column_name text;
BEGIN
    -- Erasing what a person asked to have erased is the one reason to change it; it says so in its transaction.
    IF current_setting('labelapp.erasing', true) = 'on' THEN
        RETURN NEW;
    END IF;
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
    IF TG_OP = 'DELETE' AND current_setting('labelapp.erasing', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% rows are kept as they are: % refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- What an annotation belongs to must belong together, and outside imports only a seat makes it count.
CREATE FUNCTION labelapp_annotation_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    SELECT task.overlap, batch.protocol_id, batch.project_id, annotator.project_id AS annotator_project_id,
           seat.task_id AS seat_task_id, seat.annotator_id AS seat_annotator_id
    INTO told
    FROM labelapp_comparisontask task
    JOIN labelapp_batch batch ON batch.id = task.batch_id
    JOIN labelapp_annotator annotator ON annotator.id = NEW.annotator_id
    LEFT JOIN labelapp_seat seat ON seat.id = NEW.seat_id
    WHERE task.id = NEW.task_id;
    IF told.protocol_id <> NEW.protocol_id THEN
        RAISE EXCEPTION 'annotation_protocol: it is not the protocol of the batch'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF told.annotator_project_id <> told.project_id THEN
        RAISE EXCEPTION 'annotation_project: annotator and task belong to different projects'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.seat_id IS NOT NULL AND told.seat_task_id <> NEW.task_id THEN
        RAISE EXCEPTION 'annotation_seat: the seat belongs to another task'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.seat_id IS NULL AND NOT NEW.surplus AND NEW.supersedes_id IS NULL AND told.overlap > 0 THEN
        RAISE EXCEPTION 'annotation_counted: without a seat it is surplus'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_slot_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT prompt_id FROM labelapp_comparisontask WHERE id = NEW.task_id)
        <> (SELECT prompt_id FROM labelapp_completion WHERE id = NEW.completion_id) THEN
        RAISE EXCEPTION 'task_completion_prompt: the completion answers another prompt'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_seat_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT batch_id FROM labelapp_comparisontask WHERE id = NEW.task_id)
        <> (SELECT batch_id FROM labelapp_pool WHERE id = NEW.pool_id) THEN
        RAISE EXCEPTION 'seat_pool: the pool belongs to another batch'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
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

CREATE TRIGGER annotation_belongs BEFORE INSERT ON labelapp_annotation
    FOR EACH ROW EXECUTE FUNCTION labelapp_annotation_guard();
CREATE TRIGGER slot_belongs BEFORE INSERT ON labelapp_taskcompletion
    FOR EACH ROW EXECUTE FUNCTION labelapp_slot_guard();
CREATE TRIGGER seat_belongs BEFORE INSERT OR UPDATE OF pool_id, task_id ON labelapp_seat
    FOR EACH ROW EXECUTE FUNCTION labelapp_seat_guard();
CREATE TRIGGER protocol_used BEFORE DELETE ON labelapp_protocol
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
DROP TRIGGER seat_belongs ON labelapp_seat;
DROP TRIGGER slot_belongs ON labelapp_taskcompletion;
DROP TRIGGER annotation_belongs ON labelapp_annotation;
DROP FUNCTION labelapp_seat_guard();
DROP FUNCTION labelapp_slot_guard();
DROP FUNCTION labelapp_annotation_guard();
DROP FUNCTION labelapp_question_guard();
DROP FUNCTION labelapp_refused();
DROP FUNCTION labelapp_frozen();
"""


def frozen(table: str, columns: list[str]) -> migrations.RunSQL:
    """A trigger that refuses changes of these columns."""
    arguments = ", ".join(f"'{column}'" for column in columns)
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_frozen BEFORE UPDATE ON {table} "
        f"FOR EACH ROW {ONLY_WHEN.get(table, '')} EXECUTE FUNCTION labelapp_frozen({arguments})",
        f"DROP TRIGGER {table}_frozen ON {table}",
    )


def kept(table: str) -> migrations.RunSQL:
    """A trigger that refuses to delete rows."""
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION labelapp_refused()",
        f"DROP TRIGGER {table}_kept ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("labelapp", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_REVERSE),
        *(frozen(table, columns) for table, columns in FROZEN_COLUMNS.items()),
        *(kept(table) for table in KEPT),
    ]
