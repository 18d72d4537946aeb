// The structures of KVM on x86-64 that pass through JavaScript, as tables of {name, offset, width}, and what reads and
// writes them. Fields of 8 bytes are bigints, all others numbers. kvm_run is not here: run.ts reads it in place.
// Owns no memory.

interface Field {
  readonly name: string
  readonly offset: number
  readonly width: 1 | 2 | 4 | 8
}

/** What a structure is in JavaScript: an object with its fields. */
export type Values<Fields extends readonly Field[]> = {
  -readonly [F in Fields[number] as F['name']]: F['width'] extends 8 ? bigint : number
}

export interface Struct<Fields extends readonly Field[]> {
  readonly bytes: number
  readonly fields: Fields
}

/** The head of kvm_cpuid2 and of kvm_msrs: 4 bytes number of entries, 4 bytes of nothing. */
const LIST_HEAD_BYTES = 8

function struct<const Fields extends readonly Field[]>(bytes: number, fields: Fields): Struct<Fields> {
  return { bytes, fields }
}

export function decode<Fields extends readonly Field[]>(
  { fields }: Struct<Fields>,
  from: DataView,
  at = 0,
): Values<Fields> {
  const values: Record<string, number | bigint> = {}
  for (const { name, offset, width } of fields) values[name] = load(from, at + offset, width)
  return values as Values<Fields>
}

/** Fields that `values` does not name stay as they are. A field the structure lacks is a TypeError. */
export function encode<Fields extends readonly Field[]>(
  { fields }: Struct<Fields>,
  into: DataView,
  values: Partial<Values<Fields>>,
  at = 0,
): void {
  for (const [name, value] of Object.entries(values as Record<string, number | bigint | undefined>)) {
    const field = fields.find((candidate) => candidate.name === name)
    if (field === undefined) throw new TypeError(`KVM: no field ${name}, but ${fields.map((f) => f.name).join(', ')}`)
    if (value !== undefined) store(into, at + field.offset, field, value)
  }
}

/** A new structure with these fields, the others 0. */
export function encodeNew<Fields extends readonly Field[]>(
  struct: Struct<Fields>,
  values: Partial<Values<Fields>>,
): Uint8Array {
  const bytes = new Uint8Array(struct.bytes)
  encode(struct, fieldsOf(bytes), values)
  return bytes
}

/** As kvm_cpuid2 and kvm_msrs are: the number of entries, a word that is 0 or unused, and the entries. */
export function encodeList<Fields extends readonly Field[]>(
  entry: Struct<Fields>,
  entries: readonly Partial<Values<Fields>>[],
): Uint8Array {
  const bytes = new Uint8Array(LIST_HEAD_BYTES + entries.length * entry.bytes)
  const view = fieldsOf(bytes)
  view.setUint32(0, entries.length, true)
  entries.forEach((values, i) => {
    encode(entry, view, values, LIST_HEAD_BYTES + i * entry.bytes)
  })
  return bytes
}

/** As many entries as the head says. */
export function decodeList<Fields extends readonly Field[]>(entry: Struct<Fields>, list: Uint8Array): Values<Fields>[] {
  const view = fieldsOf(list)
  const count = view.getUint32(0, true)
  return Array.from({ length: count }, (_, i) => decode(entry, view, LIST_HEAD_BYTES + i * entry.bytes))
}

export function fieldsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function load(from: DataView, at: number, width: Field['width']): number | bigint {
  if (width === 8) return from.getBigUint64(at, true)
  if (width === 4) return from.getUint32(at, true)
  return width === 2 ? from.getUint16(at, true) : from.getUint8(at)
}

function store(into: DataView, at: number, { name, width }: Field, value: number | bigint): void {
  if (typeof value !== (width === 8 ? 'bigint' : 'number')) {
    throw new TypeError(`KVM: ${name} is a ${width === 8 ? 'bigint' : 'number'}, not ${String(value)}`)
  }
  if (BigInt(value) < 0n || BigInt(value) >> BigInt(8 * width) !== 0n) {
    throw new RangeError(`KVM: ${name} holds ${width} bytes, not ${value}`)
  }
  if (width === 8) into.setBigUint64(at, value as bigint, true)
  else if (width === 4) into.setUint32(at, value as number, true)
  else if (width === 2) into.setUint16(at, value as number, true)
  else into.setUint8(at, value as number)
}

export const KVM_REGS = struct(144, [
  { name: 'rax', offset: 0, width: 8 },
  { name: 'rbx', offset: 8, width: 8 },
  { name: 'rcx', offset: 16, width: 8 },
  { name: 'rdx', offset: 24, width: 8 },
  { name: 'rsi', offset: 32, width: 8 },
  { name: 'rdi', offset: 40, width: 8 },
  { name: 'rsp', offset: 48, width: 8 },
  { name: 'rbp', offset: 56, width: 8 },
  { name: 'r8', offset: 64, width: 8 },
  { name: 'r9', offset: 72, width: 8 },
  { name: 'r10', offset: 80, width: 8 },
  { name: 'r11', offset: 88, width: 8 },
  { name: 'r12', offset: 96, width: 8 },
  { name: 'r13', offset: 104, width: 8 },
  { name: 'r14', offset: 112, width: 8 },
  { name: 'r15', offset: 120, width: 8 },
  { name: 'rip', offset: 128, width: 8 },
  { name: 'rflags', offset: 136, width: 8 },
])
export type Regs = Values<typeof KVM_REGS.fields>

export const KVM_SEGMENT = struct(24, [
  { name: 'base', offset: 0, width: 8 },
  { name: 'limit', offset: 8, width: 4 },
  { name: 'selector', offset: 12, width: 2 },
  { name: 'type', offset: 14, width: 1 },
  { name: 'present', offset: 15, width: 1 },
  { name: 'dpl', offset: 16, width: 1 },
  { name: 'db', offset: 17, width: 1 },
  { name: 's', offset: 18, width: 1 },
  { name: 'l', offset: 19, width: 1 },
  { name: 'g', offset: 20, width: 1 },
  { name: 'avl', offset: 21, width: 1 },
  { name: 'unusable', offset: 22, width: 1 },
])
export type Segment = Values<typeof KVM_SEGMENT.fields>

export const KVM_DTABLE = struct(16, [
  { name: 'base', offset: 0, width: 8 },
  { name: 'limit', offset: 8, width: 2 },
])
export type DescriptorTable = Values<typeof KVM_DTABLE.fields>

/** The numbers of kvm_sregs; before them are eight segments and two descriptor tables. */
export const KVM_SREGS = struct(312, [
  { name: 'cr0', offset: 224, width: 8 },
  { name: 'cr2', offset: 232, width: 8 },
  { name: 'cr3', offset: 240, width: 8 },
  { name: 'cr4', offset: 248, width: 8 },
  { name: 'cr8', offset: 256, width: 8 },
  { name: 'efer', offset: 264, width: 8 },
  { name: 'apic_base', offset: 272, width: 8 },
])
/** In the order of kvm_sregs, from offset 0 and from offset 192 on. */
export const SREGS_SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const
export const SREGS_TABLES = ['gdt', 'idt'] as const
const SREGS_TABLES_AT = 192

/** kvm_sregs without the interrupt it may hold, which setSregs leaves as it is. */
export type Sregs = Values<typeof KVM_SREGS.fields> &
  Record<(typeof SREGS_SEGMENTS)[number], Segment> &
  Record<(typeof SREGS_TABLES)[number], DescriptorTable>

/** What setSregs takes: any of the registers, and of a segment or table any of the fields. */
export type SregsChange = Partial<Values<typeof KVM_SREGS.fields>> &
  Partial<Record<(typeof SREGS_SEGMENTS)[number], Partial<Segment>>> &
  Partial<Record<(typeof SREGS_TABLES)[number], Partial<DescriptorTable>>>

export function decodeSregs(from: DataView): Sregs {
  const sregs: Record<string, unknown> = {}
  SREGS_SEGMENTS.forEach((name, i) => {
    sregs[name] = decode(KVM_SEGMENT, from, i * KVM_SEGMENT.bytes)
  })
  SREGS_TABLES.forEach((name, i) => {
    sregs[name] = decode(KVM_DTABLE, from, SREGS_TABLES_AT + i * KVM_DTABLE.bytes)
  })
  return Object.assign(sregs, decode(KVM_SREGS, from)) as Sregs
}

export function encodeSregs(into: DataView, change: SregsChange): void {
  const numbers: Record<string, unknown> = { ...change }
  SREGS_SEGMENTS.forEach((name, i) => {
    encode(KVM_SEGMENT, into, change[name] ?? {}, i * KVM_SEGMENT.bytes)
    delete numbers[name]
  })
  SREGS_TABLES.forEach((name, i) => {
    encode(KVM_DTABLE, into, change[name] ?? {}, SREGS_TABLES_AT + i * KVM_DTABLE.bytes)
    delete numbers[name]
  })
  encode(KVM_SREGS, into, numbers)
}

export const KVM_USERSPACE_MEMORY_REGION = struct(32, [
  { name: 'slot', offset: 0, width: 4 },
  { name: 'flags', offset: 4, width: 4 },
  { name: 'guest_phys_addr', offset: 8, width: 8 },
  { name: 'memory_size', offset: 16, width: 8 },
  { name: 'userspace_addr', offset: 24, width: 8 },
])

export const KVM_IRQFD = struct(32, [
  { name: 'fd', offset: 0, width: 4 },
  { name: 'gsi', offset: 4, width: 4 },
  { name: 'flags', offset: 8, width: 4 },
  { name: 'resamplefd', offset: 12, width: 4 },
])

export const KVM_IOEVENTFD = struct(64, [
  { name: 'datamatch', offset: 0, width: 8 },
  { name: 'addr', offset: 8, width: 8 },
  { name: 'len', offset: 16, width: 4 },
  { name: 'fd', offset: 20, width: 4 },
  { name: 'flags', offset: 24, width: 4 },
])

export const KVM_IRQ_LEVEL = struct(8, [
  { name: 'irq', offset: 0, width: 4 },
  { name: 'level', offset: 4, width: 4 },
])

export const KVM_PIT_CONFIG = struct(64, [{ name: 'flags', offset: 0, width: 4 }])

export const KVM_MP_STATE = struct(4, [{ name: 'mp_state', offset: 0, width: 4 }])

export const KVM_CPUID_ENTRY2 = struct(40, [
  { name: 'function', offset: 0, width: 4 },
  { name: 'index', offset: 4, width: 4 },
  { name: 'flags', offset: 8, width: 4 },
  { name: 'eax', offset: 12, width: 4 },
  { name: 'ebx', offset: 16, width: 4 },
  { name: 'ecx', offset: 20, width: 4 },
  { name: 'edx', offset: 24, width: 4 },
])
export type CpuidEntry = Values<typeof KVM_CPUID_ENTRY2.fields>

export const KVM_MSR_ENTRY = struct(16, [
  { name: 'index', offset: 0, width: 4 },
  { name: 'data', offset: 8, width: 8 },
])
export type MsrEntry = Values<typeof KVM_MSR_ENTRY.fields>

/** The head of kvm_signal_mask, whose 8 bytes of set follow at once: `len` says so. */
export const KVM_SIGNAL_MASK = struct(4, [{ name: 'len', offset: 0, width: 4 }])
