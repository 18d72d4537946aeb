// The Conformance view.

import type { ViewProps } from '../app.tsx'

export default function ConformanceView(_: ViewProps) {
  return <h1>Conformance</h1>
}
