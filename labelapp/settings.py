"""Every setting, read once. Secrets and addresses come from the environment, or from `var/` as `up` fills it."""

import shlex
import sys
from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.urls import reverse_lazy

from labelapp.env import env_bool, env_int, env_list, env_str
from labelapp.ops.endpoints import broker_url, database_url, make_folder, secret_key

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env_str("PREFLOOP_VAR", str(BASE_DIR / "var")))

# --- Door: who may talk to us -------------------------------------------------------------------------------------
DEBUG = env_bool("PREFLOOP_DEBUG", False)
SECRET_KEY = secret_key(VAR_DIR)
ALLOWED_HOSTS = env_list("PREFLOOP_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env_list("PREFLOOP_ORIGINS", [])
BEHIND_TLS = env_bool("PREFLOOP_TLS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "labelapp.accounts.sessions"
SESSION_COOKIE_AGE = 14 * 24 * 3600
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

# --- Application --------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "django_celery_beat",
    "django_htmx",
    "labelapp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "labelapp.errors.DomainErrorMiddleware",
]
ROOT_URLCONF = "labelapp.urls"
ASGI_APPLICATION = "labelapp.asgi.application"
MIGRATION_MODULES = {"labelapp": "migrations"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Data ---------------------------------------------------------------------------------------------------------
# A pool of connections, not one per thread: a request costs about a third of the CPU (docs/operators.md).
DATABASES = {
    "default": {
        **dj_database_url.parse(database_url(VAR_DIR), conn_max_age=0),
        "OPTIONS": {
            "prepare_threshold": 3,  # of labelapp.statements; other cursors prepare nothing
            "pool": {"min_size": 1, "max_size": env_int("PREFLOOP_DB_POOL", 8), "timeout": 20},
        },
        "CONN_HEALTH_CHECKS": True,
    }
}
# Requests that one web process works on at a time; the others wait. As many as its connections to the database.
REQUEST_THREADS = env_int("PREFLOOP_DB_POOL", 8)
ARTIFACT_ROOT = Path(env_str("PREFLOOP_ARTIFACTS", str(VAR_DIR / "artifacts")))
# Where this machine's workers keep what a run needs while it runs: logs and checkpoints.
RUN_ROOT = Path(env_str("PREFLOOP_RUNS", str(VAR_DIR / "runs")))
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# Bodies of requests (asgi.py) and the files in them are spooled in here: a 1 GB file must not fill a small /tmp.
FILE_UPLOAD_TEMP_DIR = make_folder(VAR_DIR / "uploads")
UPLOAD_LIMIT = env_int("PREFLOOP_UPLOAD_LIMIT_MB", 8192) * 1024 * 1024

# --- People -------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "labelapp.User"
AUTHENTICATION_BACKENDS = ["labelapp.accounts.backends.AccountBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "labelapp.accounts.adapter.InvitationOnlyAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_SIGNUP_FORM_CLASS = "labelapp.accounts.forms.SignupNameForm"
# Accounts come from invitation links, so an address is never proven by mail and no mail server is needed.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
# A whole team signs in from one office's address in the morning; guesses at one account stay few.
ACCOUNT_RATE_LIMITS = {"login": "300/m/ip", "login_failed": "60/m/ip,5/5m/key"}
ACCOUNT_SESSION_REMEMBER = True
LOGIN_URL = reverse_lazy("account_login")
LOGIN_REDIRECT_URL = reverse_lazy("home")
LOGOUT_REDIRECT_URL = reverse_lazy("account_login")
EMAIL_BACKEND = env_str("PREFLOOP_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")

# Rate limits of the sign-in page need a cache that all web processes share.
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": broker_url(VAR_DIR)},
}

# --- Language, time, files ----------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]  # each by its own name, as the language switch shows it
# Before the apps' own catalogs: where allauth says a thing in another way, ours holds.
LOCALE_PATHS = [BASE_DIR / "labelapp" / "locale"]
FORMAT_MODULE_PATH = "labelapp.locale"  # how dates are written
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = BEHIND_TLS
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "labelapp.static_files.ModuleStaticFilesStorage"},
}

# --- Background work ----------------------------------------------------------------------------------------------
# The trainer is another program: it may live in an environment of its own.
TRAINER_COMMAND = shlex.split(env_str("PREFLOOP_TRAINER", "")) or [sys.executable, "-m", "trainer"]
# Local folder or hub id of the model that projects are offered to begin from.
BASE_MODEL = env_str("PREFLOOP_BASE_MODEL", "")
CELERY_BROKER_URL = broker_url(VAR_DIR)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The Job rows are the truth and the reaper the only redelivery; the two last options keep a lost message from
# waiting out the 100 s default sweep.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 24 * 3600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "short"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ROUTES = {"labelapp.jobs.tasks.job_run_compute": {"queue": "compute"}}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "reap-jobs": {"task": "labelapp.jobs.tasks.jobs_reap", "schedule": 10.0, "options": {"expires": 10}},
    "expire-seats": {"task": "labelapp.labeling.tasks.seats_expire", "schedule": 15.0, "options": {"expires": 15}},
    "forget-drafts": {"task": "labelapp.labeling.tasks.drafts_forget", "schedule": 6 * 3600.0},
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("PREFLOOP_LOG_LEVEL", "INFO")},
    # Every tick of beat would be told twice; the workers themselves stay at INFO, for `up` reads there that they run.
    "loggers": {name: {"level": "WARNING"} for name in ("celery.worker.strategy", "celery.app.trace")},
}
