"""The address of a client is read before Django reads the request, and reading it changes nothing of the request."""

from __future__ import annotations

from accounts.net.client_address import address_in


def test_the_path_stays_as_the_server_gave_it() -> None:
    path = "/v1/\N{BRIDGE AT NIGHT}".encode().decode("latin-1")
    environ = {"REMOTE_ADDR": "198.51.100.1", "PATH_INFO": path, "REQUEST_METHOD": "GET"}
    assert address_in(environ) == "198.51.100.1"
    assert environ["PATH_INFO"] == path
