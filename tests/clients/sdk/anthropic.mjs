// The Anthropic SDK against POST /anthropic/v1/messages: whole and streamed, a tool turn of two requests, errors, counting, models.
import {assert, assertWritten, fetch, load, prompt, run, saidAtTheEnd, token, url, writeFile, writeSchema} from './door.mjs';

const {default: Anthropic, APIError, NotFoundError, BadRequestError} = load('@anthropic-ai/sdk');
const client = new Anthropic({baseURL: `${url}/anthropic`, apiKey: token, fetch, maxRetries: 0});
const model = 'deepseek-v4-flash';
const max_tokens = 4096;
const tools = [{name: 'Write', description: 'Writes a file.', input_schema: writeSchema}];
const hello = [{role: 'user', content: 'Say something.'}];

const textOf = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

// Runs the calls of `message` here; what the client sends next.
function continued(messages, message) {
  const results = message.content.filter((block) => block.type === 'tool_use').map((call) => {
    return {type: 'tool_result', tool_use_id: call.id, content: [{type: 'text', text: writeFile(call.input)}]};
  });
  assert.equal(results.length, 1);
  return [...messages, {role: 'assistant', content: message.content}, {role: 'user', content: results}];
}

async function toolTurn(ask) {
  const messages = [{role: 'user', content: [{type: 'text', text: prompt}]}];
  const first = await ask({model, max_tokens, messages, tools});
  assert.equal(first.stop_reason, 'tool_use');
  assert.equal(first.content[0].type, 'thinking');
  assert(first.content[0].signature.length > 0, 'no client sends back a thought without a signature');
  const second = await ask({model, max_tokens, messages: continued(messages, first), tools});
  assert.equal(second.stop_reason, 'end_turn');
  assert.equal(textOf(second), saidAtTheEnd);
  assertWritten();
}

await run({
  async create() {
    const message = await client.messages.create({model, max_tokens, messages: hello});
    assert.equal(message.type, 'message');
    assert.equal(message.model, model);
    assert.equal(message.stop_reason, 'end_turn');
    assert(textOf(message).length > 0);
    assert(message.usage.input_tokens + message.usage.cache_read_input_tokens > 0);
    assert(message._request_id.startsWith('req_'));
  },
  async stream() {
    const types = [];
    for await (const event of await client.messages.create({model, max_tokens, messages: hello, stream: true})) types.push(event.type);
    assert.equal(types[0], 'message_start');
    assert.deepEqual(types.slice(-2), ['message_delta', 'message_stop']);
  },
  toolTurnWhole: () => toolTurn((request) => client.messages.create(request)),
  toolTurnStreamed: () => toolTurn((request) => client.messages.stream(request).finalMessage()),
  async noThinking() {
    const message = await client.messages.create({model, max_tokens, messages: hello, thinking: {type: 'disabled'}});
    assert(message.content.every((block) => block.type !== 'thinking'));
  },
  async countTokens() {
    const short = await client.messages.countTokens({model, messages: hello});
    const long = await client.messages.countTokens({model, messages: hello, system: 'Be brief. '.repeat(50), tools});
    assert(short.input_tokens > 0 && long.input_tokens > short.input_tokens);
  },
  async badRequest() {
    const failed = await client.messages.create({model, max_tokens: 0, messages: hello}).catch((error) => error);
    assert(failed instanceof BadRequestError, String(failed));
    assert.equal(failed.error.error.type, 'invalid_request_error');
    assert.match(failed.message, /max_tokens/);
  },
  async notFound() {
    const failed = await client.post('/v1/nowhere', {body: {}}).catch((error) => error);
    assert(failed instanceof NotFoundError && failed instanceof APIError, String(failed));
    assert.equal(failed.error.error.type, 'not_found_error');
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list({limit: 1000})) ids.push(one.id);
    assert(ids.includes(model), ids.join(' '));
  },
});
