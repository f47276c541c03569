from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts import vault
from accounts.models import Tenant
from providers.keyring import advice, credentials, sealing, states
from providers.models import Credential
from providers.sandbox.magic_keys import MAGIC
from tests.racing import at_once

SECRET = "modash-key-0123456789"
# No server listens at this address.
NOWHERE = "http://127.0.0.1:9"
State = Credential.State


def test_a_stored_key_opens_again_and_is_untried(alice: Tenant) -> None:
    credential = credentials.store(alice, "modash", f"  {SECRET}\n")
    assert sealing.secret_of(credential).value == SECRET
    assert credential.state == State.UNKNOWN


def test_the_secret_shows_nowhere(alice: Tenant) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    row = Credential.objects.filter(pk=credential.pk).values().get()
    shown = [str(credential), repr(credential), repr(sealing.secret_of(credential))]
    shown += [str(bytes(value) if isinstance(value, memoryview) else value) for value in row.values()]
    assert not any(SECRET in text for text in shown)


def test_a_sealed_key_moved_to_another_row_does_not_open(alice: Tenant, charlie: Tenant) -> None:
    stolen = credentials.store(alice, "modash", SECRET)
    own = credentials.store(charlie, "modash", "own-key")
    own.sealed = stolen.sealed
    with pytest.raises(vault.Unopenable):
        sealing.secret_of(own)


def test_the_first_key_to_a_provider_is_its_default(alice: Tenant, bob: Tenant) -> None:
    first = credentials.store(alice, "modash", "one")
    second = credentials.store(alice, "modash", "two", label="spare")
    elsewhere = credentials.store(alice, "keyapi", "three")
    of_bob = credentials.store(bob, "modash", "four")
    assert [row.is_default for row in (first, second, elsewhere, of_bob)] == [True, False, True, True]


def test_another_key_can_become_the_default(alice: Tenant) -> None:
    first = credentials.store(alice, "modash", "one")
    second = credentials.store(alice, "modash", "two", label="spare")
    elsewhere = credentials.store(alice, "keyapi", "three")
    credentials.change(second, is_default=True)
    defaults = Credential.objects.for_tenant(alice).filter(is_default=True)
    assert set(defaults) == {second, elsewhere}
    assert credentials.store(alice, "modash", "one-again").pk == first.pk
    assert set(defaults.all()) == {second, elsewhere}


def test_storing_under_the_same_label_replaces_the_key(alice: Tenant) -> None:
    old = credentials.store(alice, "modash", SECRET)
    states.mark(old, State.INVALID)
    new = credentials.store(alice, "modash", "another-key")
    assert new.pk == old.pk
    assert new.is_default
    assert new.state == State.UNKNOWN
    assert new.fingerprint != old.fingerprint
    assert sealing.secret_of(new).value == "another-key"


def test_equal_keys_of_two_tenants_have_one_fingerprint(alice: Tenant, bob: Tenant) -> None:
    of_alice, of_bob = (credentials.store(tenant, "modash", SECRET) for tenant in (alice, bob))
    assert of_alice.fingerprint == of_bob.fingerprint
    assert bytes(of_alice.sealed) != bytes(of_bob.sealed)


@pytest.mark.parametrize("secret", ["", " \n", "two words", "line\nbreak", "clé", "nul\0", "x" * 4097])
def test_a_secret_that_no_header_can_have_is_refused_without_being_quoted(alice: Tenant, secret: str) -> None:
    with pytest.raises(sealing.BadSecret) as refused:
        credentials.store(alice, "modash", secret)
    assert not secret.strip() or secret not in str(refused.value)
    assert not Credential.objects.exists()


def test_a_state_is_noted_once_with_its_time(alice: Tenant) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    before = credential.state_changed_at
    assert states.mark(credential, State.INVALID)
    assert not states.mark(credential, State.INVALID)
    credential.refresh_from_db()
    assert credential.state == State.INVALID
    assert credential.state_changed_at >= before


def test_a_dead_key_stays_dead_whatever_worked_before(alice: Tenant) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    states.mark(credential, State.INVALID)
    states.worked(credential)
    assert Credential.objects.get().state == State.INVALID


def test_a_late_failure_of_the_old_key_does_not_mark_the_new_one(alice: Tenant) -> None:
    read_by_a_worker = credentials.store(alice, "modash", SECRET)
    credentials.store(alice, "modash", "another-key")
    assert not states.mark(read_by_a_worker, State.INVALID)
    assert Credential.objects.get().state == State.UNKNOWN


@pytest.mark.django_db(transaction=True)
def test_exactly_one_of_several_keys_stored_concurrently_is_the_default() -> None:
    tenant = Tenant.objects.create(name="Alice")

    def store(label: str) -> None:
        credentials.store(tenant, "modash", SECRET, label=label)
        connection.close()

    threads = [threading.Thread(target=store, args=(f"key {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Credential.objects.count() == 6
    assert Credential.objects.filter(is_default=True).count() == 1


def test_a_first_key_is_the_default_whatever_is_asked(alice: Tenant) -> None:
    first = credentials.create(alice, "modash", "one", label="first", is_default=False)
    second = credentials.create(alice, "modash", "two", label="second", is_default=True)
    first.refresh_from_db()
    assert (first.is_default, second.is_default) == (False, True)


def test_a_label_belongs_to_one_key(alice: Tenant, bob: Tenant) -> None:
    first = credentials.create(alice, "modash", "one", label="a")
    other = credentials.create(alice, "modash", "two", label="b")
    for tenant, provider in ((alice, "keyapi"), (bob, "modash")):
        credentials.create(tenant, provider, "three", label="a")
    with pytest.raises(credentials.LabelTaken):
        credentials.create(alice, "modash", "four", label="a")
    with pytest.raises(credentials.LabelTaken):
        credentials.change(other, label="a", secret="five")
    credentials.change(first, label="a")
    assert [sealing.secret_of(row).value for row in alice.credentials.filter(provider="modash")] == ["one", "two"]


def test_a_change_is_whole_or_nothing(alice: Tenant) -> None:
    credentials.create(alice, "modash", "one", label="a")
    second = credentials.create(alice, "modash", "two", label="b")
    with pytest.raises(sealing.BadSecret):
        credentials.change(second, label="c", is_default=True, secret="two words")
    second.refresh_from_db()
    assert (second.label, second.is_default) == ("b", False)
    credentials.change(second, label="c", is_default=True, secret="three")
    assert (second.label, second.is_default, sealing.secret_of(second).value) == ("c", True, "three")
    assert alice.credentials.filter(is_default=True).count() == 1


def test_the_oldest_of_the_others_inherits_from_a_default_that_is_removed(alice: Tenant, bob: Tenant) -> None:
    first, second, third = (credentials.create(alice, "modash", name, label=name) for name in ("x", "m", "a"))
    of_bob = credentials.store(bob, "modash", "bobs")
    credentials.remove(third)
    credentials.remove(first)
    assert alice.credentials.get() == second
    assert Credential.objects.filter(is_default=True).count() == 2
    credentials.remove(second)
    credentials.remove(second)
    assert Credential.objects.get() == of_bob


def test_a_magic_key_is_the_default_only_on_request(alice: Tenant) -> None:
    magic = credentials.store(alice, "modash", "sandbox_error")
    assert not magic.is_default
    real = credentials.store(alice, "modash", SECRET, label="real")
    assert real.is_default
    credentials.remove(real)
    assert not alice.credentials.filter(is_default=True).exists()
    requested = credentials.create(alice, "modash", "sandbox_empty", label="requested", is_default=True)
    assert requested.is_default
    credentials.remove(requested)
    assert credentials.store(alice, "modash", SECRET).is_default
    assert alice.credentials.get() == magic


@pytest.mark.parametrize("label", ["", "x" * 101, "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"])
def test_a_label_that_no_search_could_name_is_refused(alice: Tenant, label: str) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    for tried in (
        lambda: credentials.store(alice, "modash", SECRET, label=label),
        lambda: credentials.create(alice, "modash", SECRET, label=label),
        lambda: credentials.change(credential, label=label),
    ):
        with pytest.raises(credentials.BadLabel):
            tried()
    assert alice.credentials.get().label == "default"


def test_a_change_is_dated_by_the_databases_clock(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    credential = credentials.store(alice, "modash", SECRET)
    first = credential.updated_at
    credentials.change(credential, secret="another-key")
    assert datetime(2002, 1, 1, tzinfo=UTC) < first < credential.updated_at


@pytest.mark.django_db(transaction=True)
def test_keys_that_are_changed_concurrently_have_one_default() -> None:
    tenant = Tenant.objects.create(name="Alice")
    keys = [credentials.store(tenant, "modash", SECRET, label=f"old {number}") for number in range(4)]
    tasks: list[Callable[[], object]] = [partial(credentials.remove, key) for key in keys[:2]]
    tasks += [partial(credentials.change, key, is_default=True) for key in keys[2:]]
    tasks += [partial(credentials.store, tenant, "modash", SECRET, label=f"new {number}") for number in range(4)]
    at_once(tasks)
    assert Credential.objects.count() == 6
    assert Credential.objects.filter(is_default=True).count() == 1


def test_a_search_that_works_after_a_replacement_ends_the_probing(alice: Tenant) -> None:
    credential = credentials.store(alice, "modash", SECRET)
    states.mark(credential, State.EXHAUSTED)
    credential = credentials.store(alice, "modash", "another-key")
    assert (credential.is_dead, credential.blocks_lookups, credential.is_unproven) == (False, True, True)
    states.worked(credential)
    credential.refresh_from_db()
    assert (credential.state, credential.blocks_lookups, credential.is_unproven) == (State.VERIFIED, False, False)


def test_the_command_stores_from_a_variable(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    settings.MODASH_BASE_URL = NOWHERE
    monkeypatch.setenv("MODASH_KEY", SECRET)
    call_command("store_credential", "Alice", "modash", "--from-env", "MODASH_KEY")
    call_command("store_credential", str(alice.id), "modash", "--from-env", "MODASH_KEY", "--label", "spare")
    stored = Credential.objects.for_tenant(alice)
    assert [sealing.secret_of(row).value for row in stored] == [SECRET, SECRET]
    assert [row.label for row in stored] == ["default", "spare"]
    assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["Nobody", "modash", "--from-env", "MODASH_KEY"], "TENANT"),
        (["Alice", "nowhere", "--from-env", "MODASH_KEY"], "PROVIDER"),
        (["Alice", "modash", "--from-env", "NOT_SET"], "NOT_SET"),
        (["Alice", "modash", "--from-env", "EMPTY"], "empty"),
        (["Alice", "modash", "--from-env", "MODASH_KEY", "--label", ""], "--label"),
        (["Alice", "modash", "--from-env", "MODASH_KEY", "--label", "x" * 101], "--label"),
        (["Alice", "modash", "--from-env", "MODASH_KEY", "--label", "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"], "--label"),
    ],
)
def test_a_bad_argument_is_one_clear_line_and_stores_nothing(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.setenv("MODASH_KEY", SECRET)
    monkeypatch.setenv("EMPTY", "  ")
    with pytest.raises(CommandError, match=named) as refused:
        call_command("store_credential", *arguments)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
    assert not Credential.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_more_keys_than_allowed_are_stored_of_fifty_at_once(alice: Tenant) -> None:
    Tenant.objects.update(most_credentials=7)
    alice.refresh_from_db()

    def store(number: int) -> bool:
        try:
            credentials.create(alice, ("modash", "keyapi")[number % 2], SECRET, label=f"key {number}")
        except credentials.TooManyCredentials as refused:
            return "7 provider keys" not in str(refused)
        return True

    assert sum(at_once([partial(store, number) for number in range(50)])) == 7
    assert Credential.objects.for_tenant(alice).count() == 7


def test_a_key_can_be_replaced_when_no_more_may_be_stored(alice: Tenant) -> None:
    alice.most_credentials = 1
    credentials.store(alice, "modash", "one")
    assert sealing.secret_of(credentials.store(alice, "modash", "two")).value == "two"
    with pytest.raises(credentials.TooManyCredentials):
        credentials.store(alice, "keyapi", "three")
    Tenant.objects.update(most_credentials=1)
    with pytest.raises(CommandError, match="1 provider keys are stored"):
        call_command("store_credential", alice.name, "keyapi", from_env="HOME")


def test_a_magic_key_is_recognized_without_opening_it(alice: Tenant, settings: Settings) -> None:
    magic = credentials.store(alice, "modash", "sandbox_garbage", label="magic")
    settings.CREDENTIAL_KEYS = "other:" + "B" * 43
    credentials.store(alice, "modash", "sandbox_down", label="more magic")
    magic.refresh_from_db()
    assert (magic.is_magic, magic.is_default) == (True, False)
    assert credentials.store(alice, "modash", SECRET, label="real").is_default


def test_a_key_that_replaces_a_magic_one_is_not_magic(alice: Tenant) -> None:
    assert credentials.store(alice, "modash", "sandbox_down").is_magic
    real = credentials.store(alice, "modash", SECRET)
    assert (real.is_magic, real.is_default) == (False, True)


@pytest.mark.parametrize(
    ("provider", "secret", "warned"),
    [
        ("memories", "sk-mavi-0123", False),
        ("memories", "sk_mavi_0123", True),
        ("keyapi", "sk_live_0123", False),
        ("keyapi", "a-key", True),
        ("modash", "whatever", False),
        ("memories", "sandbox_error", False),
        ("modash", "sandbox_error_alice", False),
        ("modash", "sandbox_eror", True),
        ("memories", "sandbox_errors", True),
    ],
)
def test_a_key_of_another_form_is_stored_with_a_warning(
    alice: Tenant, provider: str, secret: str, warned: bool
) -> None:
    credential = credentials.store(alice, provider, secret)
    warning = advice.warning(credential)
    assert bool(warning) == warned
    assert secret not in warning
    Credential.objects.update(sealed=b"no longer what it was")
    assert advice.warning(Credential.objects.get()) == ""


def test_the_warning_of_a_mistyped_magic_key_names_those_that_there_are(alice: Tenant) -> None:
    warning = advice.warning(credentials.store(alice, "modash", "sandbox_eror"))
    assert "ordinary key" in warning
    assert all(name in warning for name in MAGIC)
