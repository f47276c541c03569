"""Holds the copy of a rule in SQL equal to the rule: the states in which a credential's lookups wait."""

from __future__ import annotations

import re

from django.conf import settings

from providers.models import Credential


def test_the_claim_repeats_the_states_of_a_dead_credential() -> None:
    claim = (settings.BASE_DIR / "searches" / "lanes" / "claim.sql").read_text()
    [listed] = re.findall(r"credential\.state NOT IN \(([^)]*)\)", claim)
    assert set(re.findall(r"'(\w+)'", listed)) == set(Credential.DEAD_STATES)
