// Section 4.2.2, virtio-mmio: the register window.

import { type Check, check } from '../check.ts'
import { REG } from '../kit.ts'

export const REGISTERS: readonly Check[] = [
  check('mmio.magic.1', 'a 32-bit read of 0x000', (t) => {
    t.is('MagicValue', t.reg.read(REG.magic), 0x74726976)
  }),
]
