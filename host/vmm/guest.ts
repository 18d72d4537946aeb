// The guest's first program and what it says to the host. Every boot gets an archive of its own on top of the base
// initramfs: /init, and /script if one is to be run. /init loads the kernel modules, mounts the usual file systems
// and prints a marker; then it runs the script, or a shell on the serial console; then it prints a second marker with
// the exit status and powers off. Both markers carry a token that is new in every boot, so neither a script nor a
// file on the disk can print one by accident. In a guest that may be saved there is a third, printed by the command
// `save`: the machine is to be saved there, and goes on after it when it is resumed, with the same token. Portable. It
// knows nothing of machines: bytes in, bytes out.

import { type CpioEntry, cpio } from './initramfs.ts'

/** Where the base initramfs keeps its modules, and the file that lists their names in loading order. */
export const MODULE_FOLDER = 'lib/modules'
export const MODULE_LIST = `${MODULE_FOLDER}/order`

/** What the host has learned from the console so far. */
export interface GuestProgress {
  /** /init has set everything up */
  readonly begun: boolean
  /** exit status of the script or shell, once it has ended */
  readonly exitStatus: number | undefined
}

/** Where a console stands when its guest is saved: `GuestConsole` goes on from it. */
export interface ConsoleState {
  readonly token: string
  readonly begun: boolean
  /** what came last and may be the beginning of a marker, one character per byte */
  readonly held: string
}

const TOKEN_BYTES = 16
const TOKEN = /^[0-9a-f]{32}$/

/** A token that nobody can guess, for one boot. */
export function bootToken(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(TOKEN_BYTES)), (b) => b.toString(16).padStart(2, '0')).join(
    '',
  )
}

/** What a boot is to do. Without a script the guest offers a shell; with `canSave` there is a command `save`. */
export interface BootArchiveOptions {
  readonly script?: string | undefined
  readonly canSave?: boolean | undefined
}

/** The archive of one boot: put it behind the base initramfs. */
export function bootArchive(token: string, { script, canSave = false }: BootArchiveOptions): Uint8Array {
  if (!TOKEN.test(token)) throw new RangeError('guest: not a boot token')
  const entries: CpioEntry[] = [{ path: 'init', file: initScript(token, script !== undefined), mode: 0o755 }]
  if (script !== undefined) entries.push({ path: 'script', file: script, mode: 0o755 })
  if (canSave) entries.push({ path: 'bin/save', file: saveScript(token), mode: 0o755 })
  return cpio(entries)
}

/**
 * The host stops the processor at the end of the tick, a millisecond or so, in which the marker comes out; the sleep
 * keeps what follows `save` from running before that. The guest's clock stands still while it is saved, so the rest of
 * the sleep is all that a resumed guest waits for.
 */
function saveScript(token: string): string {
  return `#!/bin/sh
printf '\\n${marker(token)}save@@\\n' >/dev/console
sleep 0.1
`
}

/**
 * busybox's shell finds its own commands without a PATH search, so no links have to be made. Console messages are
 * silenced before the end marker: a message of the kernel's in the middle of it would hide it.
 */
function initScript(token: string, hasScript: boolean): string {
  const run = hasScript
    ? 'sh /script </dev/null'
    : // The shell's parent is PID 1 and no real init: poweroff and reboot have to be told to do it themselves.
      `echo "alias poweroff='sync; poweroff -f' halt='sync; poweroff -f' reboot='sync; poweroff -f'" >/tmp/shrc
ENV=/tmp/shrc setsid cttyhack sh -i`
  return `#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=\${TERM:-vt100} PS1='guest:\\w# '
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
while read module; do
  insmod /${MODULE_FOLDER}/$module || echo "init: cannot load $module"
done </${MODULE_LIST}
printf '\\n${marker(token)}begin@@\\n'
${run}
status=$?
dmesg -n 1
sync
printf '\\n${marker(token)}exit:%d@@\\n' $status
poweroff -f
`
}

/**
 * Follows the console of one boot. `push` returns what is meant for people: everything but the markers. The script's
 * output, from the first marker to the second, is collected with line ends as the script wrote them.
 */
export class GuestConsole implements GuestProgress {
  begun = false
  exitStatus: number | undefined
  /** how often the guest has asked to be saved */
  saveRequests = 0
  readonly #token: string
  readonly #begin: string
  readonly #mark: RegExp
  readonly #prefix: string
  #held = ''
  readonly #output: Tail

  /** `from`: the console of a guest that was saved. `outputMax`: how many bytes of the output are kept, the last. */
  constructor(token: string, from?: ConsoleState, outputMax?: number) {
    this.#output = new Tail(outputMax)
    const mark = marker(token)
    this.#token = token
    this.begun = from?.begun ?? false
    this.#held = from?.held ?? ''
    this.#prefix = `\r\n${mark}`
    this.#begin = `\r\n${mark}begin@@\r\n`
    this.#mark = new RegExp(`\\r\\n${mark}(?:save|exit:(\\d+))@@\\r\\n`)
  }

  get state(): ConsoleState {
    return { token: this.#token, begun: this.begun, held: this.#held }
  }

  /** What the script wrote so far, CRLF turned back into LF, bytes as UTF-8. */
  get output(): string {
    const bytes = Uint8Array.from(this.#output.text, (char) => char.charCodeAt(0))
    return new TextDecoder().decode(bytes).replaceAll('\r\n', '\n')
  }

  push(bytes: Uint8Array): Uint8Array {
    // One character per byte: markers are found without caring where UTF-8 sequences are cut.
    if (this.exitStatus !== undefined) return new Uint8Array() // only "Power down" comes after the end
    let text = this.#held + latin1(bytes)
    let shown = ''
    this.#held = ''
    if (!this.begun) {
      const at = text.indexOf(this.#begin)
      if (at >= 0) {
        this.begun = true
        shown += text.slice(0, at)
        text = text.slice(at + this.#begin.length)
      }
    }
    for (let mark = this.#nextMark(text); mark; mark = this.#nextMark(text)) {
      this.#output.push(text.slice(0, mark.index))
      shown += text.slice(0, mark.index)
      if (mark[1] !== undefined) {
        this.exitStatus = Number(mark[1])
        return toBytes(shown)
      }
      this.saveRequests++
      text = text.slice(mark.index + mark[0].length)
    }
    const keep = this.#unfinished(text)
    this.#held = text.slice(text.length - keep)
    text = text.slice(0, text.length - keep)
    if (this.begun) this.#output.push(text)
    return toBytes(shown + text)
  }

  #nextMark(text: string): RegExpExecArray | null {
    return this.begun ? this.#mark.exec(text) : null
  }

  /** How much of the end of `text` may be the beginning of a marker that is still coming. */
  #unfinished(text: string): number {
    const whole = text.lastIndexOf(this.#prefix)
    if (whole >= 0 && text.length - whole < this.#prefix.length + 16) return text.length - whole
    for (let length = Math.min(this.#prefix.length, text.length); length > 0; length--) {
      if (this.#prefix.startsWith(text.slice(text.length - length))) return length
    }
    return 0
  }
}

/** Text that grows at its end; of more than twice `max` characters the last `max` are kept. */
export class Tail {
  readonly #max: number
  #pieces: string[] = []
  #length = 0

  constructor(max = Number.POSITIVE_INFINITY) {
    this.#max = max
  }

  push(piece: string): void {
    this.#pieces.push(piece)
    this.#length += piece.length
    if (this.#length <= 2 * this.#max) return
    this.#pieces = [this.text.slice(-this.#max)]
    this.#length = this.#max
  }

  get text(): string {
    return this.#pieces.join('')
  }
}

function marker(token: string): string {
  return `@@vblk:${token}:`
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return text
}

function toBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0))
}
