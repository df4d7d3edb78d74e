"""What mypyc is told of a class changes nothing where it is not compiled."""

from __future__ import annotations

from coterie.wire.native import mypyc_attr


def test_a_class_stays_as_it_is() -> None:
    class Some:
        pass

    assert mypyc_attr(allow_interpreted_subclasses=True)(Some) is Some
