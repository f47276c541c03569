"""Counts of calls and searches by minute and hour: `lane_calls`, `lane_samples` and `search_hours` write them, and
`lane_history` reads them.
"""
