// What the page weighs and how soon it is there, in Chromium with an empty and with a filled cache: bytes fetched until
// each view is drawn (raw, and as gzip would send them), milliseconds from the click on a link until then, and for
// Linux until its prompt. Medians over fresh profiles; prints, asserts nothing. Needs Debian's chromium, and for Linux
// what `vblk demo` has prepared: node build/test/bench/page.js [rounds]

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { BrowserContext, Page } from 'playwright-core'
import { demoAssets } from '../../host/vmm/demo-assets.ts'
import { type DemoBrowser, hasChromium, openBrowser } from '../support/browser.ts'

const ROUNDS = Number(process.argv[2] ?? 5)
const VIEWS = ['ring', 'conformance', 'linux'] as const
const PROMPT = 'linux prompt'

interface Visit {
  /** names of marks, and when, in ms since navigation */
  readonly marks: Readonly<Record<string, number>>
  /** paths that were fetched */
  readonly paths: readonly string[]
}

async function visit(demo: DemoBrowser, view: string, last: string, context?: BrowserContext) {
  const opened = await demo.open(`#${view}`, context ? { context } : {})
  const { page } = opened
  await page.waitForFunction((name) => performance.getEntriesByName(name).length > 0, last, { timeout: 60_000 })
  return { ...opened, visit: await look(page) }
}

async function look(page: Page): Promise<Visit> {
  const marks = (await page.evaluate(
    `Object.fromEntries([...performance.getEntriesByType('mark'), ...performance.getEntriesByType('paint')]
      .map(({ name, startTime }) => [name, startTime]))`,
  )) as Record<string, number>
  const paths = (await page.evaluate(
    `performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.startsWith('http'))
      .map((name) => new URL(name).pathname)`,
  )) as string[]
  return { marks, paths: ['/index.html', ...paths] }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

function weight(paths: readonly string[], linux: string | undefined): { raw: number; gzip: number } {
  let raw = 0
  let gzip = 0
  for (const path of new Set(paths)) {
    const file = path.startsWith('/linux/') ? join(linux ?? '', path.slice(7)) : join('build/demo', path)
    const bytes = readFileSync(file)
    raw += bytes.length
    // What is packed already is sent as it is.
    gzip += Math.min(bytes.length, gzipSync(bytes).length)
  }
  return { raw, gzip }
}

async function main(): Promise<void> {
  if (!hasChromium()) return
  const linux = await demoAssets({}).then(
    ({ folder }) => folder,
    (error: Error) => console.log(`without Linux: ${error.message}`),
  )
  const demo = await openBrowser(linux === undefined ? {} : { linux })
  try {
    for (const view of VIEWS) {
      const last = view === 'linux' && linux !== undefined ? PROMPT : `view ${view}`
      const cold: Visit[] = []
      const warm: Visit[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const first = await visit(demo, view, last)
        await first.page.close()
        const second = await visit(demo, view, last, first.context)
        cold.push(first.visit)
        warm.push(second.visit)
        await first.context.close()
      }
      const { raw, gzip } = weight(cold[0]?.paths ?? [], linux || undefined)
      console.log(`${view}: ${(raw / 1000).toFixed(0)} kB, ${(gzip / 1000).toFixed(0)} kB as gzip`)
      for (const mark of ['first-contentful-paint', `view ${view}`, ...(last === PROMPT ? [PROMPT] : [])]) {
        const at = (visits: readonly Visit[]): string => median(visits.map(({ marks }) => marks[mark] ?? 0)).toFixed(0)
        console.log(`  ${mark}: ${at(cold)} ms, with a filled cache ${at(warm)} ms`)
      }
    }
  } finally {
    await demo.close()
  }
}

await main()
