"""Holds copies of a rule equal: the states in which a credential's lookups wait, and the failures that prove these states."""

from __future__ import annotations

import re

import pytest
from django.conf import settings

from providers.failures import Failure
from providers.keyring import states
from providers.models import Credential
from searches.calls import retry_policy


def test_the_claim_repeats_the_states_of_a_dead_credential() -> None:
    claim = (settings.BASE_DIR / "searches" / "lanes" / "claim.sql").read_text()
    [listed] = re.findall(r"credential\.state NOT IN \(([^)]*)\)", claim)
    assert set(re.findall(r"'(\w+)'", listed)) == set(Credential.DEAD_STATES) == set(states.DEAD_BY.values())


@pytest.mark.parametrize("failure", states.DEAD_BY)
def test_the_retry_policy_repeats_which_failure_proves_which_state(failure: type[Failure]) -> None:
    decided = retry_policy.decide(failure("code", "detail"), attempts=0, allowed=4, throttled=0)
    assert decided == retry_policy.Block(state=states.DEAD_BY[failure])
