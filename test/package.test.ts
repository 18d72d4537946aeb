// The package as npm makes it, unpacked into an empty project: both entries load and work, their types are found, and
// the command runs. Needs no network: koffi, the one dependency, is linked from this checkout.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { transformSync } from 'esbuild'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const test = suite<{ folder: string }>('package')

const PROGRAM = `
import { GuestMemory, MemoryBackend, VirtioBlk, VirtioBlkDriver } from 'virtio-blk-wasm'
import { type Result, runConformance } from 'virtio-blk-wasm/conformance'
import { createImage, FileBackend } from 'virtio-blk-wasm/node'

const memory = GuestMemory.create({ ramBytes: 4 << 20 })
createImage('disk.img', 1 << 20)
for (const backend of [new MemoryBackend(1 << 20), FileBackend.open('disk.img')]) {
  const disk = await VirtioBlk.create({ memory, backend })
  const driver = await VirtioBlkDriver.probe({ mmio: disk, memory })
  await driver.write(1, new Uint8Array(1024).fill(7))
  await driver.flush()
  const data: Uint8Array = await driver.read(0, 1024)
  const writes: number = disk.counters.writesCompleted
  console.log(data[511], data[512], writes)
  await disk.close()
}
const results: Result[] = await runConformance(
  async () => {
    const ram = GuestMemory.create({ ramBytes: 4 << 20 })
    return { mmio: await VirtioBlk.create({ memory: ram, backend: new MemoryBackend(1 << 20) }), memory: ram }
  },
  { section: '4.2.2.1' },
)
console.log(results.filter(({ outcome }) => outcome === 'passed').length > 5)
`

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  assert.is(status, 0, `${command} ${args.join(' ')}: ${error ?? ''}${stdout}${stderr}`)
  return stdout
}

test.before((context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vblk-package-'))
  context.folder = folder
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], process.cwd())
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, 'virtio-blk-wasm'), { recursive: true })
  run('tar', ['xzf', join(folder, filename), '--strip-components=1', '-C', join(modules, 'virtio-blk-wasm')], folder)
  for (const name of ['koffi', '@koromix', '@types']) {
    symlinkSync(resolve('node_modules', name), join(modules, name))
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'program.ts'), PROGRAM)
})

test.after(({ folder }) => {
  rmSync(folder, { recursive: true, force: true })
})

test('entries: a program over both -> it runs', ({ folder }) => {
  writeFileSync(join(folder, 'program.js'), transformSync(PROGRAM, { loader: 'ts', format: 'esm' }).code)
  assert.is(run(process.execPath, ['program.js'], folder), '0 7 1\n0 7 1\ntrue\n')
})

test('portable entries: no Buffer, as in a browser -> they load', ({ folder }) => {
  const both = "await import('virtio-blk-wasm'); await import('virtio-blk-wasm/conformance')"
  const program = `delete globalThis.Buffer; ${both}`
  run(process.execPath, ['--input-type=module', '--eval', program], folder)
})

test('types: the same program -> no error', ({ folder }) => {
  const tsc = resolve('node_modules/typescript/bin/tsc')
  run(
    process.execPath,
    [tsc, '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', 'program.ts'],
    folder,
  )
})

test('command: vblk --help -> status 0', ({ folder }) => {
  const bin = join(folder, 'node_modules/virtio-blk-wasm/build/vblk.js')
  assert.match(run(process.execPath, [bin, '--help'], folder), 'boot')
})

test.run()
