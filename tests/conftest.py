"""The cast of every test: lena labels, rita reviews, omar administers, stan is a stranger."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from labelapp.accounts.services import membership_grant
from labelapp.models import Annotator, Project, Protocol, Role, User
from tests import factories

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def usual_language() -> Iterator[None]:
    """A request in Chinese leaves its thread in Chinese; the next test begins in English."""
    yield
    translation.deactivate()


@pytest.fixture
def project(db: Any) -> Project:
    return Project.objects.create(name="Garden helper", slug="garden-helper")


def _person(name: str, project: Project | None = None, role: Role | None = None) -> User:
    user = User.objects.create_user(email=f"{name.lower()}@example.com", password=PASSWORD, name=name)
    if project and role:
        membership_grant(project=project, user=user, role=role, actor=None)
    return user


@pytest.fixture
def lena(project: Project) -> User:
    return _person("Lena", project, Role.LABELER)


@pytest.fixture
def rita(project: Project) -> User:
    return _person("Rita", project, Role.REVIEWER)


@pytest.fixture
def omar(project: Project) -> User:
    return _person("Omar", project, Role.ADMIN)


@pytest.fixture
def stan(project: Project) -> User:
    return _person("Stan")


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Sign a person in and hand out their browser."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def annotator(lena: User, project: Project) -> Annotator:
    return Annotator.objects.get(project=project, user=lena)


@pytest.fixture
def protocol(project: Project) -> Protocol:
    return factories.protocol_make(project)
