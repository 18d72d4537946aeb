// A 16550A serial port, as Linux's 8250 driver probes and uses it. Its state is in shared memory, so that every vCPU
// thread and the main thread see one port: the caller holds the machine's lock (shared-lock.ts) around every call.
// What the guest sends is kept in a ring until somebody takes it; what is typed waits in another. Line speed and
// format are stored and mean nothing: bytes arrive at once. The interrupt is a level, told when it changes.
//
// | offset | DLAB | read                    | write                 |
// |      0 |    0 | receiver buffer RBR     | transmitter THR       |
// |    0,1 |    1 | divisor DLL, DLM        | the same              |
// |      1 |    0 | interrupt enable IER    | the same              |
// |      2 |      | interrupt identity IIR  | FIFO control FCR      |
// |  3,4,7 |      | LCR, MCR, scratch SCR   | the same              |
// |    5,6 |      | line status, modem status | nothing             |

const THR = 0
const IER = 1
const IIR = 2
const LCR = 3
const MCR = 4
const LSR = 5
const MSR = 6
const SCR = 7

const IER_RDI = 0x01 // received data
const IER_THRI = 0x02 // transmitter empty
const IER_RLSI = 0x04 // line status
const IER_MSI = 0x08 // modem status
const IER_BITS = 0x0f

const IIR_NONE = 0x01
const IIR_MSI = 0x00
const IIR_THRI = 0x02
const IIR_RDI = 0x04
const IIR_RLSI = 0x06
const IIR_FIFOS = 0xc0
const FCR_ENABLE = 0x01
const FCR_CLEAR_RECEIVER = 0x02

const LCR_DLAB = 0x80

const MCR_OUT2 = 0x08 // on a PC: the interrupt reaches the controller
const MCR_LOOP = 0x10
const MCR_BITS = 0x1f

const LSR_DR = 0x01 // data ready
const LSR_OE = 0x02 // overrun
const LSR_EMPTY = 0x60 // THRE and TEMT: sending takes no time

const MSR_DCD_DSR_CTS = 0xb0 // somebody is at the other end
const MSR_RI = 0x40

// State words
const DIVISOR = 0
const ENABLED = 1
const LINE = 2
const MODEM = 3
const SCRATCH = 4
const FIFO = 5
const THR_EMPTY = 6
const OVERRUN = 7
const MODEM_CHANGES = 8
const LEVEL = 9
const RECEIVED_HEAD = 10
const RECEIVED_TAIL = 11
const SENT_HEAD = 12
const SENT_TAIL = 13
const WORDS = 16

const FIFO_BYTES = 16
const RECEIVED_BYTES = 4096
const SENT_BYTES = 65536

/** What the port needs of a zeroed SharedArrayBuffer, from an offset that is a multiple of 4 on. */
export const SERIAL_STATE_BYTES = WORDS * 4 + RECEIVED_BYTES + SENT_BYTES

export class Serial16550 {
  readonly #words: Int32Array
  readonly #received: Uint8Array
  readonly #sent: Uint8Array
  readonly #setInterrupt: (level: boolean) => void

  constructor(state: SharedArrayBuffer, at: number, setInterrupt: (level: boolean) => void) {
    this.#words = new Int32Array(state, at, WORDS)
    this.#received = new Uint8Array(state, at + WORDS * 4, RECEIVED_BYTES)
    this.#sent = new Uint8Array(state, at + WORDS * 4 + RECEIVED_BYTES, SENT_BYTES)
    this.#setInterrupt = setInterrupt
  }

  /** A register, 0 to 7, as the guest reads it. Reading RBR, IIR, LSR and MSR has consequences. */
  read(offset: number): number {
    const value = this.#read(offset)
    this.#update()
    return value
  }

  write(offset: number, value: number): void {
    this.#write(offset, value & 0xff)
    this.#update()
  }

  /** Types on the port. Returns how many of the bytes there was room for. */
  receive(bytes: Uint8Array): number {
    const room = RECEIVED_BYTES - this.#receivedBytes
    const taken = Math.min(room, bytes.length)
    for (let i = 0; i < taken; i++) this.#store(bytes[i] as number)
    this.#update()
    return taken
  }

  /** What the guest has sent since the last call. */
  takeSent(): Uint8Array {
    const bytes = new Uint8Array(this.sentBytes)
    const tail = this.#word(SENT_TAIL) >>> 0
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#sent[(tail + i) % SENT_BYTES] as number
    this.#set(SENT_TAIL, this.#word(SENT_HEAD))
    return bytes
  }

  get sentBytes(): number {
    return (this.#word(SENT_HEAD) - this.#word(SENT_TAIL)) >>> 0
  }

  /** No room for another byte: one that is sent now is lost. */
  get isFull(): boolean {
    return this.sentBytes === SENT_BYTES
  }

  get #receivedBytes(): number {
    return (this.#word(RECEIVED_HEAD) - this.#word(RECEIVED_TAIL)) >>> 0
  }

  #read(offset: number): number {
    const isDivisor = (this.#word(LINE) & LCR_DLAB) !== 0
    switch (offset) {
      case THR:
        return isDivisor ? this.#word(DIVISOR) & 0xff : this.#takeReceived()
      case IER:
        return isDivisor ? this.#word(DIVISOR) >> 8 : this.#word(ENABLED)
      case IIR:
        return this.#readIdentity()
      case LCR:
        return this.#word(LINE)
      case MCR:
        return this.#word(MODEM)
      case LSR: {
        const status = LSR_EMPTY | (this.#receivedBytes > 0 ? LSR_DR : 0) | (this.#word(OVERRUN) ? LSR_OE : 0)
        this.#set(OVERRUN, 0)
        return status
      }
      case MSR: {
        const status = this.#modemStatus() | this.#word(MODEM_CHANGES)
        this.#set(MODEM_CHANGES, 0)
        return status
      }
      default:
        return this.#word(SCRATCH)
    }
  }

  #write(offset: number, value: number): void {
    const isDivisor = (this.#word(LINE) & LCR_DLAB) !== 0
    const divisor = this.#word(DIVISOR)
    switch (offset) {
      case THR:
        if (isDivisor) this.#set(DIVISOR, (divisor & 0xff00) | value)
        else this.#send(value)
        return
      case IER:
        if (isDivisor) this.#set(DIVISOR, (divisor & 0xff) | (value << 8))
        else this.#enable(value & IER_BITS)
        return
      case IIR:
        this.#set(FIFO, value & FCR_ENABLE)
        // A FIFO holds 16 bytes; what was typed beyond them has, on the wire, not arrived yet.
        if (value & FCR_CLEAR_RECEIVER) {
          this.#set(RECEIVED_TAIL, (this.#word(RECEIVED_TAIL) + Math.min(FIFO_BYTES, this.#receivedBytes)) | 0)
        }
        return
      case LCR:
        this.#set(LINE, value)
        return
      case MCR: {
        const before = this.#modemStatus()
        this.#set(MODEM, value & MCR_BITS)
        const after = this.#modemStatus()
        // Changes of CTS, DSR, DCD; of RI, only its fall.
        const changed = ((before ^ after) & ~MSR_RI) | (before & ~after & MSR_RI)
        this.#set(MODEM_CHANGES, this.#word(MODEM_CHANGES) | (changed >> 4))
        return
      }
      case SCR:
        this.#set(SCRATCH, value)
    }
  }

  /** Enabling the transmitter's interrupt while it is empty, which it always is, raises it: Linux counts on that. */
  #enable(value: number): void {
    if (value & ~this.#word(ENABLED) & IER_THRI) this.#set(THR_EMPTY, 1)
    this.#set(ENABLED, value)
  }

  #send(value: number): void {
    this.#set(THR_EMPTY, 1) // at once empty again
    if (this.#word(MODEM) & MCR_LOOP) {
      if (this.#receivedBytes < FIFO_BYTES) this.#store(value)
      else this.#set(OVERRUN, 1)
      return
    }
    if (this.isFull) return
    const head = this.#word(SENT_HEAD)
    this.#sent[(head >>> 0) % SENT_BYTES] = value
    this.#set(SENT_HEAD, (head + 1) | 0)
  }

  #store(value: number): void {
    const head = this.#word(RECEIVED_HEAD)
    this.#received[(head >>> 0) % RECEIVED_BYTES] = value
    this.#set(RECEIVED_HEAD, (head + 1) | 0)
  }

  #takeReceived(): number {
    if (this.#receivedBytes === 0) return 0
    const tail = this.#word(RECEIVED_TAIL)
    this.#set(RECEIVED_TAIL, (tail + 1) | 0)
    return this.#received[(tail >>> 0) % RECEIVED_BYTES] as number
  }

  /** The cause with the highest priority, or IIR_NONE. */
  #identity(): number {
    const enabled = this.#word(ENABLED)
    if (enabled & IER_RLSI && this.#word(OVERRUN)) return IIR_RLSI
    if (enabled & IER_RDI && this.#receivedBytes > 0) return IIR_RDI
    if (enabled & IER_THRI && this.#word(THR_EMPTY)) return IIR_THRI
    if (enabled & IER_MSI && this.#word(MODEM_CHANGES)) return IIR_MSI
    return IIR_NONE
  }

  #readIdentity(): number {
    const identity = this.#identity()
    if (identity === IIR_THRI) this.#set(THR_EMPTY, 0)
    return identity | (this.#word(FIFO) ? IIR_FIFOS : 0)
  }

  /** In loopback the port's own outputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. */
  #modemStatus(): number {
    const modem = this.#word(MODEM)
    if (!(modem & MCR_LOOP)) return MSR_DCD_DSR_CTS
    return ((modem & 0x02) << 3) | ((modem & 0x01) << 5) | ((modem & 0x04) << 4) | ((modem & 0x08) << 4)
  }

  #update(): void {
    const modem = this.#word(MODEM)
    const isConnected = (modem & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2
    const level = isConnected && this.#identity() !== IIR_NONE ? 1 : 0
    if (level === this.#word(LEVEL)) return
    this.#set(LEVEL, level)
    this.#setInterrupt(level === 1)
  }

  #word(index: number): number {
    return this.#words[index] as number
  }

  #set(index: number, value: number): void {
    this.#words[index] = value
  }
}
