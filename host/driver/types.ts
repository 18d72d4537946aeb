// What the driver needs from outside and what it throws: the register window of one device, guest RAM, and the
// errors. The two interfaces are shapes only, so that nothing of the device's own code can be shared with it by
// accident; `VirtioBlk` and `GuestMemory` satisfy them, and so does a mock of ten lines.
//
// Does not hold constants of the standard (assembly/spec.ts, standard.ts).

/** The register window of one virtio-mmio device (4.2.2). Offsets from its start; width 1, 2 or 4 bytes. */
export interface MmioBus {
  /** the register's value, unsigned, in the low `width` bytes */
  mmioRead(offset: number, width: number): number
  mmioWrite(offset: number, width: number, value: number): unknown
}

/** A piece of guest RAM: guest-physical address of its first byte, and length in bytes. */
export interface RamRegion {
  readonly gpa: number
  readonly bytes: number
}

/** Guest RAM. */
export interface DriverMemory {
  readonly regions: readonly RamRegion[]
  /** the guest's own bytes, not a copy; throws unless all of them lie in one region */
  view(gpa: number, bytes: number): Uint8Array
}

/** A guest-physical address. 64 bits: give a bigint above 2^53. */
export type Address = number | bigint

/** What a failed request was: all absent for an error that belongs to no request. */
export interface DriverErrorDetails {
  /** the status byte (5.2.6); absent if the device never wrote one */
  status?: number
  /** the request type, VIRTIO_BLK_T_* */
  type?: number
  /** the first sector of the request as sent; a split read or write names the piece that failed */
  sector?: number
  cause?: unknown
}

/** A request or the driver failed. A request that the device answered carries `status`, `type` and `sector`. */
export class DriverError extends Error {
  readonly status: number | undefined
  readonly type: number | undefined
  readonly sector: number | undefined

  constructor(message: string, details: DriverErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'DriverError'
    this.status = details.status
    this.type = details.type
    this.sector = details.sector
  }
}

/** The device did what the standard forbids (used.id, used.len, used.idx, QueueReady ...). Only reset() helps. */
export class DeviceMisbehaved extends DriverError {
  constructor(message: string, details: DriverErrorDetails = {}) {
    super(message, details)
    this.name = 'DeviceMisbehaved'
  }
}

/** The device set DEVICE_NEEDS_RESET (2.1.2): every outstanding request is lost. Only reset() helps. */
export class DeviceNeedsReset extends DriverError {
  constructor(message = 'the device asks for a reset (DEVICE_NEEDS_RESET)', details: DriverErrorDetails = {}) {
    super(message, details)
    this.name = 'DeviceNeedsReset'
  }
}
