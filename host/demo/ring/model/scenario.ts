// What the Ring view can be asked to show: a device, and what a driver does with it, broken on purpose or not. Plain
// data: run-scenario.ts makes it happen, presets.ts has the usual ones, scenario-code.ts makes a URL of one and reads
// URLs, which anybody can have written. Portable: no DOM, no Node.

/** A scenario that cannot be used: the message is one line that names the field and what is possible. */
export class ScenarioError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ScenarioError'
  }
}

/** One descriptor of a request: bytes of the readable stream (header, data) or of the writable one (data, status). */
export interface ScenarioPiece {
  readonly writable: boolean
  /** bytes of the stream that it carries, and its len unless `len` is given */
  readonly bytes: number
  /** the descriptor's len, where it says something else */
  readonly len?: number
  /** guest-physical address, where it is not to be chosen; may be outside guest RAM */
  readonly addr?: bigint
  /** the exact flags (NEXT 1, WRITE 2, INDIRECT 4), instead of what place and direction give */
  readonly flags?: number
  /** the exact next, instead of the following descriptor */
  readonly next?: number
}

/** One request: a chain of descriptors and its place in the avail ring. */
export interface ScenarioRequest {
  /** VIRTIO_BLK_T_* or any other 32-bit number */
  readonly type: number
  /** 64 bits */
  readonly sector: bigint
  /** the chain. The header takes the first 16 readable bytes, the status byte is the last writable one. */
  readonly pieces: readonly ScenarioPiece[]
  /** ASCII, repeated over the readable bytes after the header: what a write stores. Default 'Hello, disk. ' */
  readonly text?: string
  /** index of the first descriptor. Default: behind the last chain. */
  readonly head?: number
  /** what the avail ring says instead of the head */
  readonly ringEntry?: number
}

/** What happens, in order. The first one is usually the kick. */
export type ScenarioAction =
  /** the driver offers the requests in one go and kicks once */
  | {
      readonly do: 'kick'
      readonly requests: readonly ScenarioRequest[]
      /** avail.idx is moved so much further than there are heads. Default 0. */
      readonly idxAhead?: number
      /** avail.flags, 1 = NO_INTERRUPT. Default: stays. */
      readonly availFlags?: number
      /** used_event. Default: stays. */
      readonly usedEvent?: number
    }
  /** the clock goes on, and the device is asked as its timer would ask it */
  | { readonly do: 'wait'; readonly millis: number }
  /** a late back end answers what it has in hand (all of it, or the oldest `count`) */
  | { readonly do: 'answer'; readonly count?: number }
  /** the driver resets the device and sets it up again */
  | { readonly do: 'reset' }
  /** the driver writes 32 bits to a register */
  | { readonly do: 'register'; readonly offset: number; readonly value: number }
  /** the host changes the size of the disk */
  | { readonly do: 'resize'; readonly sectors: number }
  /** the host changes the limits; none = no limits */
  | { readonly do: 'limit'; readonly limits: ScenarioLimits }

/** As VirtioBlkOptions.throttle, in safe integers. */
export type ScenarioLimits = { readonly [Name in (typeof LIMIT_NAMES)[number]]?: number }
export const LIMIT_NAMES = ['iops', 'iopsBurst', 'bytesPerSecond', 'bytesBurst'] as const

/** The device and how the driver sets it up. */
export interface ScenarioDevice {
  /** size of the disk in sectors, at most SECTORS_MAX */
  readonly sectors: number
  /** sectors that the back end really has; the rest reads as zeros. Default: all. */
  readonly storedSectors?: number
  readonly readOnly?: boolean
  /** entries of queue 0: a power of two from 1 to QUEUE_SIZE_MAX */
  readonly queueSize: number
  /** the driver accepts EVENT_IDX. Default false. */
  readonly eventIdx?: boolean
  /** the driver accepts FLUSH. Default true. Without it each write is made durable before it is completed. */
  readonly flush?: boolean
  readonly segMax?: number
  readonly sizeMax?: number
  readonly blockSize?: number
  /** what GET_ID answers: at most 20 ASCII characters */
  readonly serial?: string
  readonly limits?: ScenarioLimits
  /** the back end answers when an action says so. Default false: at once. */
  readonly late?: boolean
  /** guest RAM is two regions that touch at this address, a multiple of 4096. Default: one region. */
  readonly border?: number
  /** addresses of the three parts of the ring, where they are not to be chosen */
  readonly desc?: bigint
  readonly avail?: bigint
  readonly used?: bigint
}

export interface Scenario {
  readonly device: ScenarioDevice
  readonly actions: readonly ScenarioAction[]
}

/** Guest RAM of a scenario: addresses from 0 up to this. */
export const RAM_BYTES = 1 << 18
export const SECTORS_MAX = 4096
export const QUEUE_SIZE_MAX = 256
export const BLOCK_SIZE_MAX = 65536
/** of one wait, virtual ones */
export const WAIT_MILLIS_MAX = 60_000
export const ACTIONS_MAX = 32
/** of all actions together */
export const REQUESTS_MAX = 128
/** of all requests together */
export const PIECES_MAX = 1024
/** bytes of one piece; what does not fit guest RAM in the end is found when the scenario is run */
export const PIECE_BYTES_MAX = 1 << 16

/** What a preset leads to, as the driver sees it in the end. */
export interface Outcome {
  /** each request, in the order of the actions: status byte and used length; null: it is never answered */
  readonly requests: readonly ({ readonly status: number; readonly usedLen: number } | null)[]
  /** RING_FAULT_* of abi.ts: the queue is poisoned, NEEDS_RESET is set */
  readonly ringFault?: number
}

/** The groups that presets are shown in, in this order. */
export type PresetGroup = 'Layouts' | 'Requests' | 'Rings' | 'Request faults' | 'Ring faults' | 'Over time'

export interface Preset {
  /** for URLs and tests: lower case and dashes */
  readonly id: string
  readonly title: string
  readonly group: PresetGroup
  /** one sentence */
  readonly description: string
  readonly scenario: Scenario
  readonly outcome: Outcome
}
