// Every command with its options, declared: the one place from which the parser (options.ts), the help (help.ts) and
// the shells' completion (completion.ts) come. What a command does is in the file of its name; main.ts leads there.

import { type Declaration, flag, limit, oneOf, path, text, texts, whole } from './options.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** Keeps the types of what is declared: names, choices, options. */
function declared<const D extends Declaration>(declaration: D): D {
  return declaration
}

const TRACE_OPERAND = { name: 'FILE', offer: 'file', needed: 'a trace that a Recorder has made' } as const

export const BOOT = declared({
  name: 'boot',
  summary: 'boot Debian Linux, on KVM or in software (v86), with a disk image of yours as /dev/vda',
  usage: ['--disk FILE [OPTIONS]'],
  about: [
    'Boots Debian Linux with FILE as /dev/vda. Without --script the terminal is the console of the guest: exit powers it off, Ctrl-] pulls the plug. The counters of the device are printed at the end.',
  ],
  options: {
    disk: path('FILE', 'raw image or block device; make one with: truncate -s 64M FILE'),
    ro: flag('the guest may not write to it'),
    script: path('FILE', 'run this shell script in the guest and exit with its status'),
    iops: limit('requests per second'),
    'iops-burst': limit("requests that may pass at once after a pause (default: one second's worth)"),
    bps: limit('data bytes per second'),
    'bps-burst': limit("data bytes that may pass at once after a pause (default: one second's worth)"),
    memory: whole(
      { from: 64, to: 3968, range: 'from 64 to 1024 (MiB), with KVM from 128 to 3968' },
      'guest RAM in MiB, 64 to 1024 (default 128), with KVM 128 to 3968 (default 256)',
    ),
    append: text('OPTIONS', 'more kernel options'),
    save: path('FILE', 'the guest has a command `save`: it ends the guest and saves it, as does Ctrl-]; in v86 only'),
    resume: path(
      'FILE',
      'go on with a saved guest, after its `save`; the disk has to be as it was. Limits given here replace the saved ones; all the rest is as it was saved',
    ),
    force: flag('resume although the disk has changed; the guest may destroy what is on it'),
    record: path('FILE', 'record the disk: replay it with vblk replay, look at it with vblk trace'),
    accel: oneOf(
      'HOW',
      ['kvm', 'v86', 'auto'],
      'what runs the guest: kvm (hardware, x86-64), v86 (an emulator, i386) or auto (default): KVM if /dev/kvm can run a stock kernel, which is tried, else v86',
    ),
    cpus: whole({ from: 1, to: 64 }, 'processors of the guest, with KVM only (default 1)'),
    kernel: path('FILE', 'a bzImage of your own'),
    initrd: path('FILE', 'an initramfs of your own, with busybox at /bin; /init is ours'),
    bios: path('FILE', 'a SeaBIOS image of your own, for v86'),
    json: flag('the counters as JSON: one line, on standard error too, {"counters": {...}}'),
  },
  notes: [
    'Kernel, initramfs and BIOS come from Debian packages by default, fetched once with apt-get into the cache folder ($XDG_CACHE_HOME or ~/.cache).',
  ],
  status: {
    0: 'the guest powered off, or was saved, or the script ended with 0',
    1: "it went wrong, or the script's own",
  },
})

export const COMPLETION = declared({
  name: 'completion',
  summary: 'a script that completes commands, options and files for bash, zsh or fish',
  usage: [`${SHELLS.join('|')}`],
  about: ['Prints a script for the shell, made of the same declarations as the help.'],
  operand: { name: 'SHELL', offer: SHELLS, needed: `one of ${SHELLS.join(', ')}` },
  options: {},
  notes: [
    `To have it in every session:
  bash   echo 'eval "$(vblk completion bash)"' >> ~/.bashrc
  zsh    vblk completion zsh > "\${fpath[1]}/_vblk"
  fish   vblk completion fish > ~/.config/fish/completions/vblk.fish`,
    'It is for a command that is called vblk: npm install --global, or node_modules/.bin in PATH.',
  ],
})

export const CONFORMANCE = declared({
  name: 'conformance',
  summary: 'check the device against the rules of the virtio standard',
  usage: ['[--section S] [--id ID] [--json]'],
  about: [
    'Checks the device of this package, in memory, against the rules of the virtio standard (OASIS VIRTIO 1.3 numbering) for a block device on virtio-mmio: what the device must do, and what it does when the driver breaks a rule. Every check has a device of its own.',
  ],
  options: {
    section: text('S', 'only the rules of this section and those below it: 2.7, 5.2.6.2'),
    id: text('ID', 'only this rule, with what was tried and seen'),
    json: flag('the results as JSON: an array of {id, section, level, side, requirement, outcome, tried, seen}'),
  },
  notes: [
    "Outcomes: passed; failed; not offered (a rule of a feature that the device does not offer); not checkable (nobody can see from outside); skipped (the target lacks what the check needs); not checked yet. Your own device can be checked with runConformance() of 'virtio-blk-wasm/conformance'.",
  ],
  status: { 0: 'no check failed', 1: 'some failed' },
})

export const DEMO = declared({
  name: 'demo',
  summary: 'a page: see a ring work, check the standard, boot Linux in a browser',
  usage: ['[--port N] [--host ADDRESS] [--no-isolation] [--no-linux]', '--out FOLDER [--no-linux]'],
  about: [
    'Serves the page: see a ring work, check the standard, boot Linux, all in a browser. The first time, a Linux guest is booted here and saved for the page, which takes about half a minute.',
  ],
  options: {
    port: whole({ from: 0, to: 0xffff }, 'port to listen on: default 8080, or any other if that is taken; 0: any'),
    host: text('ADDRESS', 'address to listen on: default 127.0.0.1, where nobody else can reach it'),
    'no-isolation': flag('without the headers for cross-origin isolation, as most web servers serve it'),
    'no-linux': flag('without Linux: nothing is fetched or booted'),
    out: path('FOLDER', 'write the page as a folder of files for any web server, and serve nothing'),
  },
})

export const DOCTOR = declared({
  name: 'doctor',
  summary: 'what works on this machine, what does not, and the remedy',
  usage: ['[--json]'],
  about: [
    'Looks at all that the package uses on this machine: one line each, with what it is for and, where it is missing or limited, what to do. Nothing is installed or changed; the Debian mirror is asked for one small file.',
  ],
  options: {
    json: flag('the report as JSON: {verdict, checks: [{name, state, found, use, needed, remedy}]}'),
  },
  notes: [
    'States: ok; limited (it works, with less); missing. Only what the device itself needs is needed: Linux on x86-64, Node, koffi, the engine; all else is for one use or another.',
  ],
  status: { 0: 'what is needed is there', 1: 'something that is needed is missing' },
})

export const REPLAY = declared({
  name: 'replay',
  summary: 'replay a recorded trace and compare',
  usage: ['FILE [--until STEP] [--engine FILE.wasm] [--json]'],
  about: [
    "Makes the engine calls of a trace again, without guest, disk or clock, and compares what comes of them: every load and store, results, requests, counters. A trace is made by vblk boot --record, or by a Recorder of 'virtio-blk-wasm/replay'.",
  ],
  operand: TRACE_OPERAND,
  options: {
    until: whole(
      { value: 'STEP', from: 0, to: Number.MAX_SAFE_INTEGER, range: 'from 0, a step' },
      'stop before this step; the first is 0',
    ),
    engine: path(
      'FILE',
      'on another build of the engine, a .wasm file of any flavour; default: the trace flavour of this package, which compares access by access; others are compared call by call',
    ),
    json: flag('the result as JSON: {steps, of, digest, divergence: {step, call, field, expected, seen, message}}'),
  },
  notes: ['The digest is over all that came in and went out, and the same wherever the trace is replayed.'],
  status: { 0: 'all went as recorded', 1: 'a step differs (the first one is told, with field, expected and seen)' },
})

export const SHRINK = declared({
  name: 'shrink',
  summary: 'shorten a recorded trace as far as a command of yours still fails for it',
  usage: ['FILE --check CMD [--out FILE] [--timeout S] [--json]'],
  about: [
    'Looks for the shortest trace for which CMD still fails: the shortest prefix first, then every step is left out that CMD can do without. Each candidate is run anew on the engine of this package with what came in, and recorded, so it is a trace like any other. FILE is not touched.',
  ],
  operand: TRACE_OPERAND,
  options: {
    check: text(
      'CMD',
      'run with sh -c; {} is replaced by the path of a trace, or the path is appended. An exit status other than 0 is a failure. A build of the engine against this one: vblk replay {} --engine other.wasm',
    ),
    out: path('FILE', 'where the shortest trace goes; default: FILE.min.trace'),
    timeout: whole(
      { value: 'S', from: 1, to: 999_999 },
      'how long CMD may run, in seconds: one that runs longer is stopped, and has not failed; default 60',
    ),
    json: flag('the result as JSON: {file, steps, of, runs, digest}'),
  },
  status: { 0: 'the shortest trace is written', 1: 'it cannot be shrunk' },
})

export const START = declared({
  name: 'start',
  summary: 'a tour: Linux makes a filesystem on a fresh disk, and the bytes are checked from outside',
  usage: ['[--json]'],
  about: [
    'Boots Debian Linux in software with a new 64 MiB disk on the WebAssembly engine, lets it make a filesystem, write, sync, drop its caches, read back and compare, and checks the same bytes in the image file from outside. Needs apt-get and a Debian mirror once, to fetch the kernel; without them the same work is done by a driver in TypeScript.',
  ],
  options: {
    json: flag('the result as JSON: {linux, seconds, counters, report}'),
  },
  status: { 0: 'all bytes are right', 1: 'they are not, or the guest did not get so far' },
})

export const TRACE = declared({
  name: 'trace',
  summary: 'list the requests of a recorded trace, and what else happened',
  usage: ['FILE [--filter EXPR]... [--json]'],
  about: [
    'Lists what happened in a recorded trace: each request with its queue and head, the chain of its descriptors, what was decided on it and by which rule of CONTRACT.md, what the back end answered, status byte, used length and time; and between the requests the register writes, resets, kicks, stalls, ring faults and interrupts, with the number of the step.',
  ],
  operand: TRACE_OPERAND,
  options: {
    filter: texts('EXPR', 'only what fits; given several times: all must fit'),
    json: flag('the list as JSON: times in ns, 64-bit addresses and sectors as strings of decimal digits'),
  },
  notes: [
    `EXPR is one of
  type=read|write|flush|id|N   requests of this type
  status=ok|ioerr|unsupp|none  requests that ended so; none: without an answer
  head=N  queue=N  sector=N    requests with this head, queue or sector
  fault                        refused requests, ring faults and traps
  requests                     no register writes and the like`,
    'A descriptor stands as ADDRESS+LENGTH(FLAGS): n another follows, w the device writes, i indirect.',
  ],
})

const DECLARED = [BOOT, COMPLETION, CONFORMANCE, DEMO, DOCTOR, REPLAY, SHRINK, START, TRACE] as const

export type CommandName = (typeof DECLARED)[number]['name']

export const HELP = declared({
  name: 'help',
  summary: 'what a command does, and its options',
  usage: ['[COMMAND]'],
  about: ['The help of the command, or the list of commands.'],
  operand: { name: 'COMMAND', offer: [...DECLARED.map(({ name }) => name), 'help'] },
  options: {},
})

/** All of them, in the order of the alphabet. */
export const DECLARATIONS: readonly Declaration[] = [...DECLARED, HELP].sort((a, b) => (a.name < b.name ? -1 : 1))
