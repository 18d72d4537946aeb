// `vblk demo`: what its server gives and refuses, the folder that it writes, and what it says to mistakes. Without
// Linux here; the page with Linux is in test/demo.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type DemoServer, serveDemo } from '../../host/cli/demo-server.ts'
import { assertRefused, vblk } from './run-vblk.ts'

const test = suite<{ folder: string }>('vblk demo')

test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'vblk-demo-'))
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

async function served<Result>(
  options: Partial<Parameters<typeof serveDemo>[0]>,
  work: (server: DemoServer) => Promise<Result>,
): Promise<Result> {
  const server = await serveDemo({ page: 'build/demo', ...options })
  try {
    return await work(server)
  } finally {
    await server.close()
  }
}

test('server: the page, its style and its program -> with their types', async () => {
  await served({}, async ({ url }) => {
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/$/)
    for (const [path, type] of [
      ['', 'text/html'],
      ['style.css', 'text/css'],
      ['app.js', 'text/javascript'],
      ['golden/index.json', 'application/json'],
    ]) {
      const response = await fetch(url + path)
      assert.is(response.status, 200, path)
      assert.ok(response.headers.get('content-type')?.startsWith(type ?? ''), path)
      await response.arrayBuffer()
    }
  })
})

test('server: isolation -> COOP and COEP; without -> neither', async () => {
  for (const isolation of [true, false]) {
    await served({ isolation }, async ({ url }) => {
      const { headers } = await fetch(url)
      assert.is(headers.get('cross-origin-opener-policy'), isolation ? 'same-origin' : null)
      assert.is(headers.get('cross-origin-embedder-policy'), isolation ? 'require-corp' : null)
    })
  }
})

test('server: linux/ -> from its own folder, and nothing there without one', async ({ folder }) => {
  const linux = join(folder, 'linux')
  mkdirSync(linux)
  writeFileSync(join(linux, 'manifest.json'), '{"made":1}')
  await served({ linux }, async ({ url }) => {
    assert.is(await (await fetch(`${url}linux/manifest.json`)).text(), '{"made":1}')
    assert.is((await fetch(`${url}linux/other`)).status, 404)
  })
  await served({}, async ({ url }) => assert.is((await fetch(`${url}linux/manifest.json`)).status, 404))
})

test('server: without Linux, and the reason known -> 404 with the reason for the list of its files, in one line', async () => {
  const linuxMissing = 'v86 is not installed; it runs ü:\nnpm install v86'
  await served({ linuxMissing }, async ({ url }) => {
    for (const path of ['linux/manifest.json', 'linux/manifest.json?again']) {
      const answer = await fetch(url + path)
      assert.is(answer.status, 404)
      assert.is(answer.headers.get('content-type'), 'text/plain; charset=utf-8')
      assert.is(await answer.text(), 'v86 is not installed; it runs ü: npm install v86\n')
    }
    assert.is(await (await fetch(`${url}linux/other`)).text(), 'not found\n')
    assert.is((await fetch(url)).status, 200)
  })
})

test('server: files outside its folders, other methods -> refused', async ({ folder }) => {
  writeFileSync(join(folder, 'secret'), 'secret')
  const page = join(folder, 'page')
  mkdirSync(page)
  writeFileSync(join(page, 'index.html'), 'page')
  await served({ page, linux: page }, async ({ url }) => {
    for (const path of ['..%2fsecret', 'linux/..%2f..%2fsecret', '%2e%2e/secret', 'linux%2f..%2f..%2fsecret', '%zz']) {
      const response = await fetch(url + path)
      assert.not.match(await response.text(), 'secret', path)
      assert.ok(response.status >= 400, `${path}: ${response.status}`)
    }
    const posted = await fetch(url, { method: 'POST', body: 'x' })
    assert.is(posted.status, 405)
    assert.is(posted.headers.get('allow'), 'GET, HEAD')
  })
})

test('command: serves, says where on standard output and why there is no Linux, ends with Ctrl-C', async () => {
  const cases: [args: string[], reason: RegExp][] = [
    [['--no-linux'], /^served with --no-linux\n$/],
    [[], /^cannot write the cache folder .*: set XDG_CACHE_HOME\n$/],
  ]
  for (const [args, reason] of cases) {
    const env = { ...process.env, XDG_CACHE_HOME: '/etc/passwd/x' }
    const child = spawn(process.execPath, ['build/vblk.js', 'demo', '--port', '0', ...args], { env })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const url = await new Promise<string>((resolve) =>
      child.stdout.once('data', (text) => resolve(String(text).trim())),
    )
    try {
      assert.match(await (await fetch(url)).text(), '<title>virtio-blk-wasm</title>')
      const answer = await fetch(`${url}linux/manifest.json`)
      assert.is(answer.status, 404)
      assert.match(await answer.text(), reason)
    } finally {
      child.kill('SIGINT')
    }
    assert.is(await ended, 0)
  }
})

test('command: a port that is taken, or none -> one line, status 2', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  assertRefused(vblk(['demo', '--no-linux', '--port', String(port)]), String(port), 'it is taken', '--port')
  server.close()
  assertRefused(vblk(['demo', '--no-linux', '--port', '65536']), '--port', "not '65536'")
  assertRefused(vblk(['demo', '--no-linux', '--port', '80x']), '--port', "not '80x'")
  assertRefused(vblk(['demo', '--no-linux', '--host', '203.0.113.1']), '203.0.113.1', 'EADDRNOTAVAIL')
})

test('--out: a new folder, and the same again -> the page, without its source maps', ({ folder }) => {
  const out = join(folder, 'site')
  for (let time = 0; time < 2; time++) {
    const { status, stdout, stderr } = vblk(['demo', '--no-linux', '--out', out])
    assert.is(status, 0, stderr)
    assert.match(stdout, 'for any web server')
    assert.ok(existsSync(join(out, 'index.html')))
    assert.equal(readFileSync(join(out, 'app.js')), readFileSync('build/demo/app.js'))
    assert.not.ok(readdirSync(out).some((name) => name.endsWith('.map')))
  }
  assert.equal(
    readdirSync(folder).filter((name) => name.startsWith('.site')),
    [],
  )
})

test('--out: other files beside those of the page, which was made there -> refused, all is left', ({ folder }) => {
  const out = join(folder, 'pages')
  assert.is(vblk(['demo', '--no-linux', '--out', out]).status, 0)
  mkdirSync(join(out, '.git'))
  writeFileSync(join(out, '.git', 'HEAD'), 'ref: refs/heads/main\n')
  writeFileSync(join(out, 'CNAME'), 'example.org')
  const before = readdirSync(out, { recursive: true })
  assertRefused(vblk(['demo', '--no-linux', '--out', out]), `--out ${out}`, '.git/HEAD, CNAME', 'name a new folder')
  assert.equal(readdirSync(out, { recursive: true }), before)
})

test('--out: Linux cannot be had -> refused, unless --no-linux; what was there is left', ({ folder }) => {
  const out = join(folder, 'whole')
  const nowhere = { XDG_CACHE_HOME: '/etc/passwd/x' }
  assertRefused(vblk(['demo', '--out', out], nowhere), '--no-linux')
  assert.not.ok(existsSync(out))
  assert.is(vblk(['demo', '--no-linux', '--out', out], nowhere).status, 0)
})

test('--out: a folder with other files, a file, with options for serving -> refused, nothing touched', ({ folder }) => {
  const other = join(folder, 'other')
  mkdirSync(other)
  writeFileSync(join(other, 'mine'), 'mine')
  assertRefused(vblk(['demo', '--out', other]), '--out', 'other files', 'new folder')
  assert.equal(readdirSync(other), ['mine'])
  assertRefused(vblk(['demo', '--out', join(other, 'mine')]), '--out', 'there is a file')
  assert.is(readFileSync(join(other, 'mine'), 'utf8'), 'mine')
  const nowhere = join(folder, 'nowhere')
  assertRefused(vblk(['demo', '--no-linux', '--out', join(nowhere, 'site')]), `there is no directory ${nowhere}`)
  assertRefused(vblk(['demo', '--no-linux', '--out', '/proc/site']), '--out /proc/site', 'cannot be written (ENOENT)')
  assertRefused(vblk(['demo', '--out', join(folder, 'new'), '--port', '1']), '--port', '--out')
  assert.not.ok(existsSync(join(folder, 'new')))
})

test.run()
