// Words that somebody may have meant: for messages about a name that does not exist.

/** The three of `words` that are most like `word`, best first; only those that a slip or two make of it, if any. */
export function nearest(word: string, words: readonly string[]): string[] {
  const changes = Math.max(1, Math.floor(word.length / 3))
  const cost = (other: string): number =>
    distance(word.toLowerCase(), other.toLowerCase()) - (other.includes(word) ? 100 : 0)
  const ranked = words.map((other) => ({ other, cost: cost(other) }))
  return ranked
    .filter(({ cost }) => cost <= changes)
    .sort((a, b) => a.cost - b.cost)
    .slice(0, 3)
    .map(({ other }) => other)
}

/** Letters to add, drop or change to make one the other (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const changed = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[other.length] ?? 0
}
