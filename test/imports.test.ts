// The direction of imports: each folder of host/ may use those below it and no others, the portable ones never reach
// Node or the native library, and the engine's numbers (spec.ts, abi.ts) are all that host/ shares with assembly/.
// Reads import statements only.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { importsOf, sourceFiles } from './support/source.ts'

const test = suite('imports')

const NUMBERS = ['assembly/spec.ts', 'assembly/abi.ts']
const files = [...sourceFiles('assembly'), ...sourceFiles('host')]
const imports = new Map(files.map((file) => [file, importsOf(file)]))

/** What each folder of host/ may import besides itself. A folder that is not here must be added deliberately. */
const BELOW: Record<string, readonly string[]> = {
  sys: [],
  engine: ['assembly'],
  backend: ['sys'],
  driver: ['assembly'],
  device: ['assembly', 'engine', 'backend'],
  kvm: ['sys'],
  replay: ['assembly', 'engine', 'device'],
  loop: ['assembly', 'engine', 'backend', 'device', 'replay', 'sys', 'kvm'],
  conformance: ['assembly', 'engine', 'backend', 'device', 'driver', 'loop'],
  vmm: ['assembly', 'engine', 'backend', 'device', 'driver', 'replay', 'loop', 'sys', 'kvm'],
  vhost: ['assembly', 'engine', 'backend', 'device', 'driver', 'loop', 'sys'],
}
const EVERYTHING = [...Object.keys(BELOW), 'assembly']
/** The tops: entries of the package, the command and the page. */
const TOPS: Record<string, readonly string[]> = {
  '': EVERYTHING,
  cli: [...EVERYTHING, ''],
  demo: [...EVERYTHING, ''],
}

/** Runs in browsers too; the model of the Ring view knows nothing of how it is drawn. */
const PORTABLE = [
  'assembly/',
  'host/engine/',
  'host/device/',
  'host/driver/',
  'host/conformance/',
  'host/replay/',
  'host/backend/types.ts',
  'host/backend/memory.ts',
  'host/demo/ring/model/',
  'host/demo/base64url.ts',
  'host/demo/spec-names.ts',
]

const PORTABLE_ENTRIES = [
  'host/index.ts',
  'host/conformance/index.ts',
  'host/replay/index.ts',
  'host/demo/app.tsx',
  'host/demo/conformance/conformance-worker.ts',
  'host/demo/linux/linux-worker.ts',
]

/** What may be imported from elsewhere; all but koffi and v86 is bundled. */
const PACKAGES = new Set(['koffi', 'v86', 'esbuild', 'sirv'])
const PAGE_PACKAGES = new Set(['preact', 'preact/hooks', '@xterm/xterm', '@xterm/addon-fit', 'uplot'])

/** 'assembly', or the folder's name below host/, '' for host/ itself. */
function folderOf(file: string): string {
  const [top = '', folder = '', ...rest] = file.split('/')
  if (top !== 'host') return top
  return rest.length > 0 ? folder : ''
}

function isPortable(file: string): boolean {
  return PORTABLE.some((start) => file.startsWith(start))
}

/** Fails with one line per import that the function objects to. */
function forbid(rule: string, objection: (file: string, specifier: string, path: string | undefined) => boolean): void {
  const found: string[] = []
  for (const [file, list] of imports) {
    for (const { specifier, path } of list) if (objection(file, specifier, path)) found.push(`${file}: ${specifier}`)
  }
  if (found.length > 0) assert.unreachable(`${rule}\n${found.join('\n')}`)
}

test('there are imports to look at', () => {
  assert.ok([...imports.keys()].filter((file) => file.startsWith('host/demo/ring/model/')).length >= 15)
  assert.ok((imports.get('host/device/virtio-blk.ts') ?? []).length >= 8)
  assert.ok((imports.get('host/index.ts') ?? []).length >= 5)
})

test('relative imports end in .ts and stay in the repository; the command reads package.json, the kit its rows', () => {
  forbid('write the file name:', (file, specifier, path) => {
    if (path === 'package.json') return folderOf(file) !== 'cli'
    if (path === 'host/conformance/conformance.json') return folderOf(file) !== 'conformance'
    return specifier.startsWith('.') && (!/\.(tsx?|wasm)$/.test(specifier) || (path ?? '').startsWith('..'))
  })
})

test('portable folders import no package and no Node module', () => {
  forbid('these run in browsers:', (file, specifier) => isPortable(file) && !specifier.startsWith('.'))
})

test('portable folders import portable files only', () => {
  forbid('these reach what browsers do not have:', (file, _, path) => {
    return isPortable(file) && path !== undefined && !isPortable(path) && !path.endsWith('.wasm')
  })
})

test('the portable entries reach nothing of Node, on any way', () => {
  const seen = new Set<string>()
  const queue = [...PORTABLE_ENTRIES]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const { specifier, path } of imports.get(file) ?? []) {
      const isOfThePage = file.startsWith('host/demo/') && PAGE_PACKAGES.has(specifier)
      assert.ok(specifier.startsWith('.') || isOfThePage, `${file} imports ${specifier}`)
      if (path) queue.push(path)
    }
  }
  assert.ok(seen.has('host/device/virtio-blk.ts'))
})

test('Node modules are imported by their full name, the native library by sys alone', () => {
  forbid('unknown package:', (file, specifier) => {
    const packages = file.startsWith('host/demo/') ? PAGE_PACKAGES : PACKAGES
    return !/^(\.|node:)/.test(specifier) && !packages.has(specifier)
  })
  forbid('koffi belongs to host/sys and host/kvm:', (file, specifier) => {
    return specifier === 'koffi' && !['sys', 'kvm'].includes(folderOf(file))
  })
})

test('spec.ts and abi.ts import nothing', () => {
  forbid('these are plain numbers:', (file) => NUMBERS.includes(file))
})

test('assembly imports assembly', () => {
  forbid('the compiler sees no other folder:', (file, _, path) => {
    return file.startsWith('assembly/') && !path?.startsWith('assembly/')
  })
})

test('host imports of assembly spec.ts and abi.ts only', () => {
  forbid('share numbers, not code:', (file, _, path) => {
    return file.startsWith('host/') && (path ?? '').startsWith('assembly/') && !NUMBERS.includes(path ?? '')
  })
})

test('the driver imports of ours spec.ts and itself only', () => {
  forbid('the two sides of the ring share no code:', (file, _, path) => {
    const mine = path === 'assembly/spec.ts' || path?.startsWith('host/driver/')
    return file.startsWith('host/driver/') && !mine
  })
})

test('sys imports nothing of ours', () => {
  forbid('sys knows nothing of virtio:', (file, _, path) => {
    return file.startsWith('host/sys/') && path !== undefined && !path.startsWith('host/sys/')
  })
})

test('every folder imports what is below it', () => {
  for (const file of files) {
    const folder = folderOf(file)
    const allowed = folder === 'assembly' ? [] : (BELOW[folder] ?? TOPS[folder])
    assert.ok(allowed, `${file}: say in this test what host/${folder} may import`)
  }
  forbid('this points up or sideways:', (file, _, path) => {
    if (path === undefined || path.startsWith('build/') || path === 'package.json') return false
    const folder = folderOf(file)
    const target = folderOf(path)
    return target !== folder && !(BELOW[folder] ?? TOPS[folder] ?? []).includes(target)
  })
})

test('back ends do not know each other, but for the contract', () => {
  forbid('a back end uses types.ts and what it is given:', (file, _, path) => {
    const isBackend = file.startsWith('host/backend/')
    return isBackend && (path ?? '').startsWith('host/backend/') && path !== 'host/backend/types.ts'
  })
})

test('no cycles, type-only imports aside', () => {
  const state = new Map<string, 'open' | 'done'>()
  const trail: string[] = []
  const visit = (file: string): void => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      assert.unreachable(`import cycle:\n${[...trail.slice(trail.indexOf(file)), file].join('\n')}`)
    }
    state.set(file, 'open')
    trail.push(file)
    for (const { path, typeOnly } of imports.get(file) ?? []) if (path && !typeOnly) visit(path)
    trail.pop()
    state.set(file, 'done')
  }
  for (const file of files) visit(file)
})

test.run()
