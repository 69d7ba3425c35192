"""A project with one row of everything that an address can name."""

from dataclasses import dataclass
from functools import cached_property

from django.utils import timezone

from labelapp.accounts.services import invitation_create
from labelapp.artifacts.services import artifact_write
from labelapp.datasets.services import KIND
from labelapp.desk.services import dispute_make, inquiry_make
from labelapp.guidelines.services import example_create
from labelapp.labeling.seating import seating_new, seating_sign
from labelapp.labeling.selectors import BUILD
from labelapp.labeling.services.seats import seat_take
from labelapp.models import (
    Annotator,
    Artifact,
    ComparisonTask,
    Draft,
    GuidelineExample,
    Inquiry,
    Job,
    ModelVersion,
    PracticeExample,
    Project,
    Protocol,
    Report,
    Role,
    Round,
    Run,
    Seat,
    Snapshot,
    TimeDispute,
    User,
)
from labelapp.projects.worked_examples import WORKED_EXAMPLES
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_start
from tests import factories


@dataclass
class World:
    """One row of everything that an address can name."""

    project: Project
    protocol: Protocol
    omar: User
    lena: User

    def __post_init__(self) -> None:
        self.batch = factories.batch_with_tasks(self.project, self.protocol, tasks=5, k=2)
        self.annotator = Annotator.objects.get(user=self.lena)
        seat = seat_take(annotator_id=self.annotator.pk)
        assert seat is not None
        self.seat: Seat = seat
        self.invitation, self.secret = invitation_create(project=self.project, role=Role.LABELER, created_by=self.omar)

    @cached_property
    def job(self) -> Job:
        """An import that waits, with rejected rows of an earlier attempt."""
        rejects = artifact_write(
            chunks=[b"{}"], project=self.project, kind=Artifact.Kind.REJECTS, name="pears-rejects.jsonl"
        )
        return Job.objects.create(project=self.project, kind=KIND, title="pears.jsonl", result={"rejects": rejects.pk})

    def broken_build(self) -> dict[str, str]:
        """A failed job that was to make the batch's tasks; its form has no fields."""
        payload = {"batch": self.batch.pk, "choice": {}, "open": False}
        Job.objects.create(
            project=self.project, kind=BUILD, state=Job.State.FAILED, finished_at=timezone.now(), payload=payload
        )
        return {}

    @cached_property
    def snapshot(self) -> Snapshot:
        """One comparison, frozen."""
        return factories.snapshot_make(self.project)

    @cached_property
    def run(self) -> Run:
        """A run that waits; its starting model is the model of the addresses."""
        return factories.run_make(self.project)

    @cached_property
    def sampling(self) -> Job:
        """A sampling that waits."""
        payload = {"models": [], "choice": {}, "options": {}}
        return Job.objects.create(project=self.project, kind="sample", title="Sampling", payload=payload)

    @cached_property
    def round(self) -> Round:
        """A round of which nothing is done; the step of the addresses is its first."""
        return round_start(
            project=self.project, policy=self.run.start, options=RoundOptions(prompts=2), created_by=self.omar
        )

    @cached_property
    def example(self) -> GuidelineExample:
        """An example in the guidelines."""
        return example_create(
            project=self.project, protocol_name=self.protocol.name, title="Poems", text="Read.", actor=self.omar
        )

    @cached_property
    def practice(self) -> PracticeExample:
        """A worked example to practise on."""
        return PracticeExample.objects.create(
            project=self.project, protocol_name=self.protocol.name, **WORKED_EXAMPLES[0]
        )

    @cached_property
    def to_write(self) -> ComparisonTask:
        """A prompt that lena has begun to answer."""
        task = factories.batch_to_write(self.project, self.protocol, tasks=1).tasks.get()
        now = timezone.now()
        Draft.objects.create(annotator=self.annotator, task=task, opened_at=now, saved_at=now)
        return task

    def answer(self) -> dict[str, str]:
        """Lena's form for writing an answer, filled in."""
        task = self.to_write.pk
        seating = seating_new(task_id=task, annotator_id=self.annotator.pk, seat=None, draft=None)
        return {"seating": seating_sign(seating), "answer": "In late winter."}

    def written(self) -> dict[str, str]:
        """The same form, after she has sent another answer with it."""
        factories.demonstration_make(self.to_write, self.annotator, "In winter.")
        return self.answer()

    def failed_run(self) -> dict[str, str]:
        """The run's job ended badly; the form that resumes it has no fields."""
        Job.objects.filter(pk=self.run.job_id).update(state=Job.State.FAILED, finished_at=timezone.now())
        return {}

    def ready_reward_model(self) -> dict[str, str]:
        """The model of the addresses is a reward model; the form that has it score has no fields."""
        ModelVersion.objects.filter(pk=self.run.start_id).update(kind=ModelVersion.Kind.REWARD)
        return {}

    def reported_run(self) -> dict[str, str]:
        """The run wrote a report."""
        Run.objects.filter(pk=self.run.pk).update(report={"metrics": {"accuracy": 0.7}})
        return {}

    def kept_model(self) -> dict[str, str]:
        """The files of the model of the addresses are kept here, with a card."""
        weights = factories.folder_make(self.project, {"README.md": "# Pears", "config.json": "{}"})
        ModelVersion.objects.filter(pk=self.run.start_id).update(weights=weights)
        return {}

    def slip(self) -> dict[str, str]:
        """What lena's labeling form carries."""
        seating = seating_new(task_id=self.seat.task_id, annotator_id=self.annotator.pk, seat=self.seat, draft=None)
        return {"seating": seating_sign(seating), "revision": "1"}

    @cached_property
    def report(self) -> Report:
        """Lena says that something is broken in the task she holds."""
        return Report.objects.create(
            project=self.project, task=self.seat.task, annotator=self.annotator, kind=Report.Kind.BROKEN
        )

    @cached_property
    def inquiry(self) -> Inquiry:
        """Lena's question about the task she holds."""
        return inquiry_make(annotator=self.annotator, task=self.seat.task, text="Is a short answer better?")

    @cached_property
    def dispute(self) -> TimeDispute:
        """Lena misses ten minutes of today."""
        return dispute_make(annotator=self.annotator, day=timezone.localdate(), claimed_seconds=600, text="Lost.")

    def claim(self) -> dict[str, str]:
        """Somebody misses five minutes of today."""
        return {"day": timezone.localdate().isoformat(), "minutes": "5", "text": "It was lost."}

    def judgement(self) -> dict[str, str]:
        """Lena's labeling form, filled in."""
        return self.slip() | {"preference": "1", "likert-A": "7", "likert-B": "2"}
