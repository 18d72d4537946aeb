// Where colours go: into a terminal that knows them, unless NO_COLOR is set (https://no-color.org), and anywhere if
// FORCE_COLOR asks for it. The one place that decides.

type Colour = 'red' | 'green' | 'yellow' | 'bold'

const CODES: Readonly<Record<Colour, number>> = { bold: 1, red: 31, green: 32, yellow: 33 }

/** FORCE_COLOR is the stronger one, as in Node. */
export function hasColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0') return true
  if (env.FORCE_COLOR === '0' || env.NO_COLOR) return false
  return stream.isTTY === true && env.TERM !== 'dumb'
}

export function painted(text: string, colour: Colour, isOn: boolean): string {
  return isOn ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text
}
