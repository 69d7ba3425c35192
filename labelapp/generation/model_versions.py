"""Models that write completions: registered from where they lie, and brought to this machine."""

import re
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from labelapp.accounts.audit import audit_record
from labelapp.artifacts.services import artifact_localise
from labelapp.errors import ConflictError, DomainError
from labelapp.models import ModelVersion, Project, User

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
NAME_LIMIT = 200
LOCATION_LIMIT = 500
CONFIG = "config.json"

Kind, State = ModelVersion.Kind, ModelVersion.State


@transaction.atomic
def model_version_base(*, project: Project, name: str, location: str, actor: User | None) -> ModelVersion:
    """Register a base model of a project: a folder on this machine, or the id of a model of the Hugging Face hub.

    The same name and place again is the same model. Raises DomainError when there is no model at the place,
    ConflictError when the name stands for another one.
    """
    name, place = _name_read(name), location_read(location, actor=actor)
    try:
        with transaction.atomic():
            model = ModelVersion.objects.create(
                project=project, name=name, kind=Kind.BASE, state=State.READY, location=place
            )
    except IntegrityError as error:
        if "model_version_name_once" not in str(error):
            raise
        known = ModelVersion.objects.get(project=project, name=name)
        if (known.kind, known.state, known.location) == (Kind.BASE, State.READY, place):
            return known
        raise ConflictError(f"There is already a model called “{name}”. Choose another name.") from error
    audit_record(actor=actor, verb="model_version_base", subject=model, project_id=project.pk)
    return model


def location_read(text: str, *, actor: User | None) -> str:
    """Where a model lies, in the form that is kept: a folder by its whole path, a hub id as it is.

    Folders of the server are for its administrators, and for the command line, which has no actor; whoever runs the
    site may offer one to all. Raises DomainError when it is neither.
    """
    text = text.strip()
    if not text or len(text) > LOCATION_LIMIT or not text.isprintable():
        raise DomainError(f"Name a folder or a hub id, in at most {LOCATION_LIMIT} characters that can be seen.")
    may_name_folders = actor is None or actor.is_staff or text == settings.BASE_MODEL
    folder = _folder_of(text) if may_name_folders else None
    if folder is not None:
        return folder
    if HUB_ID.fullmatch(text) and not _is_shadowed(text):
        return text
    if not may_name_folders:
        raise DomainError(
            "Name a model of the hub as in “organisation/model”. Folders of the server can be named by site "
            "administrators only; ask one to register it here."
        )
    raise DomainError(
        f"There is no model in “{text}”: that folder, on the server, holds no {CONFIG} that can be read. "
        "Correct the path, or name a model of the hub as in “organisation/model”."
    )


def sampling_problem(model: ModelVersion) -> str:
    """Why a model cannot write completions, in words; empty when it can."""
    if model.state == State.RETIRED:
        return f"“{model.name}” is retired: it writes nothing new. Choose another model."
    if model.kind == Kind.HUMAN:
        return f"“{model.name}” stands for people, who cannot be sampled from. Choose a model."
    if model.state == State.REGISTERED:
        return (
            f"Of “{model.name}” only the name is known, not its weights. Register it, under a new name, with the "
            "folder or hub id that it loads from."
        )
    if model.kind == Kind.REWARD:
        return f"“{model.name}” is a reward model: it scores completions and writes none. Choose another model."
    return ""


def model_localise(model_version: ModelVersion, *, tick: Callable[[], None] = lambda: None) -> str:
    """What the trainer loads the model from: a folder on this machine, every byte checked, or a hub id.

    `tick` is called now and then. Raises DomainError when the model has no weights, or they are gone or damaged.
    """
    if model_version.weights is not None:
        return str(artifact_localise(model_version.weights, verify=True, tick=tick))
    place = model_version.location
    if not place:
        raise DomainError(f"Of “{model_version.name}” only the name is known, not its weights.")
    if Path(place).is_absolute() and _folder_of(place) is None:
        raise DomainError(
            f"The model “{model_version.name}” is missing: {place}, on the machine of the worker, holds no {CONFIG}. "
            "Put the folder back, or register the model from another place."
        )
    if not Path(place).is_absolute() and _is_shadowed(place):
        raise DomainError(
            f"“{place}” of the hub cannot be told from a folder of that name beside the site's own, which the trainer "
            "would take. Register the model from a folder of another name."
        )
    return place


def _is_shadowed(hub_id: str) -> bool:
    """Whether a hub id names something in the folder that the trainer runs in: it would load that."""
    return Path(settings.BASE_DIR, hub_id).exists()


def _name_read(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise DomainError(f"Give the model a name of at most {NAME_LIMIT} characters that can be seen.")
    return name


def _folder_of(text: str) -> str | None:
    """The whole path of a model folder; None when there is none."""
    try:
        folder = Path(text).expanduser().resolve()
        return str(folder) if (folder / CONFIG).is_file() else None
    except (OSError, RuntimeError):
        return None
