// Can this KVM run a stock Linux kernel? Asked by running a program (kvm-probe.s) that does what such a kernel does
// before its first process, and timing it, not by names: there are KVMs without hardware behind them, which run a
// guest's user code as it is but emulate its kernel, instruction by instruction, and do not know all of them. Answers
// within two seconds, whatever the KVM does.

import { KvmError } from '../kvm/errors.ts'
import { KvmMachine, MachineError } from './kvm-machine.ts'

export interface KvmVerdict {
  /** there is one, and this process may use it */
  readonly isThere: boolean
  /** it runs a stock kernel, and faster than v86 does */
  readonly isUsable: boolean
  /** why, in a line: for people */
  readonly reason: string
}

/** kvm-probe.s, assembled and linked to ADDRESS; kvm-probe.test.ts does it again and compares. */
export const PROBE_PROGRAM = `
fa488d25f8210000b001e6f4b920a10700ffc975fcb002e6f4488d05f70000006689053901000048c1e8106689053401000048c1e8108905
2c0100000f011d2d010000cc803db5210000010f85c3000000b8010000000fa24189cc410fbae40d732cb003e6f431c031d2bb0100000031
c9f0480fc70da60000000f859400000048833d98000000010f8586000000410fbae41a7332b004e6f40f20e00d000604000f22e031c9b803
00000031d20f01d1480fae25480f0000b80300000031d2480fae2d390f0000410fbae4177312b005e6f4b8f0f00000f30fb8c083f8087534
b006e6f4480fae05140f0000b9010100c0488d052800000031d20f300f01f80f01f86548833c25000000000175060f31b07fe6f4f4ebfdc6
05e22000000148cf000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
0000000000000000000000000000000000001000008e000000000000000000003f003001100000000000
`

const ADDRESS = 0x100000
const DEBUG_PORT = 0xf4
const DONE = 0x7f
const RAM_BYTES = 2 << 20
const TIMEOUT_MS = 1800
/** What the first step executes, and how long an instruction may take; in v86, the alternative, it takes 16 ns. */
const INSTRUCTIONS = 1_000_000
const SLOW_NANOS = 100

const STEPS: Record<number, string> = {
  1: 'a million instructions of arithmetic',
  2: 'int3, with which the kernel tests itself on every boot',
  3: 'cmpxchg16b, which its slab allocator uses',
  4: 'xsave and xrstor, with which it switches tasks',
  5: 'popcnt',
  6: 'fxsave, swapgs and wrmsr, with which it switches tasks',
}

/** Never throws for what a KVM is or lacks. `device` is /dev/kvm by default. */
export async function probeKvm(device?: string): Promise<KvmVerdict> {
  const reached: { step: number; at: number }[] = []
  try {
    const how = await runProbe((step) => reached.push({ step, at: performance.now() }), device)
    return verdict(reached, how)
  } catch (error) {
    if (!(error instanceof KvmError)) throw error
    return { isThere: false, isUsable: false, reason: error.message }
  }
}

/** How the program ended: 'done', or why not. */
async function runProbe(onStep: (step: number) => void, device: string | undefined): Promise<string> {
  const memory = KvmMachine.memory(RAM_BYTES)
  let done: () => void = () => {}
  const finished = new Promise<'done'>((resolve) => {
    done = () => resolve('done')
  })
  const machine = await KvmMachine.create({
    memory,
    flat: {
      image: Buffer.from(PROBE_PROGRAM.replaceAll('\n', ''), 'hex'),
      address: ADDRESS,
      entry: ADDRESS,
      mode: 'long',
    },
    debugPort: { port: DEBUG_PORT, onWrite: (step) => (step === DONE ? done() : onStep(step)) },
    ...(device !== undefined && { device }),
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer in ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS)
  })
  try {
    machine.run()
    return await Promise.race([finished, late, machine.ended])
  } catch (error) {
    if (!(error instanceof MachineError)) throw error
    return /suberror 1\b/.test(error.message) ? 'it does not know the instruction' : error.message
  } finally {
    clearTimeout(timer)
    await machine.stop()
  }
}

function verdict(reached: readonly { step: number; at: number }[], how: string): KvmVerdict {
  const at = (step: number): number => reached.find((found) => found.step === step)?.at ?? Number.NaN
  const nanos = ((at(2) - at(1)) * 1e6) / INSTRUCTIONS
  const isSlow = nanos > SLOW_NANOS
  const speed = isSlow ? `it emulates the guest's kernel (${Math.round(nanos)} ns per instruction)` : ''
  if (how !== 'done') {
    const step = reached.at(-1)?.step ?? 0
    const what = STEPS[step] ?? 'the first instruction'
    return {
      isThere: true,
      isUsable: false,
      reason: `KVM: a stock kernel cannot run: ${[speed, `it fails at ${what} (${how})`].filter(Boolean).join(', and ')}`,
    }
  }
  if (isSlow) return { isThere: true, isUsable: false, reason: `KVM: ${speed}, which is slower than v86` }
  return { isThere: true, isUsable: true, reason: 'KVM: it runs what a stock kernel needs' }
}
