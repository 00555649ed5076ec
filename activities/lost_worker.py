"""What the loss of its worker means for a create, by the last heartbeat. Plain Python."""

from durable_responses.activities.messages import Beat, CreatePhase, FailureType


def failure_of_lost_create(beat: Beat | None) -> FailureType:
    """The failure of a create that has one attempt only, and whose worker is gone.

    Without a beat the request may have been sent all the same: beats are throttled, and one on its way dies with the
    worker.
    """
    if beat is not None and beat.response_id is not None:
        return FailureType.TURN_INTERRUPTED
    if beat is not None and beat.phase is CreatePhase.REJECTED:
        return FailureType.TRY_LATER
    return FailureType.CREATE_AMBIGUOUS
