// Turns guest.s into bytes with GNU as and ld, and into the text of image.ts. Where the two are missing the committed
// image is all there is; image.ts names the digest of the source it was made from, so a stale one is noticed anywhere.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const SOURCE = 'test/guest/guest.s'
export const IMAGE = 'test/guest/image.ts'

const LINE_BYTES = 56

/** The value that guest.s gives a name; a decimal or hexadecimal literal. */
export function equates(source: string): Map<string, number> {
  const found = [...source.matchAll(/^\.equ (\w+), (0x[0-9a-f]+|\d+)\b/gm)]
  return new Map(found.map(([, name = '', value]) => [name, Number(value)]))
}

export function digest(source: string): string {
  return createHash('sha256').update(source).digest('hex')
}

/** False if the programs are not installed. */
export function canAssemble(): boolean {
  const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0
  return process.arch === 'x64' && has('as') && has('ld')
}

/** The image of guest.s: its text section, linked to where it is loaded. .bss is elsewhere and not in it. */
export function assemble(): Uint8Array {
  const names = equates(readFileSync(SOURCE, 'utf8'))
  const address = (name: string): string => `0x${(names.get(name) ?? 0).toString(16)}`
  const folder = mkdtempSync(join(tmpdir(), 'vblk-guest-'))
  try {
    const object = join(folder, 'guest.o')
    const binary = join(folder, 'guest.bin')
    run('as', '--32', '-mx86-used-note=no', '-o', object, SOURCE)
    const places = [`-Ttext=${address('LOAD')}`, `-Tbss=${address('PRIVATE')}`]
    run('ld', '-m', 'elf_i386', ...places, '--oformat=binary', '-o', binary, object)
    return new Uint8Array(readFileSync(binary))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function run(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stderr}`)
}

/** The whole text of image.ts for these bytes. */
export function imageText(bytes: Uint8Array, source: string): string {
  const hex = Buffer.from(bytes).toString('hex')
  const lines = hex.match(new RegExp(`.{1,${2 * LINE_BYTES}}`, 'g')) ?? []
  return `// The test guest as bytes: the text section of guest.s, assembled by GNU as and linked by GNU ld as assemble.ts says.
// Made by \`WRITE_GUEST=1 node test/run.mjs guest/guest\`, which needs binutils; guest.test.ts compares. Not edited.

/** SHA-256 of the guest.s that this was made from */
export const SOURCE_DIGEST = '${digest(source)}'

const HEX = \`
${lines.join('\n')}
\`

export const GUEST_IMAGE: Uint8Array = Uint8Array.from(HEX.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
`
}
