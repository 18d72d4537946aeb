// What a vCPU answers to CPUID: what KVM says it supports, less what this machine does not have, plus who the vCPU is
// and how many there are. Each vCPU is a core of its own, all in one package, so the topology is one level. Portable.
// Intel SDM volume 2, "CPUID"; AMD APM volume 3, appendix E; Linux: Documentation/virt/kvm/x86/cpuid.rst.

/** A row of kvm_cpuid_entry2. */
export interface CpuidRow {
  readonly function: number
  readonly index: number
  readonly flags: number
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

type Change = Partial<Omit<CpuidRow, 'function' | 'index' | 'flags'>>

export interface Topology {
  /** this vCPU, from 0 on; also its local APIC's id */
  readonly id: number
  readonly count: number
  /** KVM_CAP_TSC_DEADLINE_TIMER: the irqchip has the timer, which KVM_GET_SUPPORTED_CPUID may leave to us to say */
  readonly hasTscDeadline: boolean
}

const SIGNIFICANT_INDEX = 1 // KVM_CPUID_FLAG_SIGNIFCANT_INDEX

// Leaf 1
const ECX_MONITOR = 1 << 3 // would idle on the host's processor
const ECX_VMX = 1 << 5
const ECX_PDCM = 1 << 15 // performance counters
const ECX_TSC_DEADLINE = 1 << 24
const ECX_HYPERVISOR = 1 << 31
const EDX_HTT = 1 << 28 // the count of processors in EBX is valid
// Leaf 0x80000001
const ECX_CMP_LEGACY = 1 << 1 // AMD: several cores, not hyper-threads
const ECX_SVM = 1 << 2

/** EBX of leaf 0: "Auth" of AuthenticAMD, "Hygo" of HygonGenuine */
const AMD_VENDORS = [0x68747541, 0x6f677948]

const CORE_LEVEL = 2
const THREAD_LEVEL = 1

/** The table for KVM_SET_CPUID2 of one vCPU. */
export function vcpuCpuid(supported: readonly CpuidRow[], topology: Topology): CpuidRow[] {
  const rows = supported.filter((row) => !TOPOLOGY_LEAVES.has(row.function))
  const vendor = rows.find((row) => row.function === 0)
  const isAmd = AMD_VENDORS.includes(vendor?.ebx ?? 0)
  const highest = vendor?.eax ?? 0
  const changes = (row: CpuidRow): Change => {
    return { ...changeOf(row, topology), ...(isAmd ? changeOfAmd(row, topology) : {}) }
  }
  return [
    ...rows.map((row) => ({ ...row, ...unsigned(changes(row)) })),
    ...topologyLeaves(topology).filter((row) => row.function <= highest),
  ]
}

const TOPOLOGY_LEAVES = new Set([0x0b, 0x1f])

function changeOf(row: CpuidRow, { id, count, hasTscDeadline }: Topology): Change {
  const { eax, ebx, ecx, edx } = row
  const isSmp = count > 1
  switch (row.function) {
    case 0x01:
      return {
        ebx: (ebx & 0x0000ffff) | (count << 16) | (id << 24),
        ecx:
          (ecx & ~(ECX_MONITOR | ECX_VMX | ECX_PDCM | ECX_TSC_DEADLINE)) |
          ECX_HYPERVISOR |
          (hasTscDeadline ? ECX_TSC_DEADLINE : 0),
        edx: isSmp ? edx | EDX_HTT : edx & ~EDX_HTT,
      }
    case 0x04: // Intel's caches: the first level is each core's own, the last is shared; cores per package
      if ((eax & 0x1f) === 0) return {}
      return { eax: (eax & 0x00003fff) | (isShared(eax) ? (count - 1) << 14 : 0) | (Math.min(count - 1, 63) << 26) }
    case 0x0a: // performance counters: version 0, none
      return { eax: 0, ebx: 0, ecx: 0, edx: 0 }
    default:
      return {}
  }
}

function changeOfAmd(row: CpuidRow, { id, count }: Topology): Change {
  const { eax, ecx } = row
  switch (row.function) {
    case 0x80000001:
      return { ecx: (ecx & ~(ECX_SVM | ECX_CMP_LEGACY)) | (count > 1 ? ECX_CMP_LEGACY : 0) }
    case 0x80000008: // AMD: processors less 1, and how many bits of the APIC id count them
      return { ecx: (ecx & ~0xf0ff) | (count - 1) | (idBits(count) << 12) }
    case 0x8000001d: // AMD's caches
      if ((eax & 0x1f) === 0) return {}
      return { eax: (eax & 0x00003fff) | (isShared(eax) ? (count - 1) << 14 : 0) }
    case 0x8000001e: // AMD: APIC id; core id, one thread each; node 0
      return { eax: id, ebx: id, ecx: 0, edx: 0 }
    default:
      return {}
  }
}

function isShared(cache: number): boolean {
  return ((cache >> 5) & 7) >= 3
}

/** Leaves 0x0b and 0x1f: one thread per core, `count` cores, and the id of the x2APIC in EDX. */
function topologyLeaves({ id, count }: Topology): CpuidRow[] {
  return [...TOPOLOGY_LEAVES].flatMap((leaf) => {
    const level = (index: number, eax: number, ebx: number, kind: number): CpuidRow => {
      return { function: leaf, index, flags: SIGNIFICANT_INDEX, eax, ebx, ecx: (kind << 8) | index, edx: id }
    }
    return [level(0, 0, 1, THREAD_LEVEL), level(1, idBits(count), count, CORE_LEVEL), level(2, 0, 0, 0)]
  })
}

/** Bits that number `count` things. */
function idBits(count: number): number {
  return Math.ceil(Math.log2(count))
}

function unsigned(change: Change): Change {
  return Object.fromEntries(Object.entries(change).map(([name, value]) => [name, value >>> 0]))
}
