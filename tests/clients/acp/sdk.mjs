// A turn through the official SDK: sdk.mjs NPM_FOLDER REPOSITORY LARES. Asks for permission, reads what is unsaved, and prints what it saw.
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";
import path from "node:path";

const [npm, repository, lares] = process.argv.slice(2);
const acp = await import(pathToFileURL(createRequire(path.join(npm, "/")).resolve("@agentclientprotocol/sdk")).href);

const agent = spawn(lares, ["acp", "--policy", "ask"], { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const seen = { permissions: [], updates: [] };

await acp
  .client({ name: "sdk-test" })
  .onRequest(acp.methods.client.session.requestPermission, ({ params }) => {
    seen.permissions.push(params.options.map((o) => o.kind));
    return { outcome: { outcome: "selected", optionId: params.options.find((o) => o.kind === "allow_once").optionId } };
  })
  .onRequest(acp.methods.client.fs.readTextFile, async ({ params }) => ({ content: await readFile(params.path, "utf8") }))
  .onRequest(acp.methods.client.fs.writeTextFile, async ({ params }) => (await writeFile(params.path, params.content), {}))
  .connectWith(stream, async (ctx) => {
    seen.initialized = await ctx.request(acp.methods.agent.initialize, {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientCapabilities: { fs: { readTextFile: true, writeTextFile: true } },
    });
    await ctx.buildSession(repository).withSession(async (session) => {
      seen.session = session.newSessionResponse;
      const answered = session.prompt("write hello");
      // Updates have an order only here: handlers of their own run on after the prompt's answer.
      for (let next = await session.nextUpdate(); ; next = await session.nextUpdate()) {
        if (next.kind === "stop") break;
        seen.updates.push(next.update.sessionUpdate);
      }
      seen.stopReason = (await answered).stopReason;
      seen.listed = (await ctx.request(acp.methods.agent.session.list, { cwd: repository })).sessions.map((s) => s.sessionId);
      await ctx.request(acp.methods.agent.session.close, { sessionId: session.sessionId });
    });
  });
agent.stdin.end();
seen.exit = await new Promise((ended) => agent.on("exit", ended));
console.log(JSON.stringify(seen));
