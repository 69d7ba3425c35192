"""Pages of snapshots."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim
from labelapp.models import Annotator, Batch, Job, Project, Protocol, Snapshot, User
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere, freeze
from tests.query_counts import query_count

pytestmark = pytest.mark.usefixtures("own_folders")

SignIn = Callable[[User], Client]


@pytest.fixture
def crowd(project: Project) -> Annotator:
    return factories.external_make(project)


@pytest.fixture
def batch(project: Project, protocol: Protocol, crowd: Annotator) -> Batch:
    """Two tasks, one of them labelled."""
    batch = batch_labelled_elsewhere(project, protocol)
    factories.annotation_make(batch.tasks.earliest("pk"), crowd, ranking=[[0], [1, 2]])
    return batch


@pytest.fixture
def snapshots(project: Project, batch: Batch, crowd: Annotator) -> tuple[Snapshot, Snapshot]:
    """Two, the second with one label more."""
    first = freeze(project).result["snapshot"]
    factories.annotation_make(batch.tasks.latest("pk"), crowd)
    second = freeze(project).result["snapshot"]
    return Snapshot.objects.get(pk=first), Snapshot.objects.get(pk=second)


def form(**changes: object) -> dict[str, object]:
    """What the form sends when nothing is changed, but for labels that count at once."""
    return {
        "minimum_state": "submitted",
        "settled_hours": "24",
        "combine": "all",
        "ties": "keep",
        "groups": ["training"],
        "kinds": ["person", "external", "judge", "simulated"],
        "splits": ["train", "validation", "test"],
        "ratings": "on",
        "demonstrations": "on",
        "weights": "",
        **changes,
    }


def test_reviewers_read_and_admins_make(
    client_of: SignIn, project: Project, snapshots: tuple[Snapshot, Snapshot], stan: User, lena: User, rita: User,
    omar: User,
) -> None:  # fmt: skip
    first, second = snapshots
    pages = {
        "snapshots": [],
        "snapshot": [first.pk],
        "snapshot_manifest": [first.pk],
        "snapshot_diff": [second.pk, first.pk],
        "snapshot_create": [],
    }
    people = (stan, lena, rita, omar)
    answers = {
        name: [client_of(user).get(reverse(name, args=[project.slug, *rest])).status_code for user in people]
        for name, rest in pages.items()
    }
    making = answers.pop("snapshot_create")
    assert making == [404, 403, 403, 200]
    assert set(map(tuple, answers.values())) == {(404, 403, 200, 200)}
    posted = [client_of(user).post(reverse("snapshot_create", args=[project.slug]), form()) for user in people]
    assert [answer.status_code for answer in posted] == [404, 403, 403, 302]
    assert Job.objects.filter(state="queued").count() == 1


def test_other_projects_snapshots_are_not_there(
    client_of: SignIn, omar: User, snapshots: tuple[Snapshot, Snapshot]
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    other.memberships.create(user=omar, role="admin")
    first, second = snapshots
    for name, args in (("snapshot", [first.pk]), ("snapshot_manifest", [first.pk]), ("snapshot_diff", [1, second.pk])):
        assert client_of(omar).get(reverse(name, args=["other", *args])).status_code == 404


def test_the_form_freezes(client_of: SignIn, project: Project, batch: Batch, omar: User) -> None:
    browser = client_of(omar)
    page = browser.get(reverse("snapshot_create", args=[project.slug]))
    assert 'value="24.0"' in page.text
    response = browser.post(
        reverse("snapshot_create", args=[project.slug]),
        form(batches=[batch.pk], combine="soft", weights="crowd-1 0.5\n"),
    )
    job = Job.objects.get()
    assert response.headers["Location"] == reverse("job", args=[job.pk])
    assert "Labels are being frozen." in browser.get(reverse("snapshots", args=[project.slug])).text
    run = job_claim(job.pk)
    assert run is not None
    job_execute(run)
    snapshot = Snapshot.objects.get()
    assert (snapshot.created_by, snapshot.options["combine"], snapshot.options["batches"]) == (omar, "soft", [batch.pk])
    assert list(snapshot.options["weights"].values()) == [0.5]
    page = browser.get(response.headers["Location"])
    assert reverse("snapshot", args=[project.slug, snapshot.pk]) in page.text
    assert "The labels are frozen." in page.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settled_hours": "-1"}, "greater than or equal to 0"),
        ({"splits": []}, "This field is required"),
        ({"combine": "vote"}, "vote is not one of the available choices"),
        ({"weights": "nobody 0.5"}, "Nobody in this project is called “nobody”."),
        ({"weights": "crowd-1 0.5\ncrowd-1 2"}, "“crowd-1” is named on 2 lines. Keep one of them."),
        ({"weights": "crowd-1 much"}, "“much” behind “crowd-1” is no number."),
        ({"weights": "crowd-1 -2"}, "cannot weigh -2.0"),
        ({"weights": "crowd-1 nan"}, "cannot weigh nan"),
        ({"batches": ["999"]}, "999 is not one of the available choices"),
    ],
)
def test_bad_choices_are_shown_at_their_field(
    client_of: SignIn, project: Project, batch: Batch, omar: User, changes: dict[str, object], said: str
) -> None:
    response = client_of(omar).post(reverse("snapshot_create", args=[project.slug]), form(**changes))
    assert response.status_code == 422
    assert said in response.text
    assert not Job.objects.exists()


def test_a_weight_may_name_a_person(
    client_of: SignIn, project: Project, batch: Batch, omar: User, annotator: Annotator
) -> None:
    client_of(omar).post(reverse("snapshot_create", args=[project.slug]), form(weights="lena@example.com 2"))
    assert Job.objects.get().payload["options"]["weights"] == {str(annotator.pk): 2.0}


def test_a_weight_needs_a_name_that_is_one_annotators(
    client_of: SignIn, project: Project, batch: Batch, omar: User
) -> None:
    external = factories.external_make(project, "gpt-4")
    url = reverse("snapshot_create", args=[project.slug])
    client_of(omar).post(url, form(weights="gpt-4 0.5"))
    assert Job.objects.get().payload["options"]["weights"] == {str(external.pk): 0.5}
    Annotator.objects.create(project=project, kind="judge", name="gpt-4")
    response = client_of(omar).post(url, form(weights="gpt-4 0.5"))
    assert response.status_code == 422
    assert "“gpt-4” stands for 2 annotators in this project (External, Judge model)" in response.text
    assert Job.objects.count() == 1


def test_a_line_without_a_name_is_no_person_whose_account_is_gone(
    client_of: SignIn, project: Project, batch: Batch, omar: User
) -> None:
    Annotator.objects.create(project=project)
    response = client_of(omar).post(reverse("snapshot_create", args=[project.slug]), form(weights="0.5"))
    assert (response.status_code, Job.objects.count()) == (422, 0)
    assert "Nobody in this project is called “0.5”." in response.text


def test_the_page_says_what_is_in_and_what_is_not(
    client_of: SignIn, project: Project, batch: Batch, crowd: Annotator, rita: User
) -> None:
    first = factories.annotation_make(batch.tasks.latest("pk"), crowd)
    factories.annotation_make(batch.tasks.latest("pk"), crowd, supersedes=first)
    snapshot = Snapshot.objects.get(pk=freeze(project).result["snapshot"])
    text = client_of(rita).get(reverse("snapshot", args=[project.slug, snapshot.pk])).text
    assert "<dt>Strict pairs</dt><dd>5</dd>" in text
    assert "label corrected by a newer one" in text
    assert snapshot.digest in text
    assert "pairwise" not in text


def test_the_manifest_is_a_file(client_of: SignIn, project: Project, batch: Batch, rita: User) -> None:
    snapshot = Snapshot.objects.get(pk=freeze(project).result["snapshot"])
    response = client_of(rita).get(reverse("snapshot_manifest", args=[project.slug, snapshot.pk]))
    assert json.loads(response.content)["digest"] == snapshot.digest
    assert snapshot.digest[:8] in response.headers["Content-Disposition"]


def test_the_diff_shows_causes(
    client_of: SignIn, project: Project, snapshots: tuple[Snapshot, Snapshot], rita: User
) -> None:
    first, second = snapshots
    browser = client_of(rita)
    link = reverse("snapshot_diff", args=[project.slug, second.pk, first.pk])
    assert link in browser.get(reverse("snapshot", args=[project.slug, second.pk])).text
    text = browser.get(link).text
    assert "Comparisons added" in text
    assert "new label" in text
    back = browser.get(reverse("snapshot_diff", args=[project.slug, first.pk, second.pk])).text
    assert "Comparisons removed" in back
    same = browser.get(reverse("snapshot_diff", args=[project.slug, first.pk, first.pk])).text
    assert "All rows are the same." in same


@pytest.mark.parametrize("turned", [False, True])
def test_snapshots_too_large_for_a_page_are_left_to_the_command(
    client_of: SignIn, project: Project, batch: Batch, rita: User, turned: bool
) -> None:
    small = Snapshot.objects.get(pk=freeze(project).result["snapshot"])

    def answer(number: int, counts: dict[str, int]) -> tuple[str, str]:
        digest = f"{number:064x}"[::-1]
        other = Snapshot.objects.create(
            project=project, digest=digest, options={}, counts=counts, folder=small.folder, as_of=small.as_of
        )
        pair = (small, other) if turned else (other, small)
        response = client_of(rita).get(reverse("snapshot_diff", args=[project.slug, pair[1].pk, pair[0].pk]))
        assert response.status_code == 400
        return response.text, f"manage.py snapshot diff --project {project.slug} " + " ".join(
            one.digest[:12] for one in pair
        )

    large, command = answer(1, {"ratings": 30_000, "completions": 20_001})
    assert "one has 50,001 rows" in large
    assert command in large
    # As many as a page takes: it reads the folder, and finds that it is not this snapshot's.
    assert "holds the snapshot" in answer(2, {"ratings": 30_000, "completions": 20_000})[0]


def test_a_damaged_snapshot_is_said_plainly(
    client_of: SignIn, project: Project, batch: Batch, rita: User, tmp_path: Path
) -> None:
    snapshot = Snapshot.objects.get(pk=freeze(project).result["snapshot"])
    for path in (tmp_path / "artifacts").rglob("*"):
        if path.is_file():
            path.unlink()
    response = client_of(rita).get(reverse("snapshot_manifest", args=[project.slug, snapshot.pk]))
    assert response.status_code == 400
    assert "is missing" in response.text


def test_pages_cost_as_many_queries_for_many_snapshots(
    client_of: SignIn, project: Project, snapshots: tuple[Snapshot, Snapshot], rita: User, omar: User
) -> None:
    browser = client_of(rita)
    listing, page = reverse("snapshots", args=[project.slug]), reverse("snapshot", args=[project.slug, snapshots[0].pk])
    before = [query_count(browser, url) for url in (listing, page)]
    for number in range(10):
        Snapshot.objects.create(
            project=project, digest=f"{number:064x}", options={}, counts={}, folder=snapshots[0].folder,
            as_of=snapshots[0].as_of, created_by=omar,
        )  # fmt: skip
    assert [query_count(browser, url) for url in (listing, page)] == before
    assert max(before) <= 7


def test_nothing_yet(client_of: SignIn, project: Project, rita: User, omar: User) -> None:
    listing = reverse("snapshots", args=[project.slug])
    assert "No snapshots yet" in client_of(rita).get(listing).text
    assert reverse("snapshot_create", args=[project.slug]) in client_of(omar).get(listing).text
