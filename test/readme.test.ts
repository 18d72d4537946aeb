// The README's programs, run as they stand: what a reader copies has to work. Each is put in a folder of its own inside
// the package, so that it finds the package under its name.

import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { hasKvm } from './support/kvm-guest.ts'
import { readSource } from './support/source.ts'

const test = suite('readme')

const LINES_MAX = 80

/** The block of the language that contains the words. */
function block(language: string, words: string): string {
  const blocks = [...readSource('README.md').matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))]
  const [text] = blocks.flatMap(([, text = '']) => (text.includes(words) ? [text] : []))
  assert.ok(text, `no block with ${words}`)
  return text
}

test('embedding a disk in a VMM: at most 80 lines', () => {
  assert.ok(block('js', 'vm.ioeventfd').split('\n').length <= LINES_MAX)
})

if (hasKvm()) {
  test('embedding a disk in a VMM: the guest finds the disk', () => {
    const folder = join('build', `readme-${process.pid}`)
    mkdirSync(folder)
    try {
      const program = join(folder, 'embed.mjs')
      const disk = join(folder, 'disk.img')
      writeFileSync(program, block('js', 'vm.ioeventfd'))
      writeFileSync(disk, '')
      truncateSync(disk, 1 << 20)
      const { status, stderr, stdout } = spawnSync(process.execPath, [program, disk], {
        timeout: 20_000,
        encoding: 'utf8',
      })
      assert.is(stderr, '')
      assert.is(stdout, 'the guest read 74726976\n')
      assert.is(status, 0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}

test.run()
