"""The default scenario: an agent that looks at the files it is offered and answers from what it found."""

from emulator.conversation import Conversation
from emulator.scenarios import Parameters
from emulator.script import Text, Turn


def agent(conversation: Conversation, _: Parameters) -> Turn:
    """Answers at once when no tool is offered."""
    return Turn(think=0.2, write=0.1, output=[Text(text=f"You asked: {conversation.task}")])
