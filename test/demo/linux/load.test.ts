// What is made of a server's answer to the list of the Linux view's files when there is none: its reason, if it is one.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FilesMissingError, loadFiles } from '../../../host/demo/linux/load.ts'

const test = suite('linux files')

/** The reason that is found in the answer 404 of this type and text. */
async function reasonOf(type: string, text: string): Promise<string | undefined> {
  const server = createServer((_, response) => response.writeHead(404, { 'Content-Type': type }).end(text))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await loadFiles(`http://127.0.0.1:${(server.address() as AddressInfo).port}/linux/`, () => {})
  } catch (error) {
    if (!(error instanceof FilesMissingError)) throw error
    assert.match(error.message, /^there is no http:.*\/linux\/manifest\.json$/)
    return error.reason
  } finally {
    server.close()
    server.closeAllConnections()
  }
  throw new Error('the files were loaded')
}

test('no list: one short line of plain text -> the reason', async () => {
  assert.is(await reasonOf('text/plain; charset=utf-8', 'served with --no-linux\n'), 'served with --no-linux')
  assert.is(await reasonOf('text/plain', 'v86 was not found: npm install v86'), 'v86 was not found: npm install v86')
})

test('no list: a page, a long text, several lines, nothing, or what other servers say -> no reason', async () => {
  assert.is(await reasonOf('text/html', 'served with --no-linux'), undefined)
  assert.is(await reasonOf('application/json', '"no"'), undefined)
  const texts = ['', '\n', 'a\nb', 'x'.repeat(501), 'not found', 'Not Found', '404 page not found', 'File not found.']
  for (const text of [...texts, '404: Not Found', 'Error 404', '404']) {
    assert.is(await reasonOf('text/plain', text), undefined, text)
  }
})

test.run()
