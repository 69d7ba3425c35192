"""Triggers for what labeling adds: what is written once, and what must belong together."""

from django.db import migrations

FROZEN_COLUMNS = {
    "labelapp_protocol": ["asks_edit", "marks_contradictions"],
    "labelapp_prompt": ["written_by_id", "written_as"],
    "labelapp_annotation": ["active_by_stage", "marks", "before_marks", "edit_id", "edit_of"],
    "labelapp_rating": ["in_bulk"],
    "labelapp_demonstration": [
        *["task_id", "seat_id", "surplus", "active_seconds", "paid_seconds", "pasted_share", "pasted_source"],
        "idempotency_key",
    ],
    "labelapp_inquiry": ["task_id", "annotator_id", "text", "created_at"],
    "labelapp_report": ["project_id", "task_id", "annotator_id", "kind", "note", "skill", "created_at"],
    "labelapp_timedispute": ["annotator_id", "annotation_id", "day", "claimed_seconds", "text", "created_at"],
    "labelapp_timeentry": ["annotator_id", "kind", "seconds", "created_at"],
}
ONLY_WHEN = {"labelapp_protocol": "WHEN (OLD.used_at IS NOT NULL)"}

FUNCTIONS = """
CREATE FUNCTION labelapp_edit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT prompt_id FROM labelapp_comparisontask WHERE id = NEW.task_id)
        <> (SELECT prompt_id FROM labelapp_completion WHERE id = NEW.edit_id) THEN
        RAISE EXCEPTION 'annotation_edit_prompt: the improved text answers another prompt'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_demonstration_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    SELECT task.prompt_id, batch.project_id, batch.work, annotator.project_id AS annotator_project_id,
           seat.task_id AS seat_task_id
    INTO told
    FROM labelapp_comparisontask task
    JOIN labelapp_batch batch ON batch.id = task.batch_id
    JOIN labelapp_annotator annotator ON annotator.id = NEW.annotator_id
    LEFT JOIN labelapp_seat seat ON seat.id = NEW.seat_id
    WHERE task.id = NEW.task_id;
    IF told.prompt_id <> NEW.prompt_id OR told.work <> 'demonstration' THEN
        RAISE EXCEPTION 'demonstration_task: the task does not ask for an answer to this prompt'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF told.annotator_project_id <> told.project_id THEN
        RAISE EXCEPTION 'demonstration_project: annotator and task belong to different projects'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.seat_id IS NOT NULL AND told.seat_task_id <> NEW.task_id THEN
        RAISE EXCEPTION 'demonstration_seat: the seat belongs to another task'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_report_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT batch.project_id FROM labelapp_comparisontask task JOIN labelapp_batch batch ON batch.id = task.batch_id
        WHERE task.id = NEW.task_id) <> NEW.project_id THEN
        RAISE EXCEPTION 'report_project: the task belongs to another project'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER annotation_edit_belongs BEFORE INSERT ON labelapp_annotation
    FOR EACH ROW WHEN (NEW.edit_id IS NOT NULL) EXECUTE FUNCTION labelapp_edit_guard();
CREATE TRIGGER demonstration_belongs BEFORE INSERT ON labelapp_demonstration
    FOR EACH ROW WHEN (NEW.task_id IS NOT NULL) EXECUTE FUNCTION labelapp_demonstration_guard();
CREATE TRIGGER report_belongs BEFORE INSERT ON labelapp_report
    FOR EACH ROW EXECUTE FUNCTION labelapp_report_guard();
"""

FUNCTIONS_REVERSE = """
DROP TRIGGER report_belongs ON labelapp_report;
DROP TRIGGER demonstration_belongs ON labelapp_demonstration;
DROP TRIGGER annotation_edit_belongs ON labelapp_annotation;
DROP FUNCTION labelapp_report_guard();
DROP FUNCTION labelapp_demonstration_guard();
DROP FUNCTION labelapp_edit_guard();
"""


def frozen(table: str, columns: list[str]) -> migrations.RunSQL:
    """A trigger that refuses changes of these columns."""
    arguments = ", ".join(f"'{column}'" for column in columns)
    name = f"{table}_labeling_frozen"
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} "
        f"FOR EACH ROW {ONLY_WHEN.get(table, '')} EXECUTE FUNCTION labelapp_frozen({arguments})",
        f"DROP TRIGGER {name} ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("labelapp", "0005_labeling")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_REVERSE),
        *(frozen(table, columns) for table, columns in FROZEN_COLUMNS.items()),
    ]
