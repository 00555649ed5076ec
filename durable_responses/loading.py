"""Loading what a program is made of, which is most of its start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage inside: loading makes many objects that stay, and looking for others among them takes time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
