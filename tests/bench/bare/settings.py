"""The product's settings, with Django's and DRF's own parts in the way of a request: one middleware, the plain database backend,
DRF's handlers of errors. The backend's pool has the same size, and checks no connection before a request.
"""

from config.settings import *  # noqa: F403
from config.settings import DATABASES as OURS

ROOT_URLCONF = "tests.bench.bare.views"
# Sets Content-Length.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
DATABASES = {"default": {**OURS["default"], "ENGINE": "django.db.backends.postgresql"}}
