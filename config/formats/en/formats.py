"""How pages write times: to the second, in UTC. At one call a second, minutes would tell an operator nothing."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "Y-m-d H:i:s"
