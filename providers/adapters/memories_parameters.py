"""Defines the parameters of Memories' two searches.

An unknown platform is refused here, because Memories would silently search another one.
"""

from __future__ import annotations

from django.core.validators import RegexValidator

from providers.parameters import Parameters, StrictChoice, StrictNumber, StrictText

DEFAULT_PLATFORM = "TIKTOK"
DEFAULT_SIMILARITY = 0.85
DEFAULT_UNIQUE_ID = "default"


class VideoParameters(Parameters):
    similarity = StrictNumber(
        required=False,
        min_value=0,
        max_value=1,
        help_text=f"Frames with a lower score are left out. The default is {DEFAULT_SIMILARITY}.",
    )
    unique_id = StrictText(
        required=False,
        max_length=255,
        trim_whitespace=False,
        validators=[
            RegexValidator(r"\A\S(.*\S)?\Z", "Must neither begin nor end with a space, nor hold a line break."),
        ],
        help_text=f"Names a part of your Memories library, case-sensitively. The default is "
        f'"{DEFAULT_UNIQUE_ID}". It does not affect a search for public videos, and does not make it another question.',
    )


class PublicVideoParameters(VideoParameters):
    platform = StrictChoice(
        ("TIKTOK", "YOUTUBE", "INSTAGRAM"),
        required=False,
        help_text=f"The platform whose videos are searched. The default is {DEFAULT_PLATFORM}.",
    )
