from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant


@pytest.mark.django_db
def test_it_prints_a_live_and_a_test_key_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_tenant", "Acme", "--json")
    printed = json.loads(capsys.readouterr().out)
    acme = Tenant.objects.get(name="Acme")
    assert (printed["id"], printed["name"]) == (str(acme.id), "Acme")
    for mode in Mode:
        key = keys.find(printed["api_keys"][mode])
        assert key is not None
        assert (key.tenant, key.mode) == (acme, mode)


@pytest.mark.django_db
def test_it_prints_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_tenant", " Acme ")
    tenant, live, test, once = capsys.readouterr().out.splitlines()
    assert tenant.startswith("tenant    Acme (")
    assert keys.find(live.removeprefix("live key  ")) is not None
    assert keys.find(test.removeprefix("test key  ")) is not None
    assert "this once" in once


@pytest.mark.parametrize("name", ["Alice", "", "  ", "x" * 201])
def test_a_bad_name_is_one_clear_line_and_makes_nothing(alice: Tenant, name: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("create_tenant", name)
    assert str(refused.value).startswith("NAME: ")
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert (Tenant.objects.count(), ApiKey.objects.count()) == (1, 0)
