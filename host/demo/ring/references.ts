// Why the device does what it does: for each access and each decision the rule of assembly/CONTRACT.md, the row of the
// conformance list with its section of the VIRTIO 1.3 standard, and one sentence. Portable.

export interface Reference {
  /** where assembly/CONTRACT.md has it: 'rule 13', 'ring faults', 'request fault f' */
  readonly rule: string
  /** section of VIRTIO 1.3 that says it; undefined where the standard leaves it open */
  readonly section: string | undefined
  /** id of the row of host/conformance/conformance.json */
  readonly row: string | undefined
  /** one sentence */
  readonly why: string
}
