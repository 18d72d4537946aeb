// The help of the program and of its commands, in one layout, made of what is declared. Lines fit a terminal of 80
// columns.

import type { Declaration } from './options.ts'

const COLUMNS = 80
/** An option that is longer has its text below it. */
const LEFT_MAX = 20

/** What every exit status means: the one place where that is said. */
const STATUS = { 0: 'done', 1: 'it went wrong' }
const STATUS_2 = 'asked for in a way that cannot be done'

export function programHelp(declarations: readonly Declaration[]): string {
  const rows = declarations.map(({ name, summary }): [string, string] => [name, summary])
  return `vblk: a virtio-blk device whose every decision is made in WebAssembly

Usage: vblk COMMAND [OPTIONS]

${table(rows)}
  vblk help COMMAND   what a command does, and its options; also COMMAND --help
  vblk --version      the version

${wrapped(`Exit status: 0 ${STATUS[0]}; 1 ${STATUS[1]}, or something was found (each command says what); 2 ${STATUS_2}; 128 + N ended by signal N (Ctrl-C: 130). \`boot --script\` passes on the script's.`)}
${wrapped('Results go to standard output, all else to standard error. Colours: only in a terminal and without NO_COLOR; FORCE_COLOR overrules both.')}`
}

export function commandHelp({ name, usage, about, options, notes = [], status = STATUS }: Declaration): string {
  const lines = usage.map((line, i) => `${i === 0 ? 'Usage:' : '      '} vblk ${name} ${line}`.trimEnd())
  const rows = Object.entries(options).map(([key, { value, help }]): [string, string] => [
    `--${key}${value === '' ? '' : ` ${value}`}`,
    help,
  ])
  const blocks = [
    `${lines.join('\n')}\n`,
    ...about.map((text) => wrapped(text)),
    table([...rows, ['-h, --help', 'this text']]),
    ...notes.map((text) => wrapped(text)),
    wrapped(`Exit status: 0 ${status[0]}; 1 ${status[1]}; 2 ${STATUS_2}.`),
  ]
  return blocks.join('\n')
}

/** Two columns; the second is wrapped. */
function table(rows: readonly (readonly [string, string])[]): string {
  const left = Math.min(LEFT_MAX, Math.max(...rows.map(([name]) => name.length)))
  const indent = ' '.repeat(left + 4)
  return rows
    .map(([name, text]) => {
      const body = wrapped(text, indent)
      return name.length > left ? `  ${name}\n${body}` : `  ${name.padEnd(left)}  ${body.slice(indent.length)}`
    })
    .join('')
}

function wrapped(text: string, indent = ''): string {
  return text
    .split('\n')
    .flatMap((line) => (line.startsWith(' ') ? [indent + line] : wrappedLine(line, indent)))
    .map((line) => `${line}\n`)
    .join('')
}

function wrappedLine(line: string, indent: string): string[] {
  const lines: string[] = []
  let current = indent
  for (const word of line.split(' ')) {
    const longer = current === indent ? current + word : `${current} ${word}`
    if (longer.length > COLUMNS && current !== indent) {
      lines.push(current)
      current = indent + word
    } else {
      current = longer
    }
  }
  return [...lines, current]
}
