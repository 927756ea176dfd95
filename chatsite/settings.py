"""The site's settings, from the environment. The README lists the variables. A bad value stops the start."""

import os
from pathlib import Path

from chat.conf import from_environment
from chatsite import environment, file_permissions

BASE_DIR = Path(__file__).resolve().parent.parent

# Files that a running site writes: the database, the secret key. They are not in version control.
LOCAL_DIR = BASE_DIR / ".local"
file_permissions.umask_for(environment.command())

# --- Hosts, cookies and headers ---

DEBUG = environment.boolean("DEBUG", default=False)
SECRET_KEY = environment.secret_key("SECRET_KEY", kept_in=LOCAL_DIR / "secret_key")
ALLOWED_HOSTS = environment.listed("ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.origins("TRUSTED_ORIGINS")

# HTTPS=1 means that browsers use https. Cookies, HSTS and redirects follow from it.
HTTPS = environment.boolean("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# The domain's owner decides whether HSTS covers other hosts of the domain, and browsers' preload lists.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# The proxy in front must set this header itself and drop the client's.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# Programs on the same machine request these without the proxy.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_REFERRER_POLICY = "same-origin"
# No script needs either cookie: forms have their own token.
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
if HTTPS:
    # Only a page of this host, over TLS, can set cookies of these names.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "serial",
        "usb",
        "xr-spatial-tracking",
    )
)
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

# --- Accounts ---

# Whether users can create accounts. If not, the staff creates them.
SIGN_UP = environment.boolean("SIGN_UP", default=True)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# The first makes new hashes. Hashes of the others are read, and replaced when their user signs in.
PASSWORD_HASHERS = [
    "chat.auth.hashers.Argon2",
    "chat.auth.hashers.PBKDF2",
    "chat.auth.hashers.PBKDF2SHA1",
    "chat.auth.hashers.BCryptSHA256",
    "chat.auth.hashers.Scrypt",
]
# The first counts attempts, whichever page takes the password, and authenticates no user.
AUTHENTICATION_BACKENDS = ["chat.auth.password_attempts.CountedTries", "django.contrib.auth.backends.ModelBackend"]

# --- Apps and middlewares ---

INSTALLED_APPS = [
    # Before staticfiles: our runserver, built on Daphne's, replaces its own. (Daphne as an app would only add that
    # command, and install a Twisted reactor in every process, also in one that uvicorn runs.)
    "chatsite",
    "channels",
    "chat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
# Small apps on topics, to look at and to copy.
EXAMPLES = environment.boolean("EXAMPLES", default=False)
if EXAMPLES:
    INSTALLED_APPS += ["examples.feed", "examples.dashboard"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chatsite.middleware.security_headers",
    "chatsite.middleware.end_of_sign_in",
    # Before the middleware that checks forms' tokens.
    "chatsite.middleware.UsualMethods",
    # Before the sessions: a new session must have its key when this sets the browser's cookie.
    "chat.middleware.SignIns",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The innermost: it gets a view's errors first.
    "chatsite.middleware.DatabaseAway",
]
ASGI_APPLICATION = "chatsite.asgi.application"
ROOT_URLCONF = "chatsite.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

# --- Database, Redis and the chat ---

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": environment.database("DATABASE_URL", default=f"sqlite:///{LOCAL_DIR / 'db.sqlite3'}")}
IS_FILE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
if IS_FILE:
    # Only the site's own folder is created. Any other may be a mount that is missing.
    if Path(DATABASES["default"]["NAME"]).parent == LOCAL_DIR:
        LOCAL_DIR.mkdir(mode=file_permissions.FOLDER, exist_ok=True)
    DATABASES["default"]["OPTIONS"] = {
        # Take the write lock at the start: a later upgrade of a read lock fails at once, whatever the timeout.
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        # temp_store=MEMORY also keeps a statement's undo data in memory, which saves a fifth of a commit's time.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
        # secure_delete overwrites deleted data in the file.
        "PRAGMA secure_delete=ON;",
    }
else:
    # `migrate` locks whole tables: all other transactions wait behind one that waits for its lock.
    LOCK_TIMEOUT = "2s" if environment.command() == "migrate" else "5s"
    DATABASES["default"]["OPTIONS"] = {
        "options": f"-c lock_timeout={LOCK_TIMEOUT}",
        "connect_timeout": 5,
        # Without these, a connection to a machine that is gone hangs for up to two hours.
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        # Options from the URL's query.
        **DATABASES["default"].get("OPTIONS", {}),
    }

file_permissions.tighten(LOCAL_DIR, database=str(DATABASES["default"]["NAME"]) if IS_FILE else "")

REDIS = environment.redis("REDIS_URL")
# Prefix of the site's channels and keys. Sites that share a Redis need different ones: all databases of a Redis
# share its channels, unlike its keys.
REDIS_PREFIX = environment.prefix("REDIS_PREFIX", "chat")
REDIS_CONNECTION = {
    # A frozen Redis must cause an error, not hang the publisher for ever.
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "max_connections": 100,
    # These find a connection whose other end is gone without a FIN: the checks that are sent every few seconds are
    # not acknowledged.
    "health_check_interval": 5,
    "socket_keepalive": True,
    "socket_keepalive_options": environment.tcp_options(
        TCP_KEEPIDLE=5, TCP_KEEPINTVL=5, TCP_KEEPCNT=2, TCP_USER_TIMEOUT=10_000
    ),
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{**REDIS_CONNECTION, **REDIS}], "prefix": REDIS_PREFIX},
    }
    if REDIS
    else {
        "BACKEND": "chat.layers.ProcessChannelLayer",
    }
}

CHAT = from_environment(os.environ)

# --- Pages ---

LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:index"
LOGOUT_REDIRECT_URL = "chat:index"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# During development, files are served from their source folders. Otherwise they have hashed names, which never
# expire.
DEVELOPING = DEBUG or environment.command() in {"runserver", "pytest"}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEVELOPING
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEVELOPING
        else "chatsite.storage.HashedStaticFilesStorage"
    },
}

# --- Logging ---

LOG_LEVEL = environment.log_level("LOG_LEVEL", "INFO")
LOG_FORMAT = environment.choice("LOG_FORMAT", "line", ("line", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "chatsite.logs.LineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "chatsite.logs.JSONFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # It logs HTTP/2 support and endpoints, which `serve` prints in one line.
        "daphne.server": {"level": "WARNING"},
        # It logs a traceback each second while Redis is away. chat.hub logs one line.
        "channels_redis.pubsub": {"level": "CRITICAL"},
        # It logs a traceback for each request with another Host header: any client could fill the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
