#!/usr/bin/env bash
# The TypeScript MCP SDK replaces the message of a failed tool call by its own complaint
#
# A result with `isError` may carry structured content that tells of the failure. The client checks it against the schema
# of an answer that succeeded, and raises: the sentence that the server gave is lost, and the model reads a validator's.
# Without structured content the same result is returned as it is.
# Versions: @modelcontextprotocol/sdk 1.32.2. What users of this project meet of it: nothing; failed calls have text alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes > /dev/null
npm install --silent --no-audit --no-fund @modelcontextprotocol/sdk@1.32.2 > /dev/null
cat > program.mjs << 'PROGRAM'
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const outputSchema = { type: "object", properties: { total: { type: "number" } }, required: ["total"] };
const server = new Server({ name: "example", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: ["with", "without"].map((name) => ({ name, inputSchema: { type: "object" }, outputSchema })),
}));
server.setRequestHandler(CallToolRequestSchema, (request) => ({
  content: [{ type: "text", text: "The card was refused: try another one." }],
  ...(request.params.name === "with" ? { structuredContent: { error: "card_refused" } } : {}),
  isError: true,
}));
const [here, there] = InMemoryTransport.createLinkedPair();
const client = new Client({ name: "example", version: "1" });
await Promise.all([server.connect(there), client.connect(here)]);
await client.listTools();
for (const name of ["with", "without"]) {
  try {
    const result = await client.callTool({ name, arguments: {} });
    console.log(name, "structured content:", result.content[0].text);
  } catch (error) {
    console.log(name, "structured content: raises, and tells the sentence:", error.message.includes("The card was refused"));
  }
}
PROGRAM
node program.mjs > seen.txt
cat > expected.txt << 'EXPECTED'
with structured content: raises, and tells the sentence: false
without structured content: The card was refused: try another one.
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-typescript-checks-failed-results no longer behaves as described." >&2
    exit 1
}
