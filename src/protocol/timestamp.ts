/**
 * Hybrid logical timestamps (Kulkarni et al., "Logical Physical Clocks", 2014, section 3): wall-clock ms ×
 * 1024 plus a counter, in one safe integer. Close to the wall clock, and always above what is superseded.
 */

const TICKS_PER_MS = 1024
/** A timestamp further ahead of our clock than this is some peer's broken clock: it is not followed. */
const MAX_AHEAD_MS = 60_000

/** @param superseded the greatest timestamp the write replaces; 0 for none */
export function nextTimestamp(nowMs: number, superseded: number): number {
  const now = Math.floor(nowMs) * TICKS_PER_MS
  const believable = superseded <= now + MAX_AHEAD_MS * TICKS_PER_MS
  return believable && superseded >= now ? superseded + 1 : now
}

export function timestampMs(timestamp: number): number {
  return Math.floor(timestamp / TICKS_PER_MS)
}
