// Runs the Linux guest beside the page.

export {}
