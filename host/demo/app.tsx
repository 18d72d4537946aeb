// The page's shell: heading, navigation, the view that the address names, and a line on what this browser gives. A view
// is loaded when it is first visited, and stays as it was when another one is shown: a guest goes on running.

import { type ComponentType, render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { routeHash, useRoute, VIEWS, type ViewName } from './route.ts'
import { focusContent, useFocusOutOfHidden } from './ui/focus.ts'
import { ThemeSelect } from './ui/theme.tsx'

/** What every view is given. */
export interface ViewProps {
  /** of the address; those of the last visit while another view is shown */
  readonly params: URLSearchParams
  readonly isShown: boolean
}

interface ViewModule {
  readonly default: ComponentType<ViewProps>
}

const TITLES: Readonly<Record<ViewName, string>> = { ring: 'Ring', conformance: 'Conformance', linux: 'Linux' }

const LOAD: Readonly<Record<ViewName, () => Promise<ViewModule>>> = {
  ring: () => import('./ring/view.tsx'),
  conformance: () => import('./conformance/view.tsx'),
  linux: () => import('./linux/view.tsx'),
}

function App() {
  const route = useRoute()
  const [visited, setVisited] = useState<Partial<Record<ViewName, URLSearchParams>>>({})
  const seen = { ...visited, [route.view]: route.params }
  useFocusOutOfHidden()
  useEffect(() => {
    setVisited((before) => ({ ...before, [route.view]: route.params }))
    document.title = `${TITLES[route.view]} · virtio-blk-wasm`
  }, [route])
  return (
    <>
      <button type="button" class="skip" onClick={focusContent}>
        Skip to the content
      </button>
      <header class="page-header">
        <p class="brand">
          <img src="icon.svg" alt="" width="24" height="24" />
          <strong>virtio-blk-wasm</strong>
        </p>
        <nav aria-label="Views">
          <ul>
            {VIEWS.map((name) => (
              <li key={name}>
                <a
                  href={routeHash(name, Object.fromEntries(seen[name] ?? []))}
                  aria-current={name === route.view ? 'page' : undefined}
                >
                  {TITLES[name]}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <ThemeSelect />
      </header>
      <main id="content" tabIndex={-1}>
        {VIEWS.map((name) => {
          const params = seen[name]
          return params && <LoadedView key={name} name={name} params={params} isShown={name === route.view} />
        })}
      </main>
      <footer class="page-footer">
        <Isolation />
      </footer>
    </>
  )
}

function LoadedView({ name, ...props }: ViewProps & { name: ViewName }) {
  const [View, setView] = useState<ComponentType<ViewProps>>()
  const [error, setError] = useState<unknown>()
  useEffect(() => {
    LOAD[name]().then((module) => setView(() => module.default), setError)
  }, [name])
  useEffect(() => {
    // For whoever measures: the view has been drawn.
    if (View) performance.mark(`view ${name}`)
  }, [View, name])
  return (
    <section class={`view ${name}`} hidden={!props.isShown} aria-label={TITLES[name]}>
      {View && <View {...props} />}
      {!View && !error && <p role="status">Loading …</p>}
      {error !== undefined && (
        <p role="alert" class="notice bad">
          This view could not be loaded: {String(error)}. Reload the page to try again.
        </p>
      )}
    </section>
  )
}

function Isolation() {
  return crossOriginIsolated ? (
    <p>
      Cross-origin isolated: every flavour of the engine runs here, those for shared memory too. Nothing leaves this
      browser.
    </p>
  ) : (
    <p>
      Not cross-origin isolated: all of the page works but the two flavours of the engine for shared memory, which need
      a server that sends <code>Cross-Origin-Opener-Policy: same-origin</code> and{' '}
      <code>Cross-Origin-Embedder-Policy: require-corp</code>. Nothing leaves this browser.
    </p>
  )
}

const root = document.getElementById('app')
if (root) render(<App />, root)
