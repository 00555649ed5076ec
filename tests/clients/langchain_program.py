"""LangChain: a stream, a tool, the answer to its call in a chain, structured output."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@tool
def look_up(city: str, days: int) -> str:
    """Looks up the weather."""
    return f"It rains frogs in {city} for {days} day."


class Weather(BaseModel):
    """The weather."""

    sky: str
    degrees: int


model = ChatOpenAI(model="gpt-5.4-mini", api_key="any", use_responses_api=True, max_retries=0)
text = "".join(chunk.text for chunk in model.stream("Say hello."))
assert "Say hello." in text, text

for kept in (False, True):
    chained = ChatOpenAI(
        model="gpt-5.4-mini",
        api_key="any",
        use_responses_api=True,
        use_previous_response_id=kept,
        include=["reasoning.encrypted_content"],
        max_retries=0,
    ).bind_tools([look_up], strict=True)
    asked = [HumanMessage("What is the weather?")]
    called = chained.invoke(asked)
    [call] = called.tool_calls
    answer = ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"])
    said = chained.invoke([*asked, called, answer]).text
    assert "It rains frogs" in said, said

weather = model.with_structured_output(Weather).invoke("Weather?")
assert isinstance(weather, Weather), weather
print("stream, tool in full and chained, structured output")
