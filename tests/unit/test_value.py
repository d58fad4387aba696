"""The base of values, and the base of errors."""

import copy
import pickle

import pytest

from bpfasm.errors import BpfasmError, KernelError, VerifierError
from bpfasm.value import Value


class Point(Value):
    """Two numbers, the second with a default."""

    x: int
    y: int = 0


class Named(Point):
    """A field more."""

    name: str = ""

    def __post_init__(self):
        self._set(name=self.name.upper())


def test_fields_by_place_by_name_and_by_default():
    assert Point(1) == Point(x=1, y=0) == Point(1, 0)
    assert (Named(1, name="a").name, Named(1, 2, "b")) == ("A", Named(1, 2, "B"))
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


def test_values_compare_and_hash_by_class_and_fields():
    assert Point(1) != Point(2)
    assert Point(1) != Named(1)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_values_are_frozen():
    point = Point(1)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be set: values are frozen; use replace\(\)"):
        point.x = 2
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del point.x
    assert (point.replace(x=2), point) == (Point(2), Point(1))


def test_values_can_be_copied_and_pickled():
    assert pickle.loads(pickle.dumps(Named(1, 2, "c"))) == copy.deepcopy(Named(1, 2, "c")) == Named(1, 2, "c")


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "Point() is missing x"),
        ((1, 2, 3), {}, "Point() takes 2 fields (x, y) but 3 were given"),
        ((1,), {"x": 1}, "Point() got the field 'x' twice"),
        ((1,), {"z": 1}, "Point() has no field 'z'; its fields are x, y"),
    ],
)
def test_a_misfit_says_what_is_off(args, kwargs, says):
    with pytest.raises(TypeError) as caught:
        Point(*args, **kwargs)
    assert str(caught.value) == says


def test_an_error_has_two_lines():
    error = BpfasmError("it broke", "mend it", source=("prog.py", 3), rule="broken")
    assert error.report() == "prog.py:3: error: it broke [broken]\nmend it"
    assert str(error) == "it broke\nmend it"
    assert BpfasmError("it broke").report() == "error: it broke"


def test_a_kernel_error_is_an_os_error():
    error = VerifierError(13, "refused", "read the log", log="0: (95) exit", program=None, pc=0)
    assert isinstance(error, OSError)
    assert isinstance(error, KernelError)
    assert (error.errno, error.strerror, error.log, error.pc) == (13, "refused", "0: (95) exit", 0)
    assert error.report() == "error: refused\nread the log"
