// The contract between the device and what stores its bytes. A block device written in TypeScript is an object
// of this shape and nothing else; see memory.ts for a whole one.

export interface BlockBackend {
  /** size in bytes; what is past the last whole 512-byte sector is not offered to the guest */
  readonly capacityBytes: number

  /**
   * True promises that read and write work on the calling thread, return numbers (no promises) and keep no
   * reference to the buffers. Such a back end is handed guest RAM itself. Any other gets private copies, so that
   * whatever it still holds, no guest byte changes after a reset (device rule 6).
   */
  readonly inPlace?: boolean

  /** Fills `into` from byte `offset` on. Returns bytes moved: fewer = call again, 0 = end of data. */
  read(offset: number, into: Uint8Array[]): number | Promise<number>
  /** Stores `from` at byte `offset`. Returns bytes moved: fewer = call again, 0 = cannot go on. */
  write(offset: number, from: Uint8Array[]): number | Promise<number>
  /** Returns (or resolves) when every write that returned before is durable. */
  flush(): void | Promise<void>
  discard?(offset: number, bytes: number): void | Promise<void>
  writeZeroes?(offset: number, bytes: number, mayUnmap: boolean): void | Promise<void>
  close?(): void | Promise<void>
}

/**
 * A failure with an errno name ('EIO', 'ENOSPC', ...). The guest sees VIRTIO_BLK_S_IOERR whatever is thrown; the one
 * code with a meaning of its own is 'EINTR': the device calls again, at most 16 times for the reading, writing or
 * flushing of a request (device rule 11).
 */
export class BackendError extends Error {
  readonly code: string

  constructor(code: string, message = code) {
    super(message)
    this.name = 'BackendError'
    this.code = code
  }
}
