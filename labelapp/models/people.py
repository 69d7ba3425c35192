"""Who signs in (User), what they may do in a project (Membership), and who a label belongs to (Annotator)."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Lower

from labelapp.models.projects import Project


class UserManager(BaseUserManager["User"]):
    """Creates people by e-mail address; there are no user names."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person; without a password they cannot sign in until one is set."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a site administrator, who may create projects."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person who can sign in. `is_staff` marks site administrators: they may create projects, nothing more."""

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    name = models.CharField(max_length=150)
    email = models.EmailField(unique=True)
    shortcuts = models.JSONField(
        default=dict,
        db_default=Value("{}", models.JSONField()),
        blank=True,
        help_text="Keys by action where they differ from the usual; {“off”: true} switches them off.",
    )

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]
    objects = UserManager()  # type: ignore[misc, assignment]

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_case_insensitive")]

    def get_full_name(self) -> str:
        """The name that pages show."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """The first word of the name."""
        return self.get_full_name().split()[0]


class Role(models.TextChoices):
    """What a member may do; each role may do what those before it may."""

    LABELER = "labeler", "Labeler"
    REVIEWER = "reviewer", "Reviewer"
    ADMIN = "admin", "Admin"

    @property
    def rank(self) -> int:
        """0 for labelers up to 2 for admins."""
        return list(Role).index(self)


class Membership(models.Model):
    """A person's role in a project. Ended, it stays as history and opens no door."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.LABELER)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]


class Invitation(models.Model):
    """A link that lets one person join a project. Only the hash of its secret is kept."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role, default=Role.LABELER)
    note = models.CharField(max_length=150, blank=True, help_text="For whom the link is; only admins see it.")
    secret_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations_sent")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="invitations_accepted"
    )
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_known"),
            models.CheckConstraint(
                condition=Q(accepted_by__isnull=True) | Q(accepted_at__isnull=False), name="invitation_accepted_when"
            ),
        ]


def default_languages() -> list[str]:
    """Languages a new annotator reads until they say otherwise."""
    return ["en"]


class Annotator(models.Model):
    """The author of labels in one project: a person, or somebody or something outside the application."""

    class Kind(models.TextChoices):
        """Only `person` is ever counted as a person."""

        PERSON = "person", "Person"
        EXTERNAL = "external", "External"
        JUDGE = "judge", "Judge model"
        SIMULATED = "simulated", "Simulated"

    class Group(models.TextChoices):
        """Whose labels train models, and whose only test them."""

        TRAINING = "training", "Training"
        HELD_OUT = "held_out", "Held out"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotators")
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="annotators")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PERSON)
    group = models.CharField(max_length=10, choices=Group, default=Group.TRAINING)
    name = models.CharField(max_length=200, help_text="As imported for externals; empty for people.", blank=True)
    languages = ArrayField(models.CharField(max_length=20), default=default_languages, blank=True)
    skills = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    accepts_sensitive = ArrayField(
        models.CharField(max_length=50),
        default=list,
        blank=True,
        help_text="Categories of sensitive content this person has opted in to see.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "user"], condition=Q(user__isnull=False), name="annotator_once_per_person"
            ),
            models.UniqueConstraint(
                fields=["project", "kind", "name"], condition=~Q(kind="person"), name="annotator_name_once"
            ),
            models.CheckConstraint(condition=Q(kind="person") | Q(user__isnull=True), name="annotator_user_is_person"),
            models.CheckConstraint(condition=Q(kind="person") | ~Q(name=""), name="annotator_external_named"),
            models.CheckConstraint(
                condition=Q(kind__in=["person", "external", "judge", "simulated"]), name="annotator_kind_known"
            ),
            models.CheckConstraint(condition=Q(group__in=["training", "held_out"]), name="annotator_group_known"),
        ]
