"""The demo in the database: whole or not at all, and once."""

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.accounts.services import membership_end
from labelapp.demo.accounts import accounts_kept, accounts_path
from labelapp.demo.seed import ANSWERS, ANSWERS_WANTED, BATCH, PROMPTS, USE_CASES, demo_seed
from labelapp.errors import DomainError
from labelapp.labeling.services.seats import seat_take
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    Completion,
    Demonstration,
    Job,
    Membership,
    ModelVersion,
    Project,
    Prompt,
    Role,
    Seat,
    User,
)
from labelapp.writing.selectors import use_cases_of
from tests.factories import annotation_make

pytestmark = pytest.mark.django_db


def test_it_makes_a_project_with_its_four_people() -> None:
    demo_seed()
    project = Project.objects.get(slug="demo")
    roles = dict(Membership.objects.filter(project=project).values_list("user__name", "role"))
    assert roles == {"Omar": Role.ADMIN, "Rita": Role.REVIEWER, "Lena": Role.LABELER, "Liam": Role.LABELER}
    assert project.created_by == User.objects.get(name="Omar")


def test_only_the_admin_may_create_projects() -> None:
    demo_seed()
    assert list(User.objects.filter(is_staff=True).values_list("email", flat=True)) == ["omar@demo.localhost"]
    assert not User.objects.filter(is_superuser=True).exists()


def test_it_imports_every_prompt_with_what_people_said_about_it() -> None:
    demo_seed()
    assert Prompt.objects.count() == len(PROMPTS.read_bytes().splitlines())
    assert Completion.objects.count() > 3 * Prompt.objects.count()
    assert set(ModelVersion.objects.values_list("name", "kind")) == {
        ("sprout-small", "external"),
        ("sprout-large", "external"),
        ("human", "human"),
    }
    assert Annotation.objects.filter(annotator__kind=Annotator.Kind.EXTERNAL).count() == 13
    assert Demonstration.objects.count() == 2


def test_every_prompt_waits_in_one_open_batch() -> None:
    demo_seed()
    batch = Batch.objects.get(name=BATCH.name)
    assert batch.state == Batch.State.OPEN
    assert batch.protocol.name == "General quality"
    assert batch.tasks.count() == Prompt.objects.count()
    assert set(batch.tasks.values_list("overlap", flat=True)) <= {1, 3}
    others = dict(Batch.objects.exclude(pk=batch.pk).values_list("name", "state"))
    assert others == {ANSWERS.name: Batch.State.OPEN, "Imported labels": Batch.State.CLOSED}


def test_a_few_prompts_wait_for_an_ideal_answer() -> None:
    demo_seed()
    batch = Batch.objects.get(name=ANSWERS.name)
    assert (batch.work, batch.tasks.count()) == (Batch.Work.DEMONSTRATION, ANSWERS_WANTED)
    lena = Annotator.objects.get(user__name="Lena")
    assert seat_take(annotator_id=lena.pk, work=Batch.Work.DEMONSTRATION) is not None


def test_labelers_may_write_prompts_for_use_cases() -> None:
    demo_seed()
    project = Project.objects.get()
    assert (project.asks_prompts, use_cases_of(project)) == (True, USE_CASES)


def test_its_jobs_are_done_when_it_returns() -> None:
    demo_seed()
    ended = sorted(Job.objects.values_list("kind", "state"))
    assert ended == [("batch_build", "succeeded"), ("batch_build", "succeeded"), ("import", "succeeded")]


def test_its_people_can_finish_the_batch() -> None:
    demo_seed()
    people = list(Annotator.objects.filter(user__name__in=["Lena", "Liam", "Rita"]))
    for person in people:
        while seat := seat_take(annotator_id=person.pk):
            annotation_make(seat.task, person, seat=seat)
            Seat.objects.filter(pk=seat.pk).update(state=Seat.State.FILLED, lease_until=None)
    seats = Seat.objects.filter(pool__batch__work=Batch.Work.COMPARISON)
    assert seats.exists()
    assert not seats.exclude(state=Seat.State.FILLED).exists()


def test_a_second_time_changes_nothing() -> None:
    demo_seed()
    before = accounts_path().read_text(), Prompt.objects.count(), Batch.objects.count(), User.objects.count()
    assert demo_seed() is None
    assert (accounts_path().read_text(), Prompt.objects.count(), Batch.objects.count(), User.objects.count()) == before


def test_what_people_changed_stays() -> None:
    demo_seed()
    lena = Membership.objects.get(user__name="Lena")
    membership_end(membership=lena, actor=User.objects.get(name="Omar"))
    Project.objects.update(name="Ours now", slug="ours")
    assert demo_seed() is None
    assert [project.name for project in Project.objects.all()] == ["Ours now"]
    assert Membership.objects.get(pk=lena.pk).ended_at


def test_a_project_that_somebody_called_demo_is_left_alone(project: Project) -> None:
    Project.objects.update(slug="demo")
    assert demo_seed() is None
    assert not User.objects.exists()
    assert not accounts_path().exists()


def test_nothing_stays_when_its_file_cannot_be_kept(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.ARTIFACT_ROOT = tmp_path / "file"
    with pytest.raises(DomainError, match="nothing was kept"):
        demo_seed()
    assert not User.objects.exists()
    assert not Project.objects.exists()


def test_nothing_stays_when_the_passwords_cannot_be_kept(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / "file"
    with pytest.raises(OSError, match="file"):
        demo_seed()
    assert not User.objects.exists()
    assert not Prompt.objects.exists()


def test_it_returns_the_accounts_that_it_kept() -> None:
    assert demo_seed() == accounts_kept()
