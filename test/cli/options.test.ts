// What commands can be given, as functions: each kind of option, each mistake with its one line, and that what is
// declared is what the parser takes and the help tells, for every command there is.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DECLARATIONS } from '../../host/cli/declarations.ts'
import { commandHelp, programHelp } from '../../host/cli/help.ts'
import { type Declaration, flag, limit, oneOf, parse, path, text, texts, whole } from '../../host/cli/options.ts'

const test = suite('vblk options')

const SAMPLE = {
  name: 'sample',
  summary: 'a command of this test',
  usage: ['FILE [OPTIONS]'],
  about: ['About it.'],
  operand: { name: 'FILE', offer: 'file', needed: 'what it works on' },
  options: {
    json: flag('the result as JSON'),
    name: text('NAME', 'a name'),
    filter: texts('EXPR', 'several'),
    out: path('FILE', 'where it goes'),
    how: oneOf('HOW', ['fast', 'slow'], 'how'),
    cpus: whole({ from: 1, to: 64 }, 'processors'),
    step: whole({ value: 'STEP', from: 0, to: 9, range: 'from 0, a step' }, 'a step'),
    iops: limit('requests per second'),
  },
} as const satisfies Declaration

const BARE = { name: 'bare', summary: '', usage: [''], about: [], options: {} } as const satisfies Declaration

function refusal(args: string[], declaration: Declaration = SAMPLE): string {
  try {
    parse(declaration, args)
  } catch (error) {
    const { name, message } = error as Error
    assert.is(name, 'UsageError', message)
    assert.not.match(message, '\n')
    return message
  }
  return 'taken'
}

test('nothing but the operand -> switches are false, lists empty, all else undefined', () => {
  const given = parse(SAMPLE, ['a.trace'])
  assert.equal(given, {
    operand: 'a.trace',
    values: {
      json: false,
      name: undefined,
      filter: [],
      out: undefined,
      how: undefined,
      cpus: undefined,
      step: undefined,
      iops: undefined,
    },
  })
})

test('all of them -> read, in any order, = or a space before the value', () => {
  const args = '--json --name=x --filter a file --filter=b --out o --how slow --cpus 64 --step 0 --iops 5'.split(' ')
  const given = parse(SAMPLE, args)
  assert.ok(given !== 'help')
  const { filter, ...rest } = given.values
  assert.equal([...filter], ['a', 'b'])
  assert.equal(rest, { json: true, name: 'x', out: 'o', how: 'slow', cpus: 64, step: 0, iops: 5 })
  assert.is(given.operand, 'file')
})

test('given twice -> the last one, as in an alias that is overruled', () => {
  const given = parse(SAMPLE, ['f', '--cpus', '1', '--cpus', '2'])
  assert.ok(given !== 'help')
  assert.is(given.values.cpus, 2)
})

test('--help, -h -> help, whatever else is missing or wrong in a value', () => {
  for (const args of [['--help'], ['-h'], ['--help', '--cpus', 'x']]) assert.is(parse(SAMPLE, args), 'help')
})

test('limit: exact up to 2^63, more than a number holds', () => {
  const given = parse(SAMPLE, ['f', '--iops', '9223372036854775807'])
  assert.ok(given !== 'help')
  assert.is(given.values.iops, 9223372036854775807n)
})

test('numbers: what is none, or out of range -> the option, the range and what was given', () => {
  for (const bad of ['', '0', '65', '-1', '1.5', '1e1', '0x2', ' 2', '99999999999999999999']) {
    assert.is(refusal(['f', `--cpus=${bad}`]), `--cpus must be a whole number from 1 to 64, not '${bad}'`)
  }
  assert.is(refusal(['f', '--step=x']), "--step must be a whole number from 0, a step, not 'x'")
  for (const bad of ['0', '-5', 'x', '18446744073709551616']) {
    assert.match(
      refusal(['f', `--iops=${bad}`]),
      `--iops must be a whole number from 1 to 2^63, without unit, not '${bad}'`,
    )
  }
})

test('choice: another word -> the choices', () => {
  assert.is(refusal(['f', '--how', 'so']), '--how so: it is one of fast, slow')
})

test('path: empty -> refused', () => {
  assert.is(refusal(['f', '--out=']), '--out: the name of a file is missing')
})

test('option: unknown -> named, with one that is near, if one is', () => {
  const tail = '; vblk sample --help lists the options'
  assert.is(refusal(['f', '--fliter', 'x']), `--fliter: there is no such option; nearest: --filter${tail}`)
  assert.is(refusal(['f', '--quick']), `--quick: there is no such option${tail}`)
  assert.is(refusal(['f', '-q']), `-q: there is no such option${tail}`)
  assert.is(refusal(['--json'], BARE), '--json: there is no such option; vblk bare --help lists the options')
})

test('option: value missing, looking like an option, or too many -> what to write', () => {
  assert.match(refusal(['f', '--cpus']), '--cpus: its value is missing: --cpus N;')
  assert.match(refusal(['f', '--cpus', '--json']), 'then write --cpus=N;')
  assert.match(refusal(['f', '--cpus', '-1']), '--cpus: its value is missing, or begins with a minus sign')
  assert.match(refusal(['f', '--json=yes']), '--json takes no value;')
})

test('operand: missing, too many, none wanted, not one of the choices -> named', () => {
  assert.is(refusal([]), 'FILE is missing: vblk sample FILE, what it works on')
  assert.is(refusal(['a', 'b']), "'b': there is one FILE, and that is 'a'; vblk sample --help tells more")
  assert.is(refusal(['a'], BARE), "'a': vblk bare takes no such word; vblk bare --help tells more")
  const shells = { ...BARE, operand: { name: 'SHELL', offer: ['bash', 'zsh'] } } as const
  assert.is(refusal(['tcsh'], shells), "SHELL 'tcsh': it is one of bash, zsh")
  assert.equal(parse(shells, []), { operand: '', values: {} })
})

// What is declared -----------------------------------------------------------------------------------------

test('declarations: every command -> a summary, and a help that tells every option and every status', () => {
  const overview = programHelp(DECLARATIONS)
  assert.ok(DECLARATIONS.length >= 10)
  for (const declaration of DECLARATIONS) {
    const { name, options, operand } = declaration
    const help = commandHelp(declaration)
    assert.match(overview, new RegExp(`^  ${name} +\\S`, 'm'))
    assert.ok(help.startsWith(`Usage: vblk ${name}`), name)
    for (const [key, { value }] of Object.entries(options)) {
      assert.match(help, new RegExp(`^  --${key}${value === '' ? '' : ` ${value}`}( |$)`, 'm'), name)
    }
    assert.match(help, /^ {2}-h, --help {2}/m)
    assert.match(help.replaceAll('\n', ' '), /Exit status: 0 .+; 1 .+; 2 /, name)
    if (operand) assert.match(help, operand.name === 'SHELL' ? 'bash|zsh|fish' : operand.name)
  }
})

test('declarations: no help is wider than 80 columns', () => {
  const texts = [programHelp(DECLARATIONS), ...DECLARATIONS.map(commandHelp)]
  const long = texts.flatMap((help) => help.split('\n').filter((line) => line.length > 80))
  assert.equal(long, [])
})

test('declarations: a usage line -> names no option that there is not', () => {
  for (const { name, usage, options } of DECLARATIONS) {
    for (const [, option = ''] of usage.join(' ').matchAll(/--([\w-]+)/g))
      assert.ok(option in options, `${name} ${option}`)
  }
})

test('declarations: a value of each kind that the help names -> the parser takes it', () => {
  const sample = (offer: unknown, value: string): string => {
    if (Array.isArray(offer)) return String(offer[0])
    return value === 'N' || value === 'S' || value === 'STEP' ? '128' : 'x'
  }
  for (const { operand, options, ...rest } of DECLARATIONS) {
    for (const [key, { value, offer }] of Object.entries(options)) {
      if (key === 'cpus') continue // its range is asked for above
      const args = value === '' ? [`--${key}`] : [`--${key}`, sample(offer, value)]
      assert.is(refusal(args, { ...rest, options }), 'taken', `${rest.name} --${key}`)
    }
  }
})

test.run()
