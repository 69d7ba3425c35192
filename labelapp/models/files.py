"""Files by content."""

from django.db import models

from labelapp.models.projects import Project


class Artifact(models.Model):
    """A file known by its SHA-256, or a folder known by the SHA-256 of the list of its files."""

    class Kind(models.TextChoices):
        """What the file is."""

        UPLOAD = "upload", "Upload"
        REJECTS = "rejects", "Rejected rows"
        SNAPSHOT = "snapshot", "Snapshot"
        MODEL = "model", "Model"
        LOG = "log", "Log"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes; of a folder, those of all its files.")
    is_folder = models.BooleanField(default=False)
    uri = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "sha256", "name"], name="artifact_content_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["upload", "rejects", "snapshot", "model", "log"]),
                name="artifact_kind_known",
            ),
        ]
