"""A link is worth what its maker is: an admin of the project, or nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labelapp.accounts.selectors import invitations_open
from labelapp.accounts.services import (
    invitation_accept,
    invitation_create,
    invitation_find,
    membership_end,
    membership_grant,
)
from labelapp.errors import ConflictError
from labelapp.models import AuditEntry, Invitation, Membership, Project, Role, User


@pytest.fixture
def ada(project: Project, omar: User) -> User:
    """A second admin, who made the link."""
    user = User.objects.create_user(email="ada@example.com", name="Ada")
    membership_grant(project=project, user=user, role=Role.ADMIN, actor=omar)
    return user


@pytest.fixture
def secret(project: Project, ada: User) -> str:
    return invitation_create(project=project, role=Role.ADMIN, created_by=ada)[1]


def _end(user: User, actor: User) -> None:
    membership_end(membership=Membership.objects.get(user=user), actor=actor)


def _lower(user: User, actor: User) -> None:
    membership = Membership.objects.get(user=user)
    membership_grant(project=membership.project, user=user, role=Role.REVIEWER, actor=actor)


REMOVALS = pytest.mark.parametrize("remove", [_end, _lower])
Removal = Callable[[User, User], None]


@REMOVALS
def test_removing_an_admin_withdraws_their_links_and_says_who_did_it(
    ada: User, omar: User, secret: str, project: Project, remove: Removal
) -> None:
    remove(ada, omar)
    invitation = Invitation.objects.get()
    assert invitation.revoked_at is not None
    entry = AuditEntry.objects.get(verb="invitation_revoke")
    assert (entry.actor_id, entry.object_id, entry.project_id) == (omar.pk, invitation.pk, project.pk)


@REMOVALS
def test_a_withdrawn_link_stays_so_when_its_maker_is_admin_again(
    ada: User, omar: User, secret: str, project: Project, stan: User, remove: Removal
) -> None:
    remove(ada, omar)
    membership_grant(project=project, user=ada, role=Role.ADMIN, actor=omar)
    assert invitation_find(secret) is None
    with pytest.raises(ConflictError):
        invitation_accept(secret=secret, user=stan)


@REMOVALS
def test_links_of_other_people_and_projects_and_closed_ones_are_left_alone(
    ada: User, omar: User, project: Project, stan: User, remove: Removal
) -> None:
    other = Project.objects.create(name="Other", slug="other")
    _, used = invitation_create(project=project, role=Role.LABELER, created_by=ada)
    invitation_accept(secret=used, user=stan)
    expired, _ = invitation_create(project=project, role=Role.LABELER, created_by=ada)
    Invitation.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    invitation_create(project=project, role=Role.LABELER, created_by=omar)
    invitation_create(project=other, role=Role.LABELER, created_by=ada)
    remove(ada, omar)
    assert not Invitation.objects.filter(revoked_at__isnull=False).exists()


def test_a_role_that_is_kept_keeps_the_links(ada: User, omar: User, secret: str, project: Project) -> None:
    membership_grant(project=project, user=ada, role=Role.ADMIN, actor=omar)
    assert invitation_find(secret) is not None


@pytest.mark.parametrize("way", ["ended", "lowered", "deactivated", "never a member"])
def test_a_link_that_nobody_withdrew_fails_without_its_maker(
    ada: User, secret: str, project: Project, stan: User, way: str
) -> None:
    membership = Membership.objects.filter(user=ada)
    match way:
        case "ended":
            membership.update(ended_at=timezone.now())
        case "lowered":
            membership.update(role=Role.REVIEWER)
        case "deactivated":
            User.objects.filter(pk=ada.pk).update(is_active=False)
        case "never a member":
            membership.update(project=Project.objects.create(name="Other", slug="other"))
    assert invitation_find(secret) is None
    assert not invitations_open(project).exists()
    with pytest.raises(ConflictError):
        invitation_accept(secret=secret, user=stan)
    assert not Membership.objects.filter(user=stan).exists()
    assert Invitation.objects.get().accepted_at is None


@pytest.mark.django_db(transaction=True)
def test_a_link_opened_while_its_maker_is_removed_fails(ada: User, omar: User, secret: str, stan: User) -> None:
    def accept() -> Membership:
        try:
            return invitation_accept(secret=secret, user=stan)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get()
            opened = pool.submit(accept)
            _wait_for_a_lock()
            _end(ada, omar)
        with pytest.raises(ConflictError):
            opened.result(10)


def _wait_for_a_lock() -> None:
    """Until somebody else of this database waits for what this transaction holds."""
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")
            cursor.execute(waits)
            if cursor.fetchone():
                return
    pytest.fail("Nobody waited.")
