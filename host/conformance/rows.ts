// The rules of the standard as data (conformance.json): one row per rule that a virtio-mmio block device or its driver
// must follow, numbered as OASIS VIRTIO 1.3 does. Rows of a feature apply to a device that offers it.

import list from './conformance.json' with { type: 'json' }

export type Level = 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT' | 'MAY'
/** who has to follow the rule; for `driver` rows the kit breaks it and looks at what the device does */
export type Side = 'device' | 'driver'

export interface Row {
  readonly id: string
  readonly section: string
  readonly side: Side
  readonly level: Level
  /** `core`, `transport` (virtio-mmio), `packed`, or `feature:NAME` */
  readonly applies: string
  /** explicit: the standard uses a keyword of RFC 2119 here; implied: it describes */
  readonly basis: string
  /** first version of the standard with the rule */
  readonly since: string
  /** a further condition */
  readonly when?: string
  readonly requirement: string
  /** driver rows: what a robust device does (advice, not the standard's word) */
  readonly response?: string
  readonly responseClass?: string
}

export const ROWS = list as readonly Row[]

/** Feature bits by the names that rows use, typed in from sections 5.2.3 and 6 of the standard. */
export const FEATURES: Readonly<Record<string, number>> = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
  ZONED: 17,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  NOTIFICATION_DATA: 38,
  RING_RESET: 40,
  SUSPEND: 43,
}

/** The feature that a row is about, or undefined for one that every device must follow. */
export function featureOf(row: Row): string | undefined {
  if (row.applies === 'packed') return 'RING_PACKED'
  return row.applies.startsWith('feature:') ? row.applies.slice('feature:'.length) : undefined
}

/** For sorting sections: '2.7.10' after '2.7.4'. */
export function bySection(one: string, other: string): number {
  const [a, b] = [one, other].map((section) => section.split('.').map(Number)) as [number[], number[]]
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1)
    if (difference !== 0) return difference
  }
  return 0
}
