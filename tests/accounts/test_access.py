"""Who may enter: the functions that every view starts with."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import Http404
from django.utils import timezone

from labelapp.accounts.access import job_for, membership_for, projects_of, site_admin_require
from labelapp.errors import DeniedError
from labelapp.models import Job, Membership, Project, Role, User


@pytest.mark.parametrize("at_least", list(Role))
def test_each_role_opens_its_own_doors_and_those_before(
    lena: User, rita: User, omar: User, project: Project, at_least: Role
) -> None:
    for rank, user in enumerate([lena, rita, omar]):
        if rank < at_least.rank:
            with pytest.raises(DeniedError):
                membership_for(user, project.slug, at_least=at_least)
        else:
            assert membership_for(user, project.slug, at_least=at_least).user_id == user.pk


def test_strangers_do_not_learn_that_a_project_exists(stan: User, project: Project) -> None:
    nobodies: list[User | AnonymousUser] = [stan, AnonymousUser()]
    for user in nobodies:
        with pytest.raises(Http404):
            membership_for(user, project.slug)
        with pytest.raises(Http404):
            membership_for(user, "no-such-project")


def test_an_ended_membership_opens_nothing(omar: User, project: Project) -> None:
    Membership.objects.filter(user=omar).update(ended_at=timezone.now())
    with pytest.raises(Http404):
        membership_for(omar, project.slug)
    assert not projects_of(omar).exists()


def test_a_role_in_one_project_is_none_in_another(omar: User) -> None:
    Project.objects.create(name="Other", slug="other")
    with pytest.raises(Http404):
        membership_for(omar, "other")


def test_the_refusal_names_both_roles(lena: User, project: Project) -> None:
    with pytest.raises(DeniedError, match="needs the role “Admin”; yours here is “Labeler”"):
        membership_for(lena, project.slug, at_least=Role.ADMIN)


def test_jobs_are_for_admins_of_their_project(rita: User, omar: User, stan: User, project: Project) -> None:
    job = Job.objects.create(project=project, kind="prompts_import", title="pears.jsonl")
    assert job_for(omar, job.pk) == job
    with pytest.raises(DeniedError):
        job_for(rita, job.pk)
    for user, pk in [(stan, job.pk), (omar, job.pk + 1)]:
        with pytest.raises(Http404):
            job_for(user, pk)


def test_only_site_admins_create_projects(stan: User, omar: User) -> None:
    User.objects.filter(pk=stan.pk).update(is_staff=True)
    stan.refresh_from_db()
    assert site_admin_require(stan) == stan
    others: list[User | AnonymousUser] = [omar, AnonymousUser()]
    for user in others:
        with pytest.raises(DeniedError):
            site_admin_require(user)
