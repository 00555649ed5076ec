// Starts a run, waits for it and prints the answer. The task is the first argument.
import { Client, Connection, WorkflowFailedError } from "@temporalio/client";

const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS ?? "localhost:7233" });
const client = new Client({ connection, namespace: process.env.TEMPORAL_NAMESPACE ?? "default" });

const run = await client.workflow.start("AgentWorkflow", {
  taskQueue: process.env.AGENT_TASK_QUEUE ?? "agents",
  workflowId: `agent-typescript-${crypto.randomUUID()}`,
  args: [{ task: process.argv[2] ?? "Say hello.", reasoning_effort: "low" }],
});
console.error(`started ${run.workflowId}`);

try {
  const result = await run.result();
  // `completed`, `incomplete` or `cancelled`: each has the text so far.
  console.error(`${result.status}, ${result.usage.total_tokens} tokens`);
  console.log(result.output_text);
} catch (error) {
  // The details of the failure are the same object, with `error` in it.
  if (!(error instanceof WorkflowFailedError)) throw error;
  const [result] = error.cause?.details ?? [];
  console.error(result?.error?.message ?? error.cause?.message);
  process.exitCode = 1;
} finally {
  await connection.close();
}
