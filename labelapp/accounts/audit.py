"""Writing the audit trail."""

from django.db import models

from labelapp.models import AuditEntry, User


def audit_record(
    *, actor: User | None, verb: str, subject: models.Model, project_id: int | None, **data: int | float | str | None
) -> None:
    """Note that `actor` (or the system) did `verb` to `subject`. `data` takes ids, numbers and states, never text."""
    AuditEntry.objects.create(
        actor_id=actor.pk if actor else None,
        project_id=project_id,
        verb=verb,
        object_type=subject._meta.label_lower.split(".")[-1],
        object_id=subject.pk,
        data=data,
    )
