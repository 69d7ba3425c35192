"""The demo that learns: a project in which a small model writes notes to friends, and a panel can label them.

Its text, its model and what is wanted of a note are all made here (`language.py`, `model/`, `gold.py`), so a turn of
the ring takes a minute or two on a laptop, and everybody can see whether the notes became better.
"""

from pathlib import Path

from django.db import connection, transaction

from labelapp.accounts.services import membership_grant
from labelapp.artifacts.services import artifact_publish
from labelapp.demo.accounts import SLUG as FIRST_SLUG
from labelapp.demo.gold import GOLD_IN_A_SENTENCE
from labelapp.demo.language import instructions
from labelapp.demo.panel_work import panel_add
from labelapp.demo.seed import SEED_LOCK
from labelapp.models import Artifact, Membership, ModelVersion, Project, Protocol, Role, User
from labelapp.projects.services import project_create, protocol_create
from labelapp.projects.specs import ProtocolSpec
from labelapp.prompts.content import PromptContent
from labelapp.prompts.services import prompts_import
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_sample, round_start

NAME = "Notes to friends"
SLUG = "notes"
DESCRIPTION = """\
A very small model writes notes to friends. Rank what it wrote, or let the simulated panel do it, and train the next \
one: its notes should be better. Everything here is made up."""
GUIDELINES = f"""\
{GOLD_IN_A_SENTENCE}

Two notes are about equal when you would not care which one your friend received."""
PROTOCOL = ProtocolSpec(name="Notes", guidelines=GUIDELINES, likert_points=0, strength_steps=9)
MODEL = Path(__file__).with_name("model") / "base"
BASE = "notes-base"
PROMPTS = 1500
PROMPTS_SEED = 20_000
"""Another than the model was made with: it has not seen these prompts."""


@transaction.atomic
def notes_seed() -> Project | None:
    """Make the project with the demo's people; None where it was made before, or the first demo is not there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEED_LOCK])
    first = Project.objects.filter(slug=FIRST_SLUG, created_by__isnull=False).select_related("created_by").first()
    if first is None or first.created_by is None or Project.objects.filter(slug=SLUG).exists():
        return None
    admin = first.created_by
    project = project_create(name=NAME, description=DESCRIPTION, created_by=admin)
    project.slug = SLUG
    project.save(update_fields=["slug"])
    for membership in Membership.objects.filter(project=first, ended_at__isnull=True).exclude(user=admin):
        membership_grant(project=project, user=membership.user, role=Role(membership.role), actor=admin)
    protocol, base = notes_fill(project=project, admin=admin)
    made = round_start(project=project, policy=base, options=notes_options(protocol), created_by=admin)
    round_sample(round=made, actor=admin)
    return project


@transaction.atomic
def notes_fill(
    *, project: Project, admin: User, seed: int = PROMPTS_SEED, prompts: int = PROMPTS
) -> tuple[Protocol, ModelVersion]:
    """Bring prompts, a protocol, the panel and the small model into a project."""
    asked = [
        PromptContent(messages=instruction.messages, source=NAME, language="en")
        for instruction in instructions(seed, prompts)
    ]
    prompts_import(project=project, prompts=asked)
    panel_add(project=project, actor=admin)
    weights = artifact_publish(path=MODEL, project=project, kind=Artifact.Kind.MODEL, name=BASE)
    base = ModelVersion.objects.create(
        project=project, name=BASE, kind=ModelVersion.Kind.BASE, state=ModelVersion.State.READY, weights=weights
    )
    return protocol_create(project=project, spec=PROTOCOL, actor=admin), base


def notes_options(protocol: Protocol | None = None, *, seed: int = 0) -> RoundOptions:
    """How a round of the demo is done: what was found to raise every part of gold without breaking the text."""
    learning = {"seed": seed, "prompts_per_step": 16, "warmup": 0.1, "final_rate": 0.0}
    return RoundOptions(
        protocol=protocol.pk if protocol else None,
        prompts=256,
        sampling={"n": 4, "max_tokens": 80, "seed": seed},
        reward={**learning, "learning_rate": 1e-3, "epochs": 2},
        preference={**learning, "learning_rate": 3e-4, "epochs": 3, "beta": 0.1, "nll_weight": 0.5},
    )
