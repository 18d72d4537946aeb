// The user's terminal as a guest's console: raw, so that every key goes to the guest, Ctrl-C too; Ctrl-] leaves. Also
// ends the guest in order when we are told to stop (SIGINT, SIGTERM), and puts the terminal back whatever happens.

import { constants } from 'node:os'
import type { LinuxGuest } from '../vmm/linux-boot.ts'

const LEAVE = 0x1d // Ctrl-]

export interface Terminal {
  /** number of the signal that ended the guest */
  readonly signal: number | undefined
  detach(): void
}

/** With `keyboard`, what is typed (or piped in) goes to the guest. */
export function attachTerminal(guest: LinuxGuest, keyboard: boolean): Terminal {
  const { stdin } = process
  let signal: number | undefined
  const onSignal = (name: NodeJS.Signals): void => {
    signal = constants.signals[name]
    void guest.stop()
  }
  const onInput = (bytes: Uint8Array): void => {
    const leave = stdin.isTTY ? bytes.indexOf(LEAVE) : -1
    guest.serialWrite(leave < 0 ? bytes : bytes.subarray(0, leave))
    if (leave >= 0) void guest.stop()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (keyboard) {
    if (stdin.isTTY) {
      process.stderr.write('The terminal is the console of the guest. Ctrl-] leaves.\n')
      stdin.setRawMode(true)
    }
    stdin.on('data', onInput)
    stdin.resume()
  }
  return {
    get signal() {
      return signal
    },
    detach() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
      stdin.off('data', onInput)
      if (!keyboard) return
      if (stdin.isTTY) stdin.setRawMode(false)
      stdin.pause()
    },
  }
}
