// Binds one function of the C library with koffi. The rules of all bindings: pointers are parameters of type int64_t
// and passed as plain numbers (addressOf in libc.ts), the result is checked on the line after the call, and
// koffi.errno() is asked before anything else is called. Owns nothing; every thread binds for itself.

import { constants } from 'node:os'
import koffi from 'koffi'
import { SysError } from './errors.ts'

/** On a system that lacks the call, importing the binding file works and calling it throws ENOSYS. */
export function bind<Call extends (...words: never[]) => number>(name: string, definition: string): Call {
  try {
    return koffi.load(null).func(definition) as unknown as Call
  } catch {
    const missing = (): number => {
      throw new SysError(name, constants.errno.ENOSYS)
    }
    return missing as Call
  }
}
