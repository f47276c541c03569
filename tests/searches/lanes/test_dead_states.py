"""Dead credentials: the states in which lookups wait, and the failures that prove them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accounts.models import Tenant
from providers.failures import Failure
from providers.keyring import credentials, states
from providers.models import Credential
from searches.calls import retry_policy
from searches.lanes.queue import ClaimedLookup
from searches.models import Lookup
from tests.searches.conftest import Fill


def test_failures_prove_each_state_of_a_dead_credential() -> None:
    assert set(Credential.DEAD_STATES) == set(states.DEAD_BY.values())


@pytest.mark.django_db
@pytest.mark.parametrize("state", Credential.State)
def test_a_claim_takes_a_lookup_unless_its_credential_is_dead(
    state: Credential.State, fill: Fill, claim: Callable[[], ClaimedLookup | None], alice: Tenant
) -> None:
    fill(alice, 1)
    Lookup.objects.update(credential=credentials.store(alice, "modash", "a-key"))
    Credential.objects.update(state=state)
    assert (claim() is None) == (state in Credential.DEAD_STATES)


@pytest.mark.parametrize("failure", states.DEAD_BY)
def test_the_retry_policy_blocks_after_every_failure_that_proves_a_dead_credential(failure: type[Failure]) -> None:
    decided = retry_policy.decide(failure("code", "detail"), attempts=0, allowed=4, throttled=0)
    assert decided == retry_policy.Block()
