from __future__ import annotations

import pytest

from accounts.net import allowed_networks


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
    ],
)
def test_a_network_has_one_spelling(text: str, network: str) -> None:
    assert allowed_networks.parse(text) == network


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Must be an address or a network such as 203.0.113.0/24"),
        ("office", "Must be an address or a network"),
        ("10.0.0.0/33", "Must be an address or a network"),
        ("fe80::1%eth0", "Must be an address or a network"),
        ("10.0.0.0/8\n", "Must be an address or a network"),
        ("203.0.113.7/24", "Has bits set behind its prefix; write 203.0.113.0/24."),
        ("10.0.0.0/255.0.0.0", "Give the length of the prefix as a number: 10.0.0.0/8."),
    ],
)
def test_any_other_text_is_refused_with_the_mend(text: str, sentence: str) -> None:
    with pytest.raises(allowed_networks.BadNetwork) as error:
        allowed_networks.parse(text)
    assert sentence in str(error.value)


def test_networks_lie_in_others() -> None:
    outer = ["10.0.0.0/8", "2001:db8::/32"]
    assert allowed_networks.within(["10.1.0.0/16", "2001:db8:1::/48", "10.0.0.0/8"], outer)
    assert not allowed_networks.within(["10.1.0.0/16", "11.0.0.0/32"], outer)
    assert not allowed_networks.within(["0.0.0.0/0"], outer)
    assert not allowed_networks.within(["::/0"], outer)
