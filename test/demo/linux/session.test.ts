// The guest of the Linux view from its start to its end, without a browser: files from Node, a file system in memory,
// and a page that notes what it is told. Recordings that follow one another, disks that are replaced, and orders that
// cannot be done. Needs v86 and the guest's files; without them the file says so and has no tests.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FilesMissingError, type LinuxFiles } from '../../../host/demo/linux/load.ts'
import type { News, Order, Phase, Reply, RequestRow, Statistics, TraceFile } from '../../../host/demo/linux/messages.ts'
import { Session, type SessionParts } from '../../../host/demo/linux/session.ts'
import { replay } from '../../../host/replay/player.ts'
import { Trace } from '../../../host/replay/trace.ts'
import { demoAssets } from '../../../host/vmm/demo-assets.ts'
import { unpackSavedMachine } from '../../../host/vmm/saved-machine.ts'
import { loadV86 } from '../../../host/vmm/v86-node.ts'
import { FakeFolder, named } from '../../support/fake-opfs.ts'
import { sleep } from '../../support/within.ts'

const test = suite('linux session')

const TIMEOUT_MS = 60_000

async function prepare(): Promise<LinuxFiles | undefined> {
  try {
    const { folder, manifest } = await demoAssets()
    const read = (file: { name: string }): Promise<Buffer> => readFile(join(folder, file.name))
    const saved = await unpackSavedMachine(await read(manifest.files.machine))
    const image = new Uint8Array(gunzipSync(await read(manifest.files.image)))
    return { saved, runtime: await loadV86(), image: async () => image.slice() }
  } catch (error) {
    if (!(error instanceof Error) || !/^(GuestAssets|V86Missing)Error$/.test(error.name)) throw error
    console.log(`skipped: the guest of the Linux view: ${error.message}`)
    return undefined
  }
}

const files = await prepare()

const pages: FakePage[] = []

/** The page's end: what it was told, and ways to wait for more. */
class FakePage {
  readonly session: Session
  readonly phases: Phase[] = []
  readonly news: News[] = []
  readonly rows: RequestRow[] = []
  text = ''
  statistics: Statistics | undefined
  /** shows nothing of the console */
  isStuck = false
  #id = 0

  constructor(parts: Partial<SessionParts> = {}) {
    pages.push(this)
    const folder = new FakeFolder()
    this.session = new Session({
      post: (news) => this.#hear(news),
      folder: async () => folder,
      room: async () => 1 << 30,
      load: async () => {
        assert.ok(files)
        return files
      },
      ...parts,
    })
  }

  #hear(news: News): void {
    this.news.push(news)
    if (news.kind === 'console') {
      this.text += Buffer.from(news.bytes).toString()
      if (!this.isStuck) void this.session.take({ kind: 'shown', bytes: news.bytes.length })
    }
    if (news.kind === 'phase') this.phases.push(news.phase)
    if (news.kind !== 'statistics') return
    this.statistics = news.statistics
    this.rows.push(...news.requests)
  }

  get phase(): string | undefined {
    return this.phases.at(-1)?.name
  }

  async order(order: Record<string, unknown>): Promise<Reply> {
    const id = ++this.#id
    await this.session.take({ ...order, id } as unknown as Order)
    const reply = this.news.find((one) => (one.kind === 'done' || one.kind === 'refused') && one.id === id)
    return reply as Reply
  }

  async result(order: Record<string, unknown>): Promise<TraceFile | Blob | undefined> {
    const reply = await this.order(order)
    if (reply.kind === 'refused') assert.unreachable(reply.reason)
    return reply.kind === 'done' ? reply.result : undefined
  }

  async refused(order: Record<string, unknown>): Promise<string> {
    const reply = await this.order(order)
    assert.is(reply.kind, 'refused')
    return reply.kind === 'refused' ? reply.reason : ''
  }

  start(storage = 'opfs'): Promise<unknown> {
    return this.result({ kind: 'start', base: 'http://page/linux/', storage, rows: 24, columns: 80 })
  }

  async until(what: string, is: () => boolean): Promise<void> {
    for (const end = performance.now() + TIMEOUT_MS; !is(); await sleep(20)) {
      if (performance.now() > end) throw new Error(`${what} did not come:\n${this.text}`)
    }
  }

  prompt(): Promise<void> {
    return this.until('a prompt', () => /guest:\/(mnt)?# (.\[6n)?$/.test(this.text))
  }

  async type(line: string): Promise<string> {
    const from = this.text.length
    void this.session.take({ kind: 'input', bytes: new TextEncoder().encode(`${line}\n`) })
    this.text += '\n'
    await this.prompt()
    return this.text.slice(from)
  }

  async end(): Promise<void> {
    if (this.phase !== 'running') return
    void this.session.take({ kind: 'input', bytes: new TextEncoder().encode('poweroff\n') })
    await this.until('the end', () => this.phase === 'ended')
  }
}

/** Also what a failed test has left: a machine keeps the process alive. */
test.after.each(async () => {
  for (const page of pages.splice(0)) await page.end()
})

test('recordings: one that grows long -> followed by the next, again and again; each that is kept replays', async () => {
  const page = new FakePage({ recordingRequests: 60 })
  await page.start()
  await page.prompt()
  for (let i = 0; i < 4; i++) {
    const before = page.statistics?.recording.number ?? 1
    await page.type('dd if=/dev/vda of=/dev/null bs=4k count=100 iflag=direct 2>/dev/null')
    await page.until('the next recording', () => (page.statistics?.recording.number ?? 0) > before)
  }
  // The guest is at its prompt: a recording that is short now stays the present one.
  await page.until('a short recording', () => (page.statistics?.recording.requests ?? 61) <= 60)
  const number = page.statistics?.recording.number ?? 0
  assert.ok(number >= 4, `${number}`)
  assert.match(await page.refused({ kind: 'trace', recording: 1 }), 'recording 1 is no longer kept')
  for (const one of [number - 1, number]) {
    const { bytes, steps, digest } = (await page.result({ kind: 'trace', recording: one })) as TraceFile
    assert.equal(replay(await Trace.parse(bytes)), { steps, digest })
  }
  assert.ok(page.rows.filter(({ operation, status }) => operation === 'read' && status === 0).length >= 400)
  assert.is(page.statistics?.totals.errors, 0)
  await page.end()
  const last = (await page.result({ kind: 'trace', recording: number })) as TraceFile
  assert.ok(last.steps > 0, 'it can be had when the machine has ended')
})

test('disks: export, import of the same, an import that fails, a fresh one -> what is on each', async () => {
  const page = new FakePage()
  await page.start()
  await page.prompt()
  await page.type('echo mine >/mnt/mine; sync')
  const image = (await page.result({ kind: 'export' })) as Blob
  assert.is(image.size, 32 << 20)
  const broken = new File([new Uint8Array(1024)], 'broken.img')
  broken.slice = () => {
    throw new Error('the file went away')
  }
  assert.match(await page.refused({ kind: 'import', file: broken }), 'the file went away')
  assert.match(await page.refused({ kind: 'import', file: new File(['x'], 'x.img') }), 'multiple of 512')
  assert.is(page.phase, 'running')
  assert.match(await page.type('cat /mnt/mine'), /\nmine\r/)
  page.text = ''
  await page.result({ kind: 'fresh' })
  await page.prompt()
  assert.match(await page.type('ls /mnt/mine'), 'No such file')
  page.text = ''
  await page.result({ kind: 'import', file: new File([image], 'mine.img') })
  await page.prompt()
  assert.match(page.text, 'replayed its journal')
  assert.match(await page.type('cat /mnt/mine'), /\nmine\r/)
  await page.end()
})

test('power off and start again: the same disk in memory, and limits that were set hold', async () => {
  const page = new FakePage()
  await page.start('memory')
  await page.prompt()
  await page.result({ kind: 'limits', limits: { iops: 1000000 } })
  await page.type('echo stays >/mnt/stays')
  await page.end()
  assert.match(await page.refused({ kind: 'record' }), 'does not run')
  page.text = ''
  await page.start('memory')
  await page.prompt()
  assert.match(
    await page.refused({ kind: 'start', base: 'http://page/', storage: 'memory', rows: 1, columns: 1 }),
    'already',
  )
  assert.not.match(page.text, 'journal')
  assert.match(await page.type('cat /mnt/stays'), /\nstays\r/)
  const { recording } = page.statistics as Statistics
  const { bytes } = (await page.result({ kind: 'trace', recording: recording.number })) as TraceFile
  const trace = await Trace.parse(bytes)
  assert.ok(trace.steps.some(({ call, throttle }) => call === 'setThrottle' && throttle?.[0] === 1000000))
  await page.end()
})

test('no files, no storage, another tab: a phase or a reason for each', async () => {
  const missing = new FakePage({
    load: async () => {
      throw new FilesMissingError('there is no list')
    },
  })
  await missing.refused({ kind: 'start', base: 'http://page/', storage: 'opfs', rows: 24, columns: 80 })
  assert.is(missing.phase, 'missing')
  assert.match(await missing.refused({ kind: 'export' }), 'no disk')
  assert.match(await missing.refused({ kind: 'fresh' }), 'never started')

  const folder = new FakeFolder()
  const first = new FakePage({ folder: async () => folder })
  await first.start()
  const second = new FakePage({ folder: async () => folder })
  await second.refused({ kind: 'start', base: 'http://page/', storage: 'opfs', rows: 24, columns: 80 })
  assert.is(second.phase, 'locked')
  // With a disk in memory it leaves the other's alone, whatever it does to its own.
  await second.start('memory')
  const before = [...folder.files.keys()]
  await second.result({ kind: 'fresh' })
  await second.result({ kind: 'import', file: new File([new Uint8Array(1024)], 'empty.img') })
  assert.equal([...folder.files.keys()], before)
  const facts = second.news.flatMap((one) => (one.kind === 'disk' ? [one.disk] : []))
  assert.equal(facts, [
    { storage: 'memory', bytes: 32 << 20 },
    { storage: 'memory', bytes: 32 << 20 },
    { storage: 'memory', bytes: 1024 },
  ])
  await second.prompt()
  await second.end()
  await first.prompt()
  await first.end()

  const bare = new FakePage({
    folder: async () => {
      throw named('SecurityError', 'no files in private windows')
    },
  })
  await bare.start()
  const disk = bare.news.find((one) => one.kind === 'disk')
  assert.equal(disk, {
    kind: 'disk',
    disk: { storage: 'memory', bytes: 32 << 20, reason: 'no files in private windows' },
  })
  await bare.prompt()
  await bare.end()
})

test('console: a guest that prints without end waits for a page that falls behind, and goes on with it', async () => {
  const page = new FakePage()
  await page.start('memory')
  await page.prompt()
  const reports = async (more: number): Promise<number> => {
    const told = (): number => page.news.filter(({ kind }) => kind === 'statistics').length
    const enough = told() + more
    await page.until('reports', () => told() >= enough)
    return page.text.length
  }
  page.isStuck = true
  const from = page.text.length
  void page.session.take({ kind: 'input', bytes: new TextEncoder().encode('yes printed without end\n') })
  await page.until('the mark', () => page.text.length - from > 256 << 10)
  const length = await reports(2)
  assert.ok(length - from < 512 << 10, `${length - from}`)
  assert.is(await reports(3), length, 'it stands still')
  page.isStuck = false
  void page.session.take({ kind: 'shown', bytes: length - from })
  await page.until('more', () => page.text.length > length + (256 << 10))
  void page.session.take({ kind: 'input', bytes: Uint8Array.of(3) })
  await page.prompt()
  assert.match(await page.type('echo still $((6 * 7))'), 'still 42')
  await page.end()
})

/** From now on the first disk cannot be brought to the medium. */
function flushless({ files: kept }: FakeFolder): void {
  const file = kept.get('disk-1.img')
  assert.ok(file)
  file.flush = () => {
    throw named('InvalidStateError', 'the medium is gone')
  }
}

test('power off, and the disk cannot be flushed: said so, not that all is well', async () => {
  const folder = new FakeFolder()
  const page = new FakePage({ folder: async () => folder })
  await page.start()
  await page.prompt()
  flushless(folder)
  void page.session.take({ kind: 'input', bytes: new TextEncoder().encode('poweroff\n') })
  await page.until('the end', () => page.phase !== 'running')
  assert.equal(page.phases.at(-1), { name: 'failed', text: 'the browser says: InvalidStateError: the medium is gone' })
})

test('another disk, and the machine fails as it is stopped: tried again -> the new disk, which is the one kept', async () => {
  const folder = new FakeFolder()
  const page = new FakePage({ folder: async () => folder })
  await page.start()
  await page.prompt()
  await page.type('echo mine >/mnt/mine; sync')
  flushless(folder)
  assert.match(await page.refused({ kind: 'fresh' }), 'the medium is gone')
  assert.is(page.phase, 'failed')
  page.text = ''
  await page.start()
  await page.prompt()
  assert.match(await page.type('ls /mnt/mine'), 'No such file')
  await page.type('echo next >/mnt/next; sync')
  assert.equal(
    [...folder.files.keys()].filter((name) => name !== 'lock'),
    ['disk-2.img', 'disk-2.ready'],
    'what runs is what the next visit opens',
  )
  await page.end()
})

if (files) test.run()
