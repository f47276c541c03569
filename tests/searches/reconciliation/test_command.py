"""`manage.py reconcile` reads keys on demand and exits 1 where somebody should look."""

from __future__ import annotations

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from accounts import clock
from accounts.models import Tenant
from providers.keyring import credentials
from providers.models import Credential
from tests.searches.reconciliation.conftest import KEY, Serve, an_hour_passes, first_reading, search

pytestmark = pytest.mark.django_db


def run(*ids: object) -> tuple[int, str]:
    """Returns the exit code and all that was printed."""
    printed, code = StringIO(), 0
    try:
        call_command("reconcile", *map(str, ids), stdout=printed, stderr=printed)
    except SystemExit as error:
        code = int(error.code or 0)
    assert KEY not in printed.getvalue()
    return code, printed.getvalue()


def test_all_keys_are_reconciled(serve: Serve, credential: Credential) -> None:
    serve()
    code, printed = run()
    assert code == 0
    assert f"{credential.pk} (modash/default): 1000000 credits are left" in printed
    code, printed = run()
    assert (code, "matches. The provider counted what the calls with this key cost." in printed) == (0, True)


def test_without_ids_the_keys_are_read_which_the_daily_task_reads(
    serve: Serve, credential: Credential, alice: Tenant, bob: Tenant
) -> None:
    serve()
    credentials.store(bob, "modash", "bobs-key")
    Tenant.objects.filter(pk=bob.pk).update(suspended_at=clock.now())
    assert "1 credentials, of which 0 need a look." in run()[1]


def test_drift_that_nothing_explains_ends_with_1(serve: Serve, credential: Credential, alice: Tenant) -> None:
    serve(billed_percent=200)
    first_reading(credential)
    search(alice)
    an_hour_passes()
    code, printed = run(credential.pk)
    assert (code, "unexplained. The provider counted 0.5 credits more" in printed) == (1, True)
    assert "1 credentials, of which 1 need a look." in printed


def test_a_key_that_cannot_be_reconciled_says_why(alice: Tenant) -> None:
    credential = credentials.store(alice, "keyapi", "sk_live_1")
    code, printed = run(credential.pk)
    assert (code, "keyapi does not tell what it has counted" in printed) == (1, True)


def test_what_is_no_id_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="credential: 'abc' is no id; give that of a provider key"):
        run("abc")


def test_an_unknown_credential_is_named(db: None) -> None:
    missing = uuid4()
    with pytest.raises(CommandError, match=f"There is no credential {missing}."):
        run(missing)
