from django.apps import AppConfig, apps
from django.contrib import admin
from django.db.models.signals import post_migrate, pre_migrate


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Makes the Celery application known before a message is sent, gives the admin its first page, and checks tables and
        installs functions after each migrate.
        """
        from accounts import roles
        from accounts.web import operator_sessions  # noqa: F401 - it notes when somebody signs in
        from config import celery, database_functions, older_tables  # noqa: F401

        admin.site.index_template = "dashboard/index.html"
        pre_migrate.connect(database_functions.drop_views)
        # Once, for all apps, and before the first function is installed.
        post_migrate.connect(older_tables.refuse, sender=apps.get_app_config("accounts"))
        post_migrate.connect(database_functions.install)
        # Once, when the permissions of the last app are made.
        post_migrate.connect(roles.make_groups, sender=apps.get_app_config("searches"))
