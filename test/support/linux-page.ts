// The Linux view in Chromium as tests see it: what is on its screen, and a person who types and presses buttons.

import type { Locator, Page } from 'playwright-core'
import { demoAssets } from '../../host/vmm/demo-assets.ts'
import { hasChromium, screenshot } from './browser.ts'

export const TIMEOUT_MS = 30_000

/** The folder with the guest's files; without them, or without Chromium, prints why not. */
export async function linuxFolder(): Promise<string | undefined> {
  if (!hasChromium()) return undefined
  try {
    return (await demoAssets()).folder
  } catch (error) {
    if (!(error instanceof Error) || !/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    console.log(`skipped: the Linux view: ${error.message}`)
    return undefined
  }
}

export function screen(page: Page): Locator {
  return page.locator('.xterm-rows')
}

/** The terminal draws nothing while it is out of sight. */
export async function prompt(page: Page): Promise<void> {
  await page.locator('.terminal-screen').scrollIntoViewIfNeeded()
  await screen(page)
    .filter({ hasText: /guest:\/(mnt)?#\s*$/ })
    .waitFor({ timeout: TIMEOUT_MS })
}

/** Types a line and waits for the answer on the screen, which is cleared before. */
export async function answer(page: Page, line: string, expected: RegExp): Promise<void> {
  await page.locator('.xterm-helper-textarea').focus()
  await page.keyboard.type(`clear; ${line}\n`)
  try {
    await screen(page).filter({ hasText: expected }).waitFor({ timeout: TIMEOUT_MS })
  } catch {
    await screenshot(page, 'linux-failure', false)
    throw new Error(`no ${expected} on the screen, which shows:\n${await screen(page).textContent()}`)
  }
  await prompt(page)
}

export async function confirm(page: Page, name: string): Promise<void> {
  await page.getByRole('dialog').getByRole('button', { name }).click()
}

export function button(page: Page, name: string): Locator {
  return page.getByRole('button', { name })
}
