// Where two traces part, in a sentence: the first step that differs and what of it.

import { isDeepStrictEqual } from 'node:util'
import { eventText, resultText } from '../../host/replay/names.ts'
import { callText } from '../../host/replay/player.ts'
import type { Step } from '../../host/replay/step.ts'
import type { Trace } from '../../host/replay/trace.ts'

export function difference(before: Trace, after: Trace): string {
  const count = Math.max(before.steps.length, after.steps.length)
  for (let number = 0; number < count; number++) {
    const [one, other] = [before.steps[number], after.steps[number]]
    if (one === undefined || other === undefined) {
      const [longer, text] = one ? ['the old', callText(one)] : ['the new', other ? callText(other) : '']
      return `step ${number}, ${text}, is only in ${longer} one`
    }
    const part = stepDifference(one, other)
    if (part) return `step ${number}, ${callText(one)}: ${part}`
  }
  return 'the steps are the same, the file is not'
}

function stepDifference(one: Step, other: Step): string | undefined {
  if (callText(one) !== callText(other)) return `the call was that, is ${callText(other)}`
  for (let i = 0; i < Math.max(one.events.length, other.events.length); i++) {
    const [was, is] = [one.events[i], other.events[i]].map((event) => (event ? eventText(event) : 'none'))
    if (was !== is) return `event ${i} was ${was}, is ${is}`
  }
  const [was, is] = [one, other].map(({ call, result }) => resultText(call, result))
  if (was !== is) return `the result was ${was}, is ${is}`
  for (const field of ['config', 'throttle', 'planned', 'counters', 'payload', 'nanos'] as const) {
    const found = partDifference(field, one[field], other[field])
    if (found) return found
  }
  return undefined
}

/** Down to the innermost part that differs. */
function partDifference(path: string, before: unknown, after: unknown): string | undefined {
  if (isDeepStrictEqual(before, after)) return undefined
  if (before && after && typeof before === 'object' && typeof after === 'object') {
    for (const key of Object.keys({ ...before, ...after })) {
      const [was, is] = [before, after].map((part) => (part as Record<string, unknown>)[key])
      const found = partDifference(`${path}.${key}`, was, is)
      if (found) return found
    }
  }
  return `${path} was ${JSON.stringify(before)}, is ${JSON.stringify(after)}`
}
