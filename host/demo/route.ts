// Where the page is: a view and its parameters, kept in the fragment of the address ('#ring?scenario=...'), so that a
// link leads back to it on any web server. Knows the names of the views, not what they do with parameters.

import { useEffect, useState } from 'preact/hooks'

export const VIEWS = ['ring', 'conformance', 'linux'] as const
export type ViewName = (typeof VIEWS)[number]

export interface Route {
  readonly view: ViewName
  readonly params: URLSearchParams
}

/** Any fragment is a route: what is no view's name is the first view. */
function parseRoute(hash: string): Route {
  const [name = '', query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s)
  const view = VIEWS.find((one) => one === name) ?? VIEWS[0]
  return { view, params: new URLSearchParams(query) }
}

/** No fragment at all is the first view's too. */
function isRoute(hash: string): boolean {
  const [name = ''] = hash.replace(/^#/, '').split('?')
  return hash === '' || VIEWS.some((one) => one === name)
}

/** The fragment, with its '#'. */
export function routeHash(view: ViewName, params: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(params).toString()
  return query === '' ? `#${view}` : `#${view}?${query}`
}

/** Goes there, with an entry in the browser's history. */
export function navigate(view: ViewName, params: Readonly<Record<string, string>> = {}): void {
  location.hash = routeHash(view, params)
}

/** Changes the parameters of the address in place: no entry in the history, nothing scrolls. */
export function replaceParams(view: ViewName, params: Readonly<Record<string, string>>): void {
  history.replaceState(null, '', routeHash(view, params))
  // The browser tells of links and of the back button only.
  dispatchEvent(new HashChangeEvent('hashchange'))
}

/** The route as it is now; the component is drawn anew when it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash))
  useEffect(() => {
    const follow = (): void => {
      const next = parseRoute(location.hash)
      // What is no view's name does not stay in the address of the one that is shown instead.
      if (!isRoute(location.hash)) history.replaceState(null, '', routeHash(next.view))
      setRoute(next)
    }
    follow()
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return route
}
