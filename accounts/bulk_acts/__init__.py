"""Acts on all rows that match a list's filter: first a page with their number and what it frees or costs, then in the background.

`kinds` says what there is to be done, `matching` reads the filter, `pages` asks, and `runs` does it, row by row.
"""
