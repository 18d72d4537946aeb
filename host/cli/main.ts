// Finds the command, and turns what goes wrong into one line and an exit status: no stack trace for a mistake that
// the user can mend.

import { BackendError } from '../backend/types.ts'
import { SnapshotError } from '../device/snapshot.ts'
import { KvmError } from '../kvm/errors.ts'
import { TraceError } from '../replay/bytes.ts'
import { BootImageError } from '../vmm/boot-params.ts'
import { GuestAssetsError } from '../vmm/debian.ts'
import { MachineError } from '../vmm/kvm-machine.ts'
import { LinuxGuestError } from '../vmm/linux-guest.ts'
import { SavedMachineError } from '../vmm/saved-machine.ts'
import { V86MissingError } from '../vmm/v86-node.ts'
import { boot } from './boot.ts'
import { conformance } from './conformance.ts'
import { demo } from './demo.ts'
import { UsageError } from './options.ts'
import { replay } from './replay.ts'
import { shrink } from './shrink.ts'
import { start } from './start.ts'
import { trace } from './trace.ts'

const HELP = `vblk: a virtio-blk device whose every guest-visible decision is made in WebAssembly

Usage: vblk COMMAND [OPTIONS]

  boot          boot Debian Linux, on KVM or in software (v86), with a disk image of yours as /dev/vda
  conformance   check the device against the rules of the virtio standard
  demo          a page: see a ring work, check the standard, boot Linux in a browser
  replay        replay a recorded trace and compare
  shrink        shorten a recorded trace as far as a command of yours still fails for it
  start         a tour: Linux makes a filesystem on a fresh disk, and the bytes are checked from outside
  trace         list the requests of a recorded trace, and what else happened

  vblk COMMAND --help   the options of a command
  vblk --version        the version
`

const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
  boot,
  conformance,
  demo,
  replay,
  shrink,
  start,
  trace,
}

export async function main(args: string[]): Promise<number> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (EPIPE) is no mistake; nothing can be said to it anyway.
    if (error.code !== 'EPIPE') process.stderr.write(`vblk: standard output cannot be written: ${error.code}\n`)
    process.exit(1)
  })
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    ;(name === undefined ? process.stderr : process.stdout).write(HELP)
    return name === undefined ? 2 : 0
  }
  if (name === '--version') {
    const { version } = (await import('../../package.json', { with: { type: 'json' } })).default
    process.stdout.write(`${version}\n`)
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    const names = Object.keys(COMMANDS).join(', ')
    return complain('vblk', `there is no command '${name}': it is one of ${names} (vblk --help)`, 2)
  }
  try {
    return await command(rest)
  } catch (error) {
    return explain(`vblk ${name}`, error)
  }
}

function explain(who: string, error: unknown): number {
  if (error instanceof UsageError || error instanceof BackendError) return complain(who, error.message, 2)
  if (error instanceof KvmError || error instanceof BootImageError) return complain(who, error.message, 2)
  if (error instanceof GuestAssetsError || error instanceof V86MissingError) return complain(who, error.message, 2)
  if (error instanceof SavedMachineError || error instanceof SnapshotError) return complain(who, error.message, 2)
  if (error instanceof TraceError) return complain(who, error.message, 2)
  if (error instanceof LinuxGuestError || error instanceof MachineError) return complain(who, error.message, 1)
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return complain(who, `this is a bug of ours, please report it:\n${text}`, 1)
}

function complain(who: string, message: string, status: number): number {
  process.stderr.write(`${who}: ${message}\n`)
  return status
}
