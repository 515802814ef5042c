// The OpenAI SDK against POST /v1/responses: whole and streamed, function and custom tools in turns of two requests, errors, models.
import {assert, assertWritten, fetch, load, prompt, run, saidAtTheEnd, token, url, writeFile, writeSchema} from './door.mjs';

const {default: OpenAI, BadRequestError, NotFoundError} = load('openai');
const client = new OpenAI({baseURL: `${url}/v1`, apiKey: token, fetch, maxRetries: 0});
const model = 'deepseek-v4-flash';
const tools = [{type: 'function', name: 'Write', description: 'Writes a file.', parameters: writeSchema, strict: false}];

// `run` makes the output of a call; what the client sends next, reasoning included.
function continued(input, response, type, run) {
  const calls = response.output.filter((item) => item.type === type);
  assert.equal(calls.length, 1);
  const outputs = calls.map((call) => ({type: `${type}_output`, call_id: call.call_id, output: run(call)}));
  return [...input, ...response.output, ...outputs];
}

async function toolTurn(ask) {
  const input = [{role: 'user', content: prompt}];
  const first = await ask({model, input, tools, store: false, include: ['reasoning.encrypted_content']});
  assert.equal(first.status, 'completed');
  assert.equal(first.output[0].type, 'reasoning');
  assert(first.output[0].encrypted_content.length > 0, 'some clients send back nothing else of a thought');
  const next = continued(input, first, 'function_call', (call) => writeFile(JSON.parse(call.arguments)));
  const second = await ask({model, input: next, tools, store: false});
  assert.equal(second.output_text, saidAtTheEnd);
  assertWritten();
}

await run({
  async create() {
    const response = await client.responses.create({model, input: 'Say something.', instructions: 'Be brief.'});
    assert.equal(response.status, 'completed');
    assert.equal(response.model, model);
    assert.equal(response.store, false);
    assert(response.output_text.length > 0);
    assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
  },
  async stream() {
    let n = 0;
    let last;
    for await (const event of await client.responses.create({model, input: 'Say something.', stream: true})) {
      assert.equal(event.sequence_number, n++);
      last = event;
    }
    assert.equal(last.type, 'response.completed');
    assert(last.response.output.length > 0);
  },
  toolTurnWhole: () => toolTurn((request) => client.responses.create(request)),
  toolTurnStreamed: () => toolTurn((request) => client.responses.stream(request).finalResponse()),
  async toolInANamespace() {
    const space = [{type: 'namespace', name: 'files', description: 'Files.', tools}];
    const response = await client.responses.create({model, input: prompt, tools: space});
    const call = response.output.find((item) => item.type === 'function_call');
    assert.deepEqual([call.namespace, call.name], ['files', 'Write']);
    writeFile(JSON.parse(call.arguments));
    assertWritten();
  },
  async customTool() {
    const patch = [{type: 'custom', name: 'apply_patch', description: 'Patches files.', format: {type: 'grammar', syntax: 'lark', definition: 'start: "*** Begin Patch"'}}];
    const input = [{role: 'user', content: prompt}];
    const first = await client.responses.create({model, input, tools: patch});
    const next = continued(input, first, 'custom_tool_call', (call) => {
      assert.match(call.input, /^\*\*\* Begin Patch\n\*\*\* Add File: /);
      return 'Done.';
    });
    assert.equal((await client.responses.create({model, input: next, tools: patch})).output_text, saidAtTheEnd);
  },
  async badRequest() {
    const failed = await client.responses.create({model, input: 'x', previous_response_id: 'resp_1'}).catch((error) => error);
    assert(failed instanceof BadRequestError, String(failed));
    assert.equal(failed.param, 'previous_response_id');
  },
  async notFound() {
    const failed = await client.responses.retrieve('resp_1').catch((error) => error);
    assert(failed instanceof NotFoundError, String(failed));
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    assert(ids.includes(model), ids.join(' '));
  },
});
