from django.apps import AppConfig


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Makes the Celery application known before anybody sends a message."""
        from config import celery  # noqa: F401
