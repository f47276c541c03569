from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    name = "billing"
    database_functions = (
        *(
            "append_only.sql",
            "grants.sql",
            "caps.sql",
            "alerts.sql",
            "entries.sql",
            "hold.sql",
            "charge_and_release.sql",
            "unknown.sql",
            "statements.sql",
        ),
        *("books.sql", "usage.sql"),
    )

    def ready(self) -> None:
        from billing import price_defaults  # models are not loaded before now

        post_migrate.connect(price_defaults.seed, sender=self)
