// The repository's own source text, for tests that hold it to its rules (tidy, imports, the reference table): lists
// files, blanks out comments and strings, and finds imports and exports. Understands as much TypeScript as formatted
// code needs, by scanning; it is no parser. Runs from the repository's root, as all tests do.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

const SOURCE = /\.(tsx?|mjs)$/

/** All source files of a folder, with paths from the root, sorted. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCE.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()
}

export function readSource(path: string): string {
  return readFileSync(path, 'utf8')
}

/** What may stand before a regular expression, and not before a division. */
const BEFORE_REGEX = /(?:^|[([{,;:=!&|?+\-*%<>~^\n]|\breturn|=>)\s*$/

/** End of the string, template or regular expression that starts at `at`. */
function literalEnd(text: string, at: number): number {
  const quote = text[at]
  let inClass = false
  for (let i = at + 1; i < text.length; i++) {
    const char = text[i]
    if (char === '\\') i++
    else if (quote === '/' && char === '[') inClass = true
    else if (quote === '/' && char === ']') inClass = false
    else if (char === quote && !inClass) return i + 1
    else if (quote === '`' && char === '$' && text[i + 1] === '{') i = bracesEnd(text, i + 1) - 1
  }
  return text.length
}

function bracesEnd(text: string, at: number): number {
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const char = text[i]
    if (char === '{') depth++
    else if (char === '}' && --depth === 0) return i + 1
    else if (char === "'" || char === '"' || char === '`') i = literalEnd(text, i) - 1
  }
  return text.length
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from)
  return at < 0 ? text.length : at
}

/**
 * The text with every character of comments, and of what is inside quotes and regular expressions, turned into a
 * blank; lines and columns stay. Code inside `${}` is blanked too. With `strings`, the strings stay.
 */
export function codeOf(text: string, keep: { strings?: boolean } = {}): string {
  let code = ''
  const blank = (part: string): string => part.replace(/[^\n]/g, ' ')
  for (let i = 0; i < text.length; ) {
    const two = text.slice(i, i + 2)
    const char = text[i] as string
    let end = i + 1
    if (two === '//' || (i === 0 && two === '#!')) end = endOf(text, '\n', i)
    else if (two === '/*') end = endOf(text, '*/', i) + 2
    else if (char === "'" || char === '"' || char === '`') end = literalEnd(text, i)
    else if (char === '/' && two !== '/>' && code.at(-1) !== '<' && BEFORE_REGEX.test(code.slice(-40)))
      end = literalEnd(text, i)
    const part = text.slice(i, end)
    if (end === i + 1) code += part
    else if (two === '//' || two === '#!' || two === '/*') code += blank(part)
    else code += keep.strings ? part : char + blank(part.slice(1, -1)) + part.slice(-1)
    i = end
  }
  return code
}

export interface Import {
  /** as written */
  specifier: string
  /** path from the root for a relative specifier, undefined for a package */
  path: string | undefined
  /** the imported names; '*' for all of them */
  names: string[]
  /** `import type`: nothing is left of it at run time */
  typeOnly: boolean
}

const IMPORT = /\b(?:import|export)\s+(type\s+)?((?:[\w$*{},\s]|\bas\b)*?)\s*\bfrom\s*(['"])([^'"]+)\3/g
const BARE_IMPORT = /\bimport\s*\(?\s*(['"])([^'"]+)\1/g
const FILE_URL = /\bnew URL\(\s*(['"])(\.[^'"]+)\1\s*,\s*import\.meta\.url/g

/** What a file imports or re-exports, dynamic imports and `new URL('./x', import.meta.url)` included. */
export function importsOf(path: string, text = readSource(path)): Import[] {
  const withStrings = codeOf(text, { strings: true })
  const code = codeOf(text)
  const found: Import[] = []
  const each = (pattern: RegExp, visit: (match: RegExpMatchArray) => void): void => {
    // What only looks like an import, inside a string, is blank in the code.
    for (const match of withStrings.matchAll(pattern)) if (code[match.index ?? 0] !== ' ') visit(match)
  }
  const add = (specifier: string, names: string[], typeOnly = false): void => {
    const target = specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : undefined
    found.push({ specifier, path: target, names, typeOnly })
  }
  each(IMPORT, ([, type, clause = '', , specifier = '']) => {
    add(specifier, importedNames(clause), type !== undefined)
  })
  each(BARE_IMPORT, ([, , specifier = '']) => add(specifier, ['*']))
  each(FILE_URL, ([, , specifier = '']) => add(specifier, ['*']))
  return found
}

function importedNames(clause: string): string[] {
  const names = clause.match(/\*/) ? ['*'] : []
  const braces = clause.match(/\{([\s\S]*)\}/)
  if (!braces && names.length === 0) return ['default']
  for (const part of braces?.[1]?.split(',') ?? []) {
    const name = part
      .trim()
      .replace(/^type\s+/, '')
      .split(/\s+as\s+/)[0]
    if (name) names.push(name)
  }
  return names
}

const EXPORT =
  /^export\s+(?:declare\s+)?(?:async\s+)?(?:const|let|function\*?|abstract\s+class|class|interface|type)\s+([\w$]+)/gm
const EXPORT_LIST = /^export\s+(?:type\s+)?\{([^}]*)\}(?!\s*from)/gm

/** Names that a file itself declares and exports. */
export function exportsOf(text: string): string[] {
  const code = codeOf(text)
  const names = [...code.matchAll(EXPORT)].map(([, name = '']) => name)
  for (const [, list = ''] of code.matchAll(EXPORT_LIST)) {
    for (const part of list.split(',')) {
      const name = part
        .trim()
        .split(/\s+as\s+/)
        .at(-1)
      if (name) names.push(name)
    }
  }
  return names
}
