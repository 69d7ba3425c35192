"""A project with people and an open batch, for load; and what became of its labels. Django must be set up."""

PASSWORD = "a long enough password"
SLUG = "load"
COMPLETION = (
    "Water it **deeply** once a week.\n\n- in the morning\n- at the root\n\nMore in hot summers, less in winter."
)


def build(labelers: int, tasks: int, overlap: int, k: int, texts: tuple[str, ...] = (COMPLETION,)) -> list[str]:
    """A project with an open batch of tasks and its people; returns their addresses. `texts` are answered in turn."""
    from hashlib import sha256

    from django.utils import timezone

    from labelapp.accounts.services import membership_grant
    from labelapp.labeling.services.batches import PromptChoice, tasks_create
    from labelapp.models import Batch, Completion, ModelVersion, Prompt, Role, User
    from labelapp.projects.services import project_create

    admin = User.objects.create_user(email="admin@example.com", name="Admin")
    project = project_create(name=SLUG.capitalize(), created_by=admin)
    protocol = project.protocols.get()
    project.protocols.update(used_at=timezone.now())  # as making a batch on its page does
    emails = [f"person{number}@example.com" for number in range(labelers)]
    for email in emails:
        user = User.objects.create_user(email=email, password=PASSWORD, name=email.partition("@")[0])
        membership_grant(project=project, user=user, role=Role.LABELER, actor=None)
    model = ModelVersion.objects.create(project=project, name="any", kind="external")
    prompts = Prompt.objects.bulk_create(
        Prompt(
            project=project,
            messages=[{"role": "user", "content": f"How often do I water plant {number}?"}],
            content_hash=str(number),
            split="train",
        )
        for number in range(tasks)
    )
    Completion.objects.bulk_create(
        Completion(
            prompt=prompt,
            model_version=model,
            text=text,
            text_hash=sha256(text.encode()).hexdigest(),
            source_key=str(number),
        )
        for place, prompt in enumerate(prompts)
        for number in range(k)
        if (text := f"{texts[number % len(texts)]} That is answer {number} about plant {place}.")
    )
    batch = Batch.objects.create(
        project=project, protocol=protocol, name="All", k=k, overlap=overlap, shared_share=0, shared_overlap=overlap
    )
    ids = [prompt.pk for prompt in prompts]
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        tasks_create(batch=batch, prompt_ids=chunk, choice=PromptChoice(), probability=1.0, salt=project.salt)
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.OPEN)
    return emails


def seats_cut_short(email: str) -> None:
    """Let five minutes pass for one who left: their seat and the one reserved for them; then do as beat does."""
    from datetime import timedelta

    from django.db import connection
    from django.utils import timezone

    from labelapp.labeling.services.seats import seats_expire
    from labelapp.models import Seat

    Seat.objects.filter(annotator__user__email=email, state__in=[Seat.State.HELD, Seat.State.RESERVED]).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
    seats_expire()
    connection.close()


def counts(submitted: list[tuple[str, int]], overlap: int) -> dict[str, int]:
    """What the database says afterwards, held against what the labelers were told."""
    from django.db.models import Count, Q

    from labelapp.models import Annotation, ComparisonTask, Seat

    counted = Q(annotations__surplus=False)
    tasks = ComparisonTask.objects.annotate(
        counted=Count("annotations", filter=counted),
        people=Count("annotations__annotator", filter=counted, distinct=True),
    )
    stored = set(Annotation.objects.values_list("annotator__user__email", "task_id"))
    return {
        "duplicates": sum(task.counted > overlap or task.people < task.counted for task in tasks),
        "short": sum(task.counted < overlap for task in tasks),
        "lost": len(set(submitted) - stored),
        "stranded": Seat.objects.exclude(state=Seat.State.FILLED).count(),
        "surplus": Annotation.objects.filter(surplus=True).count(),
    }
