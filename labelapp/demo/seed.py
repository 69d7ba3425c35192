"""The demo: a project with people, data from outside and a batch to label, made by the services that pages use."""

from pathlib import Path

from django.db import connection, transaction

from labelapp.accounts.services import annotator_update, membership_grant
from labelapp.artifacts.services import artifact_publish
from labelapp.datasets import tasks as import_tasks  # noqa: F401 (registers the job handler)
from labelapp.datasets.services import import_begin
from labelapp.demo.accounts import SLUG, Account, accounts_keep, password_new
from labelapp.errors import DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim
from labelapp.labeling import tasks as batch_tasks  # noqa: F401 (registers the job handler)
from labelapp.labeling.services.batches import BatchPlan, PromptChoice, batch_create
from labelapp.models import Annotator, Artifact, Batch, Job, Project, Protocol, Role, User
from labelapp.projects.services import project_create
from labelapp.writing.services import prompts_asked_set

NAME = "Home and garden demo"
DESCRIPTION = """\
Two small models and a few people answered questions about gardens, kitchens, code and school maths. Which answers are \
best? Everything here is made up, so label, change and break whatever you like."""
PROMPTS = Path(__file__).with_name("prompts.jsonl")
ADMIN = ("Omar", Role.ADMIN)
OTHERS = (("Rita", Role.REVIEWER), ("Lena", Role.LABELER), ("Liam", Role.LABELER))
LANGUAGES = ["en", "ar", "zh-Hans"]
"""Those of the demo's prompts. Everybody but the admin reads them all, so that each task finds its three people."""
BATCH = BatchPlan(name="First answers", k=6, overlap=1, shared_share=0.15, shared_overlap=3)
ANSWERS = BatchPlan(
    name="Ideal answers", work=Batch.Work.DEMONSTRATION.value, shared_share=0, shared_overlap=1, languages=["en"]
)
ANSWERS_WANTED = 6
USE_CASES = [
    "Deciding what to plant or cook with what is there this week",
    "Understanding why something in the garden, the kitchen or a script went wrong",
    "Explaining a piece of school maths to a child who is stuck",
]
SEED_LOCK = 4_711_101
"""Number of the advisory lock under which one process at a time looks for the demo, and makes it."""


@transaction.atomic
def demo_seed() -> list[Account] | None:
    """Make the demo and return its accounts; None where its project, or one of its accounts, was made before.

    All of it is one transaction, so a kill leaves nothing behind that the next start could trip over. Raises
    DomainError when a job of it fails, and OSError when the passwords cannot be kept.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEED_LOCK])
    emails = [_email(name) for name, _ in (ADMIN, *OTHERS)]
    if Project.objects.filter(slug=SLUG).exists() or User.objects.filter(email__in=emails).exists():
        return None
    accounts = [Account(name, role.label, _email(name), password_new()) for name, role in (ADMIN, *OTHERS)]
    admin, *others = [_user_create(account, is_staff=account.role == Role.ADMIN.label) for account in accounts]
    project = _project_create(admin)
    _members_join(project, admin, others)
    protocol = Protocol.objects.get(project=project)
    _prompts_import(project)
    _batch_open(project, protocol, admin, BATCH, PromptChoice())
    _batch_open(project, protocol, admin, ANSWERS, PromptChoice(limit=ANSWERS_WANTED))
    prompts_asked_set(project=project, asks=True, use_cases=USE_CASES, actor=admin)
    # Before the commit: an account whose password nobody knows would be worse than a file too many.
    accounts_keep(accounts)
    return accounts


def _email(name: str) -> str:
    return f"{name.lower()}@demo.localhost"


def _user_create(account: Account, *, is_staff: bool) -> User:
    return User.objects.create_user(account.email, account.password, name=account.name, is_staff=is_staff)


def _project_create(admin: User) -> Project:
    project = project_create(name=NAME, description=DESCRIPTION, created_by=admin)
    project.slug = SLUG
    project.save(update_fields=["slug"])
    return project


def _members_join(project: Project, admin: User, others: list[User]) -> None:
    for user, (_, role) in zip(others, OTHERS, strict=True):
        membership_grant(project=project, user=user, role=role, actor=admin)
        annotator = Annotator.objects.get(project=project, user=user)
        annotator_update(annotator=annotator, actor=user, languages=LANGUAGES, accepts_sensitive=["medical"])


def _prompts_import(project: Project) -> None:
    artifact = artifact_publish(path=PROMPTS, project=project, kind=Artifact.Kind.UPLOAD, name=PROMPTS.name)
    _job_do(import_begin(project=project, artifact=artifact, strict=True))


def _batch_open(project: Project, protocol: Protocol, admin: User, plan: BatchPlan, choice: PromptChoice) -> None:
    _, job = batch_create(
        project=project, protocol=protocol, plan=plan, choice=choice, open_when_made=True, actor=admin
    )
    run = job_claim(job.pk)
    if run:
        _job_do(run)


def _job_do(run: JobRun) -> None:
    """Do a job here and now: the demo is there whole when the site starts, with or without workers."""
    job_execute(run)
    job = Job.objects.get(pk=run.job.pk)
    if job.state != Job.State.SUCCEEDED:
        raise DomainError(f"The demo could not be made. “{job.title}” failed: {job.message or job.error}")
