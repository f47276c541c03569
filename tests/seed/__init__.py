"""Fills an empty database as years of use would: `make seed`. For looking at the operators' pages, and for measuring them."""
