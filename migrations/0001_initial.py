import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import labelapp.models.annotations
import labelapp.models.people
import labelapp.models.projects
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        # Seats take their positions from it; it must be there before their table.
        migrations.RunSQL("CREATE SEQUENCE labelapp_seat_position AS bigint", "DROP SEQUENCE labelapp_seat_position"),
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
                ("name", models.CharField(max_length=150)),
                ("email", models.EmailField(max_length=254, unique=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Annotator",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("person", "Person"),
                            ("external", "External"),
                            ("judge", "Judge model"),
                            ("simulated", "Simulated"),
                        ],
                        default="person",
                        max_length=10,
                    ),
                ),
                (
                    "group",
                    models.CharField(
                        choices=[("training", "Training"), ("held_out", "Held out")], default="training", max_length=10
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True, help_text="As imported for externals; empty for people.", max_length=200
                    ),
                ),
                (
                    "languages",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20),
                        blank=True,
                        default=labelapp.models.people.default_languages,
                        size=None,
                    ),
                ),
                (
                    "skills",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                (
                    "accepts_sensitive",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50),
                        blank=True,
                        default=list,
                        help_text="Categories of sensitive content this person has opted in to see.",
                        size=None,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="annotators",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor_id", models.BigIntegerField(help_text="User, or nothing for the system itself.", null=True)),
                ("project_id", models.BigIntegerField(null=True)),
                ("verb", models.CharField(max_length=50)),
                ("object_type", models.CharField(max_length=50)),
                ("object_id", models.BigIntegerField()),
                ("data", models.JSONField(blank=True, default=dict, help_text="Ids, numbers and states only.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "indexes": [models.Index(fields=["project_id", "-created_at"], name="audit_project")],
            },
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("open", "Open"), ("paused", "Paused"), ("closed", "Closed")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("k", models.PositiveSmallIntegerField(default=4, help_text="Completions per task at the most.")),
                (
                    "overlap",
                    models.PositiveSmallIntegerField(default=1, help_text="Labels per task, each by another person."),
                ),
                ("shared_share", models.FloatField(default=0.15, help_text="Share of tasks that more people label.")),
                (
                    "shared_overlap",
                    models.PositiveSmallIntegerField(default=3, help_text="Labels per task of that share."),
                ),
                ("priority", models.SmallIntegerField(default=0, help_text="Higher is served first.")),
                ("deadline", models.DateField(blank=True, null=True)),
                (
                    "languages",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), blank=True, default=list, size=None
                    ),
                ),
                (
                    "skills",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ComparisonTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("production", "Production"),
                            ("evaluation", "Evaluation"),
                            ("gold", "Gold"),
                            ("calibration", "Calibration"),
                            ("sentinel", "Sentinel"),
                            ("screening", "Screening"),
                            ("practice", "Practice"),
                            ("repeat", "Repeat"),
                            ("adjudication", "Adjudication"),
                        ],
                        default="production",
                        max_length=12,
                    ),
                ),
                (
                    "overlap",
                    models.PositiveSmallIntegerField(
                        help_text="Labels wanted; 0 for tasks that came with their labels."
                    ),
                ),
                (
                    "completions_key",
                    models.CharField(help_text="SHA-256 of the completion ids, in ascending order.", max_length=64),
                ),
                ("selection_rule", models.CharField(help_text="How the task was chosen.", max_length=50)),
                ("selection_probability", models.FloatField(help_text="With which probability that rule chose it.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tasks", to="labelapp.batch"
                    ),
                ),
                (
                    "repeat_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="repeats",
                        to="labelapp.comparisontask",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Draft",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("content", models.JSONField(default=dict)),
                (
                    "revision",
                    models.PositiveBigIntegerField(
                        default=0, help_text="Grows with each save; an older one is refused."
                    ),
                ),
                (
                    "opened_at",
                    models.DateTimeField(
                        help_text="When the person first opened the task; bounds the time they claim."
                    ),
                ),
                ("saved_at", models.DateTimeField()),
                (
                    "annotator",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="drafts",
                        to="labelapp.annotator",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="drafts", to="labelapp.comparisontask"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Pool",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("production", "Production"),
                            ("evaluation", "Evaluation"),
                            ("gold", "Gold"),
                            ("calibration", "Calibration"),
                            ("sentinel", "Sentinel"),
                            ("screening", "Screening"),
                            ("practice", "Practice"),
                            ("repeat", "Repeat"),
                            ("adjudication", "Adjudication"),
                        ],
                        default="production",
                        max_length=12,
                    ),
                ),
                ("language", models.CharField(blank=True, max_length=20)),
                (
                    "skills",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                (
                    "sensitivity",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                (
                    "boost",
                    models.SmallIntegerField(default=0, help_text="Served before pools of the same batch with less."),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pools", to="labelapp.batch"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Project",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("slug", models.SlugField(max_length=60, unique=True)),
                ("description", models.TextField(blank=True)),
                ("salt", models.CharField(default=labelapp.models.projects.new_salt, editable=False, max_length=32)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ModelVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("human", "Human writers"),
                            ("external", "External model"),
                            ("base", "Base model"),
                            ("sft", "Supervised policy"),
                            ("reward", "Reward model"),
                            ("policy", "Policy"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("registered", "Registered"), ("retired", "Retired")],
                        default="registered",
                        max_length=12,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "parent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="children",
                        to="labelapp.modelversion",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="model_versions",
                        to="labelapp.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("labeler", "Labeler"), ("reviewer", "Reviewer"), ("admin", "Admin")],
                        default="labeler",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=30)),
                ("title", models.CharField(max_length=200)),
                (
                    "queue",
                    models.CharField(
                        choices=[("short", "Short"), ("compute", "Compute")], default="short", max_length=10
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
                            ("running", "Running"),
                            ("succeeded", "Done"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("payload", models.JSONField(blank=True, default=dict, help_text="What to do: ids and options.")),
                (
                    "cursor",
                    models.JSONField(
                        blank=True, default=dict, help_text="How far it came; saved with the rows it covers."
                    ),
                ),
                ("result", models.JSONField(blank=True, default=dict)),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(blank=True, null=True)),
                ("message", models.CharField(blank=True, max_length=300)),
                ("error", models.TextField(blank=True)),
                ("attempt", models.PositiveIntegerField(default=0, help_text="Fencing number: counts claims.")),
                ("max_attempts", models.PositiveSmallIntegerField(default=5)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("cancel_requested", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="jobs", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("labeler", "Labeler"), ("reviewer", "Reviewer"), ("admin", "Admin")],
                        default="labeler",
                        max_length=10,
                    ),
                ),
                (
                    "note",
                    models.CharField(blank=True, help_text="For whom the link is; only admins see it.", max_length=150),
                ),
                ("secret_hash", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="invitations_accepted",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations_sent",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="batch",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="batches", to="labelapp.project"
            ),
        ),
        migrations.CreateModel(
            name="Artifact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("upload", "Upload"), ("rejects", "Rejected rows")], max_length=10)),
                ("name", models.CharField(max_length=255)),
                ("sha256", models.CharField(max_length=64)),
                ("size", models.PositiveBigIntegerField(help_text="Bytes.")),
                ("uri", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="artifacts", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="annotator",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="annotators", to="labelapp.project"
            ),
        ),
        migrations.CreateModel(
            name="Prompt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "messages",
                    models.JSONField(
                        help_text="List of {role: system|user|assistant, content}; ends with a user turn."
                    ),
                ),
                ("content_hash", models.CharField(help_text="SHA-256 of the normalised messages.", max_length=64)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("external_id", models.CharField(blank=True, max_length=200)),
                ("author", models.CharField(blank=True, help_text="Who wrote it; decides the split.", max_length=200)),
                (
                    "split",
                    models.CharField(
                        choices=[("train", "Train"), ("validation", "Validation"), ("test", "Test")], max_length=10
                    ),
                ),
                ("language", models.CharField(blank=True, max_length=20)),
                (
                    "sensitivity",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50), blank=True, default=list, size=None
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="prompts", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Demonstration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("text_hash", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "annotator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="demonstrations",
                        to="labelapp.annotator",
                    ),
                ),
                (
                    "supersedes",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labelapp.demonstration",
                    ),
                ),
                (
                    "imported_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="labelapp.job",
                    ),
                ),
                (
                    "prompt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="demonstrations", to="labelapp.prompt"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Completion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("text_hash", models.CharField(help_text="SHA-256 of the text.", max_length=64)),
                (
                    "source_key",
                    models.CharField(
                        help_text="Identity within prompt and model: the imported id, else the text hash.",
                        max_length=200,
                    ),
                ),
                (
                    "sampling",
                    models.JSONField(
                        blank=True, default=dict, help_text="Temperature, top-p, max tokens and the like."
                    ),
                ),
                ("seed", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "model_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="completions",
                        to="labelapp.modelversion",
                    ),
                ),
                (
                    "prompt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="completions", to="labelapp.prompt"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="comparisontask",
            name="prompt",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="tasks", to="labelapp.prompt"
            ),
        ),
        migrations.CreateModel(
            name="Protocol",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("version", models.PositiveIntegerField(default=1)),
                ("guidelines", models.TextField(blank=True, help_text="Markdown, shown beside every task.")),
                (
                    "layout",
                    models.CharField(
                        choices=[
                            ("one_page", "Everything on one page"),
                            ("two_stage", "Rate each completion first, then rank all"),
                        ],
                        default="one_page",
                        max_length=10,
                    ),
                ),
                ("asks_ranking", models.BooleanField(default=True)),
                ("ties_allowed", models.BooleanField(default=True)),
                (
                    "strength_steps",
                    models.PositiveSmallIntegerField(
                        default=8,
                        help_text="At two completions: 8 steps (four each way), 9 with “about equal”, or 0 for none.",
                    ),
                ),
                (
                    "likert_points",
                    models.PositiveSmallIntegerField(
                        default=7, help_text="Points of the rating scale; 0 asks for none."
                    ),
                ),
                ("likert_low", models.CharField(blank=True, default="Very poor", max_length=60)),
                ("likert_high", models.CharField(blank=True, default="Excellent", max_length=60)),
                (
                    "questions_all_up_to",
                    models.PositiveSmallIntegerField(
                        default=4,
                        help_text="With more completions than this, questions are asked about a random few only.",
                    ),
                ),
                ("questions_sample", models.PositiveSmallIntegerField(default=2, help_text="How many those few are.")),
                ("asks_confidence", models.BooleanField(default=False)),
                ("asks_rationale", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "used_at",
                    models.DateTimeField(blank=True, help_text="Since then the database refuses changes.", null=True),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="protocols", to="labelapp.project"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="batch",
            name="protocol",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="batches", to="labelapp.protocol"
            ),
        ),
        migrations.CreateModel(
            name="Annotation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "surplus",
                    models.BooleanField(
                        default=False, help_text="Came after all seats were filled: paid, not counted."
                    ),
                ),
                ("edges", models.JSONField(default=list)),
                ("ranking", models.JSONField(blank=True, null=True)),
                (
                    "first_ranking",
                    models.JSONField(blank=True, help_text="The first order entered, before any change.", null=True),
                ),
                (
                    "order_shown",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(),
                        help_text="Slots in the order of their letters; empty where unknown.",
                        size=None,
                    ),
                ),
                (
                    "answers",
                    models.JSONField(default=dict, help_text="Questions about the prompt and the ranking, by key."),
                ),
                ("confidence", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("rationale", models.TextField(blank=True)),
                ("active_seconds", models.PositiveIntegerField(blank=True, null=True)),
                ("paid_seconds", models.PositiveIntegerField(blank=True, null=True)),
                ("idempotency_key", models.UUIDField(unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "supersedes",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labelapp.annotation",
                    ),
                ),
                (
                    "annotator",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="annotations",
                        to="labelapp.annotator",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="annotations",
                        to="labelapp.comparisontask",
                    ),
                ),
                (
                    "imported_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="labelapp.job",
                    ),
                ),
                (
                    "protocol",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="annotations",
                        to="labelapp.protocol",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Question",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.SlugField()),
                ("text", models.CharField(max_length=200)),
                ("help", models.CharField(blank=True, max_length=400)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("prompt", "The prompt"),
                            ("completion", "Each completion"),
                            ("ranking", "The ranking"),
                        ],
                        default="completion",
                        max_length=10,
                    ),
                ),
                (
                    "polarity",
                    models.CharField(
                        choices=[("good", "Yes is good"), ("bad", "Yes is bad"), ("descriptive", "Neither")],
                        default="bad",
                        max_length=11,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("none", "None"), ("minor", "Minor"), ("severe", "Severe")],
                        default="minor",
                        max_length=6,
                    ),
                ),
                (
                    "allows_na",
                    models.BooleanField(default=False, help_text="Offers “not applicable” beside yes and no."),
                ),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "protocol",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="questions", to="labelapp.protocol"
                    ),
                ),
            ],
            options={
                "ordering": ["position", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Rating",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slot", models.PositiveSmallIntegerField()),
                ("likert", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "answers",
                    models.JSONField(default=dict, help_text="By question key: yes, no, na, or null for unanswered."),
                ),
                (
                    "annotation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ratings",
                        to="labelapp.annotation",
                    ),
                ),
            ],
            options={
                "ordering": ["slot"],
            },
        ),
        migrations.CreateModel(
            name="Seat",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "position",
                    models.BigIntegerField(
                        db_default=models.Func(models.Value("labelapp_seat_position"), function="nextval")
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("held", "Held"), ("filled", "Filled")], default="open", max_length=6
                    ),
                ),
                ("held_at", models.DateTimeField(blank=True, null=True)),
                (
                    "input_at",
                    models.DateTimeField(blank=True, help_text="When the holder last did something.", null=True),
                ),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                (
                    "annotator",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="seats",
                        to="labelapp.annotator",
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="seats",
                        to="labelapp.pool",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="seats", to="labelapp.comparisontask"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="annotation",
            name="seat",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="labelapp.seat",
            ),
        ),
        migrations.CreateModel(
            name="SeatCursor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.BigIntegerField()),
                (
                    "annotator",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="labelapp.annotator",
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="labelapp.pool",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TaskCompletion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slot", models.PositiveSmallIntegerField()),
                (
                    "completion",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="task_completions",
                        to="labelapp.completion",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="task_completions",
                        to="labelapp.comparisontask",
                    ),
                ),
            ],
            options={
                "ordering": ["slot", "pk"],
            },
        ),
        migrations.CreateModel(
            name="TaskSkip",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("unclear", "The prompt is too unclear to judge"),
                            ("expertise", "It needs knowledge I do not have"),
                            ("language", "It is in a language I do not read well"),
                            ("distressing", "The content is distressing"),
                            ("broken", "Something on the page is broken"),
                            ("other", "Another reason"),
                        ],
                        max_length=12,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "annotator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="skips", to="labelapp.annotator"
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="skips",
                        to="labelapp.comparisontask",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("email"), name="user_email_case_insensitive"
            ),
        ),
        migrations.AddConstraint(
            model_name="draft",
            constraint=models.UniqueConstraint(fields=("annotator", "task"), name="draft_once"),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.UniqueConstraint(
                fields=("batch", "purpose", "language", "skills", "sensitivity", "boost"), name="pool_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "purpose__in",
                        [
                            "production",
                            "evaluation",
                            "gold",
                            "calibration",
                            "sentinel",
                            "screening",
                            "practice",
                            "repeat",
                            "adjudication",
                        ],
                    )
                ),
                name="pool_purpose_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="model_version_name_once"),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("parent__isnull", True), models.Q(("parent", models.F("id")), _negated=True), _connector="OR"
                ),
                name="model_version_not_own_parent",
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["human", "external", "base", "sft", "reward", "policy"])),
                name="model_version_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["registered", "retired"])), name="model_version_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(fields=("project", "user"), name="membership_once"),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["labeler", "reviewer", "admin"])), name="membership_role_known"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(condition=models.Q(("state", "running")), fields=["heartbeat_at"], name="job_running"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(condition=models.Q(("state", "queued")), fields=["created_at"], name="job_queued"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["project", "-created_at"], name="job_project"),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["queued", "running", "succeeded", "failed", "cancelled"])),
                name="job_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("queue__in", ["short", "compute"])), name="job_queue_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["queued", "running"]), ("finished_at__isnull", False), _connector="XOR"
                ),
                name="job_finished_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "running"), _negated=True), ("heartbeat_at__isnull", False), _connector="OR"
                ),
                name="job_running_beats",
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["labeler", "reviewer", "admin"])), name="invitation_role_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="invitation",
            constraint=models.CheckConstraint(
                condition=models.Q(("accepted_by__isnull", True), ("accepted_at__isnull", False), _connector="OR"),
                name="invitation_accepted_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="artifact",
            constraint=models.UniqueConstraint(
                fields=("project", "kind", "sha256", "name"), name="artifact_content_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="artifact",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["upload", "rejects"])), name="artifact_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.UniqueConstraint(
                condition=models.Q(("user__isnull", False)),
                fields=("project", "user"),
                name="annotator_once_per_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "person"), _negated=True),
                fields=("project", "kind", "name"),
                name="annotator_name_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "person"), ("user__isnull", True), _connector="OR"),
                name="annotator_user_is_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "person"), models.Q(("name", ""), _negated=True), _connector="OR"),
                name="annotator_external_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["person", "external", "judge", "simulated"])),
                name="annotator_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotator",
            constraint=models.CheckConstraint(
                condition=models.Q(("group__in", ["training", "held_out"])), name="annotator_group_known"
            ),
        ),
        migrations.AddIndex(
            model_name="prompt",
            index=models.Index(fields=["project", "author"], name="prompt_author"),
        ),
        migrations.AddIndex(
            model_name="prompt",
            index=django.contrib.postgres.indexes.GinIndex(fields=["tags"], name="prompt_tags"),
        ),
        migrations.AddConstraint(
            model_name="prompt",
            constraint=models.UniqueConstraint(fields=("project", "content_hash"), name="prompt_content_once"),
        ),
        migrations.AddConstraint(
            model_name="prompt",
            constraint=models.CheckConstraint(
                condition=models.Q(("split__in", ["train", "validation", "test"])), name="prompt_split_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="demonstration",
            constraint=models.UniqueConstraint(
                fields=("prompt", "annotator", "text_hash"), name="demonstration_text_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="demonstration",
            constraint=models.UniqueConstraint(
                condition=models.Q(("supersedes__isnull", False)),
                fields=("supersedes",),
                name="demonstration_superseded_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="completion",
            constraint=models.UniqueConstraint(
                fields=("prompt", "model_version", "source_key"), name="completion_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="comparisontask",
            constraint=models.UniqueConstraint(
                condition=models.Q(("repeat_of__isnull", True)),
                fields=("batch", "prompt", "completions_key", "purpose"),
                name="task_once_per_batch",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparisontask",
            constraint=models.CheckConstraint(
                condition=models.Q(("selection_probability__gt", 0), ("selection_probability__lte", 1)),
                name="task_probability",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparisontask",
            constraint=models.CheckConstraint(condition=models.Q(("overlap__lte", 20)), name="task_overlap"),
        ),
        migrations.AddConstraint(
            model_name="comparisontask",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "purpose__in",
                        [
                            "production",
                            "evaluation",
                            "gold",
                            "calibration",
                            "sentinel",
                            "screening",
                            "practice",
                            "repeat",
                            "adjudication",
                        ],
                    )
                ),
                name="task_purpose_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="comparisontask",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("purpose", "repeat"), ("repeat_of__isnull", False)),
                    models.Q(models.Q(("purpose", "repeat"), _negated=True), ("repeat_of__isnull", True)),
                    _connector="OR",
                ),
                name="task_repeat_of",
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.UniqueConstraint(fields=("project", "name", "version"), name="protocol_version_once"),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(("strength_steps__in", [0, 8, 9])), name="protocol_strength_steps"
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(("likert_points__in", [0, 5, 7, 10])), name="protocol_likert_points"
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(("asks_ranking", True), ("likert_points__gt", 0), _connector="OR"),
                name="protocol_asks_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(("questions_sample__lte", models.F("questions_all_up_to"))),
                name="protocol_question_sample",
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ties_allowed", True), models.Q(("strength_steps", 9), _negated=True), _connector="OR"
                ),
                name="protocol_nine_steps_tie",
            ),
        ),
        migrations.AddConstraint(
            model_name="protocol",
            constraint=models.CheckConstraint(
                condition=models.Q(("layout__in", ["one_page", "two_stage"])), name="protocol_layout_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.UniqueConstraint(fields=("project", "name"), name="batch_name_once"),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(condition=models.Q(("k__gte", 1), ("k__lte", 9)), name="batch_k"),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(("overlap__gte", 1), ("overlap__lte", 20)), name="batch_overlap"
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("shared_share__gte", 0),
                    ("shared_share__lte", 1),
                    ("shared_overlap__gte", models.F("overlap")),
                    ("shared_overlap__lte", 20),
                ),
                name="batch_shared",
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["draft", "open", "paused", "closed"])), name="batch_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.UniqueConstraint(fields=("protocol", "key"), name="question_key_once"),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(("scope__in", ["prompt", "completion", "ranking"])), name="question_scope_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(("polarity__in", ["good", "bad", "descriptive"])), name="question_polarity_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(("severity__in", ["none", "minor", "severe"])), name="question_severity_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(("polarity", "bad"), ("severity", "none"), _connector="OR"),
                name="question_severity_needs_bad",
            ),
        ),
        migrations.AddConstraint(
            model_name="rating",
            constraint=models.UniqueConstraint(fields=("annotation", "slot"), name="rating_once_per_slot"),
        ),
        migrations.AddConstraint(
            model_name="rating",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("likert__isnull", True), models.Q(("likert__gte", 1), ("likert__lte", 10)), _connector="OR"
                ),
                name="rating_likert",
            ),
        ),
        migrations.AddConstraint(
            model_name="rating",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    labelapp.models.annotations.Matches(
                        "answers",
                        'strict $.type() == "object" && !exists($.* ? (!(@ == "yes" || @ == "no" || @ == "na" || @ == null)))',
                    )
                ),
                name="rating_answers_known",
            ),
        ),
        migrations.AddIndex(
            model_name="seat",
            index=models.Index(condition=models.Q(("state", "open")), fields=["pool", "position"], name="seat_queue"),
        ),
        migrations.AddIndex(
            model_name="seat",
            index=models.Index(condition=models.Q(("state", "held")), fields=["lease_until"], name="seat_leases"),
        ),
        migrations.AddConstraint(
            model_name="seat",
            constraint=models.UniqueConstraint(
                condition=models.Q(("annotator__isnull", False)),
                fields=("task", "annotator"),
                name="seat_person_once_per_task",
            ),
        ),
        migrations.AddConstraint(
            model_name="seat",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "held")), fields=("annotator",), name="seat_one_held_per_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="seat",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("annotator__isnull", True),
                        ("held_at__isnull", True),
                        ("lease_until__isnull", True),
                        ("state", "open"),
                    ),
                    models.Q(
                        ("annotator__isnull", False),
                        ("held_at__isnull", False),
                        ("lease_until__isnull", False),
                        ("state", "held"),
                    ),
                    models.Q(("annotator__isnull", False), ("lease_until__isnull", True), ("state", "filled")),
                    _connector="OR",
                ),
                name="seat_state_consistent",
            ),
        ),
        migrations.AddIndex(
            model_name="annotation",
            index=models.Index(fields=["annotator", "-created_at"], name="annotation_recent"),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("supersedes__isnull", True)),
                fields=("task", "annotator"),
                name="annotation_once_per_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("seat__isnull", False), ("supersedes__isnull", True)),
                fields=("seat",),
                name="annotation_once_per_seat",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("supersedes__isnull", False)),
                fields=("supersedes",),
                name="annotation_superseded_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(("seat__isnull", False), ("surplus", True), _negated=True),
                name="annotation_surplus_seatless",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("confidence__isnull", True),
                    models.Q(("confidence__gte", 1), ("confidence__lte", 4)),
                    _connector="OR",
                ),
                name="annotation_confidence",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    labelapp.models.annotations.Matches(
                        "answers",
                        'strict $.type() == "object" && !exists($.* ? (!(@ == "yes" || @ == "no" || @ == "na" || @ == null)))',
                    )
                ),
                name="annotation_answers_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    labelapp.models.annotations.Matches(
                        "edges",
                        'strict $.type() == "array" && !exists($[*] ? (!(@.type() == "array" && @.size() == 5 && @[0].type() == "number" && @[0] >= 0 && @[0] < 9 && @[1].type() == "number" && @[1] >= 0 && @[1] < 9 && @[0] != @[1] && (@[2] == ">" || @[2] == "=") && (@[3].type() == "null" || @[3].type() == "number" && @[3] >= 1 && @[3] <= 4) && @[4].type() == "number" && @[4] > 0)))',
                    )
                ),
                name="annotation_edges_shape",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ranking__isnull", True),
                    labelapp.models.annotations.Matches(
                        "ranking",
                        'strict $.type() == "array" && !exists($[*] ? (!(@.type() == "array" && @.size() > 0)))',
                    ),
                    _connector="OR",
                ),
                name="annotation_ranking_shape",
            ),
        ),
        migrations.AddConstraint(
            model_name="annotation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("first_ranking__isnull", True),
                    labelapp.models.annotations.Matches(
                        "first_ranking",
                        'strict $.type() == "array" && !exists($[*] ? (!(@.type() == "array" && @.size() > 0)))',
                    ),
                    _connector="OR",
                ),
                name="annotation_first_ranking_shape",
            ),
        ),
        migrations.AddConstraint(
            model_name="seatcursor",
            constraint=models.UniqueConstraint(fields=("annotator", "pool"), name="seat_cursor_once"),
        ),
        migrations.AddConstraint(
            model_name="taskcompletion",
            constraint=models.UniqueConstraint(fields=("task", "completion"), name="task_completion_once"),
        ),
        migrations.AddConstraint(
            model_name="taskcompletion",
            constraint=models.CheckConstraint(condition=models.Q(("slot__lt", 9)), name="task_completion_slot"),
        ),
        migrations.AddConstraint(
            model_name="taskskip",
            constraint=models.UniqueConstraint(fields=("task", "annotator"), name="task_skip_once"),
        ),
        migrations.AddConstraint(
            model_name="taskskip",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reason__in", ["unclear", "expertise", "language", "distressing", "broken", "other"])
                ),
                name="task_skip_reason_known",
            ),
        ),
    ]
