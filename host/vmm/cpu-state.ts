// The processor state a guest starts with: Linux's 64-bit entry, or flat 32-bit protected mode for programs without
// an operating system. Returns what goes into registers and what goes into RAM; sets neither. Portable, knows nothing
// of KVM but the names of its register fields.
// Linux: Documentation/arch/x86/boot.rst, section "64-bit BOOT PROTOCOL".

import { BOOT_PARAMS_ADDRESS, GDT_ADDRESS, PAGE_TABLES_ADDRESS, STACK_TOP } from './pc-layout.ts'

interface SegmentState {
  readonly base: bigint
  readonly limit: number
  readonly selector: number
  readonly type: number
  readonly present: number
  readonly dpl: number
  readonly db: number
  readonly s: number
  readonly l: number
  readonly g: number
  readonly unusable: number
}

const SEGMENT_NAMES = ['ds', 'es', 'fs', 'gs', 'ss'] as const

export type CpuSegments = Readonly<Record<(typeof SEGMENT_NAMES)[number] | 'cs' | 'tr', SegmentState>>

/** Registers by the names of kvm_regs and kvm_sregs. Those not named are as after a reset. */
export interface CpuState {
  readonly regs: Readonly<Record<'rip' | 'rsi' | 'rsp' | 'rflags', bigint>>
  readonly sregs: CpuSegments & {
    readonly gdt: { readonly base: bigint; readonly limit: number }
    readonly idt: { readonly base: bigint; readonly limit: number }
    readonly cr0: bigint
    readonly cr3: bigint
    readonly cr4: bigint
    readonly efer: bigint
  }
}

const CR0_PE = 1n << 0n
const CR0_MP = 1n << 1n
const CR0_ET = 1n << 4n
const CR0_NE = 1n << 5n
const CR0_WP = 1n << 16n
const CR0_AM = 1n << 18n
const CR0_PG = 1n << 31n
const CR4_PAE = 1n << 5n
const EFER_LME = 1n << 8n
const EFER_LMA = 1n << 10n
const RFLAGS_RESERVED = 2n

const BOOT_CS = 0x10
const BOOT_DS = 0x18
const BOOT_TSS = 0x20
const TYPE_CODE = 11 // execute, read, accessed
const TYPE_DATA = 3 // read, write, accessed
const TYPE_BUSY_TSS = 11

const PAGE = 4096
const PAGE_PRESENT_WRITABLE = 3n
const PAGE_LARGE = 0x80n
const LARGE_SHIFT = 21n
const ENTRIES = 512
const DIRECTORIES = 4

/**
 * "the CPU must be in 64-bit mode with paging enabled. The range with setup_header.init_size from start address of
 * loaded kernel and zero page and command line buffer get ident mapping; a GDT must be loaded with the descriptors
 * for selectors __BOOT_CS(0x10) and __BOOT_DS(0x18); both descriptors must be 4G flat segment; __BOOT_CS must have
 * execute/read permission, and __BOOT_DS must have read/write permission; CS must be __BOOT_CS and DS, ES, SS must be
 * __BOOT_DS; interrupt must be disabled; %rsi must hold the base address of the struct boot_params."
 *
 * `entry`: load address + 0x200 of a bzImage, or where an uncompressed kernel says, which expects the same.
 */
export function longMode(entry: number): CpuState {
  const data = segment(BOOT_DS, TYPE_DATA, { db: 1 })
  return {
    regs: {
      rip: BigInt(entry),
      rsi: BigInt(BOOT_PARAMS_ADDRESS),
      rsp: BigInt(STACK_TOP), // not asked for; the kernel sets its own
      rflags: RFLAGS_RESERVED, // interrupts disabled
    },
    sregs: {
      ...dataSegments(data),
      cs: segment(BOOT_CS, TYPE_CODE, { l: 1 }),
      tr: segment(BOOT_TSS, TYPE_BUSY_TSS, { s: 0 }), // Intel's VM entry wants a TSS
      gdt: { base: BigInt(GDT_ADDRESS), limit: gdt().length - 1 },
      idt: { base: 0n, limit: 0 },
      cr0: CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG,
      cr3: BigInt(PAGE_TABLES_ADDRESS),
      cr4: CR4_PAE,
      efer: EFER_LME | EFER_LMA,
    },
  }
}

/**
 * Model-specific registers of a processor that runs Linux: memory type range registers enabled, default type
 * write-back. Without it Linux takes the registers for broken and does without PAT.
 */
export const LINUX_MSRS = [{ index: 0x2ff, data: 0x806n }]

/** 32-bit protected mode without paging: flat segments, interrupts off. Nothing of it is in RAM. */
export function flatMode(entry: number): CpuState {
  const data = segment(BOOT_DS, TYPE_DATA, { db: 1 })
  return {
    regs: { rip: BigInt(entry), rsi: 0n, rsp: 0n, rflags: RFLAGS_RESERVED },
    sregs: {
      ...dataSegments(data),
      cs: segment(BOOT_CS, TYPE_CODE, { db: 1 }),
      tr: segment(BOOT_TSS, TYPE_BUSY_TSS, { s: 0 }),
      gdt: { base: 0n, limit: 0 },
      idt: { base: 0n, limit: 0 },
      cr0: CR0_PE | CR0_ET,
      cr3: 0n,
      cr4: 0n,
      efer: 0n,
    },
  }
}

/** The descriptors for the selectors of longMode, for GDT_ADDRESS. */
export function gdt(): Uint8Array {
  const descriptors = [
    0n,
    0n,
    0x00af9b000000ffffn, // 0x10: 64-bit code
    0x00cf93000000ffffn, // 0x18: data
    0x008f8b000000ffffn, // 0x20: TSS, whose upper half is
    0n,
  ]
  return new Uint8Array(BigUint64Array.from(descriptors).buffer)
}

/** Identity mapping of the first 4 GiB in pages of 2 MiB, for PAGE_TABLES_ADDRESS: PML4, one PDPT, four PDs. */
export function pageTables(): Uint8Array {
  const tables = new BigUint64Array((2 + DIRECTORIES) * ENTRIES)
  const address = (table: number): bigint => BigInt(PAGE_TABLES_ADDRESS + table * PAGE)
  tables[0] = address(1) | PAGE_PRESENT_WRITABLE
  for (let i = 0; i < DIRECTORIES; i++) tables[ENTRIES + i] = address(2 + i) | PAGE_PRESENT_WRITABLE
  for (let i = 0; i < DIRECTORIES * ENTRIES; i++) {
    tables[2 * ENTRIES + i] = (BigInt(i) << LARGE_SHIFT) | PAGE_LARGE | PAGE_PRESENT_WRITABLE
  }
  return new Uint8Array(tables.buffer)
}

/** 4 GiB from 0 on, but for the TSS, whose limit is smaller and in bytes. */
function segment(selector: number, type: number, flags: { s?: number; l?: number; db?: number }): SegmentState {
  const { s = 1, l = 0, db = 0 } = flags
  const isSystem = s === 0
  return {
    base: 0n,
    limit: isSystem ? 0xffff : 0xffffffff,
    selector,
    type,
    present: 1,
    dpl: 0,
    db,
    s,
    l,
    g: isSystem ? 0 : 1,
    unusable: 0,
  }
}

function dataSegments(data: SegmentState): Record<(typeof SEGMENT_NAMES)[number], SegmentState> {
  return { ds: data, es: data, fs: data, gs: data, ss: data }
}
