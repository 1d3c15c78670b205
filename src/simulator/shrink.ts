/**
 * Makes a failing fault schedule short: takes parts away for as long as the run still fails (delta debugging,
 * Zeller and Hildebrandt 2002, section 3: halves first, then smaller and smaller parts).
 */

export interface ShrinkResult<T> {
  readonly items: readonly T[]
  readonly runs: number
  /** False when `maxRuns` ended the search. */
  readonly isMinimal: boolean
}

/**
 * @param fails whether a run with these items, a subsequence of `items`, still fails; asked at most `maxRuns`
 * times
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (subset: readonly T[]) => Promise<boolean>,
  maxRuns: number,
): Promise<ShrinkResult<T>> {
  let kept = items
  let runs = 0
  const stillFails = async (subset: readonly T[]): Promise<boolean> => {
    runs++
    return await fails(subset)
  }
  // No fault at all is the best answer there is, and often right.
  if (items.length > 0 && maxRuns > 0 && (await stillFails([]))) return { items: [], runs, isMinimal: true }
  let parts = 2
  while (kept.length > 1) {
    const size = Math.ceil(kept.length / parts)
    let reduced = false
    for (let start = 0; start < kept.length && !reduced; start += size) {
      if (runs >= maxRuns) return { items: kept, runs, isMinimal: false }
      const rest = [...kept.slice(0, start), ...kept.slice(start + size)]
      if (await stillFails(rest)) {
        kept = rest
        reduced = true
      }
    }
    if (reduced) parts = Math.max(parts - 1, 2)
    else if (size === 1) break
    else parts = Math.min(2 * parts, kept.length)
  }
  return { items: kept, runs, isMinimal: true }
}
