"""Writing protocols, below the pages."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labelapp.errors import ConflictError, DomainError
from labelapp.models import AuditEntry, Project, Protocol, Question, User
from labelapp.projects.services import protocol_create, protocol_revise
from labelapp.projects.specs import ProtocolSpec, QuestionSpec, spec_of

SPEC = ProtocolSpec(
    name="Tone",
    guidelines="Be **kind**.",
    questions=(
        QuestionSpec(key="rude", text="Is rude", severity="severe"),
        QuestionSpec(key="warm", text="Is warm", polarity="good", severity="none", allows_na=True),
    ),
)


def test_it_stores_what_was_asked_for(project: Project, omar: User) -> None:
    made = protocol_create(project=project, spec=SPEC, actor=omar)
    assert spec_of(Protocol.objects.get()) == SPEC
    assert (made.version, made.created_by) == (1, omar)
    assert AuditEntry.objects.filter(verb="protocol_create", object_id=made.pk, actor_id=omar.pk).exists()


def test_it_stores_nothing_when_a_rule_is_broken(project: Project, omar: User) -> None:
    broken = replace(SPEC, strength_steps=9, ties_allowed=False, questions=(SPEC.questions[0],) * 2)
    with pytest.raises(DomainError) as refusal:
        protocol_create(project=project, spec=broken, actor=omar)
    assert "about equal" in refusal.value.message
    assert "“rude” is used by several" in refusal.value.message
    assert not Protocol.objects.exists()


def test_the_refusal_says_which_question_is_wrong(project: Project, omar: User) -> None:
    wrong = replace(SPEC.questions[1], severity="severe")
    with pytest.raises(DomainError, match="Question 2: Only a question whose yes is bad has a weight"):
        protocol_create(project=project, spec=replace(SPEC, questions=(SPEC.questions[0], wrong)), actor=omar)


def test_a_name_is_taken_once_in_a_project(project: Project, omar: User) -> None:
    protocol_create(project=project, spec=SPEC, actor=omar)
    with pytest.raises(ConflictError, match="There is a protocol “tone” here already"):
        protocol_create(project=project, spec=replace(SPEC, name=" tone "), actor=omar)
    other = Project.objects.create(name="Other", slug="other")
    assert protocol_create(project=other, spec=SPEC, actor=omar).version == 1


def test_revising_makes_the_next_version_and_leaves_the_old(project: Project, omar: User) -> None:
    first = protocol_create(project=project, spec=SPEC, actor=omar)
    Protocol.objects.filter(pk=first.pk).update(used_at=timezone.now())
    second = protocol_revise(protocol=first, spec=replace(SPEC, likert_points=5), actor=omar)
    assert (second.name, second.version, second.used_at) == ("Tone", 2, None)
    assert spec_of(first) == SPEC
    assert spec_of(second) == replace(SPEC, likert_points=5)
    entry = AuditEntry.objects.get(verb="protocol_revise")
    assert (entry.object_id, entry.data) == (second.pk, {"version": 2})


def test_revising_an_old_version_still_counts_on(project: Project, omar: User) -> None:
    first = protocol_create(project=project, spec=SPEC, actor=omar)
    protocol_revise(protocol=first, spec=replace(SPEC, likert_points=5), actor=omar)
    third = protocol_revise(protocol=first, spec=replace(SPEC, likert_points=10), actor=omar)
    assert third.version == 3


def test_the_name_stays_whatever_the_spec_says(project: Project, omar: User) -> None:
    first = protocol_create(project=project, spec=SPEC, actor=omar)
    assert protocol_revise(protocol=first, spec=replace(SPEC, name="Other"), actor=omar).name == "Tone"


def test_nothing_new_makes_no_version(project: Project, omar: User) -> None:
    first = protocol_create(project=project, spec=SPEC, actor=omar)
    with pytest.raises(ConflictError, match="Nothing differs from version 1"):
        protocol_revise(protocol=first, spec=SPEC, actor=omar)
    second = protocol_revise(protocol=first, spec=replace(SPEC, likert_points=5), actor=omar)
    assert protocol_revise(protocol=second, spec=SPEC, actor=omar).version == 3


@pytest.mark.django_db(transaction=True)
def test_two_who_revise_at_once_get_two_versions(project: Project, omar: User) -> None:
    first = protocol_create(project=project, spec=SPEC, actor=omar)

    def revise(points: int) -> int:
        try:
            return protocol_revise(protocol=first, spec=replace(SPEC, likert_points=points), actor=omar).version
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=3) as pool:
        assert sorted(pool.map(revise, [0, 5, 10])) == [2, 3, 4]


def test_the_database_itself_refuses_to_change_a_used_protocol(project: Project, omar: User) -> None:
    made = protocol_create(project=project, spec=SPEC, actor=omar)
    Protocol.objects.filter(pk=made.pk).update(used_at=timezone.now())
    changes: list[Callable[[], object]] = [
        lambda: Protocol.objects.update(guidelines="Be unkind."),
        lambda: Question.objects.filter(protocol=made).delete(),
        lambda: Question.objects.create(protocol=made, key="late", text="Comes late"),
    ]
    for change in changes:
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    assert spec_of(made) == SPEC
