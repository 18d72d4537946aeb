// Another build of the engine, from a file: what is no engine, or one for another state block, is refused before
// anything is played on it. Of the imports, trace.trace is given a listener that does nothing, and env.abort of a debug
// build traps; the memory is shared if the module does not link to one that is not.

import { ABI_VERSION } from '../../assembly/abi.ts'
import { GuestMemory } from '../device/guest-memory.ts'
import type { EngineExports } from '../engine/engine.ts'
import { ARGUMENTS } from '../replay/step.ts'
import { readInputFile } from './input-file.ts'
import { UsageError } from './options.ts'

interface EngineFile {
  readonly engine: (memory: WebAssembly.Memory) => EngineExports
  readonly shared: boolean
}

const GIVEN: ReadonlySet<string> = new Set(['env.memory', 'env.abort', 'trace.trace'])

export async function readEngine(file: string): Promise<EngineFile> {
  const refuse = (reason: string): never => {
    throw new UsageError(`--engine ${file}: ${reason}`)
  }
  const module = compiled(await readInputFile(file, '--engine '), refuse)
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    if (!GIVEN.has(`${from}.${name}`)) refuse(`this is no engine of virtio-blk-wasm: it imports ${from}.${name}`)
  }
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name))
  if (!names.has('abiVersion')) refuse('this is no engine of virtio-blk-wasm: no export abiVersion')
  const engine = (memory: WebAssembly.Memory): EngineExports => {
    const abort = (): never => {
      throw new WebAssembly.RuntimeError('abort')
    }
    const { exports } = new WebAssembly.Instance(module, { env: { memory, abort }, trace: { trace: () => {} } })
    return exports as unknown as EngineExports
  }
  const links = (shared: boolean): EngineExports | undefined => {
    try {
      return engine(GuestMemory.create({ ramBytes: 4096, stateBytes: 0, shared }).memory)
    } catch (error) {
      if (error instanceof WebAssembly.LinkError) return undefined
      throw error
    }
  }
  const plain = links(false)
  const linked = plain ?? links(true) ?? refuse('this is no engine of virtio-blk-wasm: it takes no memory of guests')
  const version = abiOf(linked)
  if (version !== ABI_VERSION) {
    refuse(`the engine speaks ABI version ${version}, this program speaks ${ABI_VERSION}; build it from this version`)
  }
  for (const name of ['stateBytes', ...Object.keys(ARGUMENTS)]) {
    if (!names.has(name)) refuse(`the engine lacks the export ${name}: it is of another version`)
  }
  return { engine, shared: plain === undefined }
}

function compiled(bytes: Uint8Array<ArrayBuffer>, refuse: (reason: string) => never): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes)
  } catch (error) {
    return refuse(`this is no WebAssembly module (${(error as Error).message.replace(/^.*?: /, '')})`)
  }
}

function abiOf(engine: EngineExports): number | string {
  try {
    return engine.abiVersion()
  } catch (error) {
    return `unknown (${(error as Error).message})`
  }
}
