// Bytes of a trace, written and read: little-endian numbers of fixed width, and numbers of varying width, seven bits a
// byte, low ones first, the top bit set on all bytes but the last. Signed ones are zigzagged: 0, -1, 1, -2, ... become
// 0, 1, 2, 3, ... The reader checks every step against the end and says where it stopped. Portable.

/** A trace that cannot be read: the message says what is wrong and where. */
export class TraceError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'TraceError'
  }
}

/** Writes into bytes that are large enough: the caller sees to it. */
export class ByteWriter {
  at: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.at = at
  }

  u8(value: number): void {
    this.#bytes[this.at++] = value
  }

  /** `width` low bytes of low and high, 1 to 8. */
  fixed(width: number, low: number, high = 0): void {
    for (let i = 0; i < width; i++) this.u8((i < 4 ? low >>> (8 * i) : high >>> (8 * (i - 4))) & 0xff)
  }

  /** 0 to 2^53 - 1 */
  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.u8(rest)
  }

  /** -2^52 to 2^52 - 1 */
  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value)
  }

  f64(value: number): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setFloat64(0, value, true)
    this.take(bytes)
  }

  take(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.at)
    this.at += bytes.length
  }
}

export class ByteReader {
  at = 0
  /** what is being read, for the message */
  what = 'the trace'
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length
  }

  fail(reason: string): never {
    throw new TraceError(`${this.what}, byte ${this.at} of the steps: ${reason}`)
  }

  u8(): number {
    if (this.at >= this.#bytes.length) this.fail('they end in the middle of a step')
    return this.#bytes[this.at++] as number
  }

  fixed(width: number): { low: number; high: number } {
    let low = 0
    let high = 0
    for (let i = 0; i < width; i++) {
      if (i < 4) low |= this.u8() << (8 * i)
      else high |= this.u8() << (8 * (i - 4))
    }
    return { low: low >>> 0, high: high >>> 0 }
  }

  varint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) this.fail('a number is larger than 2^53')
      if (byte < 0x80) return value
    }
  }

  u32(): number {
    const value = this.varint()
    if (value > 0xffffffff) this.fail(`${value} does not fit 32 bits`)
    return value
  }

  /** A number of things, of which each takes a byte at least. */
  count(): number {
    const value = this.varint()
    if (value > this.#bytes.length - this.at) this.fail(`${value} items cannot follow`)
    return value
  }

  zigzag(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  f64(): number {
    const bytes = this.take(8)
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)
  }

  take(count: number): Uint8Array {
    if (count > this.#bytes.length - this.at) this.fail(`${count} bytes cannot follow`)
    this.at += count
    return this.#bytes.slice(this.at - count, this.at)
  }
}
