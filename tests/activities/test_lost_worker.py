"""What the loss of its worker means for a create that no second attempt follows."""

import pytest

from durable_responses.activities.lost_worker import failure_of_lost_create
from durable_responses.activities.messages import Beat, CreatePhase, FailureType


@pytest.mark.parametrize(
    ("beat", "failure"),
    [
        (None, FailureType.CREATE_AMBIGUOUS),
        (Beat(), FailureType.CREATE_AMBIGUOUS),
        (Beat(phase=CreatePhase.POSTING), FailureType.CREATE_AMBIGUOUS),
        (Beat(phase=CreatePhase.REJECTED), FailureType.TRY_LATER),
        (Beat(phase=CreatePhase.CREATED, response_id="resp_1"), FailureType.TURN_INTERRUPTED),
    ],
)
def test_its_last_beat_tells_whether_it_may_be_sent_again(beat: Beat | None, failure: FailureType) -> None:
    """W23, A27: what may have been sent is not sent again, what has an id is read by it."""
    assert failure_of_lost_create(beat) is failure
