from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Makes the Celery application known before anybody sends a message, and installs functions after each migrate."""
        from config import celery, database_functions  # noqa: F401

        pre_migrate.connect(database_functions.drop_views)
        post_migrate.connect(database_functions.install)
