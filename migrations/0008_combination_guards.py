"""Triggers for combinations: what is written once, and what must belong together."""

from django.db import migrations

FROZEN_COLUMNS = {
    "labelapp_runmember": ["run_id", "model_version_id", "place"],
    "labelapp_completionscore": ["disagreement"],
}

FUNCTIONS = """
-- As a starting model is: another project's model would carry its labels over the wall between projects.
CREATE FUNCTION labelapp_run_member_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM labelapp_run run JOIN labelapp_modelversion model ON model.project_id = run.project_id
                   WHERE run.id = NEW.run_id AND model.id = NEW.model_version_id
                     AND run.kind = 'combine' AND model.kind = 'reward') THEN
        RAISE EXCEPTION 'run_member: only reward models of the run''s own project are combined, by a run for it'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER run_member_belongs BEFORE INSERT ON labelapp_runmember
    FOR EACH ROW EXECUTE FUNCTION labelapp_run_member_guard();
"""

FUNCTIONS_REVERSE = """
DROP TRIGGER run_member_belongs ON labelapp_runmember;
DROP FUNCTION labelapp_run_member_guard();
"""


# Undone first, so that all triggers stay where it refuses.
NO_WAY_BACK = """
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM labelapp_run WHERE kind = 'combine') THEN
        RAISE EXCEPTION 'There are runs that combine models, which the schema before cannot hold: delete them first.';
    END IF;
END $$;
"""


def frozen(table: str, columns: list[str]) -> migrations.RunSQL:
    """A trigger that refuses changes of these columns."""
    arguments = ", ".join(f"'{column}'" for column in columns)
    name = f"{table}_combination_frozen"
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION labelapp_frozen({arguments})",
        f"DROP TRIGGER {name} ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("labelapp", "0007_combinations")]
    operations = [
        migrations.RunSQL(FUNCTIONS, FUNCTIONS_REVERSE),
        *(frozen(table, columns) for table, columns in FROZEN_COLUMNS.items()),
        migrations.RunSQL(migrations.RunSQL.noop, NO_WAY_BACK),
    ]
