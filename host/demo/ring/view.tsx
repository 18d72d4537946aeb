// The Ring view.

import type { ViewProps } from '../app.tsx'

export default function RingView(_: ViewProps) {
  return <h1>Ring</h1>
}
