"""Completions that labelers improved: texts of the project's own human writer."""

from hashlib import sha256

from labelapp.models import ComparisonTask, Completion, ModelVersion

WRITER = "Edited by labelers"


def edit_make(*, task_id: int, text: str) -> Completion:
    """The completion with this text to the task's prompt, written by the project's labelers; made where it is new."""
    task = ComparisonTask.objects.select_related("batch").get(pk=task_id)
    writer, _ = ModelVersion.objects.get_or_create(
        project_id=task.batch.project_id, name=WRITER, defaults={"kind": ModelVersion.Kind.HUMAN}
    )
    digest = sha256(text.encode()).hexdigest()
    completion, _ = Completion.objects.get_or_create(
        prompt_id=task.prompt_id, model_version=writer, source_key=digest, defaults={"text": text, "text_hash": digest}
    )
    return completion
