// Where the page and the API are, from the <base> that the front end fills in with its rootPath.

/** Path of the page, as /ui or /prefix/ui. */
export const uiPath = new URL(document.baseURI).pathname.replace(/\/$/, "");

/** Path of the API that serves the page, empty at the root. */
export const apiPath = uiPath.replace(/\/ui$/, "");

/** URL of a route of the API. */
export function apiUrl(path: string): string {
  return `${apiPath}${path}`;
}

/** Leave for the sign-in page, which comes back to where the reader is. */
export function goToSignIn(): void {
  const here = `${location.pathname}${location.search}${location.hash}`;
  location.assign(`${uiPath}/login?next=${encodeURIComponent(here)}`);
}
