"""Formats times on pages: to the second, in UTC. At one call a second, minutes would say nothing to an operator."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "Y-m-d H:i:s"
