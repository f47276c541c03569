"""Reads the environment, and nothing else does. `.env.example` lists every variable; a missing secret stops a production start.

With no DATABASE_URL or REDIS_URL, `manage.py` and the tests start servers of the project's own first (`config.embedded`) and
put their addresses into the environment. From here on there is one path.

Every setting is read by `env.read(name, type, default)`: trimmed and checked; empty is unset. A wrong one ends the start with
one line.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from accounts import vault
from config import connection_urls, environment, sandbox_settings, secret_keys, setting_types
from config.environment import BASE_DIR

environment.prepare()
env = environment.Environment(os.environ)

T = TypeVar("T")

PRODUCTION = env.read("PRODUCTION", setting_types.SWITCH, False)
DEBUG = env.read("DEBUG", setting_types.SWITCH, False)
if PRODUCTION and DEBUG:
    raise ImproperlyConfigured("DEBUG must not be true where PRODUCTION is: its pages show strangers how we work.")


def number(name: str, default: int, *, least: int = 1, most: int = 10**12) -> int:
    """Returns a whole number."""
    return env.read(name, setting_types.whole(least, most), default)


def needed(name: str, kind: setting_types.SettingType[T], otherwise: Callable[[], str]) -> T:
    """Returns a setting that production must have; elsewhere there is a replacement, as text."""
    value = env.read(name, kind, None)
    if value is not None:
        return value
    if PRODUCTION:
        raise ImproperlyConfigured(f"{name} is not set. Production needs it; .env.example says how to make one.")
    return kind.read(otherwise())


# Folder of `serve` and `demo`: the embedded servers' data, pictures, logs, keys.
STATE_DIR = env.read("STATE_DIR", setting_types.folder(BASE_DIR), BASE_DIR / ".local")
# Ports of `serve` and `demo`; 0 if unset.
PORT = env.read("PORT", setting_types.PORT, 0)
SANDBOX_PORT = env.read("SANDBOX_PORT", setting_types.PORT, 0)


def random_key() -> str:
    return secret_keys.kept(STATE_DIR / "SECRET_KEY", lambda: secrets.token_urlsafe(50))


def random_keyring() -> str:
    made = "dev:" + base64.urlsafe_b64encode(secrets.token_bytes(vault.KEY_BYTES)).decode()
    return secret_keys.kept(STATE_DIR / "CREDENTIAL_KEYS", lambda: made)


# A process that signs and seals nothing (beat, migrations) gets no keys. It makes a random key that ends with it.
KEYLESS = env.read("KEYLESS", setting_types.SWITCH, False)
SECRET_KEY = secrets.token_urlsafe(50) if KEYLESS else needed("SECRET_KEY", setting_types.TEXT, random_key)
# Pairs "id:key". The first one seals; the others open older secrets.
CREDENTIAL_KEYS = "" if KEYLESS else needed("CREDENTIAL_KEYS", setting_types.TEXT, random_keyring)
keys = vault.keyring(CREDENTIAL_KEYS).values() if CREDENTIAL_KEYS else ()
if PRODUCTION:
    secret_keys.check_secret_key(SECRET_KEY)
    secret_keys.check_keyring(keys)

# The public address, and the names in a request's Host that are accepted.
PUBLIC_URL = needed(
    "PUBLIC_URL",
    setting_types.SECURE_ORIGIN if PRODUCTION else setting_types.ORIGIN,
    lambda: f"http://127.0.0.1:{PORT or 8000}",
)
PUBLIC_HOST = setting_types.host(urlsplit(PUBLIC_URL).hostname or "")
LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.read("ALLOWED_HOSTS", setting_types.OWN_HOSTS if PRODUCTION else setting_types.HOSTS, [PUBLIC_HOST])
ALLOWED_HOSTS += [] if PRODUCTION else [*LOOPBACK, PUBLIC_HOST]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
CSRF_FAILURE_VIEW = "config.problems.forged"
DEFAULT_EXCEPTION_REPORTER = "config.debugging.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.debugging.Filter"

# What Prometheus shows to read `/metrics`; without it there is no such page, and nothing is counted.
METRICS_TOKEN = env.read("METRICS_TOKEN", setting_types.TOKEN, "")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "django_otp",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config",
    "accounts",
    "providers",
    "billing",
    "searches",
]
MIDDLEWARE = [
    "config.middleware.RequestId",
    "config.middleware.Counted",
    "config.middleware.Safeguards",
    "config.content_policy.ContentPolicy",
    "config.middleware.CompressedPages",
    "config.middleware.BodyLength",
    "django.middleware.security.SecurityMiddleware",
    # Must be before any middleware that reads the Host.
    "config.middleware.Health",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.middleware.ReadableText",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.BodyCaller",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.web.operator_sessions.OperatorSessions",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Ours come before those of the same name in packages.
        "DIRS": [BASE_DIR / "config/templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# PostgreSQL and Redis are the only state.
database = needed("DATABASE_URL", connection_urls.DATABASE, lambda: "postgresql://app@127.0.0.1/app")
# A waiting thread returns its connection; the pool makes it cheap to get one again.
pool = {"min_size": 0, "max_size": number("DATABASE_POOL", 40, most=1000), "timeout": 3, "reconnect_timeout": 2}
# The engine adds what a session needs to `options`.
database["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2, **database["OPTIONS"], "pool": pool}
DATABASES = {"default": database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
REDIS = needed("REDIS_URL", connection_urls.REDIS, lambda: "redis://127.0.0.1:6379/0")
REDIS_URL = REDIS.url
# Time limit of every connection to Redis, whether it is refused or silent.
REDIS_TIMEOUT_SECONDS = env.read("REDIS_TIMEOUT_SECONDS", setting_types.decimal(0.01, 60), 1.0)

# Folder of the scripts, styles and fonts that `collectstatic` has collected, compressed and named by their content, so that
# browsers keep them for ever. Without it they are served as they are in the packages: nothing must be collected.
STATIC_DIR = env.read("STATIC_DIR", setting_types.folder(BASE_DIR), None)
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(env.read("STORAGE_DIR", setting_types.folder(BASE_DIR), STATE_DIR / "pictures"))},
    },
    "staticfiles": {
        "BACKEND": "config.static_files.Collected"
        if STATIC_DIR
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = STATIC_DIR
STATICFILES_FINDERS = [
    "config.static_files.Packages",
    "accounts.web.admin_bundles.Finder",
]
WHITENOISE_USE_FINDERS = STATIC_DIR is None
WHITENOISE_AUTOREFRESH = False
WHITENOISE_KEEP_ONLY_HASHED_FILES = True

TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"

# Pictures: bounded before they are decoded.
PICTURE_MAX_BYTES = 20 * 1024 * 1024
PICTURE_MAX_PIXELS = 50_000_000
# Bounds of a whole body under /v1, with a picture and without. JSON beside a picture has the second bound too.
PICTURE_BODY_MAX_BYTES = 30 * 1024 * 1024
JSON_MAX_BYTES = 64 * 1024
# All texts of a form together, in the admin and under /v1.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# Bodies are held in memory, so that no copy of a picture is in a temporary folder.
FILE_UPLOAD_MAX_MEMORY_SIZE = PICTURE_BODY_MAX_BYTES
ORPHANED_PICTURE_SECONDS = number("ORPHANED_PICTURE_SECONDS", 3600, least=60, most=10**9)
# Seconds for which a crop is kept that no open lookup needs.
CROP_SECONDS = 600

# Addresses of the providers; empty means the adapter's own.
MODASH_BASE_URL = env.read("MODASH_BASE_URL", setting_types.URL, "")
KEYAPI_BASE_URL = env.read("KEYAPI_BASE_URL", setting_types.URL, "")
MEMORIES_BASE_URL = env.read("MEMORIES_BASE_URL", setting_types.URL, "")
# A path below that address, which Modash gives only to its customers.
MODASH_BRANDS_PATH = env.read("MODASH_BRANDS_PATH", setting_types.PATH, "")
# The sandbox plays all providers, below one address.
SANDBOX_URL = env.read("SANDBOX_URL", setting_types.URL, f"http://127.0.0.1:{SANDBOX_PORT or 8010}")
# The sandbox's process reads its own settings. They are read here too, so that a wrong one stops the launcher.
sandbox = sandbox_settings.read(env)
# Where browsers find the pictures of the sandbox's results.
SANDBOX_PICTURES = sandbox.public_url or SANDBOX_URL

# Networks of our proxies, whose `X-Forwarded-For` is believed.
PROXIES = env.read("PROXIES", setting_types.BOUNDED_NETWORKS if PRODUCTION else setting_types.NETWORKS, [])

# Tenants' addresses are called if they are public and on these ports, or in these networks on any port.
OUTBOUND_PORTS = env.read("OUTBOUND_PORTS", setting_types.PORTS, [80, 443])
OUTBOUND_ALLOW = env.read(
    "OUTBOUND_ALLOW", setting_types.OUTWARD_NETWORKS if PRODUCTION else setting_types.NETWORKS, []
)
# Time limit for a picture's URL, and how many a web process fetches at once; more are answered 503.
PICTURE_FETCH_SECONDS = env.read("PICTURE_FETCH_SECONDS", setting_types.decimal(0.1, 600), 15.0)
FETCHERS_PER_PROCESS = number("FETCHERS_PER_PROCESS", 8, most=1000)

# Webhooks: deliveries in flight in one worker process, the seconds between attempts, the days for which the log is kept.
WEBHOOK_THREADS = number("WEBHOOK_THREADS", 128, least=2, most=2000)  # slow endpoints get at most half of them
WEBHOOK_PAUSES = env.read(
    "WEBHOOK_PAUSES", setting_types.PAUSES, [5.0, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
)
WEBHOOK_LOG_DAYS = number("WEBHOOK_LOG_DAYS", 30, most=3650)
# Bounds for one host, and for one address whatever names lead there. In this order: test events and requests for redeliveries a
# minute, over all tenants; deliveries a minute to failing endpoints; deliveries in flight over all processes, of which one tenant
# gets half; a tenant's endpoints of one mode.
WEBHOOK_TARGET_REQUESTS_PER_MINUTE = number("WEBHOOK_TARGET_REQUESTS_PER_MINUTE", 60)
WEBHOOK_TARGET_FAILURES_PER_MINUTE = number("WEBHOOK_TARGET_FAILURES_PER_MINUTE", 60)
WEBHOOK_TARGET_AT_ONCE = number("WEBHOOK_TARGET_AT_ONCE", 64)
WEBHOOK_TARGET_ENDPOINTS = number("WEBHOOK_TARGET_ENDPOINTS", 10)

# Requests that may wait at once in one web process (`Prefer: wait`); more are answered at once.
WAITERS_PER_PROCESS = number("WAITERS_PER_PROCESS", 12, least=0, most=10_000)

# Hours for which an `Idempotency-Key` is kept after its request. Seconds after which a key is free again whose request has not
# ended: longer than any takes (the fetch of a picture, its decoding, the transaction).
IDEMPOTENCY_KEY_HOURS = number("IDEMPOTENCY_KEY_HOURS", 24, least=24, most=720)
IDEMPOTENCY_LEASE_SECONDS = number("IDEMPOTENCY_LEASE_SECONDS", 60, most=3600)

# A tenant's bounds if its row has none: rates over all web processes, numbers of things, days.
TENANT_REQUESTS_PER_SECOND = number("TENANT_REQUESTS_PER_SECOND", 100)
TENANT_KEY_CHECKS_PER_MINUTE = number("TENANT_KEY_CHECKS_PER_MINUTE", 20)
TENANT_TEST_EVENTS_PER_MINUTE = number("TENANT_TEST_EVENTS_PER_MINUTE", 20)
TENANT_REDELIVERIES_PER_MINUTE = number("TENANT_REDELIVERIES_PER_MINUTE", 20)
TENANT_MOST_CREDENTIALS = number("TENANT_MOST_CREDENTIALS", 100)
TENANT_MOST_API_KEYS = number("TENANT_MOST_API_KEYS", 100)
TENANT_MOST_ENDPOINTS = number("TENANT_MOST_ENDPOINTS", 20)
TENANT_MOST_IMAGES = number("TENANT_MOST_IMAGES", 100_000)
TENANT_MOST_IMAGE_BYTES = number("TENANT_MOST_IMAGE_BYTES", 100_000_000_000)
TENANT_MOST_SEARCHES = number("TENANT_MOST_SEARCHES", 1_000_000)
TENANT_MOST_WAITING_LOOKUPS = number("TENANT_MOST_WAITING_LOOKUPS", 100_000)
TENANT_IMAGE_RETENTION_DAYS = number("TENANT_IMAGE_RETENTION_DAYS", 30, least=0, most=36_500)
TENANT_RESULT_RETENTION_DAYS = number("TENANT_RESULT_RETENTION_DAYS", 90, least=0, most=36_500)
TENANT_SEARCH_RETENTION_DAYS = number("TENANT_SEARCH_RETENTION_DAYS", 365, least=0, most=36_500)

CELERY_BROKER_URL = REDIS.broker_url
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "sweeps"
# A lost wake-up costs one interval of a sweep, so messages are acknowledged before the work.
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_POOL = "config.worker_pool:TaskPool"
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A Redis that answers and refuses does not end a worker (`config.celery.Broker` waits for it).
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Redis keeps no list of unacknowledged messages: the rows are the truth.
    "ack_emulation": False,
    # A broker that vanished silently (fail-over, a firewall that forgot the connection) is noticed after seconds, not a minute.
    "health_check_interval": 3,
    "socket_timeout": 2 * REDIS_TIMEOUT_SECONDS,
    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
    "global_keyprefix": "celery:",
}
# By default Celery closes the whole pool before and after each task: 6 ms each time. `config.celery` gives connections back.
CELERY_DB_REUSE_MAX = 1_000_000_000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["searches.api.parsers.StrictJSON"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "accounts.web.negotiation.Negotiation",
    "DEFAULT_PAGINATION_CLASS": "accounts.web.pagination.CursorPages",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "config.openapi.Schema",
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    # `Accept` alone chooses the format; `?format=` is an unknown parameter like any other.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sightline",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": PUBLIC_URL}],
    "SCHEMA_PATH_PREFIX": "/v1",
    # No field of a PATCH is required, so one schema serves.
    "COMPONENT_SPLIT_PATCH": False,
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    # Enums stay where they are used: most mean something else in each place.
    "POSTPROCESSING_HOOKS": ["config.openapi.complete", "drf_spectacular.hooks.postprocess_schema_enum_id_removal"],
    # In the order in which a newcomer needs them.
    "TAGS": [
        {"name": "searches", "description": "A picture, searched in one or more sources: queued, then run."},
        {"name": "images", "description": "A picture can be stored once and searched with often."},
        {"name": "sources", "description": "What can be searched, at what price, under whose limit."},
        {"name": "credits", "description": "What was held, charged and released, in each provider's own credits."},
        {"name": "usage", "description": "What was charged, added up by day, source, API key or metadata."},
        {"name": "statements", "description": "Closed months, which never change."},
        {"name": "credentials", "description": "Your own keys to the providers. A secret goes in and never comes out."},
        {"name": "api-keys", "description": "The keys that requests are sent with, and what each may do."},
        {
            "name": "webhook-endpoints",
            "description": "Where events are sent, and the secrets that deliveries are signed with.",
        },
        {"name": "webhook-deliveries", "description": "What was sent there: every attempt, and once more if you like."},
        {"name": "tenant", "description": "Who you are here, how long your data are kept, and your limits."},
        {"name": "providers", "description": "What a search's parameters take, from the providers' own dictionaries."},
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
UNFOLD = {
    "SITE_TITLE": "Sightline",
    "SITE_HEADER": "Sightline",
    "SITE_SUBHEADER": "For operators",
    "SITE_SYMBOL": "image_search",
    "SITE_URL": "/docs",
    "SIDEBAR": {"navigation": "config.admin_sidebar.sidebar"},
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Second factor", "link": reverse_lazy("second_factor")},
            {"title": "Log out everywhere", "link": reverse_lazy("log_out_everywhere")},
        ]
    },
    "DASHBOARD_CALLBACK": "config.dashboard.page.context",
}

LOG_LEVEL = env.read("LOG_LEVEL", setting_types.choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(about)s%(message)s"}},
    "filters": {"names": {"()": "accounts.log_context.Names"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line", "filters": ["names"]}
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "celery", "kombu")},
}

# Operators' passwords, each of which opens every tenant's data.
PASSWORD_HASHERS = ["accounts.passwords.Hasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
# Who needs a code of an app beside the password: every operator (required), who has set one up (optional), or nobody (off).
OPERATORS_SECOND_FACTOR = env.read(
    "OPERATORS_SECOND_FACTOR",
    setting_types.choice("required", "optional", "off"),
    "required" if PRODUCTION else "optional",
)
# An operator's session ends when it was not used for so long, and so long after the log-in.
OPERATORS_IDLE_MINUTES = number("OPERATORS_IDLE_MINUTES", 60, most=1440)
OPERATORS_SESSION_HOURS = number("OPERATORS_SESSION_HOURS", 12, most=720)
SESSION_COOKIE_AGE = OPERATORS_SESSION_HOURS * 3600
# Nor does it outlive the browser, and no script reads its cookie.
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
# Only the server's own account can read the files of pictures.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
# No upload handler that writes to a temporary file.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# For how long browsers that have been here ask for nothing without TLS, on subdomains too.
HSTS_SECONDS = number("HSTS_SECONDS", 31_536_000, least=60, most=63_072_000)
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # Health is asked for from inside, past the proxy that ends TLS. Nothing else is served without TLS.
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = HSTS_SECONDS
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"

# This must be last, when all settings are known.
environment.refuse_misspelt(env.settings)
