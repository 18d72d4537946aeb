// The digests of the golden traces, typed in by hand from what `npm run golden` said when each was made. Node
// (golden.test.ts) and the page in a browser (demo/conformance) must both come to them, on every flavour of the engine.

/** By the name of the .trace file. */
export const DIGESTS: Readonly<Record<string, string>> = {
  'ring-avail-idx': 'd0b94e8742838149',
  'ring-head': '14fca11f3e73bf4d',
  'ring-next': '7a75692ae04888e5',
  'ring-loop': 'a031a28e465b9953',
  'ring-indirect': '1db16bab03bf154a',
  'ring-head-in-flight': '14bdc3020b6ea771',
  'ring-no-status': '91e845dd51dfd421',
  'ring-status-unmapped': '73258fd5886caea4',
  'request-a': '0c7ac452cb99eeed',
  'request-b': '7dbc08c2b16d9ee6',
  'request-c': '5aef645aeb7a3ed4',
  'request-d': '235f91bfde5cbbca',
  'request-e': 'ee363a01d728873c',
  'request-f': '35dae648d4d9737c',
  'request-g': 'c40414d8ea382cd5',
  throttled: '037575943799910f',
  'reset-under-load': '122502c0e3eacad0',
  'kvm-guest': '559024e93e0a8a4d',
  linux: '7dd217bc515784a6',
}
