// @modelcontextprotocol/ext-tasks: a call that becomes a durable task, and its result by `tasks/get`.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";

const TASKS = "io.modelcontextprotocol/tasks";
const [command, ...args] = JSON.parse(process.env.MCP_SERVER);
const clientInfo = { name: "ext-tasks", version: "1" };
const clientCapabilities = { extensions: { [TASKS]: {} } };
const versionNegotiation = { mode: "auto" };
const client = new Client(clientInfo, { capabilities: clientCapabilities, versionNegotiation });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "ignore" }));

// The SDK's own codecs refuse answers about tasks, so the package wants another way to the server: a process of its own.
const server = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
const waiting = new Map();
createInterface({ input: server.stdout }).on("line", (line) => {
  const message = JSON.parse(line);
  waiting.get(message.id)?.(message);
});
const methods = [];
const rawDispatch = (request) =>
  new Promise((resolve) => {
    const id = methods.push(request.method);
    waiting.set(id, resolve);
    server.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...request })}\n`);
  });
const session = createTaskSessionFromClient(client, {
  endpointId: "lane",
  rawDispatch,
  v2RequestFraming: { protocolVersion: "2026-07-28", clientInfo, clientCapabilities },
});
const execution = await session.callTool("gpt5_agent", { task: "Say hello.", reasoning_effort: "low" });
const { outcome } = await execution.settle();
const result = resultFromTaskOutcome(outcome);
if (result.structuredContent?.status !== "completed") throw new Error(`run: ${JSON.stringify(result)}`);
if (!methods.includes("tasks/get")) throw new Error(`no task was made: ${methods}`);
await session.close();
server.kill();
await client.close();
console.log("a call that becomes a task, its result by tasks/get");
