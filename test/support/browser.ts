// The page in a real Chromium: a server for what was built, a browser with a profile of its own, and pages that
// remember every error that was logged in them. Debian's chromium is asked for by host/setup.mjs; where there is none,
// tests of the page say `skipped`, with the remedy.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
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

/** `linux`: the folder with the files of the Linux view. */
export async function openBrowser({ linux, isolation = true }: { linux?: string; isolation?: boolean } = {}) {
  const server = await serveDemo({ page: 'build/demo', linux, isolation })
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
