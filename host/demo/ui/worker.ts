// Starts the page's workers: modules that lie beside it.

/** `name` is that of an entry in host/build.mjs: 'linux-worker'. */
export function startWorker(name: string): Worker {
  return new Worker(new URL(`${name}.js`, document.baseURI), { type: 'module', name })
}
