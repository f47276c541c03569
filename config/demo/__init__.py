"""`make demo`: one search from picture to creators, by a tenant who knows nothing but the API."""
