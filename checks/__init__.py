"""Checks that take minutes: `make check-full`."""
