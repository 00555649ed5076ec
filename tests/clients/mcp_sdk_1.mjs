// The TypeScript MCP SDK 1.x over stdio: tools, a run with progress, an error in our words, start and poll.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = JSON.parse(process.env.MCP_SERVER);
const client = new Client({ name: "sdk-1", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "ignore" }));
const { tools } = await client.listTools();
if (!tools.some((tool) => tool.name === "gpt5_agent")) throw new Error(`tools: ${tools.map((tool) => tool.name)}`);

let reports = 0;
const options = { onprogress: () => (reports += 1), timeout: 60_000, resetTimeoutOnProgress: true };
const call = { name: "gpt5_agent", arguments: { task: "Say hello.", reasoning_effort: "low" } };
const done = await client.callTool(call, undefined, options);
if (done.structuredContent?.status !== "completed") throw new Error(`run: ${JSON.stringify(done)}`);

const wrong = await client.callTool({ name: "gpt5_agent", arguments: { task: "Hi.", reasoning_effort: "enormous" } });
const said = wrong.content[0].text;
if (!wrong.isError || !said.includes("reasoning_effort")) throw new Error(`error: ${JSON.stringify(wrong)}`);

const started = await client.callTool({ name: "gpt5_agent_start", arguments: { task: "Say hello." } });
let job;
do {
  const poll = { job_id: started.structuredContent.job_id, wait_seconds: 10 };
  job = (await client.callTool({ name: "gpt5_agent_poll", arguments: poll })).structuredContent;
} while (!["completed", "failed"].includes(job.status));
if (job.status !== "completed") throw new Error(`poll: ${JSON.stringify(job)}`);
await client.close();
console.log("tools, a run, an error in our words, start and poll");
