"""Who did what, in ids and never in text."""

from django.db import models


class AuditEntry(models.Model):
    """One act. The database refuses changes. No foreign keys, so erasing a person leaves the history whole."""

    actor_id = models.BigIntegerField(null=True, help_text="User, or nothing for the system itself.")
    project_id = models.BigIntegerField(null=True)
    verb = models.CharField(max_length=50)
    object_type = models.CharField(max_length=50)
    object_id = models.BigIntegerField()
    data = models.JSONField(default=dict, blank=True, help_text="Ids, numbers and states only.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project_id", "-created_at"], name="audit_project")]
