// The MCP SDK of the time of 2025-03-26, which speaks nothing newer, against POST /mcp: a session in that version, and its batches.
import {assert, load, run, token, url} from './door.mjs';

const {Client} = load('mcp-sdk-2025-03-26/client/index.js');
const {StreamableHTTPClientTransport} = load('mcp-sdk-2025-03-26/client/streamableHttp.js');
const {LATEST_PROTOCOL_VERSION} = load('mcp-sdk-2025-03-26/types.js');

const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {requestInit: {headers: {Authorization: `Bearer ${token}`}}});
const client = new Client({name: 'test', version: '1'});
let agreed;
const send = transport.send.bind(transport);
transport.send = (message, options) => {
  const heard = transport.onmessage;
  transport.onmessage = (answer, extra) => {
    agreed ??= answer.result?.protocolVersion;
    heard(answer, extra);
  };
  transport.send = send;
  return send(message, options);
};

await run({
  async connect() {
    await client.connect(transport);
    assert.equal(agreed, LATEST_PROTOCOL_VERSION);
    assert.equal(agreed, '2025-03-26');
  },
  async listAndRead() {
    const {tools} = await client.listTools();
    assert(tools.some(({name}) => name === 'run_task'));
    await client.listResources();
  },
  async batch() {
    const request = (id, method) => ({jsonrpc: '2.0', id, method, params: {}});
    const answers = new Map();
    const all = new Promise((resolve) => {
      transport.onmessage = (answer) => answers.set(answer.id, answer) && answers.size === 2 && resolve();
    });
    await transport.send([request('a', 'tools/list'), {jsonrpc: '2.0', method: 'notifications/x'}, request('b', 'ping')]);
    await all;
    assert(answers.get('a').result.tools.length > 0);
    assert.deepEqual(answers.get('b').result, {});
  },
  async close() {
    await transport.terminateSession();
    await transport.close();
  },
});
