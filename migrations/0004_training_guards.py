"""Triggers for snapshots, runs and sampled completions: what is written once, and what must belong together."""

from django.db import migrations

FROZEN_COLUMNS = {
    "labelapp_snapshot": ["project_id", "digest", "options", "counts", "folder_id", "as_of", "created_at"],
    "labelapp_run": ["project_id", "kind", "snapshot_id", "start_id", "reference_id", "options", "created_at"],
    "labelapp_completion": ["finish_reason"],
    "labelapp_completionscore": ["completion_id", "model_version_id", "score"],
}

FUNCTIONS = """
-- Learning from another project's labels, or with its models, would carry them over the wall between projects.
CREATE FUNCTION labelapp_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM labelapp_snapshot WHERE id = NEW.snapshot_id AND project_id <> NEW.project_id)
        OR EXISTS (SELECT 1 FROM labelapp_modelversion
                   WHERE id IN (NEW.start_id, NEW.reference_id, NEW.result_id) AND project_id <> NEW.project_id) THEN
        RAISE EXCEPTION 'run_project: snapshot and models must be of the run''s own project'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION labelapp_score_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT prompt.project_id FROM labelapp_completion completion
        JOIN labelapp_prompt prompt ON prompt.id = completion.prompt_id WHERE completion.id = NEW.completion_id)
        <> (SELECT project_id FROM labelapp_modelversion WHERE id = NEW.model_version_id) THEN
        RAISE EXCEPTION 'completion_score_project: completion and model belong to different projects'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER run_belongs BEFORE INSERT OR UPDATE ON labelapp_run
    FOR EACH ROW EXECUTE FUNCTION labelapp_run_guard();
CREATE TRIGGER score_belongs BEFORE INSERT ON labelapp_completionscore
    FOR EACH ROW EXECUTE FUNCTION labelapp_score_guard();
"""

FUNCTIONS_REVERSE = """
DROP TRIGGER score_belongs ON labelapp_completionscore;
DROP TRIGGER run_belongs ON labelapp_run;
DROP FUNCTION labelapp_score_guard();
DROP FUNCTION labelapp_run_guard();
"""


def frozen(table: str, columns: list[str]) -> migrations.RunSQL:
    """A trigger that refuses changes of these columns."""
    arguments = ", ".join(f"'{column}'" for column in columns)
    name = f"{table}_training_frozen"
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION labelapp_frozen({arguments})",
        f"DROP TRIGGER {name} ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("labelapp", "0003_training")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_REVERSE),
        *(frozen(table, columns) for table, columns in FROZEN_COLUMNS.items()),
    ]
