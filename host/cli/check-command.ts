// A command of the user's that says by its exit status whether a file is good: run with sh, in a process group of its
// own, which is ended when it takes too long or when we are.

import { spawn } from 'node:child_process'

export interface CheckOutcome {
  /** exit status; undefined: it took longer than allowed */
  readonly status: number | undefined
  /** its last words on standard error, one line */
  readonly words: string
}

const running = new Set<number>()

/** `{}` in the command is replaced by the file's path, quoted; without it the path is appended. */
export function runCheck(command: string, file: string, timeoutMs: number): Promise<CheckOutcome> {
  const quoted = `'${file.replaceAll("'", "'\\''")}'`
  const line = command.includes('{}') ? command.replaceAll('{}', () => quoted) : `${command} ${quoted}`
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', line], { detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
    const { pid = 0 } = child
    let words = ''
    let isLate = false
    running.add(pid)
    child.stderr.on('data', (data: Buffer) => {
      words = (words + data.toString()).slice(-500)
    })
    const timer = setTimeout(() => {
      isLate = true
      stop(pid)
    }, timeoutMs)
    const over = (): void => {
      clearTimeout(timer)
      running.delete(pid)
    }
    child.once('error', (error) => {
      over()
      reject(error)
    })
    // Not 'close': what it has left behind may hold its standard error open.
    child.once('exit', (status) => {
      over()
      child.stderr.destroy()
      resolve({ status: isLate ? undefined : (status ?? 128), words: words.trim().split('\n').at(-1) ?? '' })
    })
  })
}

/** Ends what runs. */
export function stopChecks(): void {
  for (const pid of running) stop(pid)
}

function stop(pid: number): void {
  try {
    if (pid !== 0) process.kill(-pid, 'SIGKILL')
  } catch {} // it has ended
}
