// The commands as a whole, from outside: help in three ways that say the same, refusals in one style whatever the
// command, JSON wherever there is a result, and colours where they are wanted and nowhere else.

import { rmSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { hasColour } from '../../host/cli/colour.ts'
import { DECLARATIONS } from '../../host/cli/declarations.ts'
import { readSource, sourceFiles } from '../support/source.ts'
import { assertRefused, traceFolder, vblk } from '../support/vblk-command.ts'

const test = suite('vblk help')

test('help: vblk help NAME, NAME --help, NAME -h -> the same text, status 0, nothing on standard error', () => {
  for (const { name } of DECLARATIONS) {
    const [first, ...others] = [vblk('help', name), vblk(name, '--help'), vblk(name, '-h')]
    assert.is(first?.status, 0, first?.stderr)
    assert.match(first?.stdout ?? '', new RegExp(`^Usage: vblk ${name}`))
    for (const other of others) assert.equal([other.status, other.stdout, other.stderr], [0, first?.stdout, ''])
  }
})

test('help: vblk help, --help, -h -> all commands; no command -> the same on standard error, status 2', () => {
  const { stdout, status } = vblk('help')
  assert.is(status, 0)
  for (const { name, summary } of DECLARATIONS) {
    assert.match(stdout.replace(/\s+/g, ' '), `${name} ${summary}`)
  }
  assert.is(vblk('--help').stdout, stdout)
  assert.is(vblk('-h').stdout, stdout)
  const none = vblk()
  assert.equal([none.status, none.stdout, none.stderr], [2, '', stdout])
})

test('help: of a command that there is not -> those there are', () => {
  assertRefused(vblk('help', 'bot'), "vblk help: COMMAND 'bot'", 'boot, completion', 'trace, help')
})

test('refusals: an option that there is not, of every command -> one line that begins with its name', () => {
  for (const { name } of DECLARATIONS) {
    const outcome = vblk(name, '--no-such-thing')
    assertRefused(outcome, new RegExp(`^vblk ${name}: --no-such-thing: `), `vblk ${name} --help`)
    assert.is(outcome.stdout, '')
  }
})

test('json: every command that has it -> one document and nothing else on standard output', async () => {
  const { folder, file } = await traceFolder()
  try {
    const args: Readonly<Record<string, string[]>> = {
      conformance: ['--id', 'mmio.magic.1'],
      doctor: [],
      replay: [file],
      shrink: [file, '--check', 'false', '--timeout', '60'],
      trace: [file],
    }
    // boot and start take a Linux, or as long: vblk.test.ts has them.
    const having = DECLARATIONS.filter(({ options }) => 'json' in options).map(({ name }) => name)
    assert.equal(having, ['boot', ...Object.keys(args).slice(0, 4), 'start', 'trace'])
    for (const [name, rest] of Object.entries(args)) {
      const { status, stdout, stderr } = vblk(name, ...rest, '--json')
      assert.is(status, 0, stderr)
      assert.type(JSON.parse(stdout), 'object', name)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('errors that are expected, by name -> names of classes that there are', () => {
  const main = readSource('host/cli/main.ts')
  const names = [...main.matchAll(/^ {2}(\w+Error): [12],$/gm)].map(([, name]) => name)
  assert.ok(names.length > 8)
  const sources = sourceFiles('host').map(readSource).join('\n')
  for (const name of names) assert.match(sources, `this.name = '${name}'`)
})

test('colours: a terminal, NO_COLOR, FORCE_COLOR, TERM=dumb -> as the conventions are', () => {
  const terminal = { isTTY: true }
  const pipe = {}
  const cases: [{ isTTY?: boolean }, NodeJS.ProcessEnv, boolean][] = [
    [terminal, {}, true],
    [terminal, { TERM: 'xterm' }, true],
    [terminal, { TERM: 'dumb' }, false],
    [terminal, { NO_COLOR: '1' }, false],
    [terminal, { NO_COLOR: '' }, true],
    [terminal, { FORCE_COLOR: '0' }, false],
    [pipe, {}, false],
    [pipe, { FORCE_COLOR: '1' }, true],
    [pipe, { FORCE_COLOR: '' }, true],
    [pipe, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
    [pipe, { FORCE_COLOR: '0' }, false],
  ]
  for (const [stream, env, expected] of cases) {
    assert.is(hasColour(stream, env), expected, `${stream.isTTY} ${JSON.stringify(env)}`)
  }
})

test.run()
