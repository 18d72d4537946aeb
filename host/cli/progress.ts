// Progress on standard error: on a terminal one line that counts the seconds of the running step, elsewhere a line
// per step that ended. What has colours: colour.ts.

import { hasColour, painted } from './colour.ts'

const { stderr } = process

export class Progress {
  readonly #live = stderr.isTTY === true && process.env.TERM !== 'dumb'
  readonly #colour = hasColour(stderr)
  #text = ''
  #note = ''
  #since = 0
  #timer: NodeJS.Timeout | undefined

  /** A step begins. */
  start(text: string): void {
    this.end()
    this.#text = text
    this.#note = ''
    this.#since = performance.now()
    if (!this.#live) return
    this.#draw()
    this.#timer = setInterval(() => this.#draw(), 100)
  }

  /** What the running step is at. */
  note(text: string): void {
    if (this.#live) this.#note = text.trim()
    else stderr.write(`  ... ${text.trim()}\n`)
  }

  /** The step is over; `text` says what came of it. */
  done(text: string): void {
    const seconds = this.#timer || this.#since ? ` (${((performance.now() - this.#since) / 1000).toFixed(1)} s)` : ''
    this.end()
    stderr.write(`${painted(' ok ', 'green', this.#colour)} ${text}${seconds}\n`)
  }

  /** Removes the running line. */
  end(): void {
    if (this.#timer) {
      clearInterval(this.#timer)
      stderr.write('\r\u001b[K')
    }
    this.#timer = undefined
    this.#since = 0
  }

  #draw(): void {
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(1)
    const note = this.#note ? `: ${this.#note}` : ''
    const line = `${seconds.padStart(6)} s  ${this.#text}${note}`
    stderr.write(`\r\u001b[K${line.slice(0, Math.max((stderr.columns || 80) - 1, 20))}`)
  }
}
