"""Runs nginx with the configuration of the compose file, in front of a web server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx

from config.launcher import ports
from tests import programs
from tests.processes import answers, wait_until

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
IS_INSTALLED = shutil.which(NGINX) is not None


@contextmanager
def nginx_before(url: str) -> Iterator[str]:
    """Runs nginx with the configuration as it is, except the addresses and the paths. Yields its address."""
    port = ports.chosen("PORT", 0)
    text = (programs.CHECKOUT / "config/nginx.conf").read_text()
    with programs.state_folder() as folder, ExitStack() as stack:
        places = {"listen 8080": f"listen {ports.HOST}:{port}", "web:8000": url.removeprefix("http://")}
        for was, is_now in (places | {" /tmp/": f" {folder}/"}).items():
            assert was in text
            text = text.replace(was, is_now)
        (folder / "nginx.conf").write_text(text)
        (folder / "trusted.conf").write_text(f"set_real_ip_from {ports.HOST};\n")
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        log = stack.enter_context((folder / "log").open("wb"))
        nginx = stack.enter_context(subprocess.Popen(command, stderr=log))
        stack.callback(nginx.terminate)
        public = f"http://{ports.HOST}:{port}"
        client = stack.enter_context(httpx.Client(base_url=public, trust_env=False))
        wait_until(lambda: answers(client, "/healthz"))
        yield public
