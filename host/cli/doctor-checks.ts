// What `vblk doctor` says, from what was found: facts in, a report out, nothing looked at here. A check that is not
// needed is for one use of several; without it the others work.

export interface Facts {
  readonly node: string
  readonly platform: string
  readonly arch: string
  /** version of koffi, and which calls work ('', or an error's name); or why it cannot be loaded */
  readonly system: { readonly koffi: string; readonly calls: Readonly<Record<string, string>> } | Failure
  /** the ABI version of the engine, and the one the host speaks */
  readonly engine: { readonly abi: number; readonly wanted: number } | Failure
  readonly hasSharedMemory: boolean
  readonly kvm: { readonly isThere: boolean; readonly isUsable: boolean; readonly reason: string } | Failure
  /** kernel.io_uring_disabled; undefined: the kernel has no such setting */
  readonly ioUringDisabled: string | undefined
  readonly v86: { readonly version: string; readonly wanted: string } | Failure
  /** of the programs that guests are made with, those that are not there */
  readonly missingTools: readonly string[]
  /** the mirror that apt uses, and why it cannot be reached */
  readonly mirror: { readonly url: string; readonly trouble: string } | undefined
  readonly cache: { readonly folder: string; readonly isWritable: boolean; readonly freeBytes: number }
  /** guests that are in the cache */
  readonly guests: { readonly v86: boolean; readonly kvm: boolean }
  readonly chromium: string | undefined
  readonly memoryBytes: number
  readonly limits: {
    readonly openFiles: number
    readonly lockedBytes: number
    readonly addressBytes: number
  }
  /** undefined: there is no /dev/shm */
  readonly shmBytes: number | undefined
}

export interface Failure {
  readonly failure: string
}

export interface Check {
  readonly name: string
  readonly state: 'ok' | 'limited' | 'missing'
  readonly found: string
  /** what it is for */
  readonly use: string
  /** without it, nothing else works */
  readonly needed: boolean
  /** '' if nothing is to be done */
  readonly remedy: string
}

export interface Report {
  readonly verdict: 'ok' | 'missing'
  readonly checks: readonly Check[]
}

const MIB = 2 ** 20
const GIB = 2 ** 30
/** For v86: its 128 MiB of guest RAM, the emulator, the assets and Node. KVM takes twice the RAM. */
const MEMORY_V86 = 512 * MIB
const MEMORY_KVM = 768 * MIB
const CACHE_BYTES = 300 * MIB
const OPEN_FILES = 256
/** V8 reserves up to 10 GiB of addresses for a WebAssembly memory, mostly without pages behind them. */
const ADDRESSES = 32 * GIB
const SHM_BYTES = 256 * MIB

export function diagnose(facts: Facts): Report {
  const checks = [...needed(facts), ...guests(facts), ...limits(facts), ...others(facts)]
  const verdict = checks.some((check) => check.needed && check.state === 'missing') ? 'missing' : 'ok'
  return { verdict, checks }
}

type Verdict = Pick<Check, 'state' | 'found'> & { remedy?: string }

function check(name: string, use: string, verdict: Verdict, isNeeded = false): Check {
  return { name, state: verdict.state, found: verdict.found, use, needed: isNeeded, remedy: verdict.remedy ?? '' }
}

function isFailure(fact: object): fact is Failure {
  return 'failure' in fact
}

// What the device itself needs -----------------------------------------------------------------------------

function needed(facts: Facts): Check[] {
  return [
    check('Node', 'everything', node(facts), true),
    check(
      'system',
      "files, threads and KVM; the portable half of the package ('.') runs anywhere",
      system(facts),
      true,
    ),
    check('koffi', 'system calls: disk images, threads, KVM', koffi(facts), true),
    check('engine', 'the device', engine(facts), true),
    check('shared memory', 'disks on a thread of their own, KVM', sharedMemory(facts), true),
    check('eventfd, epoll, timerfd', 'disks on a thread of their own, KVM', calls(facts), true),
  ]
}

function node({ node }: Facts): Verdict {
  const major = Number(node.split('.')[0])
  if (major >= 20) return { state: 'ok', found: node }
  return { state: 'missing', found: `${node} is too old`, remedy: 'install Node 20 or later: https://nodejs.org' }
}

function system({ platform, arch }: Facts): Verdict {
  const found = `${platform} ${arch}`
  if (platform !== 'linux')
    return { state: 'missing', found, remedy: 'run it on Linux (WSL 2, a container, a machine)' }
  if (arch !== 'x64') return { state: 'limited', found, remedy: 'only x64 was ever tried, and KVM guests are x86-64' }
  return { state: 'ok', found }
}

function koffi({ system }: Facts): Verdict {
  if (!isFailure(system)) return { state: 'ok', found: system.koffi }
  const remedy = 'npm install (without --omit=optional: its binary is an optional package)'
  return { state: 'missing', found: system.failure, remedy }
}

function engine({ engine }: Facts): Verdict {
  if (isFailure(engine)) {
    const isMemory = /memory|allocat/i.test(engine.failure)
    const remedy = isMemory ? 'see memory and address space' : 'install the package again'
    return { state: 'missing', found: engine.failure, remedy }
  }
  const { abi, wanted } = engine
  if (abi === wanted) return { state: 'ok', found: `it loads, ABI version ${abi}` }
  const found = `ABI version ${abi}, and this program speaks ${wanted}`
  return { state: 'missing', found, remedy: 'install the package again, or build it: npm run build' }
}

function sharedMemory({ hasSharedMemory }: Facts): Verdict {
  if (hasSharedMemory) return { state: 'ok', found: 'SharedArrayBuffer is there' }
  return { state: 'missing', found: 'no SharedArrayBuffer', remedy: 'run Node without --no-harmony-sharedarraybuffer' }
}

function calls({ system }: Facts): Verdict {
  if (isFailure(system)) return { state: 'missing', found: 'cannot be asked without koffi', remedy: 'see koffi' }
  const failed = ['eventfd', 'epoll', 'timerfd'].filter((name) => system.calls[name] !== '')
  if (failed.length === 0) return { state: 'ok', found: 'they work' }
  const found = failed.map((name) => `${name} fails (${system.calls[name]})`).join(', ')
  return { state: 'missing', found, remedy: 'allow the calls in the sandbox (seccomp), or raise ulimit -n' }
}

// Linux guests ---------------------------------------------------------------------------------------------

function guests(facts: Facts): Check[] {
  return [
    check('KVM', 'Linux on hardware (vblk boot --accel kvm); v86 does without', kvm(facts)),
    check('v86', 'Linux in software (vblk boot, start, demo)', v86(facts)),
    check('guest files', 'booting Linux; vblk start does the same work without', guestFiles(facts)),
    check('apt', 'fetching the guest files, once', apt(facts)),
    check('Debian mirror', 'fetching the guest files, once', mirror(facts)),
    check('cache folder', 'keeping the guest files', cache(facts)),
  ]
}

function kvm({ kvm }: Facts): Verdict {
  if (isFailure(kvm)) return { state: 'missing', found: kvm.failure, remedy: 'see koffi, memory and open files' }
  const [found = '', ...remedy] = kvm.reason.replace(/^KVM: /, '').split('; ')
  if (!kvm.isThere) return { state: 'missing', found, remedy: remedy.join('; ') }
  if (kvm.isUsable) return { state: 'ok', found: `hardware: ${found}` }
  return {
    state: 'limited',
    found: `emulated: ${[found, ...remedy].join('; ')}`,
    remedy: 'small guests of your own run; for Linux, a machine or a virtual machine with virtualization on',
  }
}

function v86({ v86 }: Facts): Verdict {
  if (isFailure(v86)) {
    const [found = ''] = v86.failure.split('; ')
    const remedy = /npm install \S+/.exec(v86.failure)?.[0] ?? ''
    return { state: 'missing', found: found.replace(/^v86 is /, ''), remedy }
  }
  const { version, wanted } = v86
  if (version.split('+')[0] === wanted) return { state: 'ok', found: version }
  return { state: 'limited', found: `${version}, tried with ${wanted} only`, remedy: `npm install v86@${wanted}` }
}

function guestFiles({ guests, missingTools, mirror, cache }: Facts): Verdict {
  const kept = [...(guests.v86 ? ['v86 (i386)'] : []), ...(guests.kvm ? ['KVM (amd64)'] : [])]
  if (kept.length === 2) return { state: 'ok', found: `in the cache for ${kept.join(' and ')}` }
  const canFetch = missingTools.length === 0 && mirror?.trouble === '' && cache.isWritable
  const found = kept.length === 0 ? 'none in the cache' : `in the cache for ${kept.join('')} only`
  if (canFetch) return { state: 'ok', found: `${found}; the rest is fetched when it is asked for` }
  return {
    state: kept.length === 0 ? 'missing' : 'limited',
    found,
    remedy: `see apt, Debian mirror and cache folder, or copy ${cache.folder} from another machine`,
  }
}

function apt({ missingTools }: Facts): Verdict {
  if (missingTools.length === 0) return { state: 'ok', found: 'apt-get, apt-cache, dpkg-deb' }
  const found = `not there: ${missingTools.join(', ')}`
  return { state: 'missing', found, remedy: 'on Debian 12 or later they are there; or copy the cache folder from one' }
}

function mirror({ mirror, missingTools }: Facts): Verdict {
  if (mirror === undefined && missingTools.length > 0) {
    return { state: 'missing', found: 'not asked: that takes apt', remedy: 'see apt' }
  }
  if (mirror === undefined) return { state: 'missing', found: 'apt names none', remedy: 'see /etc/apt/sources.list' }
  if (mirror.trouble === '') return { state: 'ok', found: mirror.url }
  const found = `${mirror.url} cannot be reached (${mirror.trouble})`
  return { state: 'missing', found, remedy: "check the network, and apt's proxy (Acquire::http::Proxy)" }
}

function cache({ cache }: Facts): Verdict {
  const { folder, isWritable, freeBytes } = cache
  if (!isWritable) return { state: 'missing', found: `${folder} cannot be written to`, remedy: 'set XDG_CACHE_HOME' }
  if (freeBytes >= CACHE_BYTES) return { state: 'ok', found: folder }
  const found = `${mib(freeBytes)} free in ${folder}, ${mib(CACHE_BYTES)} are wanted`
  return { state: 'limited', found, remedy: 'make room, or set XDG_CACHE_HOME' }
}

// Limits ---------------------------------------------------------------------------------------------------

function limits(facts: Facts): Check[] {
  return [
    check('memory', 'guest RAM', memory(facts)),
    check('open files', 'descriptors: some 10 per disk and vCPU', openFiles(facts)),
    check('address space', 'guest RAM: V8 reserves 10 GiB of addresses per memory', addresses(facts)),
    check('locked memory', 'nothing in this version', {
      state: 'ok',
      found: facts.limits.lockedBytes === Infinity ? 'no limit' : mib(facts.limits.lockedBytes),
    }),
  ]
}

function memory({ memoryBytes }: Facts): Verdict {
  if (memoryBytes >= MEMORY_KVM) return { state: 'ok', found: `${mib(memoryBytes)} to be had` }
  const remedy = 'end other programs, or raise the memory limit of the container'
  const found = `${mib(memoryBytes)} to be had; Linux in v86 wants ${mib(MEMORY_V86)}, on KVM ${mib(MEMORY_KVM)}`
  return { state: 'limited', found, remedy }
}

function openFiles({ limits }: Facts): Verdict {
  const { openFiles } = limits
  const found = openFiles === Infinity ? 'no limit' : String(openFiles)
  return openFiles >= OPEN_FILES ? { state: 'ok', found } : { state: 'limited', found, remedy: 'ulimit -n 1024' }
}

function addresses({ limits }: Facts): Verdict {
  const { addressBytes } = limits
  if (addressBytes === Infinity) return { state: 'ok', found: 'no limit' }
  const state = addressBytes >= ADDRESSES ? 'ok' : 'limited'
  return { state, found: mib(addressBytes), ...(state === 'limited' && { remedy: 'ulimit -v unlimited' }) }
}

// What else there is ---------------------------------------------------------------------------------------

function others(facts: Facts): Check[] {
  return [
    check('io_uring', 'nothing in this version: disks use preadv and pwritev', ioUring(facts)),
    check('/dev/shm', "Chromium, in the tests of this package's page", shm(facts)),
    check('Chromium', "the tests of this package's page", chromium(facts)),
  ]
}

function ioUring({ system, ioUringDisabled }: Facts): Verdict {
  if (isFailure(system)) return { state: 'missing', found: 'cannot be asked without koffi' }
  const error = system.calls.io_uring ?? ''
  if (error === '') return { state: 'ok', found: 'io_uring_setup works' }
  if (ioUringDisabled !== undefined && ioUringDisabled !== '0') {
    const found = `io_uring_setup fails (${error}): kernel.io_uring_disabled is ${ioUringDisabled}`
    return { state: 'missing', found, remedy: 'nothing to be done; root could: sysctl kernel.io_uring_disabled=0' }
  }
  const why = error === 'ENOSYS' ? 'the kernel has none' : 'a sandbox (seccomp) may refuse it'
  return { state: 'missing', found: `io_uring_setup fails (${error}): ${why}`, remedy: 'nothing to be done' }
}

function shm({ shmBytes }: Facts): Verdict {
  if (shmBytes === undefined) return { state: 'missing', found: 'not there', remedy: 'mount a tmpfs there' }
  if (shmBytes >= SHM_BYTES) return { state: 'ok', found: `${mib(shmBytes)} free` }
  return { state: 'limited', found: `${mib(shmBytes)} free`, remedy: `give it ${mib(SHM_BYTES)} (docker: --shm-size)` }
}

function chromium({ chromium }: Facts): Verdict {
  if (chromium !== undefined) return { state: 'ok', found: chromium }
  return { state: 'missing', found: 'not there', remedy: 'apt-get install chromium, or name one in $CHROMIUM' }
}

function mib(bytes: number): string {
  return bytes >= 10 * GIB ? `${Math.floor(bytes / GIB)} GiB` : `${Math.floor(bytes / MIB)} MiB`
}
