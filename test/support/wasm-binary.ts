// Reads as much of a WebAssembly binary as the artifact test asks about: its sections, types, imports, exports and
// where data goes. WebAssembly core specification, chapter 5. Throws on what it does not know.

export const SECTIONS = [
  ...['custom', 'type', 'import', 'function', 'table', 'memory', 'global'],
  ...['export', 'start', 'element', 'code', 'data', 'datacount'],
] as const
export type SectionName = (typeof SECTIONS)[number]

export interface Section {
  name: SectionName
  /** of a custom section */
  title: string
  /** the whole section, id and size included */
  whole: Uint8Array
  body: Reader
}

/** A function type: 'i32,f64 -> i32'. */
type Signature = string

const TYPES: Record<number, string> = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64' }
const KINDS = ['function', 'table', 'memory', 'global']

export class Reader {
  readonly bytes: Uint8Array
  at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get done(): boolean {
    return this.at >= this.bytes.length
  }

  byte(): number {
    const value = this.bytes[this.at++]
    if (value === undefined) throw new Error('the binary ends too soon')
    return value
  }

  /** LEB128, unsigned, 32 bits */
  u32(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new Error('LEB128 number of more than 32 bits')
  }

  take(count: number): Uint8Array {
    const part = this.bytes.subarray(this.at, this.at + count)
    if (part.length !== count) throw new Error('the binary ends too soon')
    this.at += count
    return part
  }

  text(): string {
    return new TextDecoder().decode(this.take(this.u32()))
  }

  list<Item>(read: () => Item): Item[] {
    return Array.from({ length: this.u32() }, read)
  }
}

export class WasmBinary {
  readonly sections: readonly Section[]

  constructor(bytes: Uint8Array) {
    const reader = new Reader(bytes)
    if (new TextDecoder().decode(reader.take(8)) !== '\0asm\x01\0\0\0') throw new Error('not a WebAssembly binary')
    const sections: Section[] = []
    while (!reader.done) {
      const start = reader.at
      const name = SECTIONS[reader.byte()]
      if (name === undefined) throw new Error(`section of unknown kind at ${start}`)
      const body = new Reader(reader.take(reader.u32()))
      sections.push({ name, title: name === 'custom' ? body.text() : '', whole: bytes.slice(start, reader.at), body })
    }
    this.sections = sections
  }

  /** A fresh reader over a section; an empty list if there is none. */
  #section(name: SectionName): Reader {
    const section = this.sections.find((each) => each.name === name)
    return new Reader(section?.body.bytes ?? Uint8Array.of(0))
  }

  types(): Signature[] {
    const reader = this.#section('type')
    const values = (): string => reader.list(() => TYPES[reader.byte()] ?? 'unknown').join(',')
    return reader.list(() => {
      if (reader.byte() !== 0x60) throw new Error('a type that is no function type')
      return `${values()} -> ${values()}`
    })
  }

  /** 'env.memory: memory 0 65536 shared', 'env.abort: function i32 -> ' */
  imports(): string[] {
    const reader = this.#section('import')
    const types = this.types()
    return reader.list(() => {
      const name = `${reader.text()}.${reader.text()}`
      const kind = KINDS[reader.byte()] ?? 'unknown'
      if (kind === 'function') return `${name}: function ${types[reader.u32()]}`
      if (kind !== 'memory') throw new Error(`import ${name} of a ${kind}`)
      const flags = reader.byte()
      const limits = [reader.u32(), ...(flags & 1 ? [reader.u32()] : []), ...(flags & 2 ? ['shared'] : [])]
      return `${name}: memory ${limits.join(' ')}`
    })
  }

  /** name -> signature, of functions; any other export is given by its kind */
  exports(): Record<string, string> {
    const imported = this.imports().filter((line) => line.includes(': function ')).length
    const types = this.types()
    const functions = this.#section('function')
    const signatures = functions.list(() => types[functions.u32()] ?? 'unknown')
    const reader = this.#section('export')
    return Object.fromEntries(
      reader.list(() => {
        const name = reader.text()
        const kind = KINDS[reader.byte()] ?? 'unknown'
        const index = reader.u32()
        return [name, kind === 'function' ? (signatures[index - imported] ?? 'imported') : kind]
      }),
    )
  }

  /** first and last byte + 1 of each active data segment */
  data(): [start: number, end: number][] {
    const reader = this.#section('data')
    return reader.list(() => {
      if (reader.u32() !== 0 || reader.byte() !== 0x41) throw new Error('a data segment without a constant address')
      const start = reader.u32()
      if (reader.byte() !== 0x0b) throw new Error('a data segment whose address is computed')
      return [start, start + reader.take(reader.u32()).length]
    })
  }
}
