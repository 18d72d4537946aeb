// The script protocol on the host's side: markers in a console stream, wherever the stream is cut; and what goes into
// the archive of a boot.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bootArchive, bootToken, GuestConsole, Tail } from '../../host/vmm/guest.ts'

const guest = suite('guest')
const TOKEN = '00112233445566778899aabbccddeeff'
const BEGIN = `\r\n@@vblk:${TOKEN}:begin@@\r\n`
const EXIT = (status: number): string => `\r\n@@vblk:${TOKEN}:exit:${status}@@\r\n`

function feed(text: string, cut: number): { shown: string; console: GuestConsole } {
  const console = new GuestConsole(TOKEN)
  const bytes = Buffer.from(text)
  let shown = Buffer.alloc(0)
  for (let at = 0; at < bytes.length; at += cut) {
    shown = Buffer.concat([shown, console.push(bytes.subarray(at, at + cut))])
  }
  return { shown: shown.toString(), console }
}

guest('console: a whole boot, cut in any way -> output, status, and no marker shown', () => {
  const text = `kernel\r\n${BEGIN}one\r\ntwö\r\n\r\n@@vblk: no marker\r\n${EXIT(37)}[ 9.9] reboot: Power down\r\n`
  for (let cut = 1; cut <= text.length; cut++) {
    const { shown, console } = feed(text, cut)
    assert.ok(console.begun)
    assert.is(console.exitStatus, 37, `cut at ${cut}`)
    assert.is(console.output, 'one\ntwö\n\n@@vblk: no marker\n', `cut at ${cut}`)
    assert.is(shown, 'kernel\r\none\r\ntwö\r\n\r\n@@vblk: no marker\r\n', `cut at ${cut}`)
  }
})

guest('console: the markers of another boot -> ordinary text', () => {
  const other = EXIT(0).replace(TOKEN, 'f'.repeat(32))
  const { shown, console } = feed(`${BEGIN}a${other}b\r\nc`, 7)
  assert.is(console.exitStatus, undefined)
  assert.is(shown, `a${other}b\r\nc`)
})

guest('console: an end marker before the first -> not an end', () => {
  const { console } = feed(`${EXIT(0)}${BEGIN}x${EXIT(2)}`, 1000)
  assert.is(console.exitStatus, 2)
  assert.is(console.output, 'x')
})

guest('console: save markers, cut in any way -> counted, not shown; the output goes on', () => {
  const SAVE = `\r\n@@vblk:${TOKEN}:save@@\r\n`
  const text = `${SAVE}${BEGIN}a${SAVE}b\r\n${SAVE}${SAVE}c${EXIT(1)}`
  for (let cut = 1; cut <= text.length; cut++) {
    const { shown, console } = feed(text, cut)
    assert.is(console.saveRequests, 3, `cut at ${cut}`)
    assert.is(console.output, 'ab\nc', `cut at ${cut}`)
    assert.is(shown.slice(SAVE.length), 'ab\r\nc', `cut at ${cut}`)
    assert.is(console.exitStatus, 1)
  }
})

guest('console: a limit for the output -> the last of it is kept, whatever was printed', () => {
  const limited = new GuestConsole(TOKEN, undefined, 100)
  limited.push(Buffer.from(BEGIN))
  for (let i = 0; i < 1000; i++) limited.push(Buffer.from(`line ${i}\r\n`))
  assert.ok(limited.output.length <= 200, `${limited.output.length}`)
  assert.match(limited.output, /line 998\nline 999$/)
})

guest('tail: pushed piece by piece -> never more than twice the limit, and at least the limit', () => {
  const tail = new Tail(10)
  let all = ''
  for (let i = 0; i < 100; i++) {
    const piece = String(i).repeat(i % 7)
    tail.push(piece)
    all += piece
    assert.ok(all.endsWith(tail.text))
    assert.ok(tail.text.length <= 20 && tail.text.length >= Math.min(10, all.length), `${i}: ${tail.text.length}`)
  }
})

guest('console: one that goes on from the state of another -> as if it had been one', () => {
  const text = `early${BEGIN}one${EXIT(3)}`
  for (let cut = 0; cut <= text.length; cut++) {
    const first = new GuestConsole(TOKEN)
    const before = Buffer.from(first.push(Buffer.from(text.slice(0, cut)))).toString()
    if (first.exitStatus !== undefined) continue
    const second = new GuestConsole(TOKEN, JSON.parse(JSON.stringify(first.state)))
    const after = Buffer.from(second.push(Buffer.from(text.slice(cut)))).toString()
    assert.is(before + after, 'earlyone', `cut at ${cut}`)
    assert.is(second.exitStatus, 3, `cut at ${cut}`)
  }
})

guest('console: a prompt without a line end -> shown at once', () => {
  const { shown } = feed(`${BEGIN}guest:/# `, 5)
  assert.is(shown, 'guest:/# ')
})

guest('boot archive: with and without a script -> /script only with', () => {
  const has = (archive: Uint8Array, text: string): boolean => Buffer.from(archive).includes(text)
  const scripted = bootArchive(TOKEN, { script: 'echo hi\n' })
  assert.ok(has(scripted, 'echo hi\n') && has(scripted, 'sh /script') && has(scripted, TOKEN))
  const shell = bootArchive(TOKEN, {})
  assert.ok(has(shell, 'cttyhack sh -i') && !has(shell, 'script\0'))
  assert.ok(!has(shell, 'bin/save') && has(bootArchive(TOKEN, { canSave: true }), `${TOKEN}:save@@`))
  assert.throws(() => bootArchive('$(reboot)', {}), /not a boot token/)
})

guest('boot token: two of them -> 128 bits each, different', () => {
  const tokens = [bootToken(), bootToken()]
  assert.match(tokens[0] as string, /^[0-9a-f]{32}$/)
  assert.is.not(tokens[0], tokens[1])
})

guest.run()
