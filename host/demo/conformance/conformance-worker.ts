// Runs the conformance kit beside the page.

export {}
