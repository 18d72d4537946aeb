// The Linux view.

import type { ViewProps } from '../app.tsx'

export default function LinuxView(_: ViewProps) {
  return <h1>Linux</h1>
}
