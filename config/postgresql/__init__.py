"""Django's PostgreSQL backend, whose pool recovers at once from what PostgreSQL dropped."""
