// What presets are put together from: pieces, the usual requests, answers. Portable.

import {
  VIRTIO_BLK_T_FLUSH as FLUSH,
  VIRTIO_BLK_T_IN as IN,
  VIRTIO_BLK_S_IOERR as IOERR,
  VIRTIO_BLK_S_OK as OK,
  VIRTIO_BLK_T_OUT as OUT,
} from '../../../../assembly/spec.ts'
import type {
  Outcome,
  Preset,
  PresetGroup,
  ScenarioAction,
  ScenarioDevice,
  ScenarioPiece,
  ScenarioRequest,
} from './scenario.ts'

/** of every preset that says nothing else */
export const QUEUE = 16

export const r = (bytes: number, more: Partial<ScenarioPiece> = {}): ScenarioPiece => ({
  writable: false,
  bytes,
  ...more,
})
export const w = (bytes: number, more: Partial<ScenarioPiece> = {}): ScenarioPiece => ({
  writable: true,
  bytes,
  ...more,
})
export const H = r(16)
export const S = w(1)

export function request(type: number, sector: number | bigint, ...pieces: ScenarioPiece[]): ScenarioRequest {
  return { type, sector: BigInt(sector), pieces }
}

export const read = (sector: number, bytes = 512): ScenarioRequest => request(IN, sector, H, w(bytes), S)
export const write = (sector: number, bytes = 512): ScenarioRequest => request(OUT, sector, H, r(bytes), S)
export const flush = request(FLUSH, 0, H, S)
export const kick = (...requests: ScenarioRequest[]): ScenarioAction => ({ do: 'kick', requests })

const DEVICE: ScenarioDevice = { sectors: 128, queueSize: QUEUE }

type Answer = Outcome['requests'][number]
export const ok = (usedLen: number): Answer => ({ status: OK, usedLen })
export const ioerr = (usedLen: number): Answer => ({ status: IOERR, usedLen })

export interface Told {
  readonly id: string
  readonly title: string
  readonly description: string
  readonly device?: Partial<ScenarioDevice>
  readonly actions: readonly ScenarioAction[]
  readonly answers: readonly Answer[]
  readonly ringFault?: number
}

export function preset(group: PresetGroup, told: Told): Preset {
  const { id, title, description, device, actions, answers, ringFault } = told
  const outcome = { requests: answers, ...(ringFault === undefined ? {} : { ringFault }) }
  return { id, title, group, description, scenario: { device: { ...DEVICE, ...device }, actions }, outcome }
}
