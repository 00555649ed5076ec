"""pydantic-ai: a stream, a tool, an output type."""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIResponsesModel


class Weather(BaseModel):
    """The weather."""

    sky: str
    degrees: int


def look_up(city: str, days: int) -> str:
    """Looks up the weather."""
    return f"It rains frogs in {city} for {days} day."


async def main() -> None:
    """Everything that the lane wants to see."""
    model = OpenAIResponsesModel("gpt-5.4-mini")
    async with Agent(model).run_stream("Say hello.") as stream:
        text = await stream.get_output()
    assert "Say hello." in text, text
    done = await Agent(model, tools=[look_up]).run("What is the weather?")
    assert "It rains frogs" in done.output, done.output
    typed = await Agent(model, output_type=Weather).run("Weather?")
    assert isinstance(typed.output, Weather), typed.output
    native = await Agent(model, output_type=NativeOutput(Weather)).run("Weather?")
    assert isinstance(native.output, Weather), native.output
    print("stream, tool, output type by tool and by schema")


asyncio.run(main())
