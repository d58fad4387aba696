"""Tests of each form of the instruction table."""

import pytest


def each_form(forms):
    """Hold a test against each of these forms, all those of a kind in one go.

    In a guest of the lab it takes longer to begin a test than most of these take. All forms that fail are told. A
    form that is skipped is passed over, and the test is skipped where none is left.
    """
    kinds = {}
    for form in forms:
        kinds.setdefault(form.kind, []).append(form)

    def decorate(test):
        @pytest.mark.parametrize("kind", list(kinds))
        def of_a_kind(kind):
            failed, skipped = [], []
            for form in kinds[kind]:
                try:
                    test(form)
                except pytest.skip.Exception as why:
                    skipped.append(str(why))
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"with {form.name}")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(kinds[kind])} forms", failed)
            if len(skipped) == len(kinds[kind]):
                pytest.skip("; ".join(dict.fromkeys(skipped)))

        of_a_kind.__name__, of_a_kind.__doc__ = test.__name__, test.__doc__
        return of_a_kind

    return decorate
