// Makes of the engine a module without atomic instructions, for translators that know none (wasm2c of Debian 12): each
// becomes a call of a function imported from `atomic`, which the host writes with its own compiler's atomics (wasm2c.c:
// one line each), so nothing is lost by it. Needs binaryen, which comes with AssemblyScript.
//
//     node name-atomics.mjs build/engine.wasm OUT.wasm

import { readFileSync, writeFileSync } from 'node:fs'
import binaryen from 'binaryen'

/** Instruction -> name and type of the import: first the constant offset of the instruction, then its operands. */
const IMPORTS = {
  'i32.atomic.load': ['load32', '(param i32 i32) (result i32)'],
  'i32.atomic.load16_u': ['load16', '(param i32 i32) (result i32)'],
  'i32.atomic.store16': ['store16', '(param i32 i32 i32)'],
  'i32.atomic.rmw.add': ['add32', '(param i32 i32 i32) (result i32)'],
  'i32.atomic.rmw.and': ['and32', '(param i32 i32 i32) (result i32)'],
  'i32.atomic.rmw.or': ['or32', '(param i32 i32 i32) (result i32)'],
  'i32.atomic.rmw.cmpxchg': ['cmpxchg32', '(param i32 i32 i32 i32) (result i32)'],
  'i64.atomic.rmw.add': ['add64', '(param i32 i32 i64) (result i64)'],
}

const [from, to] = process.argv.slice(2)
const text = binaryen.readBinary(readFileSync(from)).emitText()
const used = new Set()
const body = text.replace(/\((\w+\.atomic\.[\w.]+)(?: offset=(\d+))?/g, (_, instruction, offset = 0) => {
  const [name] = IMPORTS[instruction] ?? []
  if (name === undefined) throw new Error(`${from}: ${instruction} has no function here, add one`)
  used.add(instruction)
  return `(call $atomic.${name} (i32.const ${offset})`
})
const imports = [...used].map((instruction) => {
  const [name, type] = IMPORTS[instruction]
  return `(import "atomic" "${name}" (func $atomic.${name} ${type}))`
})
const lowered = binaryen.parseText(body.replace('(module', `(module\n${imports.join('\n')}`))
lowered.setFeatures(binaryen.Features.All & ~binaryen.Features.Atomics)
if (!lowered.validate()) throw new Error(`${from}: not a valid module any more`)
writeFileSync(to, lowered.emitBinary())
