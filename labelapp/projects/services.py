"""Writes about projects and protocols."""

from dataclasses import asdict

from django.db import transaction
from django.db.models import Max
from django.utils.text import slugify

from labelapp.accounts.audit import audit_record
from labelapp.accounts.services import membership_grant
from labelapp.errors import ConflictError, DomainError
from labelapp.models import PracticeExample, Project, Protocol, Question, Role, User
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.specs import (
    ProtocolSpec,
    protocol_problems,
    question_problems,
    repeated_keys,
    spec_of,
)
from labelapp.projects.worked_examples import WORKED_EXAMPLES

SLUG_LENGTH = 60
RESERVED_SLUGS = {"new"}
"""Words that stand where a project's slug does in an address."""


@transaction.atomic
def project_create(*, name: str, created_by: User, description: str = "") -> Project:
    """Create a project with its first admin, the default protocol, and worked examples to practise it on.

    The slug is made from the name; a taken one gets a number. Raises DomainError for an empty or overlong name.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= 100:
        raise DomainError("A project needs a name of at most 100 characters.")
    project = _project_save(name, description.strip(), created_by)
    membership_grant(project=project, user=created_by, role=Role.ADMIN, actor=created_by)
    audit_record(actor=created_by, verb="project_create", subject=project, project_id=project.pk)
    protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=created_by)
    PracticeExample.objects.bulk_create(
        PracticeExample(project=project, protocol_name=DEFAULT_PROTOCOL.name, position=position, **example)
        for position, example in enumerate(WORKED_EXAMPLES)
    )
    return project


@transaction.atomic
def protocol_create(*, project: Project, spec: ProtocolSpec, actor: User | None) -> Protocol:
    """Create the first version of a protocol.

    Raises DomainError when a rule is broken, and ConflictError when the project has a protocol of that name.
    """
    _protocol_check(spec)
    _versions_lock(project)
    name = spec.name.strip()
    if Protocol.objects.filter(project=project, name__iexact=name).exists():
        raise ConflictError(
            f"There is a protocol “{name}” here already. Choose another name, or make a new version of it."
        )
    return _protocol_save(project, spec, name, version=1, actor=actor)


@transaction.atomic
def protocol_revise(*, protocol: Protocol, spec: ProtocolSpec, actor: User | None) -> Protocol:
    """Make the next version of a protocol, under its name. The versions before stay as they are.

    Raises DomainError when a rule is broken, and ConflictError when the newest version says the same already.
    """
    _protocol_check(spec)
    _versions_lock(protocol.project)
    versions = Protocol.objects.filter(project=protocol.project_id, name=protocol.name)
    newest = versions.order_by("-version")[0]
    if spec_of(newest) == spec:
        raise ConflictError(f"Nothing differs from version {newest.version}, so there is no new version to make.")
    number = versions.aggregate(highest=Max("version"))["highest"] + 1
    return _protocol_save(protocol.project, spec, protocol.name, version=number, actor=actor)


def _project_save(name: str, description: str, created_by: User) -> Project:
    """Save under the first free slug. The unique index decides, so two people at once get two slugs."""
    stem = slugify(name)[: SLUG_LENGTH - 6].strip("-") or "project"
    for number in range(1, 10_000):
        slug = stem if number == 1 else f"{stem}-{number}"
        if slug in RESERVED_SLUGS:
            continue
        project, created = Project.objects.get_or_create(
            slug=slug, defaults={"name": name, "description": description, "created_by": created_by}
        )
        if created:
            return project
    raise DomainError(f"There are too many projects called “{name}”. Choose another name.")


def _protocol_check(spec: ProtocolSpec) -> None:
    problems = list(protocol_problems(spec).values())
    for number, question in enumerate(spec.questions, start=1):
        problems += [f"Question {number}: {problem}" for problem in question_problems(question).values()]
    problems += [f"The key “{key}” is used by several questions." for key in sorted(repeated_keys(spec.questions))]
    if problems:
        raise DomainError(" ".join(problems))


def _versions_lock(project: Project) -> None:
    """Let one person at a time choose a version number in this project."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _protocol_save(project: Project, spec: ProtocolSpec, name: str, *, version: int, actor: User | None) -> Protocol:
    fields = asdict(spec) | {"name": name}
    questions = fields.pop("questions")
    protocol = Protocol.objects.create(project=project, version=version, created_by=actor, **fields)
    Question.objects.bulk_create(
        Question(protocol=protocol, position=position, **question) for position, question in enumerate(questions)
    )
    verb = "protocol_create" if version == 1 else "protocol_revise"
    audit_record(actor=actor, verb=verb, subject=protocol, project_id=project.pk, version=version)
    return protocol
