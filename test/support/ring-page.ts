// The Ring view as its tests see it: where it is, what it says, and the ways to move it. By roles and names, as a
// person finds things, not by classes.

import type { Page } from 'playwright-core'
import type { DemoBrowser, DemoPage, OpenOptions } from './browser.ts'

/** Opens the view and waits until there is something to step through. */
export async function openRing(demo: DemoBrowser, fragment = '#ring', options: OpenOptions = {}): Promise<DemoPage> {
  const opened = await demo.open(fragment, options)
  await opened.page.getByRole('region', { name: 'This frame' }).waitFor()
  return opened
}

/** '9 of 25' */
export async function placeOf(page: Page): Promise<string> {
  const text = (await page.getByRole('region', { name: 'This frame' }).textContent()) ?? ''
  return /frame (\d+ of \d+)/.exec(text)?.[1] ?? text
}

/** The sentence of the frame that is shown, as it is written and not as it is styled. */
export async function sentenceOf(page: Page): Promise<string> {
  return (await page.getByRole('region', { name: 'This frame' }).locator('.now-text').textContent()) ?? ''
}

/** The result line, an entry each: '✓ Head 0, IN: status 0 OK, used length 513' */
export async function resultsOf(page: Page): Promise<string[]> {
  const items = await page.getByRole('region', { name: 'Result' }).getByRole('listitem').allInnerTexts()
  return items.map((text) => text.replace(/\s+/g, ' ').trim())
}

export async function toLastFrame(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Last frame' }).click()
  await page.getByRole('heading', { name: 'Result', exact: true }).waitFor()
}

/** Waits until the frame's sentence is that, or fails with what it is. */
export async function waitForSentence(page: Page, sentence: string): Promise<void> {
  await page.getByRole('region', { name: 'This frame' }).getByText(sentence, { exact: true }).waitFor({ timeout: 5000 })
}
