// What the scripts of this folder share: where the daemon is, and a fetch() that reaches it on a Unix socket too.
// node SCRIPT.mjs URL TOKEN FILE [SOCKET]: with SOCKET the URL's host is only a name. FILE is what the turn writes.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

const [url, token, file, socket] = process.argv.slice(2);
assert(url && token && file, 'usage: node SCRIPT.mjs URL TOKEN FILE [SOCKET]');

// Packages are not below this folder: npm installs them where the build is (NODE_PACKAGES, or the working directory).
const load = createRequire(path.join(process.env.NODE_PACKAGES ?? process.cwd(), 'package.json'));

let fetchHere = fetch;
if (socket) {
  const {Agent, fetch: undici} = load('undici');
  const dispatcher = new Agent({connect: {socketPath: socket}});
  fetchHere = (input, init) => undici(input, {...init, dispatcher});
}

// The scripted model calls whatever tool takes a path and content, and says this after its result.
export const prompt = `Create the file. [[write ${file}]]`;
export const writeSchema = {
  type: 'object',
  properties: {file_path: {type: 'string'}, content: {type: 'string'}},
  required: ['file_path', 'content'],
  additionalProperties: false,
};
export const saidAtTheEnd = 'The file is written.';

export function writeFile({file_path, content}) {
  assert.equal(file_path, file);
  writeFileSync(file_path, content);
  return 'written';
}

export function assertWritten() {
  assert.equal(readFileSync(file, 'utf8'), 'hello from Lares\n');
  rmSync(file);
}

// Runs each function of `checks` and says which one passed.
export async function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log(`ok ${name}`);
  }
}

export {assert, fetchHere as fetch, load, token, url};
