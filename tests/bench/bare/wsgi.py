import os

from django.core.wsgi import get_wsgi_application

from config import environment

environment.prepare()
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.bare.settings"
application = get_wsgi_application()
