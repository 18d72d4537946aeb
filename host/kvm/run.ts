// kvm_run: the page a vCPU and its owner share, read and written in place. After KVM_RUN it tells why the guest left;
// the answer to a read is left in it before the next KVM_RUN. No accessor allocates. The mapping belongs to Vcpu,
// which lets go of all views here (forget) before it unmaps: a view on unmapped memory would end the process.
//
// | offset | bytes | field                       || offset | bytes | field                      |
// |      8 |     4 | exit_reason                 ||        |       |                            |
// |     32 |     1 | io.direction (1 = out)      ||     32 |     8 | mmio.phys_addr             |
// |     33 |     1 | io.size                     ||     40 |     8 | mmio.data                  |
// |     34 |     2 | io.port                     ||     48 |     4 | mmio.len                   |
// |     36 |     4 | io.count                    ||     52 |     1 | mmio.is_write              |
// |     40 |     8 | io.data_offset              ||     32 |     4 | internal.suberror          |
// |     32 |     8 | fail_entry.hardware_reason  ||     36 |     4 | internal.ndata             |
// |     32 |     4 | system_event.type           ||     40 |  16*8 | internal.data              |

import {
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_HLT,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_IRQ_WINDOW_OPEN,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
  KVM_EXIT_UNKNOWN,
} from './numbers.ts'

const EXIT_REASON = 8
const IO_DIRECTION = 32
const IO_SIZE = 33
const IO_PORT = 34
const IO_COUNT = 36
const IO_DATA_OFFSET = 40
const MMIO_ADDRESS = 32
const MMIO_DATA = 40
const MMIO_LEN = 48
const MMIO_IS_WRITE = 52
const FAIL_REASON = 32
const SUBERROR = 32
const INTERNAL_NDATA = 36
const INTERNAL_DATA = 40
const INTERNAL_DATA_MAX = 16
const SYSTEM_EVENT_TYPE = 32
const TWO_32 = 2 ** 32

const EXIT_NAMES = new Map([
  [KVM_EXIT_UNKNOWN, 'KVM_EXIT_UNKNOWN'],
  [KVM_EXIT_IO, 'KVM_EXIT_IO'],
  [KVM_EXIT_HLT, 'KVM_EXIT_HLT'],
  [KVM_EXIT_MMIO, 'KVM_EXIT_MMIO'],
  [KVM_EXIT_IRQ_WINDOW_OPEN, 'KVM_EXIT_IRQ_WINDOW_OPEN'],
  [KVM_EXIT_SHUTDOWN, 'KVM_EXIT_SHUTDOWN'],
  [KVM_EXIT_FAIL_ENTRY, 'KVM_EXIT_FAIL_ENTRY'],
  [KVM_EXIT_INTR, 'KVM_EXIT_INTR'],
  [KVM_EXIT_INTERNAL_ERROR, 'KVM_EXIT_INTERNAL_ERROR'],
  [KVM_EXIT_SYSTEM_EVENT, 'KVM_EXIT_SYSTEM_EVENT'],
])
const SUBERRORS = ['', 'emulation', 'simultaneous exceptions', 'delivery of an event', 'unexpected exit reason']

/** The mapping itself, at the widths its fields have. */
export class RunPage {
  bytes: Uint8Array
  halves: Uint16Array
  words: Uint32Array

  constructor(mapping: ArrayBuffer) {
    this.bytes = new Uint8Array(mapping)
    this.halves = new Uint16Array(mapping)
    this.words = new Uint32Array(mapping)
  }

  /** From here on everything reads as 0. */
  forget(): void {
    this.bytes = new Uint8Array(0)
    this.halves = new Uint16Array(0)
    this.words = new Uint32Array(0)
  }

  word(offset: number): number {
    return this.words[offset >> 2] ?? 0
  }

  get exitReason(): number {
    return this.word(EXIT_REASON)
  }

  get systemEventType(): number {
    return this.word(SYSTEM_EVENT_TYPE)
  }

  /** The exit in words, for messages and logs: its name and what is known about it. */
  explain(): string {
    const reason = this.exitReason
    const name = EXIT_NAMES.get(reason) ?? `exit ${reason}`
    if (reason === KVM_EXIT_FAIL_ENTRY) return `${name}: hardware reason 0x${this.word(FAIL_REASON).toString(16)}`
    if (reason === KVM_EXIT_SYSTEM_EVENT) return `${name}: type ${this.systemEventType}`
    if (reason !== KVM_EXIT_INTERNAL_ERROR) return name
    const suberror = this.word(SUBERROR)
    const data = Array.from({ length: Math.min(this.word(INTERNAL_NDATA), INTERNAL_DATA_MAX) }, (_, i) => {
      const at = INTERNAL_DATA + i * 8
      return `0x${(this.word(at + 4) * TWO_32 + this.word(at)).toString(16)}`
    })
    return `${name}: suberror ${suberror} (${SUBERRORS[suberror] ?? 'unknown'}), data ${data.join(' ')}`
  }
}

/** KVM_EXIT_IO: the guest's in, out, ins or outs. All fields are of the last exit. */
export class IoExit {
  readonly #page: RunPage

  constructor(page: RunPage) {
    this.#page = page
  }

  get port(): number {
    return this.#page.halves[IO_PORT >> 1] ?? 0
  }

  /** 1, 2 or 4 bytes per element */
  get width(): number {
    return this.#page.bytes[IO_SIZE] ?? 0
  }

  /** elements: more than 1 for ins and outs with rep */
  get count(): number {
    return this.#page.word(IO_COUNT)
  }

  get isOut(): boolean {
    return this.#page.bytes[IO_DIRECTION] === 1
  }

  /** What the guest wrote. */
  data(element = 0): number {
    const page = this.#page
    const at = page.word(IO_DATA_OFFSET)
    const width = this.width
    if (width === 1) return page.bytes[at + element] ?? 0
    return (width === 2 ? page.halves[(at >> 1) + element] : page.words[(at >> 2) + element]) ?? 0
  }

  /** What the guest reads, before the next run(). Unanswered elements are what happens to be there. */
  answer(value: number, element = 0): void {
    const page = this.#page
    const at = page.word(IO_DATA_OFFSET)
    const width = this.width
    if (width === 1) page.bytes[at + element] = value
    else if (width === 2) page.halves[(at >> 1) + element] = value
    else page.words[(at >> 2) + element] = value
  }
}

/** KVM_EXIT_MMIO: a load or store where no memory slot is. All fields are of the last exit. */
export class MmioExit {
  readonly #page: RunPage

  constructor(page: RunPage) {
    this.#page = page
  }

  get address(): number {
    const page = this.#page
    return page.word(MMIO_ADDRESS + 4) * TWO_32 + page.word(MMIO_ADDRESS)
  }

  /** 1, 2, 4 or 8; other numbers up to 8 where an access straddles the end of memory */
  get width(): number {
    return this.#page.word(MMIO_LEN)
  }

  get isWrite(): boolean {
    return this.#page.bytes[MMIO_IS_WRITE] === 1
  }

  /** What the guest wrote, or the low 4 bytes of it. */
  get data(): number {
    return low(this.#page.word(MMIO_DATA), this.width)
  }

  /** Bytes 4 to 7 of what the guest wrote; 0 if there are none. */
  get dataHigh(): number {
    return low(this.#page.word(MMIO_DATA + 4), this.width - 4)
  }

  /** What the guest reads, before the next run(). `high` is for reads of 8 bytes. */
  answer(value: number, high = 0): void {
    const { words } = this.#page
    words[MMIO_DATA >> 2] = value
    words[(MMIO_DATA >> 2) + 1] = high
  }
}

/** The first `bytes` bytes of a word; the kernel leaves old ones behind them. */
function low(word: number, bytes: number): number {
  if (bytes >= 4) return word
  return bytes <= 0 ? 0 : word & ((1 << (8 * bytes)) - 1)
}
