// What a mutant is: a change of the plain TypeScript device's source, or a wrapper around its registers.

import type { MmioBus } from '../../host/driver/types.ts'
import type { Patch, Wrap } from './typescript-target.ts'

export interface Mutant {
  /** what is wrong with it */
  readonly about: string
  readonly patches?: readonly Patch[]
  readonly wrap?: Wrap
}

type Read = (offset: number, width: number) => number
type Write = (offset: number, width: number, value: number) => void

/** Wraps the registers: `make` gives, per device, a read and a write that may use those of the device. */
export function registers(make: (bus: MmioBus) => { read?: Read; write?: Write }): Wrap {
  return (target) => {
    const { mmio } = target
    const { read, write } = make(mmio)
    const bus: MmioBus = {
      mmioRead: (offset, width) => (read ? read(offset, width) : mmio.mmioRead(offset, width)),
      mmioWrite: (offset, width, value) => (write ? write(offset, width, value) : mmio.mmioWrite(offset, width, value)),
    }
    // The target's methods are those of its class: only `mmio` is another.
    return new Proxy(target, {
      get: (of, name) => {
        if (name === 'mmio') return bus
        const value: unknown = Reflect.get(of, name)
        return typeof value === 'function' ? value.bind(of) : value
      },
    })
  }
}

/** Reads back what was last written, for the offsets that match. */
export function echo(matches: (offset: number) => boolean): Wrap {
  return registers((bus) => {
    const written = new Map<number, number>()
    return {
      read: (offset, width) => written.get(offset) ?? bus.mmioRead(offset, width),
      write: (offset, width, value) => {
        if (matches(offset)) written.set(offset, value)
        bus.mmioWrite(offset, width, value)
      },
    }
  })
}
