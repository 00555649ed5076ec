"""Reading what the events of a run's history hold."""

import logging
from typing import TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.converter import DataConverter

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def decoded(converter: DataConverter, payloads: Payloads, kind: type[T]) -> T | None:
    """The first of the payloads as a message of this kind; None where it is none, or cannot be read."""
    try:
        values = await converter.decode(payloads.payloads[:1], [kind])
    except Exception as error:  # an operator may have given an activity any result
        logger.warning("A payload of a history cannot be read: %r", error)
        return None
    return values[0] if values and isinstance(values[0], kind) else None
