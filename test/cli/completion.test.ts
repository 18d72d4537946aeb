// `vblk completion`: the scripts in real shells. bash runs its function with the words that readline would give it;
// an interactive zsh on a pseudo terminal gets a Tab; fish is asked with `complete -C`. A shell that is not installed
// is skipped, and that is said.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DECLARATIONS, SHELLS } from '../../host/cli/declarations.ts'
import { assertRefused, vblk } from '../support/vblk-command.ts'

const test = suite<{ folder: string }>('vblk completion')

const NAMES = DECLARATIONS.map(({ name }) => name)
const FILES = ['a file.img', 'a folder', 'b.img']

const BASH = `
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_vblk || exit 1
printf '%s\\n' "\${COMPREPLY[@]}"
`

const ZSH = `
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"
ask() { zpty -w shell "$1" }
await() { for ((i = 0; i < 400; i++)); do zpty -r -t shell junk; [[ -e $1 ]] && return; sleep 0.05; done; exit 1 }
ask "unsetopt prompt_sp; autoload -Uz compinit; compinit -u -D; source \${(q)1}"
ask "compadd() { local -a hits; builtin compadd -O hits \\"\\$@\\"; print -rl -- \\$hits >> \${(q)2}; builtin compadd \\"\\$@\\" }"
ask "bindkey '^X' kill-whole-line; setopt no_auto_menu no_list_beep; print -r > \${(q)2}.ready"
await $2.ready
zpty -w -n shell "$3"$'\\t'$'\\x18'
ask "print -r > \${(q)2}.done"
await $2.done
zpty -d shell
`

function script(folder: string, shell: (typeof SHELLS)[number]): string {
  const path = join(folder, `vblk.${shell}`)
  writeFileSync(path, vblk('completion', shell).stdout)
  return path
}

function has(shell: string): boolean {
  if (spawnSync(shell, ['--version']).status === 0) return true
  console.log(`\nskipped: vblk completion ${shell}: there is no ${shell} (apt-get install ${shell})`)
  return false
}

/** The place where completion runs: three names. */
function place(folder: string): string {
  const cwd = join(folder, 'place')
  if (existsSync(cwd)) return cwd
  mkdirSync(join(cwd, 'a folder'), { recursive: true })
  for (const name of ['a file.img', 'b.img']) writeFileSync(join(cwd, name), '')
  return cwd
}

test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'vblk-completion-'))
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

test('shell: none, or another -> those there are', () => {
  assertRefused(vblk('completion'), 'SHELL is missing', 'bash, zsh, fish')
  assertRefused(vblk('completion', 'tcsh'), "'tcsh'", 'bash, zsh, fish')
})

test('scripts: every command and option that is declared -> in each of them', () => {
  for (const shell of SHELLS) {
    const { status, stdout } = vblk('completion', shell)
    assert.is(status, 0)
    for (const { name, options } of DECLARATIONS) {
      assert.match(stdout, new RegExp(`\\b${name}\\b`))
      for (const key of Object.keys(options)) assert.match(stdout, shell === 'fish' ? `-l ${key} ` : `--${key}`)
    }
  }
})

if (has('bash')) {
  test('bash: commands, options, choices, files, folders; nothing where nothing is known', ({ folder }) => {
    const path = script(folder, 'bash')
    const offered = (...words: string[]): string[] => {
      const args = ['--norc', '-c', BASH, 'bash', path, 'vblk', ...words]
      const { status, stdout, stderr } = spawnSync('bash', args, { cwd: place(folder), encoding: 'utf8' })
      assert.equal([status, stderr], [0, ''])
      return stdout.split('\n').filter(Boolean).sort()
    }
    assert.equal(offered(''), ['--help', '--version', ...NAMES].sort())
    assert.equal(offered('co'), ['completion', 'conformance'])
    for (const { name, options } of DECLARATIONS) {
      const words = [...Object.keys(options).map((key) => `--${key}`), '--help']
      assert.equal(offered(name, '--'), words.sort(), name)
    }
    assert.equal(offered('boot', '--io'), ['--iops', '--iops-burst'])
    assert.equal(offered('boot', '--accel', ''), ['auto', 'kvm', 'v86'])
    assert.equal(offered('boot', '--accel', '=', 'k'), ['kvm'])
    assert.equal(offered('boot', '--accel', '='), ['auto', 'kvm', 'v86'])
    assert.equal(offered('boot', '--ro', '--disk', ''), FILES)
    assert.equal(offered('boot', '--disk', '=', 'a '), ['a file.img', 'a folder'])
    assert.equal(offered('replay', ''), FILES)
    assert.equal(offered('demo', '--out', ''), ['a folder'])
    assert.equal(offered('completion', ''), ['bash', 'fish', 'zsh'])
    assert.equal(offered('help', 'bo'), ['boot'])
    for (const words of [
      ['boot', '--iops', ''],
      ['boot', ''],
      ['start', ''],
      ['nope', '--'],
    ]) {
      assert.equal(offered(...words), [])
    }
  })
}

if (has('zsh')) {
  test('zsh: Tab in an interactive shell -> commands, options, choices, files', ({ folder }) => {
    const path = script(folder, 'zsh')
    let number = 0
    const offered = (line: string): string[] => {
      const out = join(folder, `zsh-${number++}`)
      const args = ['-f', '-c', ZSH, 'zsh', path, out, line]
      const { status } = spawnSync('zsh', args, { cwd: place(folder), encoding: 'utf8', timeout: 60_000 })
      assert.is(status, 0)
      const words = existsSync(out) ? readFileSync(out, 'utf8').split('\n') : []
      return [...new Set(words.filter(Boolean))].sort()
    }
    assert.equal(spawnSync('zsh', ['-n', path], { encoding: 'utf8' }).stderr, '')
    assert.equal(offered('vblk co'), ['completion', 'conformance'])
    assert.equal(offered('vblk boot --acc'), ['--accel'])
    assert.equal(offered('vblk boot --accel='), ['auto', 'kvm', 'v86'])
    assert.equal(offered('vblk help comp'), ['completion'])
    assert.equal(offered('vblk boot --disk b'), ['b.img'])
    assert.equal(offered('vblk replay b'), ['b.img'])
  })
}

if (has('fish')) {
  test('fish: complete -C -> commands, options, choices, files, folders', ({ folder }) => {
    const path = script(folder, 'fish')
    const offered = (line: string): string[] => {
      const args = ['--no-config', '-c', `source ${path}; complete -C '${line}'`]
      const env = { ...process.env, HOME: folder }
      const { status, stdout, stderr } = spawnSync('fish', args, { cwd: place(folder), encoding: 'utf8', env })
      assert.equal([status, stderr], [0, ''])
      const words = stdout.split('\n').map((one) => one.split('\t')[0]?.replace(/\/$/, '') ?? '')
      return words.filter(Boolean).sort()
    }
    assert.equal(offered('vblk '), NAMES)
    assert.equal(offered('vblk boot --io'), ['--iops', '--iops-burst'])
    assert.equal(offered('vblk boot --accel '), ['auto', 'kvm', 'v86'])
    assert.equal(offered('vblk boot --disk '), FILES)
    assert.equal(offered('vblk demo --out '), ['a folder'])
    assert.equal(offered('vblk completion '), ['bash', 'fish', 'zsh'])
    assert.equal(offered('vblk trace --'), ['--filter', '--help', '--json'])
  })
}

test.run()
