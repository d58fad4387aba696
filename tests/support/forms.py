"""Tests of each form of the instruction table."""

from support.each import each


def each_form(forms):
    """Hold a test against each of these forms, all those of a kind in one go."""
    return each(forms, named=lambda form: form.name, kind=lambda form: form.kind)
