// Vercel AI SDK: a stream, a tool loop (it refers to stored items by id), the same without storing, an object.
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, isStepCount, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ apiKey: "any", baseURL: process.env.OPENAI_BASE_URL });
const model = openai.responses("gpt-5.4-mini");
const stopWhen = (isStepCount ?? stepCountIs)(5);

const stream = streamText({ model, prompt: "Say hello." });
let text = "";
for await (const piece of stream.textStream) text += piece;
if (!text.includes("Say hello.")) throw new Error(`stream: ${text}`);

const tools = {
  look_up: tool({
    description: "Looks up the weather.",
    inputSchema: z.object({ city: z.string(), days: z.number().int().min(1) }),
    execute: async ({ days }) => `It rains frogs for ${days} day.`,
  }),
};
for (const store of [true, false]) {
  const options = { store, include: ["reasoning.encrypted_content"], reasoningEffort: "low" };
  const done = await generateText({ model, prompt: "Weather?", tools, stopWhen, providerOptions: { openai: options } });
  if (!done.text.includes("It rains frogs for 1 day.")) throw new Error(`tool, store ${store}: ${done.text}`);
}
const { object } = await generateObject({
  model,
  prompt: "Weather?",
  schema: z.object({ sky: z.enum(["clear", "cloudy"]), degrees: z.number() }),
});
if (object.sky !== "clear") throw new Error(`object: ${JSON.stringify(object)}`);
console.log("stream, tool loop with references to stored items and without storing, object");
