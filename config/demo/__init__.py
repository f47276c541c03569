"""Implements `make demo`: one search, from the picture to the creators, by a tenant that uses the API alone."""
