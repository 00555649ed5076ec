// @modelcontextprotocol/ext-tasks: a call that becomes a durable task, its questions by `tasks/update`, its result by
// `tasks/get`; the server is killed while it asks.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";

const TASKS = "io.modelcontextprotocol/tasks";
const [command, ...args] = JSON.parse(process.env.MCP_SERVER);
const clientInfo = { name: "ext-tasks", version: "1" };
const clientCapabilities = { elicitation: {}, extensions: { [TASKS]: {} } };
const versionNegotiation = { mode: "auto" };
const client = new Client(clientInfo, { capabilities: clientCapabilities, versionNegotiation });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "ignore" }));

// The SDK's own codecs refuse answers about tasks, so the package wants another way to the server: a process of its own.
const waiting = new Map();
function started() {
  const server = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
  createInterface({ input: server.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
  });
  return server;
}
let server = started();
const methods = [];
const rawDispatch = (request) =>
  new Promise((resolve) => {
    const id = methods.push(request.method);
    waiting.set(id, resolve);
    server.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...request })}\n`);
  });

const forms = [];
const answers = ["many", "4"];
async function onInputRequest(request, context) {
  forms.push({ key: context.inputId, message: request.params.message });
  if (forms.length === 1) {
    server.kill("SIGKILL");
    server = started();
  }
  return { action: "accept", content: { answer: answers.shift() } };
}

const session = createTaskSessionFromClient(client, {
  endpointId: "lane",
  rawDispatch,
  v2RequestFraming: { protocolVersion: "2026-07-28", clientInfo, clientCapabilities },
  onInputRequest,
  onError: (error) => console.error(error),
});
async function run(task) {
  const execution = await session.callTool("gpt5_agent", task);
  const { outcome } = await execution.settle();
  const result = resultFromTaskOutcome(outcome);
  if (result.structuredContent?.status !== "completed") throw new Error(`run: ${JSON.stringify(result)}`);
  return result.structuredContent;
}
await run({ task: "Say hello.", reasoning_effort: "low" });
if (!methods.includes("tasks/get")) throw new Error(`no task was made: ${methods}`);

const model = "scenario:calls?iterations=3&tool=fetch_url&text=Done.";
const done = await run({ task: "Ask.", model, max_iterations: 1, on_max_iterations: "ask" });
if (done.output !== "Done." || done.iterations !== 4) throw new Error(`asked: ${JSON.stringify(done)}`);
if (forms.length !== 2 || forms[0].key === forms[1].key) throw new Error(`forms: ${JSON.stringify(forms)}`);
if (!forms[1].message.includes('"many" is not a new limit')) throw new Error(`again: ${forms[1].message}`);
await session.close();
server.kill();
await client.close();
console.log("a call that becomes a task, its questions by tasks/update (a wrong answer is asked again), its result by tasks/get");
