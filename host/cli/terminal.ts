// The user's terminal as a guest's console: raw, so that every key goes to the guest, Ctrl-C too; Ctrl-] leaves: it
// pulls the plug, or saves the machine where that was asked for. Also ends the guest in order when we are told to stop
// (SIGINT, SIGTERM), and puts the terminal back whatever happens.

import { constants } from 'node:os'
import type { LinuxGuest } from '../vmm/linux-guest.ts'

const LEAVE = 0x1d // Ctrl-]
/** What the end of piped input means. A Ctrl-D would be lost on a shell that is still starting. */
const END_OF_INPUT = new TextEncoder().encode('exit\n')
const SAVE_AT_END = new TextEncoder().encode('save\n')

export interface Terminal {
  /** number of the signal that ended the guest */
  readonly signal: number | undefined
  detach(): void
}

export interface TerminalOptions {
  /** what is typed (or piped in) goes to the guest */
  readonly keyboard: boolean
  /** what Ctrl-] does; without it, it pulls the plug */
  readonly save?: (() => void) | undefined
}

export function attachTerminal(guest: LinuxGuest, { keyboard, save }: TerminalOptions): Terminal {
  const { stdin } = process
  let signal: number | undefined
  const onSignal = (name: NodeJS.Signals): void => {
    signal = constants.signals[name]
    void guest.stop()
  }
  // What is typed while the guest boots waits: the kernel would lose it.
  let isUp = false
  const early: Uint8Array[] = []
  const type = (bytes: Uint8Array): void => {
    if (isUp) guest.serialWrite(bytes)
    else early.push(bytes)
  }
  void guest.up.then(() => {
    isUp = true
    for (const bytes of early) guest.serialWrite(bytes)
  })
  const onInput = (bytes: Uint8Array): void => {
    const leave = stdin.isTTY ? bytes.indexOf(LEAVE) : -1
    type(leave < 0 ? bytes : bytes.subarray(0, leave))
    if (leave >= 0) (save ?? (() => void guest.stop()))()
  }
  const onEnd = (): void => type(save ? SAVE_AT_END : END_OF_INPUT)
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (keyboard) {
    if (stdin.isTTY) {
      const leaving = save ? 'saves it' : 'pulls the plug'
      process.stderr.write(`The terminal is the console of the guest: exit powers it off, Ctrl-] ${leaving}.\n`)
      stdin.setRawMode(true)
    }
    stdin.on('data', onInput)
    stdin.on('end', onEnd)
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
      stdin.off('end', onEnd)
      if (!keyboard) return
      if (stdin.isTTY) stdin.setRawMode(false)
      stdin.pause()
    },
  }
}
