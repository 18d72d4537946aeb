// The checks of what the device must do, and the device rows that have none, with the reason.

import type { Part } from '../check.ts'
import { CONFIG } from './config.ts'
import { FEATURES_MORE } from './features.ts'
import { NOTIFY } from './notify.ts'
import { INTERRUPTS, REGISTERS } from './registers.ts'
import { OPERATION, REQUESTS } from './requests.ts'
import { ORDER, RING } from './ring.ts'
import { FEATURE, STATUS } from './status.ts'
import { RANGES, WRITEBACKS } from './writeback.ts'

export const DEVICE: Part = {
  checks: [
    ...STATUS,
    ...FEATURE,
    ...CONFIG,
    ...RING,
    ...NOTIFY,
    ...REGISTERS,
    ...INTERRUPTS,
    ...ORDER,
    ...REQUESTS,
    ...OPERATION,
    ...FEATURES_MORE,
    ...WRITEBACKS,
    ...RANGES,
  ],
  notCheckable: {
    'desc.2': 'what the device reads leaves no trace in registers or memory; only a log of its loads can tell',
    'desc.3': 'a permission to read: reading leaves no trace, and neither way is wrong',
    'used.1': 'the order of two stores of the device; only a log of them, or luck on another thread, can tell',
    'blk.op.stable.4': 'about devices that do not offer FLUSH, and a permission: there is no promise to break',
  },
}
