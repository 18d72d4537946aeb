#!/usr/bin/env node
// The command `vblk`: checks the Node version before anything newer than it is loaded, then runs the command named
// first. What the exit statuses mean is in help.ts.

const major = Number(process.versions.node.split('.')[0])
if (major < 20) {
  process.stderr.write(`vblk: Node ${process.versions.node} is too old, install Node 20 or later: https://nodejs.org\n`)
  process.exit(2)
}
const { main } = await import('./main.ts')
process.exitCode = await main(process.argv.slice(2))

export {}
