"""One test for many values of a table."""

from inspect import Parameter, signature

import pytest


def each(values, named, kind=None):
    """Hold a test, whose first argument it is, against each of these values: all, or all of a ``kind``, in one go.

    In a guest of the lab it takes longer to begin a test than most of these take. All values that fail are told, by
    what ``named(value)`` returns. One that is skipped is passed over, and the test is skipped where none is left.
    """
    kinds = {}
    for value in values:
        kinds.setdefault(kind(value) if kind else "", []).append(value)

    def decorate(test):
        def of_a_kind(kind="", **fixtures):
            failed, skipped = [], []
            for value in kinds[kind]:
                try:
                    test(value, **fixtures)
                except pytest.skip.Exception as why:
                    skipped.append(str(why))
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"with {named(value)}")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(kinds[kind])}", failed)
            if len(skipped) == len(kinds[kind]):
                pytest.skip("; ".join(dict.fromkeys(skipped)))

        of_a_kind.__name__, of_a_kind.__doc__ = test.__name__, test.__doc__
        _, *fixtures = signature(test).parameters.values()
        if not kind:
            of_a_kind.__signature__ = signature(test).replace(parameters=fixtures)
            return of_a_kind
        own = Parameter("kind", Parameter.POSITIONAL_OR_KEYWORD)
        of_a_kind.__signature__ = signature(test).replace(parameters=[own, *fixtures])
        return pytest.mark.parametrize("kind", list(kinds))(of_a_kind)

    return decorate
