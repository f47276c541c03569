from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    # `config.database_functions` installs them after each `migrate`.
    database_functions = ("acts.sql",)
