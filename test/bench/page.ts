// What the page weighs and how soon it is there, in Chromium with an empty and with a filled cache: bytes fetched until
// each view is drawn (raw, and as gzip would send them), milliseconds from the click on a link until then, and for
// Linux until its prompt. Medians over fresh profiles; prints, asserts nothing. Needs Debian's chromium, and for Linux
// what `vblk demo` has prepared: node build/test/bench/page.js [rounds]

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { BrowserContext, Page, Request } from 'playwright-core'
import { demoAssets } from '../../host/vmm/demo-assets.ts'
import { type DemoBrowser, hasChromium, openBrowser } from '../support/browser.ts'

const ROUNDS = Number(process.argv[2] ?? 5)
const VIEWS = ['ring', 'conformance', 'linux'] as const
const PROMPT = 'linux prompt'

interface Visit {
  /** names of marks, and when, in ms since navigation */
  readonly marks: Readonly<Record<string, number>>
  /** paths that were asked for, by workers too */
  readonly paths: readonly string[]
}

async function visit(demo: DemoBrowser, view: string, last: string, given?: BrowserContext) {
  const context = given ?? (await demo.browser.newContext())
  const paths: string[] = []
  const note = (request: Request): void => {
    const { protocol, pathname } = new URL(request.url())
    if (protocol === 'http:') paths.push(pathname === '/' ? '/index.html' : pathname)
  }
  context.on('request', note)
  const { page } = await demo.open(`#${view}`, { context })
  await page.waitForFunction((name) => performance.getEntriesByName(name).length > 0, `view ${view}`)
  const marks = await page.evaluate(() =>
    ['mark', 'paint']
      .flatMap((type) => performance.getEntriesByType(type))
      .map(({ name, startTime }): [string, number] => [name, startTime]),
  )
  if (last === PROMPT) marks.push([PROMPT, await promptTime(page)])
  context.off('request', note)
  return { page, context, visit: { marks: Object.fromEntries(marks), paths } }
}

/** When the guest's prompt is drawn. */
async function promptTime(page: Page): Promise<number> {
  const drawn = await page.waitForFunction(
    () => document.querySelector('.linux .xterm-rows')?.textContent?.includes('guest:/') && performance.now(),
    undefined,
    { timeout: 120_000 },
  )
  return Number(await drawn.jsonValue())
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
  const linux = await demoAssets().then(
    ({ folder }) => folder,
    (error: Error) => {
      console.log(`without Linux: ${error.message}`)
      return undefined
    },
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
      const { raw, gzip } = weight(cold[0]?.paths ?? [], linux)
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
