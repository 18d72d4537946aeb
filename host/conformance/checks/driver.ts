// The checks of what the device does when the driver breaks a rule, and the driver rows that have none, with the
// reason.

import type { Part } from '../check.ts'
import { DRIVER_BLOCK } from './driver-block.ts'
import { DRIVER_NOTIFY } from './driver-notify.ts'
import { DRIVER_REGISTERS } from './driver-registers.ts'
import { DRIVER_RING } from './driver-ring.ts'
import { DRIVER_STATUS } from './driver-status.ts'

export const DRIVER: Part = {
  checks: [...DRIVER_STATUS, ...DRIVER_REGISTERS, ...DRIVER_RING, ...DRIVER_NOTIFY, ...DRIVER_BLOCK],
  notCheckable: {
    'drv.mminit.1':
      'the rule is about an empty slot, DeviceID 0: a device that is there, a block device, has none of its registers',
  },
}
