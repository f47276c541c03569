# One image for every part of production: the parts differ by their command alone (docker-compose.yml).
# The builder names the base image with its digest; .env.example says how to learn it.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS build
COPY requirements/production.txt /tmp/
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/production.txt

FROM ${PYTHON_IMAGE}
# The folder belongs to the account before a volume is mounted there; the volume takes over the owner.
RUN useradd --system --uid 10001 --no-create-home app && install -d -o app /pictures
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
# Production by default: a container that lacks a secret does not start.
ENV PRODUCTION=true PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings STORAGE_DIR=/pictures STATIC_DIR=/static \
    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=67108864
# Scripts, styles and fonts, compressed and named by their content. Nothing is written there later.
RUN PRODUCTION=false KEYLESS=true STATE_DIR=/tmp/state python manage.py collectstatic --no-input && rm -r /tmp/state
USER app
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--blocking-threads", "640", "--http1-header-read-timeout", "10000", \
     "--backlog", "4096", "--backpressure", "2048", \
     "--respawn-failed-workers", "config.wsgi:application"]
