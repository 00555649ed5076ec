// openai-node: a stream, a tool, a chain, a strict answer, a background response that is cancelled.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "any", maxRetries: 0 });
const model = "gpt-5.4-mini";
const tools = [
  {
    type: "function",
    name: "look_up",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } },
      required: ["city", "days"],
      additionalProperties: false,
    },
  },
];
let text = "";
for await (const event of await client.responses.create({ model, input: "Say hello.", stream: true })) {
  if (event.type === "response.output_text.delta") text += event.delta;
}
if (!text.includes("Say hello.")) throw new Error(`stream: ${text}`);

const called = await client.responses.create({ model, input: "What is the weather?", tools, tool_choice: "required" });
const call = called.output.find((item) => item.type === "function_call");
if (JSON.parse(call.arguments).days !== 1) throw new Error(`arguments: ${call.arguments}`);
const answered = await client.responses.create({
  model,
  previous_response_id: called.id,
  tools,
  input: [{ type: "function_call_output", call_id: call.call_id, output: "It rains frogs." }],
});
if (!answered.output_text.includes("It rains frogs.")) throw new Error(`chain: ${answered.output_text}`);

const format = { type: "json_schema", name: "weather", strict: true, schema: tools[0].parameters };
const parsed = await client.responses.parse({ model, input: "Weather?", text: { format } });
if (JSON.parse(parsed.output_text).days !== 1) throw new Error(`format: ${parsed.output_text}`);

const slow = await client.responses.create({ model: "scenario:think?seconds=60", input: "Hm.", background: true });
const cancelled = await client.responses.cancel(slow.id);
if (cancelled.status !== "cancelled") throw new Error(`cancel: ${cancelled.status}`);

const models = [];
for await (const listed of client.models.list()) models.push(listed.id);
if (!models.includes("scenario:echo")) throw new Error(`models: ${models}`);
console.log("stream, tool, chain, strict answer, background and cancel, models");
