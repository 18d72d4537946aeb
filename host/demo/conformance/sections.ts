// The standard's sections that have rules, in its order: for choosing one, and for headings. Titles are those of OASIS
// VIRTIO 1.3; section 3.4 is of the draft of 1.4. Portable.

import { bySection, ROWS } from '../../conformance/rows.ts'

const TITLES: Readonly<Record<string, string>> = {
  '2.1': 'Device Status Field',
  '2.2': 'Feature Bits',
  '2.4': 'Device Reset',
  '2.5': 'Device Configuration Space',
  '2.6': 'Virtqueues',
  '2.7': 'Split Virtqueues',
  '2.8': 'Packed Virtqueues',
  '2.9': 'Driver Notifications',
  '2.10': 'Shared Memory Regions',
  '3.1': 'Device Initialization',
  '3.2': 'Device Operation',
  '3.3': 'Device Cleanup',
  '3.4': 'Device Suspend',
  '4.2': 'Virtio Over MMIO',
  '5.2': 'Block Device',
  '6': 'Reserved Feature Bits',
}

export interface Section {
  readonly section: string
  /** empty below the second level */
  readonly title: string
  /** rules of it and of those below it */
  readonly count: number
}

/** '2.7.4.1' -> '2.7': the heading that a section's rules are under. Chapter 6 is one heading. */
export function headingOf(section: string): string {
  const [chapter = '', second] = section.split('.')
  return second === undefined || chapter in TITLES ? chapter : `${chapter}.${second}`
}

export function titleOf(section: string): string {
  return TITLES[section] ?? ''
}

export function isWithin(section: string, outer: string): boolean {
  return section === outer || section.startsWith(`${outer}.`)
}

/** Headings, and right behind each the sections below it. */
export const SECTIONS: readonly Section[] = (() => {
  const own = ROWS.map(({ section }) => section)
  const all = [...new Set([...own.map(headingOf), ...own])].sort(bySection)
  return all.map((section) => ({
    section,
    title: titleOf(section),
    count: own.filter((one) => isWithin(one, section)).length,
  }))
})()

export const HEADINGS: readonly string[] = SECTIONS.map(({ section }) => section).filter(
  (section) => headingOf(section) === section,
)
