"""The application that `tests.bench.api` compares the API with: one Django project with DRF's own classes and nothing around."""
