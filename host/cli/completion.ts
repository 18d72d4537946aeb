// `vblk completion`: scripts for bash, zsh and fish that complete commands, options, what options take, and files. They
// are made of the declarations, so they know what this version knows and nothing else. They do not run vblk.

import { type COMPLETION, DECLARATIONS, type SHELLS } from './declarations.ts'
import type { Declaration, Given, Offer } from './options.ts'

type Shell = (typeof SHELLS)[number]

const SCRIPTS: Readonly<Record<Shell, () => string>> = { bash, zsh, fish }

export async function completion({ operand }: Given<typeof COMPLETION>): Promise<number> {
  process.stdout.write(SCRIPTS[operand as Shell]())
  return 0
}

interface Word {
  /** '--disk' */
  readonly word: string
  readonly takesValue: boolean
  readonly offer: Offer
  readonly help: string
}

function optionsOf({ options }: Declaration): Word[] {
  const own = Object.entries(options).map(([key, { value, offer, help }]) => {
    return { word: `--${key}`, takesValue: value !== '', offer, help: firstWords(help) }
  })
  return [...own, { word: '--help', takesValue: false, offer: 'nothing', help: 'the help of this command' }]
}

/** What stands beside an option in a list. */
function firstWords(help: string): string {
  return help.replaceAll('`', '').split(/[.;:]\s|[,;]? \(/)[0] ?? ''
}

const NAMES = DECLARATIONS.map(({ name }) => name)

// bash -----------------------------------------------------------------------------------------------------

/** bash takes `=` for the end of a word: what is completed behind it is a word of its own. */
function bash(): string {
  const offers = (offer: Offer): string => {
    if (offer === 'nothing') return 'return'
    if (typeof offer === 'object') return `_vblk_words '${offer.join(' ')}'; return`
    return `_vblk_files ${offer === 'file' ? '-f' : '-d'}; return`
  }
  const values = DECLARATIONS.flatMap((declaration) =>
    optionsOf(declaration)
      .filter(({ takesValue }) => takesValue)
      .map(({ word, offer }) => `    '${declaration.name} ${word}') ${offers(offer)} ;;`),
  )
  const words = DECLARATIONS.map((declaration) => {
    const list = optionsOf(declaration).map(({ word }) => word)
    const operand = declaration.operand ? `    else ${offers(declaration.operand.offer)}\n` : ''
    return `  ${declaration.name})
    if [[ $cur == -* ]]; then _vblk_words '${list.join(' ')}'
${operand}    fi ;;`
  })
  return `# bash completion of vblk, printed by: vblk completion bash
_vblk_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_vblk_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_vblk() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command=\${COMP_WORDS[1]}
  COMPREPLY=()
  if [[ $cur == = ]]; then cur=
  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if ((COMP_CWORD == 1)); then
    _vblk_words '${NAMES.join(' ')} --help --version'
    return
  fi
  case "$command $prev" in
${values.join('\n')}
  esac
  case $command in
${words.join('\n')}
  esac
}
complete -F _vblk vblk
`
}

// zsh ------------------------------------------------------------------------------------------------------

/** For a text between single quotes in which zsh gives a colon and brackets a meaning. */
function zshText(text: string): string {
  return text.replace(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''")
}

function zsh(): string {
  const action = (offer: Offer): string => {
    if (offer === 'nothing') return ' '
    if (typeof offer === 'object') return `(${offer.join(' ')})`
    return offer === 'file' ? '_files' : '_files -/'
  }
  const commands = DECLARATIONS.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`)
  const cases = DECLARATIONS.map((declaration) => {
    const specs = optionsOf(declaration).map(({ word, takesValue, offer, help }) => {
      const value = takesValue ? `:value:${action(offer)}` : ''
      return `'*${word}${takesValue ? '=' : ''}[${zshText(help)}]${value}'`
    })
    const { operand } = declaration
    if (operand) specs.push(`'1:${operand.name}:${action(operand.offer)}'`)
    return `    ${declaration.name}) _arguments -S ${specs.join(' \\\n      ')} ;;`
  })
  return `#compdef vblk
# zsh completion of vblk, printed by: vblk completion zsh
_vblk() {
  local -a commands=(
${commands.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe -t commands command commands
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join('\n')}
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _vblk "$@"; else compdef _vblk vblk; fi
`
}

// fish -----------------------------------------------------------------------------------------------------

function fishText(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`
}

function fish(): string {
  const lines = ['complete -c vblk -f']
  for (const { name, summary } of DECLARATIONS) {
    lines.push(`complete -c vblk -n __fish_use_subcommand -a ${name} -d ${fishText(summary)}`)
  }
  for (const word of ['help', 'version']) lines.push(`complete -c vblk -n __fish_use_subcommand -l ${word}`)
  for (const declaration of DECLARATIONS) {
    const { name, operand } = declaration
    const line = `complete -c vblk -n '__fish_seen_subcommand_from ${name}'`
    for (const { word, takesValue, offer, help } of optionsOf(declaration)) {
      lines.push(`${line} -l ${word.slice(2)}${takesValue ? ` -x${fishOffer(offer)}` : ''} -d ${fishText(help)}`)
    }
    if (operand) lines.push(`${line}${fishOffer(operand.offer)}`)
  }
  return `# fish completion of vblk, printed by: vblk completion fish\n${lines.join('\n')}\n`
}

function fishOffer(offer: Offer): string {
  if (offer === 'nothing') return ''
  if (typeof offer === 'object') return ` -a '${offer.join(' ')}'`
  return ` -a '(${offer === 'file' ? '__fish_complete_path' : '__fish_complete_directories'} (commandline -ct))'`
}
