from django.apps import AppConfig


class SearchesConfig(AppConfig):
    name = "searches"
    database_functions = (
        "transitions.sql",
        "lanes/return_from_idle.sql",
        "lanes/backlog.sql",
        "lanes/claim.sql",
        "lanes/estimates.sql",
        "lanes/next_in_line.sql",
        "lifecycle/search_status.sql",
        "calls/lock_rows.sql",
        "orders/quotes.sql",
    )
