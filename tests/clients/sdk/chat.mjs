// The OpenAI SDK against POST /v1/chat/completions: whole and streamed, tools that the SDK itself runs, errors.
import {assert, assertWritten, fetch, load, prompt, run, saidAtTheEnd, token, url, writeFile, writeSchema} from './door.mjs';

const {default: OpenAI, BadRequestError, NotFoundError} = load('openai');
const client = new OpenAI({baseURL: `${url}/v1`, apiKey: token, fetch, maxRetries: 0});
const model = 'deepseek-v4-flash';
const hello = [{role: 'user', content: 'Say something.'}];
const tools = [{type: 'function', function: {name: 'Write', description: 'Writes a file.', parameters: writeSchema, parse: JSON.parse, function: writeFile}}];

await run({
  async create() {
    const completion = await client.chat.completions.create({model, messages: hello});
    assert.equal(completion.choices[0].finish_reason, 'stop');
    assert(completion.choices[0].message.content.length > 0);
    assert(completion.choices[0].message.reasoning_content.length > 0);
  },
  async stream() {
    let usage;
    let finish;
    const stream = await client.chat.completions.create({model, messages: hello, stream: true, stream_options: {include_usage: true}});
    for await (const chunk of stream) {
      finish ??= chunk.choices[0]?.finish_reason;
      usage = chunk.usage;
    }
    assert.equal(finish, 'stop');
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  },
  async runTools() {
    const runner = client.chat.completions.runTools({model, messages: [{role: 'user', content: prompt}], tools});
    assert.equal(await runner.finalContent(), saidAtTheEnd);
    assertWritten();
  },
  async runToolsStreamed() {
    const runner = client.chat.completions.runTools({model, messages: [{role: 'user', content: prompt}], tools, stream: true});
    assert.equal(await runner.finalContent(), saidAtTheEnd);
    assertWritten();
  },
  async badRequest() {
    const failed = await client.chat.completions.create({model, messages: hello, max_tokens: 0}).catch((error) => error);
    assert(failed instanceof BadRequestError, String(failed));
    assert.equal(failed.param, 'max_tokens');
  },
  async retiredModel() {
    const failed = await client.chat.completions.create({model: 'deepseek-chat', messages: hello}).catch((error) => error);
    assert(failed instanceof NotFoundError, String(failed));
    assert.match(failed.message, /deepseek-v4-flash/);
  },
});
