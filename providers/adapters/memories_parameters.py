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
        help_text=f"Frames with a lower score are left out; {DEFAULT_SIMILARITY} where it is not given.",
    )
    unique_id = StrictText(
        required=False,
        max_length=255,
        trim_whitespace=False,
        validators=[
            RegexValidator(r"\A\S(.*\S)?\Z", "Must neither begin nor end with a space, nor hold a line break."),
        ],
        help_text=f"Names a part of your Memories library, upper and lower case apart; "
        f'"{DEFAULT_UNIQUE_ID}" where it is not given. On public videos it changes nothing, and makes no other question of one.',
    )


class PublicVideoParameters(VideoParameters):
    platform = StrictChoice(
        ("TIKTOK", "YOUTUBE", "INSTAGRAM"),
        required=False,
        help_text=f"Whose videos are searched; {DEFAULT_PLATFORM} where it is not given.",
    )
