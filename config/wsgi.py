import gc

from django.core.wsgi import get_wsgi_application

from config import environment

with environment.in_one_line():
    environment.prepare()
    environment.refuse_keyless("a web server")
    django_application = get_wsgi_application()

# They read the settings.
from config.request_bodies import Bounded
from searches.pictures import isolation

application = Bounded(django_application)

# Before the first picture comes, and before there are threads.
isolation.decoders.start()
# What is here from the start stays: the collector need not look at it again and again.
gc.collect()
gc.freeze()
