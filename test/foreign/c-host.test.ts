// The engine outside JavaScript, from assembly/ABI.md alone: a host in C (vmm.c) on two runtimes of Debian's wabt, the
// C that wasm2c makes of the module, and wabt's interpreter with the module as it is shipped. Built and run by the
// lines of ABI.md as they stand. What the driver has to see is typed in by hand from OASIS VIRTIO and the contract.

import { spawnSync } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { missingTools } from '../support/debian-packages.ts'
import { readSource } from '../support/source.ts'

const test = suite('a host in C')

// 2.1: DRIVER_OK is 15, NEEDS_RESET 64. 4.2.2: bit 0 of InterruptStatus is a used buffer, bit 1 the configuration.
// 2.7.8: the used length counts the status byte, and all of it is written. Rule 13: nothing but it written, 0. -2: a
// head that the queue has no descriptor for. The faulty request needs no IO, so it is the first to be used.
const SEEN = `abi 3, init 0
magic 0x74726976, capacity 64
three requests: Status 0xf, InterruptStatus 1, 1 interrupts
  used 0: head 6, length 0, status 1
  used 1: head 0, length 513, status 0
  used 2: head 3, length 1, status 0
  read 0x5..0x5, sector 7 of the disk 0x77..0x77
a head of 99: Status 0x4f, InterruptStatus 2, 2 interrupts
  ring fault -2
after a reset: Status 0xf, InterruptStatus 1, 3 interrupts
  used 0: head 0, length 513, status 0
  read 0x77
`

const blocks = [...readSource('assembly/ABI.md').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
const reason = missingTools({ wasm2c: 'wabt', cc: 'gcc libc6-dev', 'c++': 'g++' }) || otherVersion()

/** wasm2c names functions otherwise in each of its versions. */
function otherVersion(): string {
  const version = spawnSync('wasm2c', ['--version'], { encoding: 'utf8' }).stdout.trim()
  return version === '1.0.32' ? '' : `wasm2c is ${version}, and vmm.c is written for the 1.0.32 of Debian 12`
}

if (reason !== '') {
  console.log(`skipped: the engine in a host of C: ${reason}`)
} else {
  for (const [name, words] of [
    ['as C, by wasm2c', 'wasm2c.c'],
    ['in the interpreter of wabt', 'interp.cc'],
  ] as const) {
    test(`${name}: three requests, a broken ring, a reset -> what the standard promises`, () => {
      const [script = ''] = blocks.filter((text) => text.includes(words))
      assert.ok(script, `ABI.md has no block with ${words}`)
      const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', script], { encoding: 'utf8', timeout: 120_000 })
      assert.is(stderr, '')
      assert.is(stdout, SEEN)
      assert.is(status, 0)
    })
  }
}

test.run()
