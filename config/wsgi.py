import gc
import os
import sys

from config import server_starts

# The imports below take seconds.
server_starts.end_at_once_when_asked()

from django.core.wsgi import get_wsgi_application

from config import environment, metrics

with environment.in_one_line():
    environment.prepare()
    environment.refuse_keyless("a web server")
    metrics.share(os.getppid())
    django_application = get_wsgi_application()

# These modules read the settings.
from config.body_slots import Bounded
from config.readable_headers import ReadableHeaders
from config.request_turns import InTurns
from searches.pictures import isolation

application = Bounded(ReadableHeaders(InTurns(django_application)))

# A thread that has its answer from the database waits so long for the interpreter while another one computes. The default is
# 5 ms, and a request asks the database ten times.
sys.setswitchinterval(0.0005)
# Decoders start before the first picture, and before there are threads.
isolation.decoders.start()
# Objects from the start stay: the collector need not look at them again and again. It looks at others
# less often than by default: each look took up to 26 ms, every second or two, in which no request went on.
gc.collect()
gc.freeze()
gc.set_threshold(10_000, 20, 20)
