// The page in a real Chromium: a server for what was built, a browser with a profile of its own, and pages that
// remember every error that was logged in them. Debian's chromium is asked for by host/setup.mjs; where there is none,
// tests of the page say `skipped`, with the remedy.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import * as assert from 'uvu/assert'
import { type DemoServer, serveDemo } from '../../host/cli/demo-server.ts'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** Without these Chromium looks for Google's hosts at every start. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const SCREENSHOTS = 'build/screenshots'

/** Prints why not, if not. */
export function hasChromium(): boolean {
  if (existsSync(CHROMIUM)) return true
  console.log(`skipped: there is no ${CHROMIUM}: apt-get install chromium, or name another one in $CHROMIUM`)
  return false
}

export interface DemoBrowser {
  readonly server: DemoServer
  readonly browser: Browser
  /** A page at a fragment of the address, in a profile of its own unless one is given. */
  open(fragment: string, options?: OpenOptions): Promise<DemoPage>
  close(): Promise<void>
}

type BrowserOptions = Partial<Pick<Parameters<typeof serveDemo>[0], 'linux' | 'linuxMissing' | 'isolation'>>

export interface OpenOptions {
  /** of another page: its storage is shared */
  readonly context?: BrowserContext
  readonly width?: number
  readonly height?: number
  readonly scheme?: 'light' | 'dark'
}

export interface DemoPage {
  readonly page: Page
  readonly context: BrowserContext
  /** what was logged as an error, and exceptions that nobody caught, in the order they came */
  readonly errors: string[]
}

/** `linux`: the folder with the files of the Linux view; `linuxMissing`: why there is none. */
export async function openBrowser({ linux, linuxMissing, isolation = true }: BrowserOptions = {}) {
  const server = await serveDemo({ page: 'build/demo', linux, linuxMissing, isolation })
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET })
  const demo: DemoBrowser = {
    server,
    browser,
    async open(fragment, { context: given, width = 1280, height = 800, scheme = 'light' } = {}) {
      const viewport = { width, height }
      const context = given ?? (await browser.newContext({ viewport, colorScheme: scheme, acceptDownloads: true }))
      const page = await context.newPage()
      await page.setViewportSize(viewport)
      const errors: string[] = []
      page.on('console', (message) => {
        if (message.type() === 'error') errors.push(message.text())
      })
      page.on('pageerror', (error) => errors.push(String(error)))
      await page.goto(server.url + fragment)
      return { page, context, errors }
    },
    async close() {
      await browser.close()
      await server.close()
    },
  }
  return demo
}

/** Writes build/screenshots/NAME.png: all of the page, or what is seen at first. */
export async function screenshot(page: Page, name: string, fullPage = true): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage })
}

/** What axe-core says of one rule; of it, what a person needs who mends it. */
interface Violation {
  readonly id: string
  readonly impact: string | null
  readonly help: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[]
}

/** The page as it stands has no violation that axe-core calls serious or critical; `about` is for the message. */
export async function assertAccessible(page: Page, about: string): Promise<void> {
  // As a script of ours, not of the page's: its policy allows no other.
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'))
  const violations = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as Violation[]
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  const lines = serious.flatMap(({ id, help, nodes }) => [
    `${id}: ${help}`,
    ...nodes
      .slice(0, 5)
      .map(({ html, failureSummary = '' }) => `  ${html}\n    ${failureSummary.replace(/\n\s*/g, ' ')}`),
  ])
  if (lines.length > 0) assert.unreachable(`${about}\n${lines.join('\n')}`)
}

/** Nothing makes the page wider than its window; names what does. */
export async function assertFits(page: Page, about: string): Promise<void> {
  const wide = await page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement
    if (scrollWidth <= clientWidth) return []
    const isScrolled = (element: Element): boolean => {
      for (let up = element.parentElement; up; up = up.parentElement) {
        if (getComputedStyle(up).overflowX !== 'visible') return true
      }
      return false
    }
    const over = [...document.body.querySelectorAll('*')].filter(
      (one) => one.getBoundingClientRect().right > clientWidth + 0.5 && !isScrolled(one),
    )
    const lines = over.map(
      (one) => `${one.tagName.toLowerCase()}.${one.className}: ${one.getBoundingClientRect().right}`,
    )
    return [`${scrollWidth} px of ${clientWidth}`, ...lines.slice(-8)]
  })
  if (wide.length > 0) assert.unreachable(`${about}\n${wide.join('\n')}`)
}
