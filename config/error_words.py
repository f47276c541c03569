"""Says DRF's own sentences about wrong values in the words of the others: what must be, and no names of Python."""

from __future__ import annotations

import re

# The sentence that DRF has, and ours.
WORDS = tuple(
    (re.compile(pattern, re.DOTALL), words)
    for pattern, words in (
        (r"This field is required\.", "Is missing; give it."),
        (r"This field may not be null\.", "Must have a value, and not null."),
        (r"This field may not be blank\.", "Must not be empty."),
        (r"This list may not be empty\.", "Must hold at least one item."),
        (r"Must be a valid UUID\.", "Must be a UUID, such as 019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001."),
        (r"Null characters are not allowed\.", "Must not hold a null character (U+0000)."),
        (r"Ensure this field has no more than (\d+) characters\.", r"Must have at most \1 characters."),
        (r"Ensure this field has at least (\d+) characters\.", r"Must have at least \1 characters."),
        (r"Ensure this field has no more than (\d+) elements\.", r"Must hold at most \1 items."),
        (r"Ensure this field has at least 1 elements\.", "Must hold at least one item."),
        (r"Ensure this field has at least (\d+) elements\.", r"Must hold at least \1 items."),
        (r"Ensure this value is less than or equal to (.+)\.", r"Must be at most \1."),
        (r"Ensure this value is greater than or equal to (.+)\.", r"Must be at least \1."),
        (r'Expected a list of items but got type ".*"\.', "Must be a list, in square brackets."),
        (r'Expected a dictionary of items but got type ".*"\.', "Must be an object with named fields."),
        (r"A valid (?:integer|number) is required\.", "Must be a number."),
        (r"(?:Not a valid string|Invalid value)\.", "Must be a text in quotes."),
        (r"Must be a valid boolean\.", "Must be true or false."),
        (r"Enter a valid URL\.", "Must be a URL, such as https://example.com/path."),
    )
)


def in_our_words(sentence: str) -> str:
    for pattern, words in WORDS:
        if match := pattern.fullmatch(sentence):
            return match.expand(words)
    return sentence
